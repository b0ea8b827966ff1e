"""What the book reports for a setting."""

from dataclasses import dataclass


@dataclass
class Published:
    """Accuracies in percent, losses in nats a token."""

    row: int | None = None
    """Row of its results table."""
    train: float | None = None
    """Training accuracy, on 1,040 of 1,045 messages."""
    val: float | None = None
    """Validation accuracy, on 149 messages."""
    test: float | None = None
    """Test accuracy, on 300 messages."""
    initial_train_loss: float | None = None
    """Loss before training, on five training batches."""
    initial_val_loss: float | None = None
    """Loss before training, on five validation batches: 40 of 55 entries."""
    train_loss: float | None = None
    """The last training loss it prints, on five batches."""
    val_loss: float | None = None
    """The last validation loss it prints, on five batches."""
    judge_score: float | None = None
    """Mean score of the test responses by Llama 3 8B, 0 to 100; its standard error is 3 to 5."""
    judged: str | None = None
    """How many of the test responses got a score."""
    minutes: float | None = None
    """Training time; on an A100 unless ``source`` names another device."""
    source: str | None = None
    """Where the figures are published."""
    note: str | None = None
    """Known problems with them."""
