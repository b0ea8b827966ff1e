"""Texts that are nearly the same, within a split and across splits.

Two texts are near-duplicates if their sets of five characters in a row overlap (Jaccard
similarity) by a given share or more. MinHash (Broder 1997) with locality-sensitive hashing finds
the candidates, whose similarity is then computed exactly. A pair of similarity 0.8 is missed with a
probability of less than one in a million, one of 0.6 with about one in a hundred.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import pandas as pd

from llm_lightning.evaluation.audit.equal_texts import normalized
from llm_lightning.run_format.audit_files import (
    LABEL,
    OTHER_LABEL,
    OTHER_ROW,
    OTHER_SPLIT,
    OTHER_TEXT,
    ROW,
    SIMILARITY,
    SPLIT,
    TEXT,
    WHERE,
)

SHINGLE = 5
"""Characters in a row."""

_BANDS, _ROWS = 32, 4
_COLUMNS = (
    WHERE, SPLIT, ROW, LABEL, OTHER_SPLIT, OTHER_ROW, OTHER_LABEL, SIMILARITY, TEXT, OTHER_TEXT,
)  # fmt: skip


def near_duplicates(table: pd.DataFrame, similarity: float) -> pd.DataFrame:
    """Lists each text that is nearly the same as an earlier one.

    Earlier are the rows before it in its split (``within``) and those of the splits before its own
    (``across``), in the order in which splits first occur. A text has at most one line for each of
    these splits, with the most similar text there, the first of several.

    Args:
        table: with columns ``split``, ``row``, ``label`` and ``text``.
        similarity: least Jaccard similarity, at most 1; below 0.6 too many pairs are missed.

    Returns:
        A row a line, across splits first, then the most similar first.
    """
    keys, unique = pd.factorize(table[TEXT].map(normalized))
    neighbours: dict[int, list[tuple[int, float]]] = {}
    for one, other, found in similar_pairs(unique.tolist(), similarity):
        neighbours.setdefault(one, []).append((other, found))
        neighbours.setdefault(other, []).append((one, found))
    splits = list(dict.fromkeys(table[SPLIT]))
    rows = table[[SPLIT, ROW, LABEL, TEXT]].to_dict("records")
    first: dict[tuple[str, int], int] = {}  # where a text first occurs in a split
    lines: list[dict[str, Any]] = []
    for position, (row, key) in enumerate(zip(rows, keys.tolist(), strict=True)):
        near = [(key, 1.0), *neighbours.get(key, [])]
        for split in splits[: splits.index(row[SPLIT]) + 1]:
            places = [(first[split, k], s) for k, s in near if (split, k) in first]
            if places:
                place, found = max(places, key=lambda pair: (pair[1], -pair[0]))
                lines.append(_line(row, rows[place], found))
        first.setdefault((row[SPLIT], key), position)
    return pd.DataFrame(lines, columns=_COLUMNS).sort_values(
        [WHERE, SIMILARITY], ascending=[True, False], kind="stable"
    )


def _line(row: dict[Any, Any], other: dict[Any, Any], similarity: float) -> dict[str, Any]:
    where = "within" if row[SPLIT] == other[SPLIT] else "across"
    others = {f"other_{column}": value for column, value in other.items()}
    return {WHERE: where, SIMILARITY: similarity, **row, **others}


def similar_pairs(texts: Sequence[str], similarity: float) -> Iterator[tuple[int, int, float]]:
    """Yields the positions of similar texts, the earlier first, with their exact similarity.

    Args:
        texts: normalized, each different.
        similarity: least Jaccard similarity.
    """
    # An extra.
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(num_perm=_BANDS * _ROWS, params=(_BANDS, _ROWS))
    shingles_of = lru_cache(maxsize=4096)(shingles)
    encoded = ([one.encode() for one in shingles(text)] for text in texts)
    for position, sketch in enumerate(MinHash.generator(encoded, num_perm=_BANDS * _ROWS, seed=1)):
        own = shingles_of(texts[position])
        for other in sorted(index.query(sketch)):
            others = shingles_of(texts[other])
            found = len(own & others) / len(own | others)
            if found >= similarity:
                yield other, position, found
        index.insert(position, sketch)


def shingles(text: str) -> frozenset[str]:
    """All strings of ``SHINGLE`` characters in a text; a shorter text as a whole."""
    if len(text) <= SHINGLE:
        return frozenset([text])
    return frozenset(text[at : at + SHINGLE] for at in range(len(text) - SHINGLE + 1))
