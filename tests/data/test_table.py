import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from llm_lightning.backbone.tokenizer import GPT2Tokenizer
from llm_lightning.data.labelled_files import read_table
from llm_lightning.data.table import Table


def rows(labels: tuple = ("no", "yes"), repeat: int = 20) -> pd.DataFrame:
    return pd.DataFrame(
        [(f"text {i} about {label}", label) for i in range(repeat) for label in labels],
        columns=["text", "label"],
    )


def ready(**fields: object) -> Table:
    data = Table(**fields)  # type: ignore[arg-type]
    data.prepare_data()
    data.setup()
    return data


def write(table: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        table.to_parquet(path)
    elif path.suffix in (".jsonl", ".ndjson"):
        table.to_json(path, orient="records", lines=True, double_precision=15)
    elif path.suffix == ".tsv":
        table.to_csv(path, index=False, sep="\t", quoting=csv.QUOTE_NONE)
    else:
        table.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"])
def test_each_format_gives_the_same_splits(tmp_path: Path, suffix: str) -> None:
    data = ready(path=str(write(rows(), tmp_path / f"table{suffix}")))
    expected = ready(path=str(write(rows(), tmp_path / "expected.csv")))
    assert data.splits.class_names == ["no", "yes"]
    for (_, table), (_, other) in zip(data.splits.items(), expected.splits.items(), strict=True):
        pd.testing.assert_frame_equal(table, other, check_dtype=False)
    assert [len(table) for _, table in data.splits.items()] == [28, 4, 8]


def test_every_row_is_in_exactly_one_split_and_classes_are_spread(tmp_path: Path) -> None:
    table = rows(labels=("a", "b", "c"), repeat=10)
    data = ready(path=str(write(table, tmp_path / "table.csv")))
    together = pd.concat([part for _, part in data.splits.items()])
    assert sorted(together["Text"]) == sorted(table["text"])
    for _, part in data.splits.items():
        assert part["Label"].value_counts().nunique() == 1


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ((10, 9), ["9", "10"]),
        (("10", "9"), ["9", "10"]),
        (("b", "10", "a"), ["10", "a", "b"]),
        (("1", "01", "-2"), ["-2", "01", "1"]),
        (("²", "10", "9"), ["10", "9", "²"]),
        (("--1", "10", "9"), ["--1", "10", "9"]),
        ((True, False), ["false", "true"]),
    ],
)
def test_class_names_are_sorted_labels(tmp_path: Path, labels: tuple, names: list[str]) -> None:
    path = (
        write(rows(labels=labels), tmp_path / "table.parquet")
        if not any(isinstance(label, str) for label in labels)
        else write(rows(labels=labels), tmp_path / "table.csv")
    )
    assert ready(path=str(path)).splits.class_names == names


def test_class_names_may_be_given(tmp_path: Path) -> None:
    path = write(rows(), tmp_path / "table.csv")
    data = ready(path=str(path), class_names=["yes", "no"])
    assert data.splits.class_names == ["yes", "no"]
    assert data.splits.train["Label"][data.splits.train["Text"].str.endswith("no")].eq(1).all()
    with pytest.raises(ValueError, match=r"has no rows labelled \['maybe'\]"):
        ready(path=str(path), class_names=["yes", "no", "maybe"])
    with pytest.raises(ValueError, match="'no' is not one of the training labels"):
        ready(path=str(path), class_names=["yes"])


def test_equal_texts_are_kept_once(tmp_path: Path) -> None:
    path = write(pd.concat([rows(), rows()]), tmp_path / "table.csv")
    data = ready(path=str(path))
    assert sum(len(table) for _, table in data.splits.items()) == 40
    assert data.test_in_train == 0
    kept = ready(path=str(path), deduplicate=False)
    assert sum(len(table) for _, table in kept.splits.items()) == 80
    assert kept.test_in_train > 0
    assert data.facts()["duplicates_dropped"] == 40
    assert kept.facts()["duplicates_dropped"] == 0


def test_texts_that_differ_in_outer_white_space_are_equal(tmp_path: Path) -> None:
    padded = rows().assign(text=lambda table: " " + table["text"] + "  ")
    data = ready(path=str(write(pd.concat([rows(), padded]), tmp_path / "table.csv")))
    together = pd.concat([part for _, part in data.splits.items()])
    assert sorted(together["Text"]) == sorted(rows()["text"])  # the first of each, unchanged
    assert data.facts()["duplicates_dropped"] == 40


