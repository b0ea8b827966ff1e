"""Run folders to draw, small enough that every drawn number is known, and what a figure shows."""

import json

import numpy as np
import pandas as pd

from llm_lightning.reporting.read.run_record import Predictions

ALL = ["loss", "accuracy", "confusion_matrix", "roc", "precision_recall"]

# Four steps an epoch, each second step logged; 8 examples a step. Rows as Lightning writes them.
METRICS = """\
epoch,lr-AdamW,step,test/accuracy,train/accuracy,train/epoch_loss,train/loss,val/accuracy,val/loss
,0.0005,1,,,,,,
0,,1,,,,0.9,,
0,,3,,,,0.5,,
0,,3,,,,,0.75,0.6
0,,3,,0.625,0.7,,,
1,,5,,,,0.4,,
1,,7,,,,0.2,,
1,,7,,,,,0.875,0.3
1,,7,,0.9375,0.25,,,
2,,8,0.5,,,,,
"""

SUMMARY = {
    "name": "last_block",
    "seed": 123,
    "kind": "classification",
    "responses": None,
    "class_names": ["ham", "spam"],
    "examples_per_epoch": 32,
    "steps_per_epoch": 4,
    "metrics": {"train": {}, "val": {}, "test": {"accuracy": 0.5}},
    "fallbacks": [],
    "evaluated_examples": {"train": 4, "val": 4, "test": 4},
    "data": {
        "splits": {s: {"examples": 4, "sha256": "a" * 64} for s in ("train", "val", "test")},
    },
    "parameters": {"trainable": 10, "total": 20},
    "seconds": {"total": 3.0, "training": 1.0, "validation": 1.0, "evaluation": 1.0},
    "device": "cpu",
    "precision": "32-true",
    "versions": {},
    "finished_at": "2026-01-02T03:04:05+00:00",
}

# Ranked by score the labels read spam, ham, spam, ham.
TWO_CLASSES = pd.DataFrame(
    {
        "text": ['win, "now"', "hi", "None", "ok"],
        "label": ["spam", "ham", "spam", "ham"],
        "predicted": ["spam", "spam", "ham", "ham"],
        "probability_ham": [0.1, 0.4, 0.6, 0.8],
        "probability_spam": [0.9, 0.6, 0.4, 0.2],
    }
)


def write_run(folder, metrics=METRICS, predictions=TWO_CLASSES, summary=SUMMARY):
    """Writes ``my_run``, without the files that are None."""
    run_dir = folder / "my_run"
    run_dir.mkdir()
    if metrics is not None:
        (run_dir / "metrics.csv").write_text(metrics)
    if predictions is not None:
        predictions.to_csv(run_dir / "predictions_test.csv", index=False)
    if summary is not None:
        (run_dir / "summary.json").write_text(json.dumps(summary))
    return run_dir


def three_classes(num=90):
    rng = np.random.default_rng(0)
    names = np.array(["None", "1", "cash $ or $"])  # names that readers and formulas trip over
    truth = rng.integers(3, size=num)
    scores = rng.dirichlet([1, 1, 1], size=num) + 0.4 * np.eye(3)[truth]
    scores = np.round(scores / scores.sum(axis=1, keepdims=True), 2)  # rounded: with ties
    columns = {f"probability_{name}": scores[:, index] for index, name in enumerate(names)}
    predicted = names[scores.argmax(axis=1)]
    table = pd.DataFrame({"text": "-", "label": names[truth], "predicted": predicted} | columns)
    return table, truth, scores, names.tolist()


def made_predictions(truth, scores, names):
    texts = ["-"] * len(truth)
    return Predictions(names, texts, truth, np.asarray(scores).argmax(axis=1), np.asarray(scores))


def texts(figure):
    return [text.get_text() for text in figure.texts]


def annotations(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def legend_texts(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def assert_nothing_leaves_the_page(figure):
    figure.draw_without_rendering()
    page, renderer = figure.bbox, figure.canvas.get_renderer()
    for artist in [*figure.texts, *figure.axes]:
        box = artist.get_tightbbox(renderer)
        assert page.x0 <= box.x0, artist
        assert page.y0 <= box.y0, artist
        assert box.x1 <= page.x1, artist
        assert box.y1 <= page.y1, artist
