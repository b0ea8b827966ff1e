"""One HTML file with everything in it: it loads nothing, and runs no script but its own.

Texts of data and models are escaped by the template engine. As a second line of defence, a content
security policy forbids all loading, and every script but the one whose hash it names.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from llm_lightning.reporting.analyse import findings, language_models
from llm_lightning.reporting.analyse.instability import instabilities
from llm_lightning.reporting.analyse.side_by_side import SCORES
from llm_lightning.reporting.analyse.study import Study
from llm_lightning.reporting.analyse.variance import row_variance
from llm_lightning.reporting.draw import confusion_figures
from llm_lightning.reporting.draw.study_figures import ChapterCharts
from llm_lightning.reporting.render import number_formats

SHOWN_MISTAKES = 20
"""Misclassified messages that are visible at first; the others unfold."""

SHOWN_RESPONSES = 12
"""Test instructions that are visible at first; the others unfold."""


def render(
    study: Study, charts: Mapping[str, ChapterCharts], *, made_at: datetime, version: str
) -> str:
    """Returns the page.

    Args:
        study: what to show.
        charts: of each chapter, by kind and letter, such as ``classifiers_A``.
        made_at: the time to show.
        version: the package's.
    """
    script = asset("sort.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        environment()
        .get_template("page.html")
        .render(
            study=study,
            charts=charts,
            score_names=SCORES,
            max_confused=confusion_figures.MAX_IN_PANEL,
            shown_mistakes=SHOWN_MISTAKES,
            shown_responses=SHOWN_RESPONSES,
            style=Markup(asset("plots.css") + asset("style.css")),
            script=Markup(script),
            script_hash=f"sha256-{digest}",
            version=version,
            made_at=made_at.strftime("%Y-%m-%d %H:%M"),
        )
    )


def asset(name: str) -> str:
    """Reads a file beside the templates, such as ``style.css``."""
    return (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8")


def breakable(label: str) -> Markup:
    """A row's label that may wrap between its settings."""
    return Markup(re.sub(r"(?<=[=./_])(?=\w)", "<wbr>", str(escape(label))))


def environment() -> Environment:
    """Returns the template engine with the filters of all pages; it escapes every text."""
    environment = Environment(
        loader=PackageLoader(str(__package__)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., Any]] = {
        "pct": number_formats.percent,
        "points": number_formats.points,
        "range": number_formats.percent_interval,
        "points_range": number_formats.points_interval,
        "pvalue": number_formats.p_value,
        "difference_verdict": number_formats.difference_verdict,
        "margin": number_formats.margin,
        "minutes": number_formats.minutes,
        "estimate": number_formats.estimate,
        "verdict_reason": number_formats.verdict_reason,
        "count": number_formats.count,
        "averages_note": number_formats.averages_note,
        "count_of": number_formats.mean_count,
        "label": breakable,
        "svg": lambda chart: Markup(chart.svg),
        "findings": findings.classifier_findings,
        "instabilities": instabilities,
        "variances": lambda chapter: [v for row in chapter.rows if (v := row_variance(row))],
        "instruction_findings": findings.instruction_findings,
        "logged": lambda row, metric, split="test": language_models.logged(row, split, metric),
        "response_score": language_models.response_score,
        "judge_scores": language_models.judge_scores,
    }
    environment.filters.update(filters)
    return environment
