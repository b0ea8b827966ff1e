"""Plots as SVG elements for a page: text stays text, and colours are the page's.

A colour is a CSS variable's name (``series-1``), so that a picture follows the reader's light or
dark theme without being drawn twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

from llm_lightning.reporting.study.axis import Axis

CHARACTER = 6.3
"""About the width of a character of a 12-pixel label, in pixels."""


@dataclass
class Plot:
    """One picture with its axes; what is added later is drawn above."""

    width: float
    height: float
    x: Axis
    y: Axis
    title: str
    """What it shows, for those who do not see it."""
    left: float = 48
    right: float = 14
    top: float = 14
    bottom: float = 40
    _parts: list[Markup] = field(default_factory=list, init=False)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies, in pixels."""
        return (
            self.left + self.x.share(x) * (self.width - self.left - self.right),
            self.height - self.bottom - self.y.share(y) * (self.height - self.top - self.bottom),
        )

    def axes(self, *, x_ticks: int = 5, y_ticks: int = 5) -> None:
        """Grid, tick labels and the names of both axes; a side without ``ticks`` has none."""
        base, ceiling = self.height - self.bottom, self.top
        start, end = self.left, self.width - self.right
        for tick in self.x.marks(x_ticks):
            x, _ = self.at(tick, self.y.low)
            self.segment((x, base), (x, ceiling), "grid")
            self.text(x, base + 15, self.x.write(tick), anchor="middle", css="tick")
        for tick in self.y.marks(y_ticks):
            _, y = self.at(self.x.low, tick)
            self.segment((start, y), (end, y), "grid")
            self.text(start - 6, y + 4, self.y.write(tick), anchor="end", css="tick")
        if self.x.label:
            middle = (start + end) / 2
            self.text(middle, self.height - 6, self.x.label, anchor="middle", css="name")
        if self.y.label:
            self._add(
                '<text class="name" text-anchor="middle" transform="translate(12 {}) rotate(-90)">'
                "{}</text>",
                _short((base + ceiling) / 2),
                self.y.label,
            )

    def segment(
        self, start: tuple[float, float], end: tuple[float, float], css: str, color: str = "grid"
    ) -> None:
        """A straight line between two points in pixels."""
        self._add(
            '<line class="{}" style="--c:var(--{})" x1="{}" y1="{}" x2="{}" y2="{}"/>',
            css,
            color,
            *map(_short, (*start, *end)),
        )

    def line(
        self, points: Sequence[tuple[float, float]], color: str, css: str = "line", tip: str = ""
    ) -> None:
        """A line through points of the data."""
        self._add(
            '<polyline class="{}" style="--c:var(--{})" points="{}">{}</polyline>',
            css,
            color,
            self._path(points),
            _tip(tip),
        )

    def band(
        self, xs: Sequence[float], lows: Sequence[float], highs: Sequence[float], color: str
    ) -> None:
        """What lies between two lines."""
        around = [*zip(xs, highs, strict=True), *reversed([*zip(xs, lows, strict=True)])]
        self._add(
            '<polygon class="band" style="--c:var(--{})" points="{}"/>', color, self._path(around)
        )

    def dot(
        self, x: float, y: float, color: str, *, radius: float = 4, css: str = "dot", tip: str = ""
    ) -> None:
        """A point of the data."""
        left, top = map(_short, self.at(x, y))
        self._add(
            '<circle class="{}" style="--c:var(--{})" cx="{}" cy="{}" r="{}">{}</circle>',
            css,
            color,
            left,
            top,
            _short(radius),
            _tip(tip),
        )

    def diamond(self, x: float, y: float, color: str, tip: str = "") -> None:
        """A hollow diamond at a point of the data."""
        left, top = self.at(x, y)
        corners = ((left - 5, top), (left, top - 5), (left + 5, top), (left, top + 5))
        points = " ".join(f"{_short(a)},{_short(b)}" for a, b in corners)
        self._add(
            '<polygon class="hollow" style="--c:var(--{})" points="{}">{}</polygon>',
            color,
            points,
            _tip(tip),
        )

    def box(
        self, corner: tuple[float, float], size: tuple[float, float], css: str, opacity: float
    ) -> None:
        """A filled rectangle, in pixels from its upper left corner."""
        self._add(
            '<rect class="{}" x="{}" y="{}" width="{}" height="{}" fill-opacity="{}"/>',
            css,
            *map(_short, (*corner, *size)),
            f"{opacity:.3f}",
        )

    def text(self, x: float, y: float, text: str, *, anchor: str = "start", css: str = "") -> None:
        """Words at a point in pixels."""
        self._add(
            '<text class="{}" text-anchor="{}" x="{}" y="{}">{}</text>',
            css,
            anchor,
            _short(x),
            _short(y),
            text,
        )

    def render(self) -> Markup:
        """The SVG element."""
        size = Markup('viewBox="0 0 {0} {1}" width="{0}" height="{1}"').format(
            _short(self.width), _short(self.height)
        )
        inside = Markup("").join(self._parts)
        return Markup('<svg {} role="img" aria-label="{}">{}</svg>').format(
            size, self.title, inside
        )

    def _path(self, points: Sequence[tuple[float, float]]) -> str:
        placed = (self.at(x, y) for x, y in points)
        return " ".join(f"{_short(x)},{_short(y)}" for x, y in placed)

    def _add(self, template: str, *values: object) -> None:
        self._parts.append(Markup(template).format(*values))


def cut(text: str, limit: int) -> str:
    """A text that fits into so many characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _short(number: float) -> str:
    return f"{number:.1f}".rstrip("0").rstrip(".")


def _tip(text: str) -> Markup:
    """What a pointer sees; nothing for an empty text."""
    return Markup("<title>{}</title>").format(escape(text)) if text else Markup("")
