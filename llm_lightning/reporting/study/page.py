"""One HTML file with everything in it: it loads nothing, and runs no script but its own.

Texts of data and models are escaped by the template engine. As a second lock the page forbids all
loading, and every script but the one whose hash it names, by a content security policy.
"""

import base64
import hashlib
import re
from datetime import datetime
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from llm_lightning.reporting.study import findings, language
from llm_lightning.reporting.study.answers import SCORES
from llm_lightning.reporting.study.classification import SHOWN_MISTAKES
from llm_lightning.reporting.study.study import Study
from llm_lightning.statistics import Interval

SHOWN_ANSWERS = 12
"""Test instructions that are open to see; the others unfold."""


def render(study: Study, *, made_at: datetime, version: str) -> str:
    """The page.

    Args:
        study: what to show.
        made_at: when.
        version: the package's.
    """
    environment = _environment()
    script = asset("sort.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals["mistake_entry"] = environment.get_template(
        "mistake.html"
    ).module.mistake_entry  # type: ignore[attr-defined]
    return environment.get_template("page.html").render(
        title=study.title,
        lead=study.lead,
        test_sets=study.test_sets,
        instructions=study.instructions,
        texts=study.texts,
        problems=study.problems,
        score_names=SCORES,
        shown_mistakes=SHOWN_MISTAKES,
        shown_answers=SHOWN_ANSWERS,
        style=Markup(asset("plots.css") + asset("style.css")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        version=version,
        made_at=made_at.strftime("%Y-%m-%d %H:%M"),
    )


def asset(name: str) -> str:
    """A file of the page, such as ``style.css``."""
    return (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8")


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(str(__package__)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=False,
    )
    filters: dict[str, Any] = {
        "pct": percent,
        "points": points,
        "range": interval,
        "pvalue": p_value,
        "minutes": minutes,
        "score": score,
        "ticks": ticks,
        "label": breakable,
        "wide": lambda svg: Markup(str(svg).replace("<svg ", '<svg class="wide" ', 1)),
        "findings": findings.of_test_set,
        "instruction_findings": findings.of_instructions,
        "logged": lambda row, metric, split="test": language.logged(row, split, metric),
        "answer_score": language.answer_score,
        "judgements": language.judgements,
        "published": language.published,
    }
    environment.filters.update(filters)
    return environment


def percent(share: float | None, digits: int = 2) -> str:
    """A share in percent, without the sign; empty for None."""
    return "" if share is None else f"{100 * share:.{digits}f}"


def points(share: float, digits: int = 2) -> str:
    """A difference of shares in points, with its sign."""
    return f"{100 * share:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def interval(found: Interval | None) -> str:
    """An interval of shares, in percent."""
    return "" if found is None else f"{100 * found.low:.1f} to {100 * found.high:.1f}"


def p_value(value: float) -> str:
    """A p-value with as many digits as mean something."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def minutes(value: float) -> str:
    """Minutes with as many digits as mean something."""
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def score(found: language.Score | None, digits: int) -> str:
    """A score with its interval; empty for None."""
    if found is None:
        return ""
    ends = found.interval
    shown = f"{found.mean:,.{digits}f}"
    return shown if ends is None else f"{shown} ({ends.low:,.{digits}f} to {ends.high:,.{digits}f})"


def breakable(label: str) -> Markup:
    """A row's label that may break where its settings do."""
    return Markup(re.sub(r"(?<=[=./_])(?=\w)", "<wbr>", str(escape(label))))


def ticks(sentence: str) -> Markup:
    """A sentence in which words between backticks are code."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(sentence))))
