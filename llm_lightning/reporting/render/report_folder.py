"""A study to a folder: ``index.html``, ``table.md``, ``table.csv`` and ``figures/*.svg``."""

from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from llm_lightning.reporting.analyse.study import Study
from llm_lightning.reporting.draw.study_figures import (
    ChapterCharts,
    classifier_charts,
    language_charts,
    search_charts,
)
from llm_lightning.reporting.draw.svg_elements import svg_document
from llm_lightning.reporting.render import csv_table, markdown_tables, page

FIGURES = "figures"


def write_report(study: Study, out: Path, *, safe_csv: bool = False) -> list[Path]:
    """Writes the page, the tables and the figures into a folder, which is made if need be.

    Args:
        study: what to report.
        out: the folder.
        safe_csv: whether ``table.csv`` holds nothing that a spreadsheet takes for a formula.

    Returns:
        The files, the page first, and the folder of the figures.
    """
    charts = draw(study)
    html = page.render(study, charts, made_at=datetime.now(), version=version("llm-lightning"))
    contents = {
        out / "index.html": html,
        out / "table.md": markdown_tables.as_markdown(study),
        out / "table.csv": csv_table.as_csv(study, safe=safe_csv),
    }
    figures = out / FIGURES
    out.mkdir(parents=True, exist_ok=True)
    if figures.is_dir():  # of an earlier report
        for file in figures.glob("*.svg"):
            file.unlink()
    figures.mkdir(exist_ok=True)
    css = page.asset("plots.css")
    for chart in (chart for chapter in charts.values() for chart in chapter):
        _write(figures / f"{chart.key}.svg", svg_document(chart.svg, css))
    for path, text in contents.items():
        _write(path, text)
    return [*contents, figures]


def draw(study: Study) -> dict[str, ChapterCharts]:
    """Draws the charts of all chapters, by kind and letter, such as ``classifiers_A``."""
    charts = {
        f"classifiers_{chapter.letter}": classifier_charts(chapter) for chapter in study.classifiers
    }
    for kind, chapters in (("instructions", study.instructions), ("texts", study.texts)):
        for chapter in chapters:
            charts[f"{kind}_{chapter.letter}"] = language_charts(chapter, kind)
    charts["searches"] = search_charts(study.searches)
    return charts


def _write(path: Path, text: str) -> None:
    # A lone surrogate from a damaged file must not stop the report: it becomes a question mark.
    path.write_text(text, encoding="utf-8", errors="replace", newline="\n")
