"""Cross-validation: every text is tested once, and never by a model that was trained on it."""

from pathlib import Path

import pandas as pd
import pytest

from llm_lightning.data.folds import split_fold
from llm_lightning.data.imdb import Imdb
from llm_lightning.data.spam import SmsSpam
from llm_lightning.data.table import Table

CLASSES = ["a", "b"]


def rows(counts: dict[int, int], repeats: int = 1) -> pd.DataFrame:
    labels = [label for label, count in counts.items() for _ in range(count)]
    texts = [f"text {label} {number // repeats}" for number, label in enumerate(labels)]
    return pd.DataFrame({"Label": labels, "Text": texts})


def test_every_row_is_tested_once_and_classes_stay_in_proportion() -> None:
    table = rows({0: 83, 1: 27})
    tested = []
    for fold in range(5):
        train, val, test = split_fold(table, 5, fold, 0.125, 123, CLASSES)
        assert sorted([*train["Text"], *val["Text"], *test["Text"]]) == sorted(table["Text"])
        assert len(test) == 22
        assert test["Label"].sum() in (5, 6)
        assert (len(val), val["Label"].sum()) == (11, 3)
        tested += test["Text"].tolist()
    assert sorted(tested) == sorted(table["Text"])


def test_equal_texts_stay_together_whatever_their_labels() -> None:
    table = rows({0: 60, 1: 30}, repeats=3)
    table.loc[0, "Label"] = 1
    table.loc[1, "Text"] = f" {table.loc[0, 'Text']}\n"
    for fold in range(3):
        parts = split_fold(table, 3, fold, 0.2, 1, CLASSES)
        texts = [set(part["Text"].str.strip()) for part in parts]
        assert sum(map(len, texts)) == len(set.union(*texts))
        assert 28 <= len(parts[2]) <= 32


def test_folds_depend_on_the_seed_of_the_split_alone() -> None:
    table = rows({0: 40, 1: 40})
    one, again, other = (split_fold(table, 4, 1, 0.2, seed, CLASSES) for seed in (1, 1, 2))
    assert all(left.equals(right) for left, right in zip(one, again, strict=True))
    assert set(one[2]["Text"]) != set(other[2]["Text"])


def test_the_clean_recipe_and_own_tables_have_folds(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("text,label\n" + "".join(f"t{i // 2},{'ab'[i // 2 % 2]}\n" for i in range(80)))
    for make in (
        lambda fold: SmsSpam(split="clean", folds=4, fold=fold),
        lambda fold: Table(path=str(path), folds=4, fold=fold),
        lambda fold: Table(path=str(path), folds=4, fold=fold, deduplicate=False),
    ):
        tested: list[str] = []
        for fold in range(4):
            data = make(fold)
            if isinstance(data, SmsSpam):
                data.use_packaged()
            data.setup()
            assert data.test_in_train == 0
            assert (data.facts()["folds"], data.facts()["fold"]) == (4, fold)
            assert data.describe()[0] == f"fold {fold} of 4 is the test split, counted from 0"
            everything = [text for _, table in data.splits.items() for text in table["Text"]]
            tested += data.splits.test["Text"].tolist()
        assert sorted(tested) == sorted(everything)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SmsSpam(folds=5, fold=0), "data.folds needs data.split=clean, got table"),
        (lambda: SmsSpam(split="clean", folds=1, fold=0), "data.folds must be at least 2, got 1"),
        (lambda: SmsSpam(split="clean", folds=5), "data.folds=5 needs data.fold between 0 and 4"),
        (lambda: SmsSpam(split="clean", folds=5, fold=5), "between 0 and 4, got 5"),
        (lambda: SmsSpam(split="clean", fold=1), "data.fold=1 needs data.folds"),
        (
            lambda: Table(train_path="a", val_path="b", test_path="c", folds=2, fold=0),
            "data.folds needs data.path: three files are split already",
        ),
        (lambda: Imdb(folds=2, fold=0), "data.folds is not possible with data=imdb"),
        (
            lambda: split_fold(rows({0: 30, 1: 3}), 5, 0, 0.1, 1, CLASSES),
            "too few rows for data.folds=5, fold 0: class 'b' has 3 rows, none of them in val",
        ),
    ],
)
def test_what_is_wrong_with_folds_is_named(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        make()  # type: ignore[operator]
