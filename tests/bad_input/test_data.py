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

from llm_lightning.data import imdb, spam, text_files
from llm_lightning.data.imdb import Imdb
from llm_lightning.data.instructions import Instructions
from llm_lightning.data.spam import SmsSpam
from llm_lightning.data.table import Table
from llm_lightning.data.text import TextFiles

HAM = [f"see you at {hour}, bring a coat" for hour in range(12)]
SPAM = [f"Claim prize {number}, call now" for number in range(12)]
TEXTS = [text for pair in zip(HAM, SPAM, strict=True) for text in pair]
LABELS = ["ham", "spam"] * 12
ROWS = list(zip(TEXTS, LABELS, strict=True))


def lines(
    rows: list[tuple[str, ...]],
    *,
    header: tuple[str, ...] | None = ("text", "label"),
    separator: str = ",",
    quoting: int = csv.QUOTE_MINIMAL,
    quote: str = '"',
    end: str = "\n",
    escape: str | None = None,
) -> str:
    """A delimited text, as another program may write it."""
    out = io.StringIO()
    writer = csv.writer(
        out, delimiter=separator, quoting=quoting, quotechar=quote, lineterminator=end,
        escapechar=escape, doublequote=escape is None,
    )  # fmt: skip
    writer.writerows([header, *rows] if header else rows)
    return out.getvalue()


def labelled(*labels: str, texts: list[str] = TEXTS) -> list[tuple[str, str]]:
    """Rows with these labels in turn."""
    return [(text, labels[at % len(labels)]) for at, text in enumerate(texts)]


def plain(rows: list[tuple[str, str]], **options: object) -> bytes:
    """A CSV in UTF-8."""
    return lines(rows, **options).encode()  # type: ignore[arg-type]


def objects(rows: list[tuple[str, object]]) -> bytes:
    """JSON Lines."""
    return "".join(
        json.dumps({"text": text, "label": label}) + "\n" for text, label in rows
    ).encode()


def commaless(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(text.replace(",", ""), label) for text, label in rows]


QUOTED = [(f'She said "{text}"', label) for text, label in ROWS]
RETURNS = [(text.replace(", ", "\r"), label) for text, label in ROWS]
ACCENTS = [(text.replace("coat", "café"), label) for text, label in ROWS]
TYPESET = [(f"\u201c{text}\u201d \u2013 don\u2019t", label) for text, label in ROWS]
HAM_SPAM = ["ham", "spam"]

