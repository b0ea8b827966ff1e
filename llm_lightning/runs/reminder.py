"""What a command says about a run before it uses its model."""

from collections.abc import Sequence

from rich.markup import escape

from llm_lightning.presentation.terminal import errors


def print_reminder(fallbacks: Sequence[str]) -> None:
    """Prints to standard error, in a line each, what was replaced when a model was trained."""
    for fallback in fallbacks:
        errors.print(escape(fallback.splitlines()[0].rstrip(":")), soft_wrap=True)