def test_equal_texts_with_different_labels_are_one_error(tmp_path: Path) -> None:
    table = rows()
    table.loc[[4, 17], "text"] = ["same", "same "]
    assert fault(tmp_path, "t.csv", table) == (
        "FILE, column 'text', rows 5 and 18: the same text is labelled 'no' and 'yes' "
        "(1 such text); correct the labels, leave such texts out with data.contradictions=drop, or "
        "keep every row with data.deduplicate=false"
    )
    table.loc[[7, 20, 22], "text"] = "another"
    assert "rows 5 and 18: the same text is labelled 'no' and 'yes' (2 such texts)" in fault(
        tmp_path, "t.csv", table
    )
    kept = ready(path=str(tmp_path / "t.csv"), deduplicate=False)
    assert sum(len(part) for _, part in kept.splits.items()) == 40


def test_three_files_are_taken_as_they_are_and_undersampling_spares_the_test(
    tmp_path: Path,
) -> None:
    lopsided = pd.concat([rows(), rows(labels=("no",)).assign(text=lambda t: t["text"] + " again")])
    paths = {
        f"{name}_path": str(write(lopsided, tmp_path / f"{name}.csv"))
        for name in ("train", "val", "test")
    }
    data = ready(**paths, balance="undersample")
    assert data.splits.train["Label"].value_counts().to_dict() == {0: 20, 1: 20}
    assert data.splits.val["Label"].value_counts().to_dict() == {0: 40, 1: 20}
    assert data.splits.test["Text"].tolist() == lopsided["text"].tolist()


def test_texts_are_not_interpreted(tmp_path: Path) -> None:
    texts = ["NA", "null", "1.0", ' "quoted", with comma', "two\nlines", "nan"]
    table = pd.DataFrame({"text": texts * 4, "label": ["a", "b"] * 12})
    table["text"] += pd.Series(range(24)).map(lambda i: " " * (i // 6))  # distinct texts
    path = write(table, tmp_path / "table.csv")
    data = ready(path=str(path), fractions=[0.5, 0.25, 0.25], deduplicate=False)
    together = pd.concat([part for _, part in data.splits.items()])
    assert sorted(together["Text"]) == sorted(table["text"])


def test_double_quotes_in_tsv_glue_no_rows(tmp_path: Path) -> None:
    table = rows(repeat=30)
    table.loc[10, "text"] = '"at the start of the text'
    table.loc[14, "text"] = '"and again'
    data = ready(path=str(write(table, tmp_path / "table.tsv")))
    together = pd.concat([part for _, part in data.splits.items()])
    assert sorted(together["Text"]) == sorted(table["text"])
    assert len(together) == 60


def test_a_csv_field_may_span_lines(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b'text,label\n"one\ntwo, ""three""",a\nfour,b\n')
    assert read_table(path)["text"].tolist() == ['one\ntwo, "three"', "four"]


@pytest.mark.parametrize("name", ["t.CSV", "t.Tsv", "t.JSONL", "t.NdJson", "t.Parquet"])
def test_the_case_of_the_ending_does_not_matter(tmp_path: Path, name: str) -> None:
    lower = write(rows(), tmp_path / name.lower())
    path = lower.rename(tmp_path / name)
    pd.testing.assert_frame_equal(read_table(path), rows(), check_dtype=False)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ((4.5, 5.25), ["4.5", "5.25"]),
        ((2**60, 2**60 + 1), [str(2**60), str(2**60 + 1)]),
        ((-0.5, 1e-7), ["-0.5", "1e-07"]),
    ],
)
def test_numbers_are_the_same_labels_in_each_format(
    tmp_path: Path, suffix: str, labels: tuple, names: list[str]
) -> None:
    path = write(rows(labels=labels), tmp_path / f"table{suffix}")
    assert ready(path=str(path)).splits.class_names == names


def test_whole_numbers_among_fractions_stay_whole(tmp_path: Path) -> None:
    lines = [{"text": f"text {i}", "label": (4, 4.5)[i % 2]} for i in range(40)]
    path = tmp_path / "table.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert ready(path=str(path)).splits.class_names == ["4", "4.5"]


@pytest.mark.parametrize("label", ["null", "NaN", '""', '" "', '{"a": 1}'])
def test_a_label_must_be_a_string_or_a_number(tmp_path: Path, label: str) -> None:
    good = "".join(f'{{"text": "text {i}", "label": {i % 2}.5}}\n' for i in range(20))
    bad = f'{{"text": "text 20", "label": {label}}}\n'
    assert fault(tmp_path, "t.jsonl", (good + bad).encode()) == (
        "FILE, column 'label', row 21: no label (a string or a number) (1 such row)"
    )

    table = rows(labels=(0.5, 1.5))
    table.loc[2, "label"] = np.nan
    assert "column 'label', row 3: no label" in fault(tmp_path, "t.parquet", table)


def fault(tmp_path: Path, name: str, content: bytes | pd.DataFrame, **fields: object) -> str:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        write(content, path)
    with pytest.raises(ValueError, match=r".") as caught:
        ready(path=str(path), **fields)
    assert str(path) in str(caught.value)
    return str(caught.value).replace(str(path), "FILE")


