"""Labels as people write them: which spellings mean the same class, and in which order classes are.

``Spam`` and ``spam``, ``1`` and ``1.0`` are one class to everybody but a computer. They are never
split silently: either the user says that they are the same or different, or they are refused.
"""

import numbers
import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from llm_lightning.presentation.plurals import counted

_NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d*)(?:[.,]\d+)?(?:[eE][+-]?\d{1,4})?", re.ASCII)
_WHOLE = re.compile(r"([+-]?\d+)[.,]0+", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d{1,2}", re.ASCII)
_SHOWN = 20


def label_text(value: Any) -> str | None:
    """Returns a label as text, equal for all file formats; ``None`` if neither text nor number.

    Args:
        value: a cell of a table.
    """
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, numbers.Integral):
        return str(int(value))  # not through float, which is exact only up to 2**53
    if not isinstance(value, float | np.floating | Decimal) or value != value:
        return None  # null, NaN, lists, dates
    if value in (float("inf"), float("-inf")):
        return str(value)
    return f"{int(value)}.0" if value == int(value) else str(value)


@dataclass(frozen=True)
class Spelling:
    """How the labels of a file become the names of classes."""

    name_of: Mapping[str, str]
    """Name of the class for each label that occurs."""
    merged: Mapping[str, int] = field(default_factory=dict)
    """Rows of each label that was merged into another spelling."""
    notes: Sequence[str] = ()
    """What was read in another way than it is written, for people."""

    def class_name(self, given: str) -> str | None:
        """Returns the name of the class that a user means, if there is one."""
        names = set(self.name_of.values())
        return given if given in names else self.name_of.get(given)


def spelling(labels: Iterable[str], source: str, *, merge: bool | None) -> Spelling:
    """Decides which labels are the same class.

    Args:
        labels: of all rows, as they are written.
        source: file and column, for the error.
        merge: whether labels that differ only in case, blanks, Unicode form or as numbers are
            written are one class, or several; null refuses them.

    Raises:
        ValueError: if there are such labels and ``merge`` is null; names them, with counts.
    """
    counts = Counter(labels)
    groups: dict[Hashable, list[str]] = {}
    for label in counts:
        groups.setdefault(_meaning(label), []).append(label)
    alike = [group for group in groups.values() if len(group) > 1]
    if alike and merge is None:
        shown = "; ".join(
            " and ".join(f"{label!r} ({counts[label]:,})" for label in group[:_SHOWN])
            for group in alike[:_SHOWN]
        )
        raise ValueError(
            f"{source}: labels that differ only in case, blanks, Unicode form or as a number is "
            f"written: {shown}; correct them, or set data.merge_labels=true (one class, under its "
            f"most frequent spelling) or data.merge_labels=false (different classes)"
        )
    name_of = {label: label for label in counts}
    merged: dict[str, int] = {}
    notes = []
    if merge is not False:
        for group in groups.values():
            best = max(group, key=lambda label: counts[label])  # of equals the first in the file
            for label in group:
                name_of[label] = best
                if label != best:
                    merged[label] = counts[label]
        if merged:
            parts = ", ".join(
                f"{label!r} ({num:,}) into {name_of[label]!r}"
                for label, num in list(merged.items())[:_SHOWN]
            )
            rows = counted(sum(merged.values()), "row")
            notes.append(f"labels merged in {rows}: {parts}")
        name_of = {label: name.strip() for label, name in name_of.items()}
        renamed = _plain_numbers(set(name_of.values()))
        if renamed:
            parts = ", ".join(f"{old} as {new}" for old, new in list(renamed.items())[:_SHOWN])
            notes.append(f"labels that are decimal numbers are read as such: {parts}")
        name_of = {label: renamed.get(name, name) for label, name in name_of.items()}
    return Spelling(name_of, merged, notes)


def in_order(names: Iterable[str]) -> list[str]:
    """Sorts the names of classes: numbers by value, words without regard to case.

    Args:
        names: all different; by value only if every one is a number.
    """
    names = list(names)
    if all(_NUMBER.fullmatch(name) or _is_padded_number(name) for name in names):
        return sorted(names, key=lambda name: (Decimal(name.replace(",", ".")), name))
    return sorted(names, key=lambda name: (name.casefold(), name))


def listed(names: Sequence[str], counts: Mapping[str, int]) -> str:
    """Returns labels with their numbers of rows, the first 20 of them, for an error."""
    shown = ", ".join(f"{name!r} ({counts[name]:,})" for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _meaning(label: str) -> Hashable:
    """Equal for labels that people do not tell apart."""
    plain = label.strip()
    if _NUMBER.fullmatch(plain):
        return Decimal(plain.replace(",", "."))
    return " ".join(unicodedata.normalize("NFKC", plain).casefold().split())


def _is_padded_number(name: str) -> bool:
    return name.removeprefix("-").isascii() and name.removeprefix("-").isdecimal()


def _plain_numbers(names: set[str]) -> dict[str, str]:
    """New names where all are numbers: 1.0 becomes 1, and a decimal comma a point."""
    if not all(_NUMBER.fullmatch(name) for name in names):
        return {}
    has_point = any("." in name for name in names)
    renamed = {}
    for name in sorted(names):
        if "," in name and (has_point or not _DECIMAL_COMMA.fullmatch(name)):
            return {}
        plain = whole[1] if (whole := _WHOLE.fullmatch(name)) else name.replace(",", ".")
        if plain != name:
            renamed[name] = plain
    return renamed if len({renamed.get(name, name) for name in names}) == len(names) else {}
