"""Reads CSV and TSV files, in whichever way they were written, or names the rows that are wrong.

Cells stay strings: the text ``NA`` is not a missing value, the label ``01`` is not ``1``.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from llm_lightning.data.dialect import Broken, Lines, Parsed, Row, parse, read
from llm_lightning.data.encodings import decode
from llm_lightning.data.table_format import Given, Reading
from llm_lightning.data.text_files import read_bytes, refuse_other_kinds
from llm_lightning.presentation.plurals import counted

_SHOWN = 5
"""Most rows that an error names."""
_NULL = r"(?m)(?:^|{0})\\N(?={0}|\r?$)"
_EXCEL_SEPARATOR = re.compile(r'"?sep=([,;|:\t])"?\r?\n', re.IGNORECASE)


def read_delimited(
    file: Path, given: Given, *, wanted: Sequence[str] = (), label: str | None = None
) -> tuple[pd.DataFrame, Reading, list[str]]:
    """Reads a delimited text file.

    Args:
        file: tabs are the rule if it ends in ``.tsv``.
        given: what the user said about it; the rest is detected.
        wanted: names of columns that will be used.
        label: the one of them that holds labels.

    Returns:
        The table of all columns that have a name; how it was read; and what was filled or left out.

    Raises:
        ValueError: if the file cannot be read or decoded, a row cannot be told, or a wanted column
            is missing or ambiguous; names file, row and line.
    """
    content = read_bytes(file)
    refuse_other_kinds(content, file)
    text, encoding = decode(content, str(file), given.encoding)
    if not text.strip():
        raise ValueError(f"{file} is empty")
    lines_before = 0
    if given.separator is None and (first := _EXCEL_SEPARATOR.match(text)):
        given = Given(first[1], given.quote, given.escape, given.encoding, given.header)
        text, lines_before = text[first.end() :], 1
    parsed = read(text, given, is_tsv=_is_tsv(file), wanted=wanted, label=label)
    if not parsed.rows and not parsed.broken:
        raise ValueError(f"{file} is empty: it has no cell that is not blank")
    places: list[Lines] = [*parsed.rows, *parsed.broken] if lines_before else []
    for place in places:
        place.first_line += lines_before
        place.last_line += lines_before
    if parsed.broken:
        raise ValueError(f"{file}, {_broken_quotes(parsed)}")
    if parsed.dialect.escape and (null := _null_cell(text, parsed.dialect.separator)) is not None:
        raise ValueError(
            f"{file}, line {null + lines_before}: \\N, which stands for a missing value; remove "
            f"such rows, or write an empty cell"
        )
    has_header = given.header is not False
    names = _column_names(file, parsed, has_header=has_header, wanted=wanted)
    rows = parsed.rows[has_header:]
    if not rows:
        raise ValueError(f"{file} has a header but no rows")
    _check_widths(file, rows, names, parsed)
    notes = _guesses(text, encoding, parsed, given, is_tsv=_is_tsv(file))
    if short := sum(len(row.cells) < len(names) for row in rows):
        notes.append(f"{counted(short, 'row')} with fewer cells than columns: the rest are empty")
    columns = {
        name: [row.cells[at] if at < len(row.cells) else "" for row in rows]
        for at, name in enumerate(names)
        if name and name not in names[:at]
    }
    reading = Reading(parsed.dialect, encoding, has_header, len(rows))
    return pd.DataFrame(columns, dtype="str"), reading, notes


def _guesses(text: str, encoding: str, parsed: Parsed, given: Given, *, is_tsv: bool) -> list[str]:
    """What was concluded from single places of a file, and where they are."""
    notes = []
    if encoding == "cp1252" and given.encoding is None:
        found = re.search(r"[^\x00-\x7f]", text)
        if found is not None:
            number = sum(len(run) for run in re.findall(r"[^\x00-\x7f]+", text))
            line = text[: found.start()].count("\n") + 1
            notes.append(
                f"not UTF-8, read as Windows-1252: {counted(number, 'character')} beyond ASCII, "
                f"the first {found[0]!r} in line {line}"
            )
    if parsed.dialect.quote is None and given.quote is None and not is_tsv:
        places = [row.first_line for row in parsed.rows if any(c[:1] == '"' for c in row.cells)]
        if places:
            shown = ", ".join(map(str, places[:_SHOWN])) + (", ..." if places[_SHOWN:] else "")
            notes.append(
                f"double quotes are ordinary characters, as those that begin a cell are not "
                f"closed: {'lines' if len(places) > 1 else 'line'} {shown}"
            )
    if given.quote is not None and (broken := parse(text, parsed.dialect).broken):
        shown = ", ".join(map(_lines, broken[:_SHOWN])) + (", ..." if broken[_SHOWN:] else "")
        notes.append(
            f"{counted(len(broken), 'place')} where quotes do not match, read all the same: {shown}"
        )
    return notes


def _is_tsv(file: Path) -> bool:
    return file.suffix.lower() == ".tsv"


def _column_names(
    file: Path, parsed: Parsed, *, has_header: bool, wanted: Sequence[str]
) -> list[str]:
    if not has_header:
        width = max(len(row.cells) for row in parsed.rows)
        return [str(number) for number in range(1, width + 1)]
    names = [cell.strip() for cell in parsed.rows[0].cells]
    for name in wanted:
        if names.count(name) > 1:
            places = [str(at) for at, one in enumerate(names, start=1) if one == name]
            raise ValueError(
                f"{file}: the header has {len(places)} columns {name!r} ({', '.join(places)}), "
                f"which is ambiguous: rename all but one"
            )
    missing = [name for name in wanted if name not in names]
    if missing and (hint := _hint_of_no_header(parsed.rows)):
        raise ValueError(
            f"{file} has no column {missing[0]!r}; its first row is "
            f"{', '.join(shortened(cell) for cell in names)}: {hint}"
        )
    return names


def shortened(cell: str) -> str:
    """Returns a cell in quotes, without what follows the 40th character."""
    return repr(cell if len(cell) <= 40 else cell[:39] + "…")


def _hint_of_no_header(rows: Sequence[Row]) -> str | None:
    """How to read a file whose first row looks like the others, or ``None`` if it does not."""
    first, others = rows[0].cells, [row.cells for row in rows[1:] if len(row.cells) > 1]
    width = len(first)
    if width < 2 or not others:
        return None
    counts = [Counter(cells[at] for cells in others if at < len(cells)) for at in range(width)]
    is_repeated = any(first[at].strip() and counts[at][first[at]] for at in range(width))
    if not is_repeated and max(map(len, first)) < 40:
        return None
    lengths = [sum(len(cell) * n for cell, n in count.items()) for count in counts]
    text = max(range(width), key=lambda at: lengths[at])
    label = min((at for at in range(width) if at != text), key=lambda at: len(counts[at]))
    return (
        f"if that is data, the file lacks a header: set data.header=false "
        f"data.text_column={text + 1} data.label_column={label + 1}"
    )


def _check_widths(file: Path, rows: Sequence[Row], names: Sequence[str], parsed: Parsed) -> None:
    separator = parsed.dialect.separator
    long = [
        number
        for number, row in enumerate(rows, start=1)
        if len(row.cells) > len(names) and any(map(str.strip, row.cells[len(names) :]))
    ]
    if long:
        row = rows[long[0] - 1]
        raise ValueError(
            f"{file}, row {long[0]} (line {row.first_line}): {len(row.cells)} cells for "
            f"{counted(len(names), 'column')} ({counted(len(long), 'such row')}); enclose texts "
            f"that hold {separator!r} in quotes, or name another data.separator"
        )
    # Programs write an index in front, under an empty name; whatever is further right was cut off.
    named = [at for at, name in enumerate(names) if name]
    spill = [at for at, name in enumerate(names) if not name and named and at > named[0]]
    filled = [
        (number, at + 1)
        for number, row in enumerate(rows, start=1)
        for at in spill
        if at < len(row.cells) and row.cells[at].strip()
    ]
    if filled:
        numbers = list(dict.fromkeys(number for number, _ in filled))
        shown = ", ".join(map(str, numbers[:_SHOWN])) + (", ..." if len(numbers) > _SHOWN else "")
        columns = ", ".join(map(str, sorted({at for _, at in filled})))
        raise ValueError(
            f"{file}, {'rows' if len(numbers) > 1 else 'row'} {shown} "
            f"({counted(len(numbers), 'such row')}): values in columns without a name ({columns}), "
            f"where texts that hold {separator!r} seem to have been cut; enclose such texts in "
            f"quotes, or name the columns"
        )


def _broken_quotes(parsed: Parsed) -> str:
    first, num = parsed.broken[0], len(parsed.broken)
    lines = ", ".join(map(_lines, parsed.broken[:_SHOWN])) + (", ..." if num > _SHOWN else "")
    if first.is_open:
        what = "a quote is opened and never closed"
    elif first.last_line > first.first_line:
        what = "a quoted cell swallows lines that look like rows"
    else:
        what = "text follows a closing quote"
    return (
        f"line {first.first_line}: {what} ({counted(num, 'such place')}: {lines}); double the "
        f"quotes inside texts, or set data.quote=none if quotes are ordinary characters, "
        f"data.quote=double to read them so all the same"
    )


def _lines(broken: Broken) -> str:
    if broken.first_line == broken.last_line:
        return f"line {broken.first_line}"
    return f"lines {broken.first_line} to {broken.last_line}"


def _null_cell(text: str, separator: str) -> int | None:
    """The line of the first cell that is MySQL's mark of a missing value."""
    found = re.search(_NULL.format(re.escape(separator)), text)
    return None if found is None else text[: found.start()].count("\n") + 1
