"""F1 on the test split, from the predictions that a run left."""

from pathlib import Path

import pytest
from exporting.tasks_to_export import summary

from llm_lightning.run_format.files import PREDICTIONS
from llm_lightning.run_format.summary import Summary
from llm_lightning.runs.f1_on_test import f1_on_test


def finished(folder: Path, names: list[str], pairs: list[tuple[str, str]]) -> Summary:
    """A summary, and the predictions of its run: (true, predicted) of each example."""
    facts = summary()
    facts.kind, facts.class_names = "classification", names
    columns = ["index", "text", "label", "predicted", *(f"probability_{name}" for name in names)]
    rows = [
        [
            str(index),
            f"text {index}",
            *pair,
            *("1.0" if name == pair[1] else "0.0" for name in names),
        ]
        for index, pair in enumerate(pairs)
    ]
    lines = [",".join(row) for row in (columns, *rows)]
    (folder / PREDICTIONS).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return facts


def test_f1_is_that_of_the_second_of_two_classes_and_else_the_mean(tmp_path: Path) -> None:
    # Of spam: 2 found, 1 missed, 1 false alarm, so precision = recall = 2/3.
    two = [("spam", "spam")] * 2 + [("spam", "ham"), ("ham", "spam")] + [("ham", "ham")] * 4
    found = f1_on_test(tmp_path, finished(tmp_path, ["ham", "spam"], two))
    assert list(found) == ["F1"]
    assert found["F1"].mean == pytest.approx(2 / 3)
    assert found["F1"].low < 2 / 3 < found["F1"].high
    assert found["F1"].n == 8

    # a: 2/3 (one false alarm), b: 2/3 (one missed), c: 1.
    three = [("a", "a"), ("b", "a"), ("b", "b"), ("c", "c")]
    found = f1_on_test(tmp_path, finished(tmp_path, ["a", "b", "c"], three))
    assert found["macro F1"].mean == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)


def test_without_predictions_there_is_no_f1_and_damaged_ones_are_named(tmp_path: Path) -> None:
    facts = summary()
    facts.kind, facts.class_names = "classification", ["ham", "spam"]
    assert f1_on_test(tmp_path, facts) == {}
    (tmp_path / PREDICTIONS).write_text("index,text\n", encoding="utf-8")
    with pytest.raises(ValueError, match=rf"{PREDICTIONS}: there must be a column"):
        f1_on_test(tmp_path, facts)
