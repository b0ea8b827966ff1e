"""Numbers and verdicts as readers see them, on the page, in the tables and on the terminal."""

from llm_lightning.presentation.plurals import counted
from llm_lightning.reporting.analyse.classifiers import ClassifierChapter
from llm_lightning.reporting.analyse.differences import Difference
from llm_lightning.reporting.analyse.language_models import Estimate
from llm_lightning.reporting.analyse.verdicts import Verdict
from llm_lightning.statistics.intervals import Interval


def percent(share: float | None, digits: int = 2) -> str:
    """A share in percent, without the sign; empty for None."""
    return "" if share is None else f"{100 * share:.{digits}f}"


def points(share: float, digits: int = 2) -> str:
    """A difference of shares in percentage points, with its sign."""
    rounded = round(100 * share, digits) + 0.0  # no negative zero
    return f"{rounded:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def percent_interval(interval: Interval | None) -> str:
    """An interval of shares, in percent; empty for None."""
    return "" if interval is None else f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"


def points_interval(interval: Interval) -> str:
    """An interval of a difference of shares, in percentage points."""
    return f"{points(interval.low, 1)} to {points(interval.high, 1)}"


def p_value(value: float) -> str:
    """A p-value with three digits."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def minutes(value: float) -> str:
    """Minutes with about three significant digits."""
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def estimate(found: Estimate | None, digits: int) -> str:
    """A mean with its interval; empty for None."""
    if found is None:
        return ""
    shown, ends = f"{found.mean:,.{digits}f}", found.interval
    return shown if ends is None else f"{shown} ({ends.low:,.{digits}f} to {ends.high:,.{digits}f})"


def verdict_reason(verdict: Verdict) -> str:
    """Why a verdict is what it is: the obstacle, or the difference with its interval."""
    if verdict.difference is None or verdict.interval is None:
        return verdict.obstacle or ""
    return f"{points(verdict.difference)} points ({points_interval(verdict.interval)})"


def margin(share: float) -> str:
    """A margin in percentage points, with its unit."""
    number = f"{100 * share:g}"
    return f"{number} point" if number == "1" else f"{number} points"


def difference_verdict(found: Difference) -> str:
    """What a difference says: ``better``, ``equivalent within 1 point``, ..."""
    if found.margin is None:
        return found.word
    within = margin(found.margin)
    match found.word:
        case "better" | "worse":
            return f"{found.word}, by less than {within}" if found.is_within_margin else found.word
        case "equivalent":
            return f"equivalent within {within}"
        case "no worse":
            return f"no worse by {within} or more"
    return found.word


def averages_note(chapter: ClassifierChapter) -> str:
    """A sentence on what balanced accuracy and macro F1 average; empty without predictions."""
    averaged, num_classes = chapter.averaged_classes, len(chapter.class_names)
    if averaged is None:
        return ""
    which = f"{averaged} of {num_classes}" if averaged < num_classes else f"{num_classes}"
    return f" Balanced accuracy and macro F1 average the {which} classes with test messages."


def mean_count(number: float) -> str:
    """A mean of counts: ``3``, ``3.3``."""
    return f"{number:.1f}".removesuffix(".0")


def count(number: int, noun: str, plural: str | None = None) -> str:
    """A number and its noun: ``1 row``, ``1,234 rows``, ``2 classes``."""
    return counted(number, noun, plural)
