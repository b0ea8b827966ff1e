"""How much networks differed on a test split, in the runs that are there already."""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from llm_lightning.dry_run.power import ASSUMED, Parts, mean_parts
from llm_lightning.reporting.analyse.comparability import fallback_obstacle
from llm_lightning.reporting.analyse.comparisons import difference_of
from llm_lightning.reporting.analyse.rows import Row, make_rows
from llm_lightning.reporting.read.run_folders import find_folders, read_run


@dataclass(frozen=True)
class Earlier:
    """What earlier runs say about the differences of planned ones."""

    parts: Parts
    num_pairs: int
    """Pairs of rows behind it; 0 if it is an assumption."""


def earlier_parts(runs_dir: Path, test_set: tuple[str, int]) -> Earlier:
    """Reads the classifiers' predictions of a test split.

    Args:
        runs_dir: where runs are; need not exist.
        test_set: fingerprint of the split, and how many of its items are evaluated.
    """
    read = [read_run(folder, shown)[0] for folder, shown in find_folders([runs_dir]).items()]
    runs = [run for run in read if run is not None and run.predictions is not None]
    runs = [run for run in runs if run.test_set == test_set]
    rows = [row for row in make_rows(runs) if not row.is_baseline]
    pairs = [pair for pair in combinations(rows, 2) if not fallback_obstacle(*pair)]
    with_seeds = [pair for pair in pairs if min(len(row.runs) for row in pair) > 1]
    found = [parts for pair in with_seeds or pairs if (parts := _parts(*pair))]
    if not found:
        return Earlier(ASSUMED, 0)
    return Earlier(mean_parts(found), len(found))


def _parts(first: Row, second: Row) -> Parts | None:
    """The parts of the variance of a difference; None if the rows are not on the same items."""
    difference = difference_of(first, second)
    if difference is None:
        return None
    variance = float(np.var(difference.items, ddof=1))
    if min(len(first.runs), len(second.runs)) < 2:
        # One seed does not tell luck from items, nor seeds from either: as is assumed elsewhere.
        share = variance / ASSUMED.discordance
        return Parts(0.0, share * ASSUMED.items, share * ASSUMED.luck)
    n, sides = difference.n, difference.seed_parts
    return Parts(
        seeds=sum((side.total - side.residual) * side.num_seeds for side in sides),
        items=variance - sum(side.residual * n for side in sides),
        luck=sum(side.residual * side.num_seeds * n for side in sides),
    )