# id: file name, content, settings, names of the classes, texts in the order of the file
READ: dict[str, tuple[str, bytes, dict[str, object], list[str], list[str]]] = {
    "plain": ("a.csv", plain(ROWS), {}, HAM_SPAM, TEXTS),
    "index in front": (
        "a.csv",
        lines(
            [(str(at), *row) for at, row in enumerate(ROWS)], header=("", "text", "label")
        ).encode(),
        {}, HAM_SPAM, TEXTS,
    ),
    "semicolons": ("a.csv", plain(ROWS, separator=";"), {}, HAM_SPAM, TEXTS),
    "semicolons without a comma": (
        "a.csv", plain(commaless(ROWS), separator=";"), {}, HAM_SPAM,
        [text.replace(",", "") for text in TEXTS],
    ),
    "semicolons given": (
        "a.csv", plain(ROWS, separator=";"), {"separator": "semicolon"}, HAM_SPAM, TEXTS,
    ),
    "tabs in .csv": ("a.csv", plain(ROWS, separator="\t"), {}, HAM_SPAM, TEXTS),
    "pipes": ("a.csv", plain(ROWS, separator="|"), {}, HAM_SPAM, TEXTS),
    "colons given": ("a.csv", plain(ROWS, separator=":"), {"separator": ":"}, HAM_SPAM, TEXTS),
    "Excel's line sep=": ("a.csv", b"sep=;\r\n" + plain(ROWS, separator=";", end="\r\n"), {},
                          HAM_SPAM, TEXTS),
    "Excel's Unicode text": (
        "a.tsv", lines(QUOTED, separator="\t", end="\r\n").encode("utf-16"), {}, HAM_SPAM,
        [text for text, _ in QUOTED],
    ),
    "UTF-16 with commas": ("a.csv", lines(ROWS).encode("utf-16"), {}, HAM_SPAM, TEXTS),
    "UTF-16 without a mark": ("a.csv", lines(ROWS).encode("utf-16-be"), {}, HAM_SPAM, TEXTS),
    "UTF-8 with a mark": ("a.csv", lines(ROWS).encode("utf-8-sig"), {}, HAM_SPAM, TEXTS),
    "Windows-1252": (
        "a.csv", lines(ACCENTS).encode("cp1252"), {}, HAM_SPAM, [text for text, _ in ACCENTS],
    ),
    "Windows-1252, typographic": (
        "a.csv", lines(TYPESET).encode("cp1252"), {}, HAM_SPAM, [text for text, _ in TYPESET],
    ),
    "Cyrillic given": (
        "a.csv", lines(labelled("да", "нет")).encode("cp1251"), {"encoding": "cp1251"},
        ["да", "нет"], TEXTS,
    ),
    "MySQL": (
        "a.csv", plain(QUOTED, quoting=csv.QUOTE_ALL, escape="\\"), {}, HAM_SPAM,
        [text for text, _ in QUOTED],
    ),
    "MySQL without commas": (
        "a.csv", plain(commaless(QUOTED), quoting=csv.QUOTE_ALL, escape="\\"), {}, HAM_SPAM,
        [text for text, _ in commaless(QUOTED)],
    ),
    "backslash given": (
        "a.csv", plain(QUOTED, quoting=csv.QUOTE_ALL, escape="\\"), {"escape": "backslash"},
        HAM_SPAM, [text for text, _ in QUOTED],
    ),
    "single quotes": ("a.csv", plain(ROWS, quote="'"), {}, HAM_SPAM, TEXTS),
    "apostrophes are no quotes": (
        "a.csv", plain(commaless([(f"'tis {text}", label) for text, label in ROWS])), {}, HAM_SPAM,
        [f"'tis {text}".replace(",", "") for text in TEXTS],
    ),
    "carriage returns end rows": ("a.csv", plain(ROWS, end="\r"), {}, HAM_SPAM, TEXTS),
    "carriage returns unquoted in texts": (
        "a.csv", "".join(f"{t}\t{label}\n" for t, label in [("text", "label"), *RETURNS]).encode(),
        {}, HAM_SPAM, [text for text, _ in RETURNS],
    ),
    "carriage returns unquoted beside quoted cells": (
        "a.csv",
        "".join(f"{t},{label}\n" for t, label in [("text", "label"), *RETURNS]).encode()
        + b'"one, two",ham\n',
        {}, HAM_SPAM, [*(text for text, _ in RETURNS), "one, two"],
    ),
    "carriage returns quoted": (
        "a.csv", plain(RETURNS, quoting=csv.QUOTE_ALL), {}, HAM_SPAM, [t for t, _ in RETURNS],
    ),
    "several lines": (
        "a.csv", plain([(f"one\n{t}\n\nend", label) for t, label in ROWS]), {}, HAM_SPAM,
        [f"one\n{t}\n\nend" for t in TEXTS],
    ),
    "stray quotes and no others": (
        "a.csv",
        plain(commaless(ROWS)).replace(b"see you at 3", b'"see you at 3')
        .replace(b"see you at 7", b'"see you at 7'),
        {}, HAM_SPAM,
        [t.replace(",", "").replace("see you at 3", '"see you at 3')
         .replace("see you at 7", '"see you at 7') for t in TEXTS],
    ),
    "quotes in TSV are ordinary": (
        "a.tsv", b'text\tlabel\n' + b"".join(f'"{t}\t{label}\n'.encode() for t, label in ROWS), {},
        HAM_SPAM, [f'"{t}' for t in TEXTS],
    ),
    "inches": (
        "a.csv", plain(ROWS).replace(b'"see you at 3, bring', b'"see you at 3"", bring'), {},
        HAM_SPAM, [t.replace("see you at 3,", 'see you at 3",') for t in TEXTS],
    ),
    "a cell of 200,000 characters": (
        "a.csv", plain([("x " * 100_000, "ham"), *ROWS]), {}, HAM_SPAM, ["x " * 100_000, *TEXTS],
    ),
    "no header": (
        "a.csv", plain(ROWS, header=None),
        {"header": False, "text_column": "1", "label_column": "2"}, HAM_SPAM, TEXTS,
    ),
    "no header, semicolons": (
        "a.csv", plain(ROWS, header=None, separator=";"),
        {"header": False, "text_column": "1", "label_column": "2"}, HAM_SPAM, TEXTS,
    ),
    "header with blanks": ("a.csv", plain(ROWS, header=(" text", "label ")), {}, HAM_SPAM, TEXTS),
    "blank lines": ("a.csv", plain(ROWS).replace(b"\n", b"\n\n"), {}, HAM_SPAM, TEXTS),
    "empty cells at the end": (
        "a.csv", plain(ROWS).replace(b"ham\n", b"ham,,\n"), {}, HAM_SPAM, TEXTS,
    ),
    "plus and minus one": ("a.csv", plain(labelled("+1", "-1")), {}, ["-1", "+1"], TEXTS),
    "words in the order of the alphabet": (
        "a.csv", plain(labelled("Spam", "ham")), {}, ["ham", "Spam"], TEXTS,
    ),
    "decimal commas": (
        "a.csv", plain(labelled("10,5", "2,0"), separator=";"), {}, ["2", "10.5"], TEXTS,
    ),
    "0.0 and 1.0 in CSV": ("a.csv", plain(labelled("1.0", "0.0")), {}, ["0", "1"], TEXTS),
    "0.0 and 1.0 in JSON": (
        "a.jsonl", objects([(t, float(at % 2)) for at, t in enumerate(TEXTS)]), {}, ["0", "1"],
        TEXTS,
    ),
    "merged by case": (
        "a.csv", plain(labelled("ham", "spam", "ham", "Spam", "ham", "spam")),
        {"merge_labels": True}, HAM_SPAM, TEXTS,
    ),
    "merged numbers": (
        "a.csv", plain(labelled("0", "1", "0", "1.0", "0", "1")), {"merge_labels": True},
        ["0", "1"], TEXTS,
    ),
    "different on purpose": (
        "a.csv", plain(labelled("us", "US", "them")), {"merge_labels": False},
        ["them", "US", "us"], TEXTS,
    ),
    "booleans of Excel": (
        "a.csv", plain(labelled("FALSE", "TRUE")), {"class_names": ["TRUE", "FALSE"]},
        ["TRUE", "FALSE"], TEXTS,
    ),
    "class names as they were written": (
        "a.csv", plain(labelled("0.0", "1.0")), {"class_names": ["1.0", "0.0"]}, ["1", "0"], TEXTS,
    ),
    "contradictions dropped": (
        "a.csv", plain([*ROWS, (TEXTS[0], "spam"), (f" {TEXTS[0]}", "ham"), ROWS[1]]),
        {"contradictions": "drop"}, HAM_SPAM, TEXTS[1:],
    ),
    "rare classes dropped": (
        "a.csv", plain([*ROWS, ("one", "x"), ("two", "y"), ("three", "y")]), {"rare": "drop"},
        HAM_SPAM, TEXTS,
    ),
    "rare classes merged": (
        "a.csv", plain([*ROWS, ("one", "x"), ("two", "y"), ("three", "y")]), {"rare": "merge"},
        ["ham", "spam", "other"], [*TEXTS, "one", "two", "three"],
    ),
}  # fmt: skip


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


