import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import classification_report

from llm_lightning.run_format.class_metrics import (
    COLUMNS,
    averaged_over,
    class_metrics,
    write_class_metrics,
)

NAMES = [f"class {index}" for index in range(50)]


def drawn(num_classes: int = 50, num_present: int = 42) -> tuple[np.ndarray, np.ndarray]:
    """Labels of some of the classes, and predictions of all of them, half of them right."""
    random = np.random.default_rng(0)
    truth = random.integers(num_present, size=400)
    truth[:num_present] = np.arange(num_present)
    guess = random.integers(num_classes, size=400)
    guess[guess == 3] = 4  # a class that is never predicted
    return truth, np.where(random.random(400) < 0.5, truth, guess)


def test_every_value_equals_scikit_learns_report_of_the_classes_that_occur() -> None:
    truth, predicted = drawn()
    predicted[predicted == 3] = 4
    found = class_metrics(truth, predicted, NAMES)
    report = classification_report(
        truth,
        predicted,
        labels=range(42),
        target_names=NAMES[:42],
        output_dict=True,
        zero_division=0,
    )
    assert found.precision[3] == 0
    for index, name in enumerate(NAMES[:42]):
        values = (found.precision, found.recall, found.f1, found.support)
        assert [one[index] for one in values] == pytest.approx(list(report[name].values()))
    for name, average in (("macro avg", found.macro()), ("weighted avg", found.weighted())):
        expected = {key.replace("-score", ""): value for key, value in report[name].items()}
        expected.pop("support")
        assert average == pytest.approx(expected)


def test_a_class_without_support_has_no_values_and_its_predictions_are_counted() -> None:
    found = class_metrics([0, 0, 1], [0, 2, 1], ["a", "b", "c"])
    assert np.isnan([found.precision[2], found.recall[2], found.f1[2]]).all()
    assert found.predicted.tolist() == [1, 1, 1]
    assert found.macro()["recall"] == pytest.approx((0.5 + 1) / 2)
    assert np.isnan(class_metrics([], [], ["a", "b"]).macro()["f1"])


def test_memory_does_not_grow_with_the_square_of_the_classes() -> None:
    names = [str(index) for index in range(1_000_000)]
    found = class_metrics([999_999, 5], [999_999, 6], names)
    assert found.macro() == {"precision": 0.5, "recall": 0.5, "f1": 0.5}


def test_the_file_has_a_row_a_class_and_empty_cells_for_what_is_undefined(tmp_path: Path) -> None:
    file = tmp_path / "classes.csv"
    write_class_metrics(file, class_metrics([0, 0, 1], [0, 1, 1], ["a,b", "macro avg", "c"]))
    with file.open(newline="") as opened:
        rows = list(csv.reader(opened))
    assert tuple(rows[0]) == COLUMNS
    assert rows[1] == ["a,b", "1.0", "0.5", str(2 / 3), "2", "1"]
    assert rows[3] == ["c", "", "", "", "0", "0"]


def test_an_average_says_over_which_classes_it_is() -> None:
    assert averaged_over({"val": 3, "test": 3}, 3) == "average 3 classes"
    assert averaged_over({"train": 50, "test": 42}, 50) == (
        "average the classes with examples (50 in train, 42 in test, of 50)"
    )
