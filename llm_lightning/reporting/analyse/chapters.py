"""Chapters of a report: rows that were evaluated on the same test items, lettered A, B, C ...

Rows of one chapter can be compared with each other; rows of different chapters cannot.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from llm_lightning.reporting.analyse.comparability import default_reference
from llm_lightning.reporting.analyse.rows import Row, find_row, name_rows


@dataclass
class Chapter:
    """Rows that were evaluated on the same test items."""

    letter: str
    rows: list[Row]
    """In the order of the table; at least one."""
    shared: dict[str, str]
    """Settings that the networks of all chapters of this kind share."""
    reference: Row | None
    """The row that others are compared with; None if none is suitable."""

    @property
    def fallbacks(self) -> dict[str, list[Row]]:
        """Which data or weights were replaced, each with the rows that it concerns."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            for line in row.fallbacks:
                found.setdefault(line, []).append(row)
        return found

    @property
    def in_half(self) -> dict[str, list[Row]]:
        """Rows whose numbers come from fewer than 32 bits, by what they come from."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            if row.precision not in ("fp32", "fp64"):
                found.setdefault(row.precision, []).append(row)
        return found

    @property
    def all_have_fallbacks(self) -> bool:
        """Whether every row has a fallback."""
        return all(row.fallback for row in self.rows)

    @property
    def num_examples(self) -> int:
        """Evaluated test items."""
        return self.rows[0].first.num_evaluated


def letters(index: int) -> str:
    """Letters of the chapter at a position: 0 is A, 25 is Z, 26 is AA, 27 is AB."""
    before, last = divmod(index, len(ascii_uppercase))
    return (letters(before - 1) if before else "") + ascii_uppercase[last]


def make_chapters(
    rows: Sequence[Row],
    reference: str | None,
    *,
    last: Callable[[list[Row]], bool] = lambda group: False,
) -> list[Chapter]:
    """Groups the rows of one kind by their test items, the largest group first.

    Args:
        rows: not labelled yet; they get their labels and numbers here.
        reference: label, run name or experiment of the reference row; None chooses one.
        last: whether a group goes after the others.
    """
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault(row.first.test_set, []).append(row)
    ordered = sorted(groups.values(), key=lambda group: (last(group), -len(group)))
    shared = name_rows(rows)
    return [_make_chapter(letters(i), group, shared, reference) for i, group in enumerate(ordered)]


def _make_chapter(
    letter: str, group: list[Row], shared: dict[str, str], reference: str | None
) -> Chapter:
    rows = sorted(group, key=lambda row: (row.is_baseline, row.label))
    for number, row in enumerate(rows, 1):
        row.number = number
    named = find_row(rows, reference) if reference is not None else None
    return Chapter(letter, rows, shared, named or default_reference(rows))