SURROGATE = b'{"text": "cut \\ud83d", "label": "ham"}\n'
NESTED = b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b', "label": "a"}\n'
PAGE = b"\n<!DOCTYPE html><html><body>Not found</body></html>"
STRAY = (
    plain(ROWS)
    .replace(b'"see you at 3, bring a coat"', b'"see you at 3 bring a coat')
    .replace(b"Claim prize 5", b'""Claim prize 5')
)
SWALLOWING = plain(commaless(ROWS)).replace(b"see you at 3", b'"see you at 3')
SWALLOWING = SWALLOWING.replace(b"you at 5 bring a coat", b'you at 5 bring a coat"')
SWALLOWING += b'"a, b",ham\n'
SPILLED = b"label,text,,\n" + b"".join(f"{label},{text},\n".encode() for text, label in ROWS)

# id: file name, content, settings, and the message
REFUSED: dict[str, tuple[str, bytes, dict[str, object], str]] = {
    "empty": ("a.csv", b"", {}, "FILE is empty"),
    "blank": ("a.csv", b" \n\n", {}, "FILE is empty"),
    "only a header": ("a.csv", b"text,label\n", {}, "FILE has a header but no rows"),
    "a web page as CSV": (
        "a.csv", PAGE, {},
        "FILE is a web page (HTML) and not a data file: the address that it was downloaded from "
        "shows a page; download the file itself",
    ),
    "a web page as JSON": ("a.jsonl", PAGE, {}, "FILE is a web page (HTML) and not a data file"),
    "a web page as Parquet": ("a.parquet", PAGE, {}, "FILE is a web page (HTML)"),
    "a workbook": (
        "a.csv", b"PK\x03\x04rest", {},
        "FILE is a zip archive or an Excel workbook: unpack it, or save it as CSV",
    ),
    "gzip": ("a.csv", b"\x1f\x8bx", {}, "FILE is compressed with gzip: unpack it"),
    "torn Parquet": ("a.parquet", b"PAR1", {}, "FILE is not a readable Parquet file: "),
    "xlsx": ("a.xlsx", b"PK\x03\x04", {}, "FILE: the extension must be .csv, .tsv, .jsonl"),
    "two columns of the name": (
        "a.csv", lines([(t, label, t) for t, label in ROWS], header=("text", "label", "text"))
        .encode(), {},
        "FILE: the header has 2 columns 'text' (1, 3), which is ambiguous: rename all but one",
    ),
    "a key twice": (
        "a.jsonl", objects(ROWS) + b'{"text": "a", "label": "ham", "text": "b"}\n', {},
        "FILE, line 25: the key 'text' occurs twice in one object, which is ambiguous",
    ),
    "no such column": (
        "a.csv", plain(ROWS), {"text_column": "body"},
        "FILE has no column 'body' (data.text_column); it has 'text', 'label'",
    ),
    "another case": (
        "a.csv", plain(ROWS, header=("Text", "label")), {},
        "FILE has no column 'text' (data.text_column); it has 'Text', 'label'; did you mean "
        "data.text_column=Text?",
    ),
    "no header": (
        "a.csv", plain(ROWS, header=None), {},
        "FILE has no column 'text'; its first row is 'see you at 0, bring a coat', 'ham': if that "
        "is data, the file lacks a header: set data.header=false data.text_column=1 "
        "data.label_column=2",
    ),
    "no header, other order": (
        "a.csv", lines([(label, t) for t, label in ROWS], header=None).encode(), {},
        "FILE has no column 'text'; its first row is 'ham', 'see you at 0, bring a coat': if that "
        "is data, the file lacks a header: set data.header=false data.text_column=2 "
        "data.label_column=1",
    ),
    "values in columns without a name": (
        "a.csv", SPILLED, {},
        "FILE, rows 1, 2, 3, 4, 5, ... (24 such rows): values in columns without a name (3), where "
        "texts that hold ',' seem to have been cut; enclose such texts in quotes, or name the "
        "columns",
    ),
    "commas without quotes": (
        "a.csv", plain(ROWS).replace(b'"', b""), {},
        "FILE, row 1 (line 2): 3 cells for 2 columns (24 such rows); enclose texts that hold ',' "
        "in quotes, or name another data.separator",
    ),
    "one comma without quotes": (
        "a.csv", plain(ROWS) + b"a, b,ham\n", {},
        "FILE, row 25 (line 26): 3 cells for 2 columns (1 such row)",
    ),
    "rows swallowed": (
        "a.csv", SWALLOWING, {},
        "FILE, line 8: a quoted cell swallows lines that look like rows (1 such place: lines 8 to "
        "12); double the quotes inside texts, or set data.quote=none if quotes are ordinary "
        "characters, data.quote=double to read them so all the same",
    ),
    "rows swallowed before other text": (
        "a.csv", STRAY, {},
        "FILE, line 8: a quoted cell swallows lines that look like rows (1 such place: lines 8 to ",
    ),
    "text after a quote": (
        "a.csv", plain(ROWS) + b'"a" b,ham\n', {},
        "FILE, line 26: text follows a closing quote (1 such place: line 26)",
    ),
    "a quote never closed": (
        "a.csv", plain(ROWS) + b'"a,ham\nb,spam\n', {},
        "FILE, line 26: a quote is opened and never closed (1 such place: lines 26 to 27)",
    ),
    "MySQL's NULL": (
        "a.csv", plain(QUOTED, quoting=csv.QUOTE_ALL, escape="\\") + b'"a",\\N\n', {},
        "FILE, line 26: \\N, which stands for a missing value; remove such rows, or write an empty "
        "cell",
    ),
    "Cyrillic": (
        "a.csv", lines([(f"привет {t}", label) for t, label in ROWS]).encode("cp1251"), {},
        "FILE is not UTF-8: byte 12 in line 2 cannot be decoded; save it as UTF-8, or name its "
        "encoding: data.encoding=cp1250",
    ),
    "Mac Roman": (
        "a.csv", lines(ACCENTS).encode("mac-roman"), {}, "FILE is not UTF-8: byte 37 in line 2",
    ),
    "Latin bytes in UTF-8": (
        "a.csv", lines(ACCENTS).encode() + "thé,ham\n".encode("latin-1"), {},
        "FILE is not UTF-8: byte ",
    ),
    "the wrong encoding": (
        "a.csv", lines(ACCENTS).encode("cp1252"), {"encoding": "ascii"},
        "FILE is not ascii: byte 37 in line 2 cannot be decoded; name its encoding with "
        "data.encoding",
    ),
    "an empty text": (
        "a.csv", plain([*ROWS, ("  ", "ham")]), {},
        "FILE, column 'text', row 25: an empty text (1 such row)",
    ),
    "no label": (
        "a.csv", plain([*ROWS, ("a", "")]), {},
        "FILE, column 'label', row 25: no label (a string or a number) (1 such row)",
    ),
    "no tab": (
        "a.tsv", plain(ROWS, separator="\t") + b"alone\n", {},
        "FILE, column 'label', row 25: no label (a string or a number) (1 such row)",
    ),
    "a number as text": (
        "a.jsonl", objects([*ROWS, (3, "ham")]), {},  # type: ignore[list-item]
        "FILE, column 'text', row 25: not a text (1 such row)",
    ),
    "half a character": (
        "a.jsonl", objects(ROWS) + SURROGATE, {},
        "FILE, column 'text', row 25: half of a character (an unpaired surrogate such as \\ud83d), "
        "which is no text: it was cut there; remove it (1 such row)",
    ),
    "half a character in a label": (
        "a.jsonl", objects(ROWS) + b'{"text": "a", "label": "\\udc00"}', {},
        "FILE, column 'label', row 25: half of a character",
    ),
    "nested too deeply": (
        "a.jsonl", NESTED, {}, "FILE, line 1 is not a record: its JSON is nested too deeply",
    ),
    "a number of 5,000 digits": (
        "a.jsonl", b'{"text": "a", "label": ' + b"9" * 5000 + b"}", {}, "FILE, line 1: Exceeds",
    ),
    "a list of records": (
        "a.jsonl", b"[1]\n", {}, "FILE, line 1 must be a JSON object, got [1]",
    ),
    "a text longer than any book": (
        "a.csv", plain([*ROWS, ("x" * 10_000_001, "ham")]), {},
        "FILE, column 'text', row 25: a text of more than 10,000,000 characters, which is longer "
        "than any book: split it (1 such row)",
    ),
    "one class": (
        "a.csv", plain(labelled("ham")), {},
        "FILE, column 'label': a single class, 'ham'; a classifier needs at least two",
    ),
    "labels in two cases": (
        "a.csv", plain(labelled("ham", "spam", "ham", "Spam", "ham", "spam")), {},
        "FILE, column 'label': labels that differ only in case, blanks, Unicode form or as a "
        "number is written: 'spam' (8) and 'Spam' (4); correct them, or set data.merge_labels=true "
        "(one class, under its most frequent spelling) or data.merge_labels=false (different "
        "classes)",
    ),
    "labels with blanks": (
        "a.csv", plain(labelled("ham", "spam", "ham", "spam ")), {},
        "FILE, column 'label': labels that differ only in case, blanks, Unicode form or as a "
        "number is written: 'spam' (6) and 'spam ' (6); ",
    ),
    "labels in two Unicode forms": (
        "a.csv", plain(labelled("the\u0301", "th\u00e9", "ham")), {},
        "FILE, column 'label': labels that differ only in case, blanks, Unicode form or as a "
        "number is written: 'the\u0301' (8) and 'th\u00e9' (8); ",
    ),
    "1 and 1.0 in CSV": (
        "a.csv", plain(labelled("0", "1", "0.0", "1.0")), {},
        "FILE, column 'label': labels that differ only in case, blanks, Unicode form or as a "
        "number is written: '0' (6) and '0.0' (6); '1' (6) and '1.0' (6); ",
    ),
    "1 and 1.0 in JSON": (
        "a.jsonl", objects([(t, (0, 1, 0.0, 1.0)[at % 4]) for at, t in enumerate(TEXTS)]), {},
        "FILE, column 'label': labels that differ only in case, blanks, Unicode form or as a "
        "number is written: '0' (6) and '0.0' (6); '1' (6) and '1.0' (6); ",
    ),
    "class names of Python": (
        "a.csv", plain(labelled("FALSE", "TRUE")), {"class_names": ["False", "True"]},
        "data.class_names: FILE has no rows labelled ['False', 'True']; its labels are 'FALSE' "
        "(12), 'TRUE' (12): write 'data.class_names=[\"FALSE\",\"TRUE\"]'",
    ),
    "a class name twice": (
        "a.csv", plain(ROWS), {"class_names": ["ham", "spam", "ham"]},
        "data.class_names: a class occurs twice in ['ham', 'spam', 'ham']",
    ),
    "a class name left out": (
        "a.csv", plain(labelled("a", "b", "c")), {"class_names": ["a", "b"]},
        "FILE, column 'label', row 3: the label 'c' is not one of the training labels ['a', 'b'] "
        "(8 such rows)",
    ),
    "a text with two labels": (
        "a.csv", plain([*ROWS, (TEXTS[0], "spam")]), {},
        "FILE, column 'text', rows 1 and 25: the same text is labelled 'ham' and 'spam' (1 such "
        "text); correct the labels, leave such texts out with data.contradictions=drop, or keep "
        "every row with data.deduplicate=false",
    ),
    "rare classes": (
        "a.csv", plain([*ROWS, ("one", "x"), *[("two", "y")] * 3, ("three", "y")]), {},
        "FILE, column 'label': 2 classes of fewer than 3 rows: 'x' (1 row), 'y' (4 rows, 2 without "
        "duplicates); every split needs one of each class: add texts, or set data.rare=drop "
        "(leaves these classes out) or data.rare=merge (makes them one class, 'other')",
    ),
    "too few rare classes to merge": (
        "a.csv", plain([*ROWS, ("one", "x")]), {"rare": "merge"},
        "FILE, column 'label': 1 class of fewer than 3 rows: 'x' (1 row); together they have 1 "
        "row, too few for a class 'other': set data.rare=drop, or add texts",
    ),
    "all classes rare but one": (
        "a.csv", plain([*labelled("ham"), ("one", "x")]), {"rare": "drop"},
        "FILE, column 'label': 1 class of fewer than 3 rows: 'x' (1 row); without them fewer than "
        "two classes remain: add texts",
    ),
}  # fmt: skip


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


