"""The pictures about predictions: confusion, reliability, ROC, precision and recall, lengths."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from llm_lightning.reporting.study import scores
from llm_lightning.reporting.study.axis import Axis
from llm_lightning.reporting.study.charts import percent
from llm_lightning.reporting.study.data_card import Lengths
from llm_lightning.reporting.study.rows import Row
from llm_lightning.reporting.study.runs import Predictions
from llm_lightning.reporting.study.svg import Plot, cut

MAX_NUMBERED = 8
"""Most classes whose confusion matrix has numbers in its cells."""

MAX_COLOURED = 6
"""Most curves that can be told apart by colour; the others are drawn pale."""


def confusion(row: Row) -> Markup | None:
    """True against predicted class, all seeds together; None without predictions."""
    names: list[str] = row.first.summary["class_names"]
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    for run in row.runs:
        if run.predictions is not None:
            np.add.at(counts, (run.predictions.truth, run.predictions.predicted), 1)
    if not counts.sum():
        return None
    side = max(18.0, 150 / len(names))
    plot = Plot(
        60 + side * len(names),
        48 + side * len(names),
        Axis(0, 1, ticks=[]),
        Axis(0, 1, ticks=[]),
        f"Confusion matrix of {row.label}",
    )
    totals = counts.sum(axis=1)
    for truth, predicted in np.ndindex(*counts.shape):
        count = int(counts[truth, predicted])
        share = count / totals[truth] if totals[truth] else 0.0
        x, y = 56 + side * predicted, 4 + side * truth
        css = "cell" if truth == predicted else "cell wrong"
        plot.box((x, y), (side - 3, side - 3), css, 0.08 + 0.62 * share)
        if len(names) <= MAX_NUMBERED:
            middle = x + side / 2 - 1.5
            plot.text(middle, y + side / 2 + 1, f"{count:,}", anchor="middle", css="number")
            if side > 40:
                plot.text(
                    middle, y + side / 2 + 16, f"{100 * share:.1f} %", anchor="middle", css="tick"
                )
    for index, name in enumerate(names) if len(names) <= MAX_NUMBERED else ():
        centre = side * (index + 0.5)
        plot.text(50, 6 + centre, cut(name, 8), anchor="end", css="tick")
        plot.text(54 + centre, 20 + side * len(names), cut(name, 8), anchor="middle", css="tick")
    plot.text(plot.width / 2 + 26, plot.height - 6, "predicted", anchor="middle", css="name")
    return plot.render()


def reliability(row: Row, calibration: scores.Calibration) -> Markup:
    """Share of right answers over confidence; a point's size grows with its examples."""
    plot = Plot(
        230,
        220,
        Axis(0, 1, "confidence (%)", write=percent),
        Axis(0, 1, "right (%)", write=percent),
        f"Reliability of {row.label}",
        left=46,
        right=10,
    )
    plot.axes()
    plot.line([(0, 0), (1, 1)], "muted", "dashed")
    points = list(zip(calibration.confidence.tolist(), calibration.accuracy.tolist(), strict=True))
    plot.line(points, "series-1")
    most = calibration.counts.max()
    for (confidence, accuracy), count in zip(points, calibration.counts.tolist(), strict=True):
        tip = f"{count} examples: {100 * confidence:.0f} % sure, {100 * accuracy:.0f} % right"
        radius = 2.5 + 4.5 * float(np.sqrt(count / most))
        plot.dot(confidence, accuracy, "series-1", radius=radius, tip=tip)
    return plot.render()


def score_curves(
    rows: Sequence[Row], which: str, predictions: dict[int, Predictions]
) -> tuple[Markup, list[tuple[str, str, float]]] | None:
    """ROC or precision-recall of each row's lowest seed in one picture.

    Args:
        rows: the first few get colours of their own.
        which: ``roc`` or ``precision_recall``.
        predictions: those to draw, by a row's number.

    Returns:
        The picture, and colour, name and area of each curve; None if there is none.
    """
    drawn = [row for row in rows if row.number in predictions]
    if not drawn:
        return None
    is_roc = which == "roc"
    names = ("False positive rate (%)", "True positive rate (%)")
    x_name, y_name = names if is_roc else ("Recall (%)", "Precision (%)")
    plot = Plot(
        380,
        360,
        Axis(0, 1, x_name, write=percent),
        Axis(0, 1, y_name, write=percent),
        "ROC curves" if is_roc else "Precision over recall",
    )
    plot.axes()
    if is_roc:
        plot.line([(0, 0), (1, 1)], "muted", "dashed")
    legend = []
    for place, row in reversed([*enumerate(drawn)]):
        color = f"series-{place + 1}" if place < MAX_COLOURED else "muted"
        curve = getattr(scores, which)(predictions[row.number])
        points = list(zip(curve.x.tolist(), curve.y.tolist(), strict=True))
        tip = f"{row.numbered}: {curve.area:.3f}"
        plot.line(points, color, "line" if place < MAX_COLOURED else "pale", tip)
        legend.append((color, row.numbered, curve.area))
    return plot.render(), legend[::-1]


def lengths(found: Lengths, bin_width: int, most: float) -> Markup:
    """How long a class's messages are.

    Args:
        found: the class.
        bin_width: characters in a bin.
        most: the highest share of any class's bin, which the upper end stands for.
    """
    last = bin_width * len(found.histogram)
    plot = Plot(
        340,
        150,
        Axis(0, last, "characters (the last bar: and more)"),
        Axis(0, most, write=percent),
        f"Lengths of {found.class_name}",
        left=34,
    )
    plot.axes(y_ticks=3)
    for index, share in enumerate(found.histogram):
        x, y = plot.at(index * bin_width, share)
        end, base = plot.at((index + 1) * bin_width, 0)
        if share:
            plot.box((x + 0.5, y), (end - x - 1, base - y), "bar", 0.75)
    return plot.render()
