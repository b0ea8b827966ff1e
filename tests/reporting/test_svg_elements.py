"""Figures as SVG elements: the same each time, in the page's colours, side by side on a page."""

import re
from xml.etree import ElementTree

from matplotlib.figure import Figure

from llm_lightning.reporting.draw import style
from llm_lightning.reporting.draw.svg_elements import CSS_VARIABLES, svg_document, svg_element


def panel() -> Figure:
    figure, axes = style.new_panel(200, 100)
    (line,) = axes.plot([0, 1], [0, 1], "o-", color=style.BLUE, markeredgecolor=style.WHITE)
    style.tip(line, 'seed <1> & "2"')
    axes.text(0.5, 0.5, "$5 < $6", color=style.INK, parse_math=False)
    style.label_axes(axes, "x", "y")
    return figure


def element(key: str = "a") -> str:
    return svg_element(panel(), key=key, title="A <b> & c", description="d\x00e")


def test_the_same_figure_gives_the_same_element() -> None:
    assert element() == element()


def test_text_stays_text_and_nothing_tells_where_it_was_made() -> None:
    root = ElementTree.fromstring(element())
    texts = [node.text for node in root.iter("text")]
    assert {"$5 < $6", "x", "y"} <= set(texts)
    assert root.find("title").text == "A <b> & c"  # type: ignore[union-attr]
    assert root.find("desc").text == "d e"  # type: ignore[union-attr]
    assert root.attrib["aria-labelledby"] == "a-title a-desc"
    assert root.attrib["viewBox"] == "0 0 200 100"
    for word in ("metadata", "Matplotlib", "font-family", "<style", "http"):
        assert word not in element()


def test_colours_are_variables_of_the_page() -> None:
    found = element()
    assert "#" not in re.sub(r'(href="|url\()#', "", found)
    for colour in (style.BLUE, style.WHITE, style.INK, style.GREY, style.PALE):
        assert f"var({CSS_VARIABLES[colour]})" in found


def test_ids_of_two_figures_do_not_collide_and_references_lead_somewhere() -> None:
    ids = [set(re.findall(r' id="([^"]*)"', element(key))) for key in ("a", "b")]
    assert not ids[0] & ids[1]
    references = re.findall(r'(?:href="#|url\(#)([^")]*)', element("a"))
    assert references
    assert set(references) <= ids[0]


def test_tips_are_titles_of_what_they_explain() -> None:
    root = ElementTree.fromstring(element())
    tips = [node.find("title") for node in root.iter("g") if node.find("title") is not None]
    assert [tip.text for tip in tips if tip is not None] == ['seed <1> & "2"']


def test_a_document_has_a_background_and_its_colours() -> None:
    document = svg_document(element(), ":root { --card: white; }")
    root = ElementTree.fromstring(document)
    svg = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{svg}svg"
    assert [node.tag.removeprefix(svg) for node in root][:3] == ["style", "rect", "title"]