# --- instructions ---------------------------------------------------------------------------------


def instructions(folder: Path, name: str, content: bytes, **fields: object) -> Instructions:
    (folder / name).write_bytes(content)
    data = Instructions(path=str(folder / name), **fields)  # type: ignore[arg-type]
    data.setup()
    return data


def json_lines(*entries: object, repeat: int = 10) -> bytes:
    return "".join(json.dumps(entry) + "\n" for entry in entries for _ in range(repeat)).encode()


ALPACA = {"instruction": "Name it.", "input": "A red fruit.", "output": "Apple."}
DOLLY = {"instruction": "Name it.", "context": "A red fruit.", "response": "Apple.",
         "category": "closed_qa"}  # fmt: skip
PROMPTED = {"prompt": "Name it.", "context": "A red fruit.", "completion": "Apple."}
ASKED = {"question": "Name it.", "context": "A red fruit.", "answer": "Apple."}
SHARED = {"conversations": [{"from": "system", "value": "Be brief."},
                            {"from": "human", "value": "Name it."},
                            {"from": "gpt", "value": "Apple."}], "id": "7"}  # fmt: skip
OPENAI = {"messages": [{"role": "system", "content": "Be brief."},
                       {"role": "user", "content": [{"type": "text", "text": "Name it."}]},
                       {"role": "assistant", "content": "Apple."}]}  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "expected", "notes"),
    [
        (ALPACA, ("Name it.", "A red fruit.", "Apple.", ""), []),
        (
            DOLLY, ("Name it.", "A red fruit.", "Apple.", ""),
            ["fields read: context as input, response as output",
             "fields not read: category (10)"],
        ),
        (
            PROMPTED, ("Name it.", "A red fruit.", "Apple.", ""),
            ["fields read: prompt as instruction, context as input, completion as output"],
        ),
        (
            ASKED, ("Name it.", "A red fruit.", "Apple.", ""),
            ["fields read: question as instruction, context as input, answer as output"],
        ),
        (SHARED, ("Name it.", "", "Apple.", "Be brief."), ["fields not read: id (10)"]),
        (OPENAI, ("Name it.", "", "Apple.", "Be brief."), []),
        (
            {**ALPACA, "system_prompt": "Be brief.", "text": "whole", "score": None},
            ("Name it.", "A red fruit.", "Apple.", "Be brief."),
            ["fields read: system_prompt as system", "fields not read: text (10)"],
        ),
    ],
)  # fmt: skip
def test_records_of_other_programs(
    tmp_path: Path, entry: dict, expected: tuple[str, ...], notes: list[str]
) -> None:
    data = instructions(tmp_path, "a.jsonl", json_lines(entry))
    record = data.records["train"][0]
    assert (record.instruction, record.input, record.output, record.system) == expected
    assert data.describe()[4:] == notes
    assert sum(data.facts()["fields_not_read"].values()) == 10 * any("not read" in n for n in notes)


