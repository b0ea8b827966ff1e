"""Tables in Markdown, whatever their cells hold."""

import html
import re
from collections.abc import Collection, Sequence

from llm_lightning.presentation.harmless import harmless


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, left: Collection[int] = (0,)
) -> str:
    """Returns a table without a final line end.

    Bars are escaped, line ends become ``<br>`` and control characters symbols; a cell may otherwise
    hold Markdown. Use :func:`literal` for text that must not be read as markup.

    Args:
        header: of each column.
        rows: as many cells each as ``header`` has.
        left: columns that are aligned on the left; all others on the right.
    """
    rule = ["---" if column in left else "---:" for column in range(len(header))]
    cells = [header, rule, *rows]
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in cells)


def literal(text: str) -> str:
    """Returns text with everything escaped that means something in Markdown, HTML or a terminal."""
    escaped = html.escape(harmless(text.strip()), quote=False)
    return re.sub(r"([\\`*_\[\]~|])", r"\\\1", escaped)


def _cell(text: str) -> str:
    text = harmless(text.replace("\r\n", "\n").replace("\r", "\n"))
    return re.sub(r"(?<!\\)\|", r"\\|", text).replace("\n", "<br>")
