"""What the curves in ``metrics.csv`` and TensorBoard are called, beside ``<split>/<metric>``."""

STEP_LOSS = "train/loss"
"""Mean loss of single optimizer steps."""
EPOCH_LOSS = "train/epoch_loss"
"""Mean training loss over an epoch, while the weights change."""
VALIDATION_LOSS = "val/loss"
"""Mean validation loss at the end of an epoch."""
