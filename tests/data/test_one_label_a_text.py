"""Several labels in one cell, and quantities: refused before they train nonsense."""

import json
from pathlib import Path

import pytest
from data.test_table import ready, rows, write

from llm_lightning.data.one_label_a_text import note_on_numbers, refuse_other_tasks
from llm_lightning.data.table_profile import profile

PRICES = [f"{number}.{number % 7}5" for number in range(30)]


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (["sports", "politics", "sports, politics"], "in 5 rows, such as sports, politics: a text"),
        (["a", "b", "a|b"], "several labels in one cell"),
        (["['a']", "['b']", "['a', 'b']", "[]"], "several labels in one cell"),
        (["1", "2", "3", "1;3"], "several labels in one cell"),
        # One of the parts occurs nowhere else.
        (["a", "b", "a;b", "a;c", "b;a"], "several labels in one cell"),
        (PRICES, "30 different numbers, such as 0.05, 1.15, 2.25: a quantity"),
        (["New York, NY", "Austin, TX", "Houston, TX", "Albany, NY"], None),
        (["food", "food, pizza", "food, pasta"], None),
        (["yes, it is", "no"], None),
        (["0.5", "1.0", "1.5", "2,0"], None),
        ([str(number) for number in range(77)], None),
    ],
)
def test_labels_of_another_task(labels: list[str], problem: str | None) -> None:
    counts = dict.fromkeys(labels, 5)
    if problem is None:
        refuse_other_tasks(counts, "t.csv")
    else:
        with pytest.raises(ValueError, match=rf"^t\.csv: .*{problem}.*data\.merge_labels=false"):
            refuse_other_tasks(counts, "t.csv")


def test_whole_numbers_that_hardly_repeat_are_a_quantity() -> None:
    prices = {str(7 * number): 1 for number in range(30)}
    with pytest.raises(ValueError, match="30 different numbers, such as 0, 7, 14: a quantity"):
        refuse_other_tasks(prices, "t.csv")
    refuse_other_tasks(dict.fromkeys(prices, 3), "t.csv")


def test_a_table_is_refused_unless_the_user_insists(tmp_path: Path) -> None:
    path = str(write(rows(labels=("a", "b", "a,b"), repeat=5), tmp_path / "t.csv"))
    with pytest.raises(ValueError, match=r"t\.csv, column 'label': several labels in one cell"):
        ready(path=path)
    with pytest.raises(ValueError, match=r"t\.csv, column 'label': several labels in one cell"):
        profile(Path(path), "text", "label")
    assert ready(path=path, merge_labels=False).splits.class_names == ["a", "a,b", "b"]
    named = ready(path=path, class_names=["b", "a", "a,b"])
    assert named.splits.class_names == ["b", "a", "a,b"]


def test_a_list_of_labels_is_no_label(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    records = [{"text": "x", "label": "a"}, {"text": "y", "label": ["a", "b"]}]
    path.write_text("\n".join(map(json.dumps, records)))
    with pytest.raises(ValueError, match=r"row 2: a list of labels \(1 such row\); a text has one"):
        ready(path=str(path))


def test_many_numbers_as_classes_are_said(tmp_path: Path) -> None:
    path = str(write(rows(labels=tuple(range(1, 12)), repeat=5), tmp_path / "t.csv"))
    line = "the 11 labels are numbers: each is a class of its own, and a near miss counts as any"
    assert any(line in told for told in ready(path=path).describe())
    assert note_on_numbers(map(str, range(10))) == []
    assert note_on_numbers([*map(str, range(20)), "none"]) == []
