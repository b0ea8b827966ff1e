"""F1 of a finished classifier on its test split, from the predictions in its folder."""

import math
from pathlib import Path

from llm_lightning.reporting.read.run_tables import read_predictions
from llm_lightning.run_format.class_metrics import class_metrics
from llm_lightning.run_format.files import PREDICTIONS
from llm_lightning.run_format.run_facts import Score
from llm_lightning.run_format.summary import Summary
from llm_lightning.statistics.f1 import f1_interval, macro_f1_interval


def f1_on_test(run: Path, summary: Summary) -> dict[str, Score]:
    """Returns F1 on the test split with its interval, by name; nothing where there is none.

    Of two classes it is that of the second one, else the mean over the classes that occur.

    Args:
        run: a run folder.
        summary: the run's.

    Raises:
        ValueError: if the file with the predictions is damaged.
    """
    file = run / PREDICTIONS
    if summary.kind != "classification" or not file.is_file():
        return {}
    try:
        found = read_predictions(run, summary.class_names)
    except ValueError as error:
        raise ValueError(f"{file}: {error}; without this file the card has no F1") from error
    metrics = class_metrics(found.truth, found.predicted, found.class_names)
    name, mean = "macro F1", metrics.macro()["f1"]
    interval = macro_f1_interval(found.truth, found.predicted)
    if len(found.class_names) == 2:
        name, mean = "F1", float(metrics.f1[1])
        interval = f1_interval(found.truth, found.predicted)
    if interval is None or math.isnan(mean):
        return {}
    return {name: Score(mean=mean, low=interval.low, high=interval.high, n=len(found.truth))}
