"""The page of an audit: its counts and the first rows of its tables."""

from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from llm_lightning.reporting.render.page import asset, environment
from llm_lightning.run_format.audit_files import (
    CONFLICTS,
    ENTROPY,
    LABEL_ERRORS,
    MARGIN,
    NEAR_DUPLICATES,
    PROBABILITY,
    SELF_CONFIDENCE,
    SIMILARITY,
    TO_LABEL,
)

SHOWN_ROWS = 200
"""Rows of a table that the page shows; the files have all."""

_SECTIONS = {
    LABEL_ERRORS: (
        "Labels that are probably wrong",
        "Found by confident learning. Words: logistic regression on TF-IDF, which had not "
        "seen the text; run: the run's own predictions of its test split. Self-confidence is the "
        "probability of the given label. A suspicion, not a finding: look before you change it.",
    ),
    NEAR_DUPLICATES: (
        "Near-duplicates",
        "Similarity: Jaccard, of the sets of five characters in a row, ignoring case and white "
        "space. Across splits a near-duplicate of training text makes a test result too good.",
    ),
    CONFLICTS: (
        "Equal texts with different labels",
        "Equal but for case and white space: at least one label of each group is wrong, or the "
        "text alone does not decide.",
    ),
    TO_LABEL: (
        "Most worth a label",
        "The texts of which the model is least sure, no two of them much alike. Entropy in nats; "
        "margin: between the two most probable classes.",
    ),
}
_NUMBERS = {SELF_CONFIDENCE, SIMILARITY, PROBABILITY, ENTROPY, MARGIN}


@dataclass(frozen=True, eq=False)
class AuditPage:
    """What an audit found."""

    source: str
    """The audited texts, for people."""
    facts: list[tuple[str, str]]
    """Counts, with a title each."""
    tables: dict[str, pd.DataFrame]
    """By the name of their file."""
    similarity: float
    """Least similarity of near-duplicates."""


@dataclass(frozen=True)
class Section:
    """A table of the page."""

    name: str
    title: str
    explanation: str
    columns: list[str]
    rows: list[list[str]]
    """At most ``SHOWN_ROWS``."""
    num_rows: int
    """Of the file."""


def write_audit_page(found: AuditPage, file: Path) -> None:
    """Writes one HTML file that loads nothing and runs no script."""
    sections = [_section(name, table) for name, table in found.tables.items()]
    html = (
        environment()
        .get_template("audit.html")
        .render(
            audit=found,
            sections=sections,
            style=Markup(asset("plots.css") + asset("style.css")),
            version=version("llm-lightning"),
            made_at=datetime.now().strftime("%Y-%m-%d %H:%M"),
        )
    )
    # A lone surrogate from a damaged file becomes a question mark.
    file.write_text(html, encoding="utf-8", errors="replace", newline="\n")


def _section(name: str, table: pd.DataFrame) -> Section:
    title, explanation = _SECTIONS[name]
    rows = [
        [_cell(column, value) for column, value in zip(table.columns, row, strict=True)]
        for row in table.head(SHOWN_ROWS).itertuples(index=False)
    ]
    columns = [str(column).replace("_", " ") for column in table.columns]
    return Section(name, title, explanation, columns, rows, len(table))


def _cell(column: str, value: Any) -> str:
    return f"{value:.3f}" if column in _NUMBERS else str(value)