@pytest.mark.parametrize("separator", [",", ";"])
def test_instructions_in_csv(tmp_path: Path, separator: str) -> None:
    rows = [(f"Name {n}, please.", "", f"It is\n{n}.") for n in range(10)]
    header = ("instruction", "input", "output")
    content = lines(rows, header=header, separator=separator).encode()  # type: ignore[arg-type]
    data = instructions(tmp_path, "a.csv", content)
    found = [record for split in ("train", "test", "val") for record in data.records[split]]
    assert [(record.instruction, record.output) for record in found] == [
        (f"Name {n}, please.", f"It is\n{n}.") for n in range(10)
    ]
    assert data.describe()[4].startswith("read as: separator ")
    assert data.facts()["file"]["separator"] == separator


def talk(*weights: int | None) -> dict:
    messages = []
    for number, weight in enumerate(weights):
        messages.append({"role": "user", "content": f"question {number}"})
        answer = {"role": "assistant", "content": f"answer {number}"}
        messages.append(answer if weight is None else answer | {"weight": weight})
    return {"messages": messages}


@pytest.mark.parametrize("mask", ["none", "prompt", "prompt_and_header"])
def test_an_answer_of_weight_0_is_never_in_the_loss(tmp_path: Path, mask: str) -> None:
    def learnt(*weights: int | None) -> tuple[str, str]:
        data = instructions(tmp_path, "a.jsonl", json_lines(talk(*weights)), mask=mask)
        sequence = data.sequences["train"][0]
        in_loss = sequence.labels[sequence.labels >= 0]
        return (
            data.tokenizer.decode(in_loss.tolist()),
            data.tokenizer.decode(sequence.labels[sequence.in_response].tolist()),
        )

    for texts in learnt(None, 1):
        assert "answer 0" in texts
        assert "answer 1" in texts
    for texts in learnt(0, 1):
        assert "answer 0" not in texts
        assert "answer 1" in texts
    data = instructions(tmp_path, "a.jsonl", json_lines(talk(0, 1, 0)), mask=mask)
    record = data.records["train"][0]
    assert (record.instruction, record.output) == ("question 1", "answer 1")
    assert data.describe()[-1] == (
        "10 earlier assistant messages of weight 0 not in the loss, 20 messages after the last "
        "learnt one left out"
    )
    data.write_splits(tmp_path / "splits")
    entries = json.loads((tmp_path / "splits" / "train.json").read_text())
    assert entries[0]["not_learnt"] == [0]
    data = instructions(tmp_path, "again.jsonl", json_lines(entries[0]), mask=mask)
    assert data.records["train"][0] == record


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", NESTED, "FILE is not a record: its JSON is nested too deeply"),
        ("a.json", PAGE, "FILE is a web page (HTML)"),
        ("a.jsonl", PAGE, "FILE is a web page (HTML)"),
        ("a.json", b"{}", "FILE must contain a JSON list of records, got '{}'"),
        (
            "a.jsonl", json_lines(ALPACA | {"context": "B"}),
            "FILE, record 1 has 'input' and 'context', which both mean its input: remove or rename "
            "one of them (10 of 10 records cannot be used)",
        ),
        (
            "a.jsonl", json_lines({"chosen": "a", "rejected": "b"}, repeat=1),
            "FILE, record 1 has no field 'instruction' (nor 'prompt', 'question', nor 'messages'); "
            "it has 'chosen', 'rejected'",
        ),
        (
            "a.jsonl", json_lines(ALPACA | {"output": "\ud83d"}, repeat=1),
            "FILE, record 1: output contains an unpaired surrogate",
        ),
        (
            "a.jsonl", json_lines(talk(0), repeat=1),
            "FILE, record 1: every assistant message has weight 0, so there is nothing to learn",
        ),
        (
            "a.jsonl", json_lines(talk(2), repeat=1),  # type: ignore[arg-type]
            "FILE, record 1, message 2: weight must be 0 or 1, got 2",
        ),
        (
            "a.jsonl",
            json_lines({"conversations": [{"from": "gpt", "value": "Hi."}]}, talk(1), repeat=3),
            "FILE, record 1: after an optional system message, messages must alternate between "
            "user and assistant and end with the assistant's, got assistant (3 of 6 records cannot "
            "be used)",
        ),
        (
            "a.jsonl",
            json_lines({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
            "FILE, record 1, message 1: only texts are supported, got {'type': 'image_url'}",
        ),
        (
            "a.jsonl",
            json_lines({"messages": [{"role": "assistant", "content": None, "tool_calls": [1]}]}),
            "FILE, record 1, message 1 has tool_calls, which is not supported; remove such records",
        ),
        ("a.csv", b"instruction,text\na,b\n", "FILE, record 1 has no field 'output' (nor"),
        ("a.csv", b"instruction,output\n", "FILE has a header but no rows"),
    ],
)  # fmt: skip
def test_what_is_refused_of_instructions(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        instructions(tmp_path, name, content)
    assert str(caught.value).replace(str(tmp_path / name), "FILE").startswith(message)


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
