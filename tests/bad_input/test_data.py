"""Files as people have them: what is read of each, or the line that says what is wrong with it."""

import csv
import gzip
import io
import json
import logging
import tarfile
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from program import SMOKE, command
from table_files import (
    HAM_SPAM,
    QUOTED,
    READ,
    REFUSED,
    RETURNS,
    ROWS,
    TEXTS,
    labelled,
    lines,
    objects,
    plain,
)

from llm_lightning.data import imdb, spam, text_files
from llm_lightning.data.imdb import Imdb
from llm_lightning.data.instructions import Instructions
from llm_lightning.data.spam import SmsSpam
from llm_lightning.data.table import Table
from llm_lightning.data.text import TextFiles


def read(folder: Path, name: str, content: bytes, **fields: object) -> Table:
    """Reads a file, without encoding its texts."""
    (folder / name).write_bytes(content)
    data = Table(path=str(folder / name), **fields)  # type: ignore[arg-type]
    data.prepare_data()
    data._splits = data.read()
    return data


@pytest.mark.parametrize("case", READ, ids=str)
def test_what_is_read(tmp_path: Path, case: str) -> None:
    name, content, fields, names, texts = READ[case]
    data = read(tmp_path, name, content, **fields)
    assert data.splits.class_names == names
    parts = [part for _, part in data.splits.items()]
    assert sorted(text for part in parts for text in part["Text"]) == sorted(texts)
    for part in parts:
        assert set(part["Label"]) == set(range(len(names))), "every class is in every split"


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_is_refused(tmp_path: Path, case: str) -> None:
    name, content, fields, message = REFUSED[case]
    with pytest.raises(ValueError, match=r".") as caught:
        read(tmp_path, name, content, **fields)
    found = str(caught.value).replace(str(tmp_path / name), "FILE")
    assert "\n" not in found.rstrip()
    assert found.startswith(message), found


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"separator": "::"},
            "data.separator must be comma, semicolon, tab, pipe, colon, space or",
        ),
        ({"separator": "none"}, "data.separator must be comma"),
        ({"quote": "both"}, "data.quote must be double, single, none or a single character, got"),
        ({"escape": "slash"}, "data.escape must be backslash, none or a single character, got"),
        ({"separator": '"', "quote": "double"}, "must be different characters"),
        ({"encoding": "klingon"}, "data.encoding must be the name of an encoding such as utf-8"),
        ({"encoding": "base64"}, "data.encoding must be the name of an encoding such as utf-8"),
        ({"rare": "x"}, "data.rare must be one of refuse, drop, merge, got 'x'"),
        ({"contradictions": "x"}, "data.contradictions must be one of refuse, drop, got 'x'"),
        (
            {"contradictions": "drop", "deduplicate": False},
            "data.contradictions=drop needs data.deduplicate=true",
        ),
        ({"fractions": [float("nan"), 0.5, 0.5]}, "data.fractions must be three positive numbers"),
    ],
)
def test_settings_are_checked_before_anything_is_read(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Table(path="nowhere.csv", **fields)


def test_what_needs_one_file_is_refused_for_three() -> None:
    paths = {f"{split}_path": "a.csv" for split in ("train", "val", "test")}
    for key in ("rare", "contradictions"):
        with pytest.raises(ValueError, match=f"data.{key} needs data.path"):
            Table(**paths, **{key: "drop"})


# --- what is said and recorded --------------------------------------------------------------------


def test_the_reading_is_one_line_and_a_fact(tmp_path: Path) -> None:
    content = lines(QUOTED, separator=";", end="\r\n").encode("utf-16")
    (tmp_path / "a.csv").write_bytes(content)
    data = Table(path=str(tmp_path / "a.csv"))
    data.setup()
    assert data.facts()["files"] == {
        str(tmp_path / "a.csv"): {
            "separator": ";", "quote": '"', "escape": None, "encoding": "utf-16", "header": True,
            "rows": 24,
        }
    }  # fmt: skip
    described = data.describe()
    assert "read as: separator semicolon, double quotes, UTF-16, header" in described
    assert "positive class: spam" in described


@pytest.mark.parametrize(
    ("case", "note"),
    [
        (
            "stray quotes and no others",
            "double quotes are ordinary characters, as those that begin a cell are not closed: "
            "lines 8, 16",
        ),
        (
            "Windows-1252",
            "not UTF-8, read as Windows-1252: 12 characters beyond ASCII, the first 'é' in line 2",
        ),
    ],
)
def test_what_is_concluded_from_single_places_is_said(tmp_path: Path, case: str, note: str) -> None:
    name, content, fields, _, _ = READ[case]
    (tmp_path / name).write_bytes(content)
    data = Table(path=str(tmp_path / name), **fields)  # type: ignore[arg-type]
    data.setup()
    assert f"{name}: {note}" in data.describe()
    assert data.facts()["notes"] == [f"{name}: {note}"]


def test_quotes_that_do_not_match_are_counted_where_they_are_read_all_the_same(
    tmp_path: Path,
) -> None:
    content = plain(ROWS) + b'"a" b,ham\n"c"d,spam\n'
    data = read(tmp_path, "a.csv", content, quote="double")
    texts = [text for _, part in data.splits.items() for text in part["Text"]]
    assert sorted(texts) == sorted([*TEXTS, "a b", "cd"])
    assert data._notes() == [
        "a.csv: 2 places where quotes do not match, read all the same: line 26, line 27"
    ]


def test_each_choice_is_counted(tmp_path: Path) -> None:
    rows = [
        *labelled("1,0", "2,0", "1,0", "2"),
        (TEXTS[0], "1,0"), (TEXTS[1], "1,0"), ("rare", "7"), ("short", "1,0"),
    ]  # fmt: skip
    content = lines(rows, separator=";").replace("text;label", "text;label;note")
    data = Table(
        path=str(tmp_path / "a.csv"), merge_labels=True, contradictions="drop", rare="drop"
    )
    (tmp_path / "a.csv").write_text(content)
    data.setup()
    assert data.splits.class_names == ["1", "2"]
    facts = data.facts()
    assert facts["rows_dropped"] == {
        "contradictions": 2, "duplicates": 1, "rare": 1, "undersampling": 0, "num_train": 0,
    }  # fmt: skip
    assert facts["labels_merged"] == {"2": 6}
    assert facts["rare_classes"] == {"treatment": "drop", "rows": {"7": 1}}
    described = data.describe()
    assert (
        "2 texts with contradictory labels dropped; 1 duplicate text dropped; "
        "1 text of rare classes dropped"
    ) in described
    assert "a.csv: 28 rows with fewer cells than columns: the rest are empty" in described
    assert "labels that are decimal numbers are read as such: 1,0 as 1, 2,0 as 2" in described
    assert "labels merged in 6 rows: '2' (6) into '2,0'" in described


def test_spellings_are_compared_across_three_files(tmp_path: Path) -> None:
    paths = {}
    for split, rows in (("train", ROWS), ("val", labelled("Ham", "spam")), ("test", ROWS)):
        (tmp_path / f"{split}.csv").write_bytes(plain(rows))
        paths[f"{split}_path"] = str(tmp_path / f"{split}.csv")
    with pytest.raises(ValueError, match=r"'ham' \(24\) and 'Ham' \(12\)"):
        Table(**paths).read()
    splits = Table(**paths, merge_labels=True).read()
    assert splits.class_names == HAM_SPAM
    assert splits.val["Label"].value_counts().to_dict() == {0: 12, 1: 12}


@pytest.mark.parametrize("size", [3, 4, 5, 6, 10])
def test_a_class_of_three_or_more_is_in_every_split(tmp_path: Path, size: int) -> None:
    data = read(tmp_path, "a.csv", plain([*ROWS, *((f"text {i}", "x") for i in range(size))]))
    found = [int((part["Label"] == 2).sum()) for _, part in data.splits.items()]
    expected = {3: [1, 1, 1], 4: [2, 1, 1], 5: [3, 1, 1], 6: [4, 1, 1], 10: [7, 1, 2]}
    assert found == expected[size]


def test_many_truncated_texts_are_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.csv").write_bytes(plain(ROWS))
    with caplog.at_level(logging.WARNING):
        Table(path=str(tmp_path / "a.csv")).setup()
    assert not caplog.records
    Table(path=str(tmp_path / "a.csv"), max_length=3, truncate="start").setup()
    assert caplog.messages == [
        "24 of 24 texts (100 %) are truncated: a text longer than 3 tokens loses its start; a "
        "larger data.max_length keeps more"
    ]


@pytest.mark.parametrize("group", [False, True])
def test_an_epoch_without_a_batch_is_refused_before_training(tmp_path: Path, group: bool) -> None:
    (tmp_path / "a.csv").write_bytes(plain(ROWS))
    data = Table(path=str(tmp_path / "a.csv"), drop_last=True, batch_size=17, group_by_length=group)
    with pytest.raises(ValueError, match=r"all training examples: there are 16, fewer than data"):
        data.setup()
    data = Table(path=str(tmp_path / "a.csv"), drop_last=True, batch_size=16, group_by_length=group)
    data.setup()
    assert len(data.train_dataloader()) == 1


# --- files that the run writes --------------------------------------------------------------------


def test_splits_with_any_character_read_back_equal(tmp_path: Path) -> None:
    odd = ["a\rb", "a\r\nb", "a\nb", '"', "'", ",", "\t", ";", "\\", "\x00", "\u2028", " x ", "NA"]
    rows = [(f"{text} {at} {other}", "ab"[at % 2]) for at, text in enumerate(odd) for other in odd]
    data = read(tmp_path, "a.jsonl", objects(rows))
    data.write_splits(tmp_path / "splits")
    for name, part in data.splits.items():
        file = tmp_path / "splits" / f"{name}.csv"
        back = pd.read_csv(file, keep_default_na=False, lineterminator="\n")
        assert back["Text"].tolist() == part["Text"].tolist()
        assert back["Label"].tolist() == part["Label"].tolist()
        again = Table(
            train_path=str(file), val_path=str(file), test_path=str(file), text_column="Text",
            label_column="Label",
        ).read()  # fmt: skip
        assert again.train["Text"].tolist() == part["Text"].tolist()


# --- text, messages, permissions ------------------------------------------------------------------


def test_a_folder_of_texts_says_what_it_leaves_out(tmp_path: Path) -> None:
    for name in ("a.txt", "B.TXT", "sub/c.txt", "d.text", "notes.md", "sub/.e.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"The text of {name}, " * 100)
    data = TextFiles(path=str(tmp_path), max_length=8)
    data.setup()
    assert data._names["train"] == ["B.TXT", "a.txt", "sub/c.txt"]
    assert data.describe()[-1] == (
        "3 files of the folder not read, only .txt is: .md (1), .text (1), hidden (1)"
    )
    assert data.facts()["files_not_read"] == {".md": 1, ".text": 1, "hidden": 1}
    held = TextFiles(path=str(tmp_path), val_files=["sub/*"], test_files=["b.txt", "B.TXT"])
    with pytest.raises(ValueError, match=r"data.test_files: no file in .* matches 'b.txt'; there"):
        held.prepare_data()
    held = TextFiles(path=str(tmp_path), val_files=["sub/*"], test_files=["B.TXT"])
    held.setup()
    assert held._names == {"train": ["a.txt"], "val": ["sub/c.txt"], "test": ["B.TXT"]}


def test_a_message_of_any_length_is_no_message(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("ham\thello\nspam\t" + "x" * 100_001 + "\n")
    data = SmsSpam(path=str(tmp_path / "a.tsv"))
    with pytest.raises(ValueError, match=r"row 2: a message of 100,001 characters, which is none"):
        data.read()


def test_what_unpacks_to_more_than_messages_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_LIGHTNING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(spam, "MAX_BYTES", 1_000_000)
    file = tmp_path / "a.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("SMSSpamCollection", b"ham\t" + b"x" * 1_000_001)
    assert file.stat().st_size < 10_000
    with pytest.raises(ValueError, match=r"declares 1,000,005 bytes, more than 1,000,000"):
        SmsSpam(path=str(file)).prepare_data()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.mark.parametrize("what", ["a review", "the archive", "after its end"])
def test_what_unpacks_to_more_than_reviews_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(imdb, "MAX_BYTES", 10_000_000)
    name = "aclImdb/test/pos/0_9.txt" if what == "a review" else "aclImdb/test/unsup/0_0.txt"
    content = b"x" * (20_000_000 if what == "the archive" else 1_100_000)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    if what == "after its end":
        packed.write(bytes(20_000_000))
    (tmp_path / "aclImdb_v1.tar.gz").write_bytes(gzip.compress(packed.getvalue()))
    message = "has 1,100,000 bytes" if what == "a review" else "holds more than 10,000,000 bytes"
    with pytest.raises(ValueError, match=message):
        Imdb(path=str(tmp_path)).read()


def test_a_parquet_that_unpacks_to_too_much_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_files, "MAX_BYTES", 1_000_000)
    file = tmp_path / "a.parquet"
    pd.DataFrame({"text": ["x" * 1000] * 20_000, "label": "a"}).to_parquet(file)
    assert file.stat().st_size < 10_000
    with pytest.raises(ValueError, match=r"a\.parquet holds more than 1,000,000 bytes when unpac"):
        Table(path=str(file)).read()


@pytest.mark.parametrize(
    "data",
    [
        lambda path: Table(path=path),
        lambda path: Table(train_path=path, val_path=path, test_path=path),
        lambda path: Instructions(path=path),
        lambda path: TextFiles(path=path),
        lambda path: SmsSpam(path=path),
    ],
)
def test_a_file_without_permission_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: object
) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(plain(ROWS))

    def forbidden(self: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", forbidden)  # also for root, who may read everything
    with pytest.raises(ValueError, match=r"a\.csv cannot be read: Permission denied$"):
        data(str(file)).prepare_data()  # type: ignore[operator]


@pytest.mark.parametrize("path", ["~nobody-of-this-name/a.csv", "x" * 5000, "\0", ""])
def test_a_path_that_cannot_be_is_one_line(path: str) -> None:
    with pytest.raises(ValueError, match=r"data=table: .* (cannot be read|does not exist)"):
        Table(path=path).prepare_data()


# --- whole commands -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "settings"),
    [
        (
            plain(ROWS, header=None, separator=";"),
            ("data.header=false", "data.text_column=1", "data.label_column=2"),
        ),
        (plain(ROWS, separator=":", quote="'"), ("data.separator=colon", "data.quote=single")),
        (plain(labelled("FALSE", "TRUE")), ('data.class_names=["TRUE","FALSE"]',)),
        (
            plain([*labelled("a", "b", "A"), ("x", "rare"), (TEXTS[0], "b")]),
            ("data.merge_labels=true", "data.rare=drop", "data.contradictions=drop"),
        ),
        (lines(RETURNS, quoting=csv.QUOTE_ALL).encode("cp1252"), ("data.encoding=cp1252",)),
    ],
)
def test_the_settings_of_a_table_reach_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, settings: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_bytes(content)
    run = ("+experiment=last_block", "data=table", "data.path=a.csv", *SMOKE, *settings)
    assert command(monkeypatch, *run) == 0
    (folder,) = Path("runs").glob("*/seed_123")
    summary = json.loads((folder / "summary.json").read_text())
    facts = summary["data"]
    assert list(facts["files"]) == ["a.csv"]
    test = pd.read_csv(folder / "splits" / "test.csv", keep_default_na=False)
    predicted = pd.read_csv(folder / "predictions_test.csv", dtype=str, keep_default_na=False)
    assert predicted["text"].tolist() == test["Text"].tolist()
    names = facts["class_names"]
    assert predicted["label"].tolist() == [names[label] for label in test["Label"]]


@pytest.mark.slow
@pytest.mark.parametrize("case", ["two columns of the name", "Cyrillic", "rare classes"])
def test_a_refused_table_is_one_line_of_a_command(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    case: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "500")
    name, content, _, message = REFUSED[case]
    Path(name).write_bytes(content)
    run = ("+experiment=last_block", "data=table", f"data.path={name}", *SMOKE)
    assert command(monkeypatch, *run) != 0
    said = " ".join(capfd.readouterr().err.split())
    assert " ".join(message.replace("FILE", name).split()) in said
    assert "Traceback" not in said
    assert not list(Path().glob("runs/**/*.ckpt"))
