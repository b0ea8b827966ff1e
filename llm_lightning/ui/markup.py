"""Pieces of HTML that the screens are made of; whatever comes from files is escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import groupby

from llm_lightning.ui.attribution import Attribution
from llm_lightning.ui.first_batch import PADDING, Cell, FirstBatch

_SHADES = 0.75
"""Opacity of the strongest colour behind a token."""


def commands(*lines: str) -> str:
    """Shows the command lines that do what the screen does."""
    if not lines:
        return ""
    text = escape("\n".join(lines))
    return f'<div class="command"><span>The same on the command line</span><pre>{text}</pre></div>'


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "") -> str:
    """Shows texts in rows; a wide table scrolls inside its own frame."""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    named = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="scrolls" tabindex="0"><table class="plain">{named}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def note(text: str, kind: str = "note") -> str:
    """Shows a sentence; the kinds are ``note``, ``good`` and ``bad``."""
    return f'<p class="{kind}">{escape(text)}</p>' if text else ""


def literal(text: str) -> str:
    """Shows a text as it is, with its line ends."""
    return f'<pre class="literal" tabindex="0">{escape(text)}</pre>'


def probabilities(values: Mapping[str, float]) -> str:
    """Shows the probability of each class as a bar, the highest first."""
    rows = sorted(values.items(), key=lambda pair: -pair[1])
    bars = "".join(
        f'<tr><td>{escape(name)}</td><td class="number">{100 * value:.2f} %</td>'
        f'<td class="bar"><i style="width:{100 * value:.1f}%"></i></td></tr>'
        for name, value in rows
    )
    return f'<table class="bars"><tbody>{bars}</tbody></table>'


def marked_text(found: Attribution) -> str:
    """Shows a text with a colour behind each piece: blue for the class, orange against it."""
    changes = [abs(piece.change) for piece in found.pieces if piece.change is not None]
    strongest = max(changes, default=0.0) or 1.0
    spans = []
    for piece in found.pieces:
        text = escape(piece.text)
        if piece.change is None:
            spans.append(f'<s title="cut: the model did not see it">{text}</s>')
            continue
        shade = _SHADES * abs(piece.change) / strongest
        colour = "--series-1" if piece.change > 0 else "--series-2"
        style = f"background:color-mix(in srgb, var({colour}) {100 * shade:.0f}%, transparent)"
        tip = f"{100 * piece.change:+.2f} points"
        spans.append(f'<span title="{tip}" style="{style}">{text}</span>')
    return f'<p class="marked">{"".join(spans)}</p>'


def batch(found: FirstBatch, legend: Mapping[str, str]) -> str:
    """Shows a batch token by token.

    Args:
        found: the batch.
        legend: what each role means that occurs in it.
    """
    parts = [
        f'<span class="token {_css(role)}">{escape(role)}</span> {escape(meaning)}'
        for role, meaning in legend.items()
    ]
    if found.pooled:
        parts.append(f'<span class="token pooled">pooled</span> {escape(found.pooled)}')
    lines = []
    for row in found.rows:
        title = f"example {row.index}" + (f", {row.label}" if row.label else "")
        cells = []
        for is_filling, neighbours in groupby(row.cells, _fills):
            shown = [_token(cell) for cell in neighbours]
            if is_filling:
                shown = [f'<span class="token padding">{_padding(len(shown))}</span>']
            cells += shown
        lines.append(f"<h4>{escape(title)}</h4><p>{'<wbr>'.join(cells)}</p>")
    return (
        f'<p class="legend">{" &ensp; ".join(parts)}</p><div class="batch">{"".join(lines)}</div>'
    )


def _fills(cell: Cell) -> bool:
    return cell.role == PADDING and not cell.is_pooled


def _token(cell: Cell) -> str:
    pooled = " pooled" if cell.is_pooled else ""
    text = escape(cell.text.replace("\n", "↵").replace(" ", "·"))
    tip = f"token {cell.token}, {cell.role}"
    return f'<span class="token {_css(cell.role)}{pooled}" title="{tip}">{text}</span>'


def _css(role: str) -> str:
    return role.replace(" ", "-")


def _padding(number: int) -> str:
    return "padding" if number == 1 else f"{number} positions of padding"


def panels(title: str, svgs: Sequence[str]) -> str:
    """Shows drawings side by side, as far as there is room."""
    inside = "".join(f"<figure>{svg}</figure>" for svg in svgs)
    return f'<h4>{escape(title)}</h4><div class="panels">{inside}</div>'
