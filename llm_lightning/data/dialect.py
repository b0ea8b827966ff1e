r"""Finds out how a delimited text is written, from the text itself.

The plain reading is tried first: commas and double quotes in CSV, tabs and no quoting in TSV. It is
kept unless it contradicts the text (rows of different width, broken quotes, no column of the wanted
name) and another reading does not contradict it anywhere. What no reading explains stays with the
plain one, whose errors then name rows.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product

from llm_lightning.data.table_format import Dialect, Given

_SEPARATORS = (",", ";", "\t", "|")
_SAMPLE = 4_000_000
"""Characters at the start that other readings than the plain one are tried on."""
_BARE_CR = re.compile("\r(?!\n)")


@dataclass
class Lines:
    """Where something is in a file."""

    first_line: int
    """Counted from 1."""
    last_line: int


@dataclass
class Row(Lines):
    """A row of cells."""

    cells: list[str]


@dataclass
class Broken(Lines):
    """Lines whose quotes do not match, which are no row."""

    is_open: bool
    """Whether a quote is never closed."""


@dataclass
class Parsed:
    """A text in one reading."""

    dialect: Dialect
    rows: list[Row] = field(default_factory=list)
    """Without those of blank lines."""
    broken: list[Broken] = field(default_factory=list)

    @property
    def width(self) -> int:
        """The number of cells of the first row."""
        return len(self.rows[0].cells) if self.rows else 0

    def has_columns(self, wanted: Sequence[str], header: bool | None) -> bool:
        """Whether the wanted columns exist; nothing is wanted if there are none."""
        if not self.rows:
            return False
        if header is False:
            return all(name.isdecimal() and 1 <= int(name) <= self.width for name in wanted)
        return set(wanted) <= {cell.strip() for cell in self.rows[0].cells}

    def is_even(self) -> bool:
        """Whether every row is as wide as the first, and more than one cell."""
        return (
            not self.broken
            and self.width > 1
            and all(len(row.cells) == self.width for row in self.rows)
        )


def parse(text: str, dialect: Dialect, *, is_lenient: bool = False) -> Parsed:
    """Splits a text into rows and cells.

    Args:
        text: the text.
        dialect: how it is written.
        is_lenient: whether text after a closing quote belongs to the cell, as most programs have
            it, and is not broken.
    """
    parsed = Parsed(dialect)
    placeholder = _unused(text) if dialect.is_cr_text else ""
    if placeholder:
        text = _BARE_CR.sub(placeholder, text)
    lines = io.StringIO(text, newline="")
    reader = csv.reader(
        lines,
        delimiter=dialect.separator,
        quotechar=dialect.quote,
        quoting=csv.QUOTE_NONE if dialect.quote is None else csv.QUOTE_MINIMAL,
        escapechar=dialect.escape,
        doublequote=True,
        strict=not is_lenient,
    )
    with _long_fields():
        while True:
            first = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return parsed
            except csv.Error as error:
                is_open = "unexpected end" in str(error)
                parsed.broken.append(Broken(first, reader.line_num, is_open))
                continue
            if not cells or (len(cells) == 1 and not cells[0].strip()):
                continue
            if placeholder:
                cells = [cell.replace(placeholder, "\r") for cell in cells]
            parsed.rows.append(Row(first, reader.line_num, cells))


def read(
    text: str, given: Given, *, is_tsv: bool, wanted: Sequence[str], label: str | None = None
) -> Parsed:
    """Splits a text into rows and cells, in the reading that explains it.

    Args:
        text: of the file.
        given: what is known of the reading.
        is_tsv: whether tabs and no quoting are the plain reading.
        wanted: names of columns that it should have, if they are known.
        label: the one of them whose cells are labels.
    """
    sample = text[: text.rfind("\n", 0, _SAMPLE) + 1] if len(text) > _SAMPLE else text
    sample = sample or text
    readings = list(_readings(sample, given, is_tsv=is_tsv))
    with_columns, even = [], []
    explaining: list[Parsed] = []
    for dialect in readings:
        parsed = parse(sample, dialect)
        if given.quote is None:
            parsed.broken += swallowing(parsed, label, given.header)
        has_columns = parsed.has_columns(wanted, given.header)
        if has_columns:
            with_columns.append(dialect)
        if parsed.is_even():
            even.append(dialect)
            if has_columns and not _hides_quotes(parsed, given, is_tsv=is_tsv):
                explaining.append(parsed)
                # A header with the wanted names leaves no doubt.
                if given.header is not False:
                    break
    if explaining:
        best_parsed = min(explaining, key=lambda parsed: _size_of_labels(parsed, label))
        if sample is text:
            return best_parsed
        chosen = best_parsed.dialect
    else:
        # Only the separator is taken from a reading that contradicts the text.
        best = next(iter([*with_columns, *even, *readings]))
        chosen = replace(readings[0], separator=best.separator)
    parsed = parse(text, chosen, is_lenient=given.quote is not None)
    if given.quote is None:
        parsed.broken += swallowing(parsed, label, given.header)
    return parsed


def swallowing(parsed: Parsed, label: str | None, header: bool | None) -> list[Broken]:
    """Finds quoted cells that hold lines which look like rows: their quotes are stray.

    Args:
        parsed: rows in one reading.
        label: name of the column of labels; a line looks like a row if it has a label of another
            row in this column.
        header: whether the columns have names; null if they must.
    """
    at = column_index(parsed, label, header) if label is not None else None
    if at is None:
        return []
    rows, width = parsed.rows[header is not False :], parsed.width
    separator = parsed.dialect.separator
    labels = {
        row.cells[at] for row in rows if row.first_line == row.last_line and len(row.cells) > at
    }
    found = []
    for row in rows:
        if row.first_line == row.last_line:
            continue
        lines = [line for cell in row.cells for line in cell.splitlines()[1:]]
        split = [line.split(separator) for line in lines]
        if any(
            len(cells) >= width and (cells[at] in labels or cells[at - width] in labels)
            for cells in split
        ):
            found.append(Broken(row.first_line, row.last_line, is_open=False))
    return found


def column_index(parsed: Parsed, name: str, header: bool | None) -> int | None:
    """Returns the position of a column, or ``None`` if there is none of this name."""
    if not parsed.has_columns([name], header):
        return None
    if header is False:
        return int(name) - 1
    return [cell.strip() for cell in parsed.rows[0].cells].index(name)


def _readings(text: str, given: Given, *, is_tsv: bool) -> Iterator[Dialect]:
    """All readings that are worth a try, the plain one first."""
    separators: Sequence[str] = ("\t",) if is_tsv else _SEPARATORS
    if given.separator is not None:
        separators = (given.separator,)
    separators = [separators[0], *(one for one in separators[1:] if one in text)]
    quotes: list[str | None] = [None, '"'] if is_tsv else ['"', None]
    if "'" in text and not is_tsv and re.search(r"""(?m)^'|[,;\t|]'""", text):
        quotes.append("'")
    if given.quote is not None:
        quotes = [given.quote or None]
    escapes: list[str | None] = [None]
    if re.search(r"""\\["']""", text):
        escapes.append("\\")
    if given.escape is not None:
        escapes = [given.escape or None]
    returns = [False]
    if "\n" in text and _BARE_CR.search(text):
        returns.append(True)
    for cr, escape, quote, separator in product(returns, escapes, quotes, separators):
        if escape is not None and quote is None and given.escape is None:
            continue
        if separator in (quote, escape):
            continue
        yield Dialect(separator, quote, escape, cr)


