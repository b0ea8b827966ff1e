"""Command lines as people type them."""

import shlex


def command_line(*arguments: object) -> str:
    """Returns the line that gives these arguments to ``python -m llm_lightning``."""
    return shlex.join(["python", "-m", "llm_lightning", *map(str, arguments)])
