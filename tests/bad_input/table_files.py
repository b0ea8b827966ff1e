"""Files as people have them: what is to be read of each, or the line that is to be said of it."""

import csv
import io
import json

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
    "only quotes": (
        "a.csv", b'""\n""\n', {}, "FILE is empty: it has no cell that is not blank",
    ),
    "only commas": ("a.csv", b",\n,\n", {}, "FILE has no column 'text' (data.text_column); it has"),
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