def _size_of_labels(parsed: Parsed, label: str | None) -> tuple[int, int]:
    """How many labels there are, and their length: the wrong separator leaves text in them."""
    at = column_index(parsed, label, header=False) if label is not None else None
    labels = set() if at is None else {row.cells[at] for row in parsed.rows}
    return len(labels), sum(map(len, labels))


def _hides_quotes(parsed: Parsed, given: Given, *, is_tsv: bool) -> bool:
    """Whether a reading without quoting leaves quotes around cells that look meant as such.

    In CSV one such cell is enough, as double quotes are the rule there. TSV files rarely quote:
    only doubled quotes inside, in cells that all are enclosed, show that these do.
    """
    if parsed.dialect.quote is not None or given.quote is not None:
        return False
    opened = [cell for row in parsed.rows for cell in row.cells if cell.startswith('"')]
    whole = [cell for cell in opened if re.fullmatch(r'"(?:[^"]|"")*"', cell)]
    if not is_tsv:
        return bool(whole)
    return len(whole) == len(opened) and any('""' in cell[1:-1] for cell in whole)


def _unused(text: str) -> str:
    """A character that does not occur in the text."""
    return next(chr(code) for code in range(0xE000, 0xF8FF) if chr(code) not in text)


@contextmanager
def _long_fields() -> Iterator[None]:
    """Lifts the limit of 131,072 characters a cell, which is global."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)
