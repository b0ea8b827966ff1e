"""The page's figures as files of their own, for documents that show pictures."""

import re
from itertools import chain, count

from llm_lightning.reporting.study.page import asset

_SVG = re.compile(r'<svg ([^>]*?aria-label="([^"]*)"[^>]*)>(.*?)</svg>', re.DOTALL)


def figures_of(page: str) -> dict[str, str]:
    """Cuts the pictures out of a page.

    Args:
        page: as :func:`~llm_lightning.reporting.study.page.render` returns it.

    Returns:
        An SVG document, light or dark as its reader is, for each file name, in the page's order.
    """
    style = asset("plots.css")
    found: dict[str, str] = {}
    for attributes, title, inside in _SVG.findall(page):
        slug = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")[:60]
        names = chain([f"{slug}.svg"], (f"{slug}_{number}.svg" for number in count(2)))
        name = next(name for name in names if name not in found)
        attributes = re.sub(r'class="[^"]*" ?', "", attributes)
        found[name] = (
            f'<svg xmlns="http://www.w3.org/2000/svg" {attributes}><style>{style}</style>'
            f'<rect width="100%" height="100%" fill="var(--card)"/>{inside}</svg>\n'
        )
    return found
