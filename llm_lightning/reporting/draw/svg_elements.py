"""Figures as SVG elements for a page, or as SVG files of their own.

Text stays text, and the colours of ``style`` become CSS variables, so that one element follows the
reader's light or dark theme. Several elements may share a page: their ids do not collide.
"""

import io
import re
import warnings
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import matplotlib as mpl
from matplotlib.figure import Figure

from llm_lightning.reporting.draw import style

CSS_VARIABLES = {
    style.INK: "--ink",
    style.GREY: "--soft",
    style.MUTED: "--muted",
    style.PALE: "--grid",
    style.WHITE: "--card",
    style.BLUE: "--series-1",
    style.VERMILLION: "--series-2",
    style.GREEN: "--series-3",
    style.PURPLE: "--series-4",
    style.ORANGE: "--series-5",
    style.SKY: "--series-6",
    style.STEEL: "--series-7",
}
"""The CSS variable that replaces each colour; ``plots.css`` defines them for both themes."""

_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def svg_element(figure: Figure, *, key: str, title: str, description: str) -> str:
    """Returns an ``<svg>`` element; the same figure always gives the same text.

    Args:
        figure: in colours of ``style``.
        key: different for each figure of a page; prefixes all ids.
        title: what the figure shows, for readers who cannot see it.
        description: how to read it, for the same readers.
    """
    buffer = io.StringIO()
    options: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": key,
        "path.simplify_threshold": 0.2,
    }
    with mpl.rc_context(options), warnings.catch_warnings():
        # The reader's browser has its own fonts, with more characters than matplotlib's.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", transparent=True, metadata=_NO_METADATA)
    root = ElementTree.fromstring(buffer.getvalue())
    _, _, width, height = (float(number) for number in root.attrib["viewBox"].split())
    inside = [child for child in root if child.find(f"{_SVG}style") is None]
    element = Element(
        "svg",
        {
            "viewBox": f"0 0 {width:g} {height:g}",
            "width": f"{width:g}",
            "height": f"{height:g}",
            "role": "img",
            "aria-labelledby": f"{key}-title {key}-desc",
            "stroke-linejoin": "round",  # in place of matplotlib's style element, which would
            "stroke-linecap": "butt",  # restyle everything else on the page
        },
    )
    for name, text in (("title", title), ("desc", description)):
        child = ElementTree.SubElement(element, name, {"id": f"{key}-{name}"})
        child.text = style.printable(text)
    element.extend(cleaned for child in inside for cleaned in _clean(child, key))
    return ElementTree.tostring(element, encoding="unicode", short_empty_elements=True)


def svg_document(element: str, css: str) -> str:
    """Returns an SVG file, light or dark as its reader is.

    Args:
        element: from :func:`svg_element`.
        css: defines the colour variables.
    """
    start = element.index(">") + 1
    opening = element[:start].replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    background = '<rect width="100%" height="100%" fill="var(--card)"/>'
    return f"{opening}<style>{css}</style>{background}{element[start:]}\n"


def _clean(node: Element, key: str) -> Iterator[Element]:
    """Drops what a page does not need, and adapts ids, references, colours and fonts."""
    name = node.tag.removeprefix(_SVG)
    children = [cleaned for child in node for cleaned in _clean(child, key)]
    attributes = dict(_attributes(node, key))
    gid = node.attrib.get("id", "")
    if name == "g" and gid.startswith(style.TIP):
        tip = Element("title")
        tip.text = gid.removeprefix(style.TIP)
        children.insert(0, tip)
    elif name in ("g", "defs") and not children:
        return
    elif name == "g" and not attributes:  # a group that means nothing
        yield from children
        return
    elif name == "path" and node.attrib.get("style") == "fill: none":  # an invisible background
        return
    cleaned = Element(name, attributes)
    cleaned.text = node.text if node.text and node.text.strip() else None
    cleaned.extend(children)
    yield cleaned


def _attributes(node: Element, key: str) -> Iterator[tuple[str, str]]:
    is_group = node.tag == f"{_SVG}g"
    for name, value in node.attrib.items():
        if name == "id":
            if not is_group:  # nothing refers to a group
                yield name, f"{key}-{value}"
        elif name == _HREF:
            yield "href", f"#{key}-{value.removeprefix('#')}"
        elif name == "clip-path":
            yield name, value.replace("url(#", f"url(#{key}-")
        elif name == "style":
            yield name, themed(value)
        elif name in ("d", "x", "y"):  # a hundredth of a pixel is enough
            yield name, re.sub(r"(\.\d\d)\d+|\s+", lambda found: found[1] or " ", value).strip()
        elif not (name == "transform" and value.startswith("rotate(-0 ")):
            yield name, value


def themed(css: str) -> str:
    """Replaces the palette's colours in CSS declarations by variables, and drops font families."""
    css = re.sub(r"font-family:[^;]*;?\s*", "", css)
    return re.sub(
        r"#[0-9a-f]{6}",
        lambda found: f"var({CSS_VARIABLES[found[0]]})" if found[0] in CSS_VARIABLES else found[0],
        css,
    )
