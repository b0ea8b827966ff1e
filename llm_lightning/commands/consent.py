"""Asks before anything is fetched because a run folder names it.

A base that this machine already has is never fetched again, so only a folder from elsewhere, or a
cache that was emptied, leads to the question.
"""

import sys

from huggingface_hub import constants
from rich.markup import escape

from llm_lightning.backbone.hub import BeforeDownload
from llm_lightning.presentation.terminal import errors
from llm_lightning.run_format.redaction import without_secrets
from llm_lightning.runs.load import refuse_download


def consent(allowed: bool) -> BeforeDownload | None:
    """Returns what decides about the download of a base.

    Args:
        allowed: by ``--allow-download``; otherwise the user is asked, or where nobody can answer
            it is refused.
    """
    if allowed:
        return None
    return _ask if sys.stdin.isatty() and sys.stderr.isatty() else refuse_download


def _ask(source: str) -> None:
    """Asks on the terminal.

    Raises:
        ValueError: if the answer is not yes.
    """
    endpoint = without_secrets(constants.ENDPOINT)
    errors.print(
        f"This run's base {escape(source)} is not on this machine; its folder says to fetch it "
        f"from {escape(endpoint)}. Fetch it? [y/N] ",
        end="",
        soft_wrap=True,
    )
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        refuse_download(source)
