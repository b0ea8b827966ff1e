"""How rows learn: a small picture each, with a band over seeds."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup

from llm_lightning.reporting.study.axis import Axis
from llm_lightning.reporting.study.charts import percent
from llm_lightning.reporting.study.rows import Row
from llm_lightning.reporting.study.svg import Plot


def learning_curves(rows: Sequence[Row]) -> list[tuple[str, Markup]]:
    """A small picture a row: accuracy, or loss, over epochs; lines are means over seeds.

    Returns:
        Label and picture of each row that has a curve.
    """
    of_rows = [(row, _curves(row)) for row in rows]
    with_curves = [(row, curves) for row, curves in of_rows if curves]
    if not with_curves:
        return []
    everything = pd.concat([table for _, curves in with_curves for table in curves.values()])
    is_share = "accuracy" in with_curves[0][0].first.summary["metrics"]["test"]
    low, high = float(everything.min().min()), float(everything.max().max())
    low = max(0.0, np.floor(10 * low) / 10) if is_share else 0.0
    last = max(1.0, float(everything.index.max()))
    pictures = []
    for row, curves in with_curves:
        plot = Plot(
            250,
            160,
            Axis(0, last, "epochs", is_whole=True),
            Axis(low, 1.0, write=percent) if is_share else Axis(low, high * 1.02),
            f"Learning curve of {row.label}",
            left=34,
            right=10,
            bottom=36,
        )
        plot.axes(x_ticks=4, y_ticks=4)
        for (name, table), color in zip(curves.items(), ("series-1", "series-2"), strict=False):
            _learning_line(plot, name, table, color, is_share)
        pictures.append((row.numbered, plot.render()))
    return pictures


def _learning_line(plot: Plot, name: str, table: pd.DataFrame, color: str, is_share: bool) -> None:
    means = table.mean(axis=1)
    epochs = [float(epoch) for epoch in means.index]
    if table.shape[1] > 1:
        plot.band(epochs, table.min(axis=1).tolist(), table.max(axis=1).tolist(), color)
    points = list(zip(epochs, means.tolist(), strict=True))
    if len(points) > 1:
        plot.line(points, color)
    for epoch, mean in points if len(points) <= 12 else points[-1:]:
        value = f"{100 * mean:.2f} %" if is_share else f"{mean:.3f}"
        plot.dot(epoch, mean, color, radius=2.8, tip=f"{name}, epoch {epoch:g}: {value}")


def _curves(row: Row) -> dict[str, pd.DataFrame]:
    """Training and validation by epochs done; a column a seed. Empty if there are none."""
    for names in (
        {"training": "train/accuracy", "validation": "val/accuracy"},
        {"training": "train/epoch_loss", "validation": "val/response_loss"},
        {"training": "train/epoch_loss", "validation": "val/loss"},
    ):
        found = {}
        for name, metric in names.items():
            columns = [
                _by_epoch(run.curves, metric)
                for run in row.runs
                if run.curves is not None and metric in run.curves
            ]
            table = (
                pd.concat(columns, axis=1, keys=range(len(columns))) if columns else pd.DataFrame()
            )
            if not table.empty:
                found[name] = table
        if "validation" in found:
            return found
    return {}


def _by_epoch(curves: pd.DataFrame, metric: str) -> "pd.Series[float]":
    """The last finite value of each epoch, by epochs done."""
    values = curves[metric].astype(float)
    kept = np.isfinite(values)
    return values[kept].groupby(curves["epoch"][kept] + 1.0).last()
