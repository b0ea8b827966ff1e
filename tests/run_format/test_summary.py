"""A summary is written, read again, and checked when it comes from elsewhere."""

import json
from pathlib import Path
from typing import Any

import pytest

from llm_lightning.run_format.summary import Summary, parse_summary, read_summary, write_summary

FIELDS: dict[str, Any] = {
    "name": "last_block", "seed": 1, "fallbacks": [], "kind": "classification",
    "class_names": ["ham", "spam"],
    "metrics": {name: {"loss": 0.5, "accuracy": 0.75, "auroc": None} for name in
                ("train", "val", "test")},
    "evaluated_examples": {"test": 4},
    "data": {"splits": {name: {"examples": 4, "sha256": "f"} for name in
                        ("train", "val", "test")}},
    "parameters": {"trainable": 2, "total": 10},
    "seconds": {"total": 1.0, "training": 0.5, "validation": 0.0, "evaluation": 0.5},
    "device": "cpu", "precision": "32-true", "versions": {"torch": "2"}, "finished_at": "now",
}  # fmt: skip


def changed(path: str, value: Any) -> dict[str, Any]:
    """``FIELDS`` with another value at a dotted path."""
    copy: dict[str, Any] = json.loads(json.dumps(FIELDS))
    *parents, last = path.split(".")
    part = copy
    for name in parents:
        part = part[name]
    part[last] = value
    return copy


def test_what_is_written_is_read(tmp_path: Path) -> None:
    summary = Summary.model_validate(FIELDS)
    write_summary(tmp_path, summary)
    assert read_summary(tmp_path) == summary
    assert summary.metrics["test"]["auroc"] is None
    assert summary.weights is None


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("seed", "one", "seed: "),
        ("kind", "images", "kind: "),
        ("class_names", ["ham"], "class_names must be two or more different texts"),
        ("class_names", ["ham", "ham"], "class_names must be two or more different texts"),
        ("metrics.test.accuracy", None, "metrics.test.accuracy must be a number, got null"),
        ("metrics.val.accuracy", 75.0, r"metrics.val.accuracy must lie in \[0, 1\], got 75"),
        ("metrics.test.loss", float("nan"), "metrics.test.loss: .*finite"),
        ("metrics", {"test": {"accuracy": 1.0}}, "metrics lacks train, val"),
        ("data.splits.test.examples", -1, "data.splits.test.examples: "),
        ("evaluated_examples", {"test": 0}, "evaluated_examples.test: "),
        ("evaluated_examples", {}, "evaluated_examples lacks test"),
        ("parameters.trainable", 1.5, "parameters.trainable: "),
        ("seconds.training", -1, "seconds.training: "),
    ],
)
def test_what_is_wrong_is_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_summary(json.dumps(changed(path, value)))


def test_a_folder_without_a_summary_names_runs_inside(tmp_path: Path) -> None:
    run = tmp_path / "last_block" / "seed_1"
    run.mkdir(parents=True)
    write_summary(run, Summary.model_validate(FIELDS))
    with pytest.raises(ValueError, match=f"did you mean {run}"):
        read_summary(tmp_path)
    (run / "summary.json").write_text("{")
    with pytest.raises(ValueError, match=r"summary.json is damaged: "):
        read_summary(run)
