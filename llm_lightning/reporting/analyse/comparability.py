"""Which rows of a test set may be compared although something unavailable was replaced.

Rows of a test set have the same test items, so a fallback of the data concerns all of them alike.
What remains are the weights: a network whose weights were replaced is not the network that its row
is named after. It is compared with networks whose weights were replaced in the same way, and with
those that were meant to start from the weights that replaced its own. Baselines have no weights.
"""

import re

from llm_lightning.reporting.analyse.rows import Row, find_row
from llm_lightning.reporting.read.run_record import RunRecord

# Every other fallback counts as one of weights: it is safer not to compare than to compare wrongly.
_DATA = re.compile(r"The (embedded|packaged) (messages|instructions)\b")


def fallback_obstacle(row: Row, reference: Row) -> str | None:
    """Why fallbacks forbid to compare two rows of a test set; None if they do not."""
    if row is reference or row.is_baseline or reference.is_baseline:
        return None
    own, others = _replaced_weights(row), _replaced_weights(reference)
    if own is None or others is None:
        return "fallbacks replaced the weights of some seeds only"
    if own == others:
        return None
    if own and others:
        return "fallbacks replaced other weights than those of the reference"
    if _sources(row) == _sources(reference):
        return None
    return (
        "a fallback replaced its weights, but not those of the reference"
        if own
        else "a fallback replaced the weights of the reference, but not its own"
    )


def comparable_rows(rows: list[Row], reference: Row | None) -> list[Row]:
    """The rows that fallbacks do not forbid to compare with a reference; all without one."""
    return [row for row in rows if reference is None or not fallback_obstacle(row, reference)]


def default_reference(rows: list[Row]) -> Row | None:
    """The row to compare others with: row_01, else last_block, else the first network.

    If that row's weights were replaced and it cannot be compared with networks whose weights were
    not, it is one of these.
    """
    networks = [row for row in rows if not row.is_baseline]
    chosen = _best_known(networks or rows)
    intact = [row for row in networks if _replaced_weights(row) == frozenset()]
    if len(comparable_rows(intact, chosen)) == len(intact):
        return chosen
    return _best_known(intact)


def _best_known(rows: list[Row]) -> Row | None:
    for name in ("row_01", "last_block"):
        if found := find_row(rows, name):
            return found
    return rows[0] if rows else None


def _replaced_weights(row: Row) -> frozenset[str] | None:
    """What was replaced besides the data; None if that differs between the row's seeds."""
    found = {_without_data(run) for run in row.runs}
    return found.pop() if len(found) == 1 else None


def _without_data(run: RunRecord) -> frozenset[str]:
    return frozenset(line for line in run.fallbacks if not _DATA.match(line))


def _sources(row: Row) -> set[str]:
    weights = [run.summary.weights for run in row.runs]
    return {found.source if found else "" for found in weights}
