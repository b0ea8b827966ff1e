"""Curves of a run that was interrupted and resumed."""

from pathlib import Path

import pandas as pd

from llm_lightning.run_format.files import CURVES, CURVES_BEFORE


def set_curves_aside(folder: Path, num_steps: int) -> None:
    """Keeps the curves of the first ``num_steps`` steps while an interrupted run is resumed.

    Lightning's logger starts its file anew.
    """
    files = [folder / name for name in (CURVES_BEFORE, CURVES) if (folder / name).is_file()]
    if not files:
        return
    curves = pd.concat([pd.read_csv(file) for file in files])
    curves[curves["step"] < num_steps].to_csv(folder / CURVES_BEFORE, index=False)
    (folder / CURVES).unlink(missing_ok=True)


def join_curves(folder: Path) -> None:
    """Puts what was set aside before the curves of the resumed run."""
    before, after = folder / CURVES_BEFORE, folder / CURVES
    if before.is_file():
        parts = [pd.read_csv(file) for file in (before, after) if file.is_file()]
        pd.concat(parts).sort_index(axis="columns").to_csv(after, index=False)
        before.unlink()
