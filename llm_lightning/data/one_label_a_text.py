"""Labels that ask for another task than this project has: several at a time, or quantities.

A classifier learns one class a text. A cell ``sports, politics`` would become a third class beside
``sports`` and ``politics``; and prices would become hundreds of classes of which none is nearer to
another. Both would train without an error, and mean nothing.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation

from llm_lightning.presentation.plurals import counted

_SEPARATORS = (",", ";", "|")
_AROUND = "[](){} '\"\t"
"""What may stand around a label in a list: ``['a', 'b']``."""
MOST_GRADES = 20
"""Different numbers that may be grades, such as 0.5 to 5, though some have decimals or are rare."""
_LEAST_ROWS = 3
"""Of a class; more than half of a quantity's numbers have fewer."""
_MOST_WITHOUT_NOTE = 10
"""Different whole numbers that pass without a word: stars, or grades."""
_SHOWN = 3

_INSIST = (
    "if they are names of classes all the same, set data.merge_labels=false, which takes them as "
    "they are written"
)


def refuse_other_tasks(counts: Mapping[str, int], source: str) -> None:
    """Refuses labels that are several in one cell, or numbers to be estimated.

    Args:
        counts: rows of each label, as it is written.
        source: file and column, for the error.

    Raises:
        ValueError: naming some of the labels, and the way out.
    """
    numbers = _numbers(counts)
    if len(numbers) == len(counts):
        fractions = [label for label, number in numbers.items() if number % 1]
        rare = [label for label, rows in counts.items() if rows < _LEAST_ROWS]
        if len(counts) > MOST_GRADES and (fractions or 2 * len(rare) > len(counts)):
            raise ValueError(
                f"{source}: {len(counts):,} different numbers, such as "
                f"{_named(fractions or rare)}: a quantity to be estimated (regression), which is "
                f"not done here; make classes of its ranges, such as low and high; {_INSIST}"
            )
        return
    if cells := _several_in_a_cell(counts):
        rows = counted(sum(counts[cell] for cell in cells), "row")
        raise ValueError(
            f"{source}: several labels in one cell in {rows}, such as {_named(cells)}: a text has "
            f"one label here; train one run a label, each with a column that says whether a text "
            f"has it; {_INSIST}"
        )


def note_on_numbers(class_names: Iterable[str]) -> list[str]:
    """Returns a line where many classes are numbers, which a classifier does not compare.

    Args:
        class_names: of all classes; may have repetitions.
    """
    names = set(class_names)
    if len(names) <= _MOST_WITHOUT_NOTE or len(_numbers(names)) < len(names):
        return []
    return [
        f"the {len(names):,} labels are numbers: each is a class of its own, and a near miss "
        f"counts as any other"
    ]


def _several_in_a_cell(counts: Mapping[str, int]) -> list[str]:
    """Labels with separators, if one of their parts is a label alone and most parts recur."""
    for separator in _SEPARATORS:
        parts_of = {label: _parts(label, separator) for label in counts}
        cells = [label for label, parts in parts_of.items() if len(parts) > 1]
        labels_with = Counter(part for parts in parts_of.values() for part in parts)
        alone = {part for parts in parts_of.values() if len(parts) == 1 for part in parts}
        made = [cell for cell in cells if all(labels_with[part] > 1 for part in parts_of[cell])]
        if 2 * len(made) > len(cells) and any(parts_of[cell] & alone for cell in made):
            return cells
    return []


def _parts(label: str, separator: str) -> set[str]:
    parts = (part.strip(_AROUND).casefold() for part in label.strip(_AROUND).split(separator))
    return {part for part in parts if part}


def _numbers(labels: Iterable[str]) -> dict[str, Decimal]:
    """Those labels that are numbers, and their values."""
    found = {}
    for label in labels:
        try:
            number = Decimal(label.strip().replace(",", "."))
        except InvalidOperation:
            continue
        if number.is_finite():
            found[label] = number
    return found


def _named(labels: list[str]) -> str:
    return ", ".join(f"{label:.40}" if len(label) > 40 else label for label in labels[:_SHOWN])