def test_each_fault_is_one_error_with_file_column_and_row(tmp_path: Path) -> None:
    table = rows()
    assert fault(tmp_path, "t.csv", table, text_column="body") == (
        "FILE has no column 'body' (data.text_column); it has 'text', 'label'"
    )
    assert fault(tmp_path, "t.csv", b"") == "FILE is empty"
    assert fault(tmp_path, "t.csv", b"text,label\n") == "FILE has a header but no rows"
    assert fault(tmp_path, "t.csv", table.assign(label="same")) == (
        "FILE, column 'label': a single class, 'same'; a classifier needs at least two"
    )
    empty = table.copy()
    empty.loc[[4, 9], "text"] = "  "
    assert fault(tmp_path, "t.csv", empty) == (
        "FILE, column 'text', row 5: an empty text (2 such rows)"
    )
    null = table.copy()
    null.loc[7, "text"] = None
    assert fault(tmp_path, "t.jsonl", null) == (
        "FILE, column 'text', row 8: not a text (1 such row)"
    )
    assert fault(tmp_path, "t.parquet", null) == (
        "FILE, column 'text', row 8: not a text (1 such row)"
    )
    unlabelled = table.copy()
    unlabelled.loc[2, "label"] = None
    for name in ("t.csv", "t.jsonl"):
        assert fault(tmp_path, name, unlabelled) == (
            "FILE, column 'label', row 3: no label (a string or a number) (1 such row)"
        )
    latin = '{"text": "a"}\n{"text": "café"}\n'.encode("latin-1")
    assert fault(tmp_path, "t.jsonl", latin) == (
        "FILE is not UTF-8: byte 27 in line 2 cannot be decoded; save it as UTF-8"
    )
    assert "FILE, line 2 is not JSON" in fault(
        tmp_path, "t.jsonl", json.dumps({"text": "a", "label": "b"}).encode() + b"\n{oops\n"
    )
    assert "FILE is not a readable Parquet file" in fault(tmp_path, "t.parquet", b"PAR?")
    assert "the extension must be .csv" in fault(tmp_path, "t.xlsx", b"x")
    for ragged in (b"text,label\na,b,c\nd,e\n", b"text,label\na,b\nd,e,f\n"):
        row = 1 if ragged.endswith(b"e\n") else 2
        assert f"FILE, row {row} (line {row + 1}): 3 cells for 2 columns (1 such row)" in fault(
            tmp_path, "t.csv", ragged
        )
    rare = pd.concat([table, pd.DataFrame({"text": ["only one"], "label": ["rare"]})])
    assert fault(tmp_path, "t.csv", rare).startswith(
        "FILE, column 'label': 1 class of fewer than 3 rows: 'rare' (1 row); every split needs one "
        "of each class: add texts, or set data.rare=drop"
    )


def test_label_seen_only_in_the_test_file_is_named(tmp_path: Path) -> None:
    train = write(rows(), tmp_path / "train.csv")
    odd = rows()
    odd.loc[5, "label"] = "maybe"
    test = write(odd, tmp_path / "test.csv")
    with pytest.raises(
        ValueError, match="row 6: the label 'maybe' is not one of the training"
    ) as caught:
        ready(train_path=str(train), val_path=str(train), test_path=str(test))
    assert f"{test}, column 'label'" in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "needs either data.path or all of"),
        ({"path": "a.csv", "train_path": "b.csv"}, "needs either data.path or all of"),
        ({"train_path": "b.csv"}, "needs either data.path or all of"),
        ({"path": "a.csv", "fractions": [0.5, 0.5]}, "three positive numbers that sum to 1"),
        ({"path": "a.csv", "fractions": [0.9, 0.2, 0.1]}, "three positive numbers"),
        ({"path": "a.csv", "padding": "none"}, "padding=none needs data.batch_size=1, got 8"),
        ({"path": "a.csv", "max_length": "long"}, "longest_train, context or a number of tokens"),
        ({"path": "a.csv", "max_length": 0}, "data.max_length must be at least 1 token, got 0"),
        ({"path": "a.csv", "truncate": "left"}, "end, start, middle, got 'left'"),
        ({"path": "a.csv", "balance": "x"}, "none, undersample, class_weights, got 'x'"),
        ({"path": "a.csv", "eval_batch_size": 0}, "data.eval_batch_size must be at least 1, got 0"),
    ],
)
def test_contradictions_are_refused_before_anything_is_read(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Table(**fields)


def test_a_length_beyond_the_models_context_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ValueError, match=r"model's context of 1024 tokens, got 2000"):
        Table(path="nowhere.csv", max_length=2000).setup()
    with pytest.raises(ValueError, match=r"model's context of 512 tokens, got 513"):
        Table(path="nowhere.csv", max_length=513).use_model(GPT2Tokenizer(), 512)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.csv does not exist"):
        ready(path=str(tmp_path / "nowhere.csv"))
