"""What a ``summary.json`` must hold so that a report can use it.

The file is another program's, perhaps an older one's, and may have been cut off or edited: what is
wrong with it is said here, once, so that nothing behind has to ask again.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

SPLIT_NAMES = ("train", "val", "test")
KINDS = ("classification", "instructions", "text")

_Rule = tuple[str, Callable[[Any], bool]]


def check_summary(summary: Any) -> None:
    """Checks everything that a report reads.

    Raises:
        ValueError: with key, rule and value of the first thing that is wrong.
    """
    _require("summary.json", summary, _TABLE)
    for key, rule in _RULES.items():
        _require(key, _follow(summary, key), rule)
    for split in SPLIT_NAMES:
        for name, value in summary["metrics"][split].items():
            _require(f"metrics.{split}.{name}", value, _optional(_NUMBER))
    for split, facts in summary["data"]["splits"].items():
        _require(f"data.splits.{split}", facts, _TABLE)
        for key, rule in _SPLIT_RULES.items():
            _require(f"data.splits.{split}.{key}", facts.get(key), rule)
        for name, count in (facts.get("class_counts") or {}).items():
            _require(f"data.splits.{split}.class_counts.{name}", count, _COUNT)
    if summary["kind"] == "classification":
        _check_classes(summary)
    if summary["kind"] == "instructions":
        _check_answers(summary)


def _check_classes(summary: Mapping[str, Any]) -> None:
    _require("class_names", summary.get("class_names"), _NAMES)
    for split in SPLIT_NAMES:
        rule = _SHARE if split == "test" else _optional(_SHARE)
        key = f"metrics.{split}.accuracy"
        _require(key, summary["metrics"][split].get("accuracy"), rule)


def _check_answers(summary: Mapping[str, Any]) -> None:
    scores = (summary.get("answers") or {}).get("scores", {})
    _require("answers.scores", scores, _TABLE)
    for name, score in scores.items():
        _require(f"answers.scores.{name}", score, _TABLE)
        for key in ("mean", "low", "high"):
            _require(f"answers.scores.{name}.{key}", score.get(key), _SHARE)
        _require(f"answers.scores.{name}.n", score.get("n"), _POSITIVE)


def _follow(summary: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key; None where there is none."""
    found: Any = summary
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _require(key: str, value: Any, rule: _Rule) -> None:
    words, holds = rule
    if not holds(value):
        raise ValueError(f"{key} must be {words}, got {str(value)[:60]!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _optional(rule: _Rule) -> _Rule:
    words, holds = rule
    return f"{words}, or null", lambda value: value is None or holds(value)


_TEXT: _Rule = ("a text", lambda value: isinstance(value, str) and value != "")
_TABLE: _Rule = ("a table", lambda value: isinstance(value, Mapping))
_TEXTS: _Rule = ("a list of texts", _is_list_of_text)
_NUMBER: _Rule = ("a finite number", _is_number)
_AMOUNT: _Rule = ("a finite number of at least 0", lambda value: _is_number(value) and value >= 0)
_SHARE: _Rule = ("a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1)
_PERCENT: _Rule = ("a number from 0 to 100", lambda value: _is_number(value) and 0 <= value <= 100)
_COUNT: _Rule = ("a whole number of at least 0", _is_count)
_POSITIVE: _Rule = ("a whole number of at least 1", lambda value: _is_count(value) and value > 0)
_NAMES: _Rule = (
    "a list of two or more different texts",
    lambda value: _is_list_of_text(value) and len(value) == len(set(value)) > 1,
)

_RULES: dict[str, _Rule] = {
    "name": _TEXT,
    "experiment": _optional(_TEXT),
    "overrides": _optional(_TEXTS),
    "seed": ("a whole number", lambda value: _is_count(abs(value)) if _is_number(value) else False),
    "kind": (f"one of {', '.join(KINDS)}", lambda value: isinstance(value, str) and value in KINDS),
    "notices": _TEXTS,
    **{f"metrics.{split}": _TABLE for split in SPLIT_NAMES},
    "data": _TABLE,
    "data.source": _optional(_TEXT),
    "data.splits": _TABLE,
    "data.splits.test.sha256": _TEXT,
    "evaluated_examples.test": _POSITIVE,
    "parameters.trainable": _COUNT,
    "seconds.training": _AMOUNT,
    "peak_memory_mib": _optional(_AMOUNT),
    "epochs": _optional(_AMOUNT),
    "weights": _optional(("a table with a source", lambda value: bool(_follow(value, "source")))),
    "published": _optional(_TABLE),
    "published.test": _optional(_PERCENT),
    "published.judge_score": _optional(_NUMBER),
    "published.val_loss": _optional(_NUMBER),
    "answers": _optional(_TABLE),
}
_SPLIT_RULES: dict[str, _Rule] = {
    "examples": _COUNT,
    "sha256": _TEXT,
    "truncated": _optional(_COUNT),
    "class_counts": _optional(_TABLE),
}
