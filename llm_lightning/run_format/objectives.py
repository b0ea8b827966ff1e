"""The validation metrics that a search can go by, and which of them are better if smaller."""

LESS_IS_BETTER = ("loss", "perplexity", "response_loss")
"""The others are better if larger."""
