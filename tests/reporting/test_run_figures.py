"""The figures of fabricated runs: what they show, not only that they exist."""

import json
import logging
import struct
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text
from sklearn.metrics import average_precision_score, roc_auc_score

from llm_lightning.reporting.analyse.learning_curves import learning_curve
from llm_lightning.reporting.analyse.threshold_curves import class_curves, mean_curve
from llm_lightning.reporting.draw import run_figures, style
from llm_lightning.reporting.draw.confusion_figures import confusion_counts
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


@pytest.fixture
def make_run(tmp_path):
    def make(metrics=METRICS, predictions=TWO_CLASSES, summary=SUMMARY):
        run_dir = tmp_path / "my_run"
        run_dir.mkdir()
        if metrics is not None:
            (run_dir / "metrics.csv").write_text(metrics)
        if predictions is not None:
            predictions.to_csv(run_dir / "predictions_test.csv", index=False)
        if summary is not None:
            (run_dir / "summary.json").write_text(json.dumps(summary))
        return run_dir

    return make


def texts(figure):
    return [text.get_text() for text in figure.texts]


def annotations(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def legend_texts(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def png_size(path):
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", head[16:])


def assert_nothing_leaves_the_page(figure):
    figure.draw_without_rendering()
    page, renderer = figure.bbox, figure.canvas.get_renderer()
    for artist in [*figure.texts, *figure.axes]:
        box = artist.get_tightbbox(renderer)
        assert page.x0 <= box.x0, artist
        assert page.y0 <= box.y0, artist
        assert box.x1 <= page.x1, artist
        assert box.y1 <= page.y1, artist


def test_a_finished_run_has_five_pictures_of_the_same_size(make_run):
    run_dir = make_run()
    written = run_figures.plot_run(run_dir)
    assert written == [run_dir / "plots" / f"{name}.png" for name in ALL]
    assert set((run_dir / "plots").iterdir()) == set(written)
    assert {png_size(path) for path in written} == {(1050, 630)}


def test_the_same_run_gives_the_same_bytes(make_run):
    run_dir = make_run()
    first = [path.read_bytes() for path in run_figures.plot_run(run_dir)]
    assert [path.read_bytes() for path in run_figures.plot_run(run_dir)] == first


def test_pyplot_and_slow_libraries_are_never_imported(make_run):
    code = (
        "import pathlib, sys; "
        "from llm_lightning.reporting.draw.run_figures import plot_run; "
        "assert len(plot_run(pathlib.Path(sys.argv[1]))) == 5; "
        "print([name for name in ('matplotlib.pyplot', 'sklearn', 'torch') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(make_run())]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_learning_curve_places_steps_and_epochs(tmp_path):
    (tmp_path / "metrics.csv").write_text(METRICS)
    curve = learning_curve(pd.read_csv(tmp_path / "metrics.csv"), steps_per_epoch=4)
    assert curve.index.name == "epochs_done"
    assert {name: curve[name].dropna().to_dict() for name in curve} == {
        "step_loss": {0.5: 0.9, 1.0: 0.5, 1.5: 0.4, 2.0: 0.2},
        "train_loss": {1.0: 0.7, 2.0: 0.25},
        "val_loss": {1.0: 0.6, 2.0: 0.3},
        "train_accuracy": {1.0: 0.625, 2.0: 0.9375},
        "val_accuracy": {1.0: 0.75, 2.0: 0.875},
        "response_loss": {},
        "perplexity": {},
    }


def test_learning_curve_keeps_the_last_of_a_repeated_epoch_and_only_finite_values():
    metrics = pd.DataFrame(
        {
            "epoch": [0, 0, 1, 2],
            "step": [3, 3, 7, 11],
            "val/loss": [0.9, 0.6, np.inf, 0.3],
        }
    )
    curve = learning_curve(metrics, steps_per_epoch=4)
    assert curve["val_loss"].to_dict() == {1.0: 0.6, 3.0: 0.3}
    assert curve.drop(columns="val_loss").isna().all(axis=None)


def test_learning_curve_without_steps_per_epoch_has_no_steps():
    metrics = pd.DataFrame({"epoch": [0], "step": [3], "train/loss": [0.5], "val/loss": [0.6]})
    curve = learning_curve(metrics, None)
    assert curve["step_loss"].isna().all()
    assert curve["val_loss"].to_dict() == {1.0: 0.6}
    with pytest.raises(ValueError, match="steps_per_epoch must be at least 1, got 0"):
        learning_curve(metrics, 0)


def test_loss_figure_draws_the_curves_with_both_axes(make_run):
    figure = run_figures.figures(make_run())["loss"]
    axes = figure.axes[0]
    steps, train, val = axes.lines
    assert np.array(steps.get_data()).tolist() == [[0.5, 1.0, 1.5, 2.0], [0.9, 0.5, 0.4, 0.2]]
    assert np.array(train.get_data()).tolist() == [[1.0, 2.0], [0.7, 0.25]]
    assert np.array(val.get_data()).tolist() == [[1.0, 2.0], [0.6, 0.3]]
    assert steps.get_linewidth() < train.get_linewidth() == val.get_linewidth()
    assert [to_hex(line.get_color()).upper() for line in (train, val)] == [
        "#0072B2",
        "#D55E00",
    ]
    assert annotations(figure) == ["train, single steps", "train 0.250", "validation 0.300"]
    assert axes.get_xticks().tolist() == [0, 1, 2]
    top = axes.child_axes[0]
    assert top.get_xticks().tolist() == [0, 1, 2]
    assert [label.get_text() for label in top.get_xticklabels()] == ["0", "32", "64"]
    assert [axes.get_xlabel(), top.get_xlabel()] == ["Epochs done", "Training examples seen"]


def test_the_highest_loss_is_below_the_upper_end_of_its_axis(make_run):
    """Also where losses hardly vary, so that a margin in proportion to their range is too small."""
    metrics = "epoch,step,train/loss,val/loss\n0,1,0.70,\n0,3,0.69,\n0,3,,0.68\n"
    axes = run_figures.figures(make_run(metrics=metrics))["loss"].axes[0]
    assert axes.get_ylim() == pytest.approx((0, 1.08 * 0.7))


def test_accuracy_figure_shows_the_test_accuracy_as_a_level_line(make_run):
    figure = run_figures.figures(make_run())["accuracy"]
    train, val, test = figure.axes[0].lines
    assert train.get_ydata().tolist() == [0.625, 0.9375]
    assert val.get_ydata().tolist() == [0.75, 0.875]
    assert list(test.get_ydata()) == [0.5, 0.5]
    assert annotations(figure) == ["train 93.8%", "validation 87.5%", "test 50.0%"]
    assert figure.axes[0].get_ylim() == (0.4, 1.0)


def test_each_figure_names_run_and_seed_and_a_footnote_only_with_fallbacks(make_run):
    run_dir = make_run()
    figures = run_figures.figures(run_dir)
    assert list(figures) == ALL
    for figure in figures.values():
        assert texts(figure)[1:] == ["last_block, seed 123"]
    fallbacks = ["packaged messages instead of the SMS Spam Collection"]
    (run_dir / "summary.json").write_text(json.dumps(SUMMARY | {"fallbacks": fallbacks}))
    figures = run_figures.figures(run_dir)
    assert list(figures) == ALL
    for figure in figures.values():
        assert texts(figure)[1:] == [
            "last_block, seed 123",
            "fallback data or weights: not comparable with published numbers",
        ]
        assert_nothing_leaves_the_page(figure)


def test_without_predictions_only_the_learning_curves_are_drawn(make_run):
    written = run_figures.plot_run(make_run(predictions=None))
    assert [path.name for path in written] == ["loss.png", "accuracy.png"]


def test_without_metrics_only_the_predictions_are_drawn(make_run):
    written = run_figures.plot_run(make_run(metrics=None))
    assert [path.stem for path in written] == ALL[2:]


def test_without_summary_a_run_is_drawn_and_called_unfinished(make_run):
    figures = run_figures.figures(make_run(summary=None))
    assert list(figures) == ALL
    for figure in figures.values():
        assert texts(figure)[1:] == ["my_run", "unfinished run: there is no summary.json"]
    assert annotations(figures["loss"]) == ["train 0.250", "validation 0.300"]
    assert figures["loss"].axes[0].child_axes == []
    assert legend_texts(figures["roc"])[0] == "spam 0.750"


@pytest.mark.parametrize("metrics", ["", "epoch,step,lr-AdamW\n", "epoch,step,lr-AdamW\n0,1,0.1\n"])
def test_a_run_that_has_logged_no_curve_yet_has_no_pictures(make_run, metrics):
    run_dir = make_run(metrics=metrics, predictions=None, summary=None)
    assert run_figures.plot_run(run_dir) == []
    assert not (run_dir / "plots").exists()


def test_part_of_an_epoch_is_drawn_to_its_last_step(make_run):
    metrics = "epoch,step,train/loss\n0,0,0.9\n0,1,0.7\n"
    figures = run_figures.figures(make_run(metrics=metrics, predictions=None))
    assert list(figures) == ["loss"]
    assert figures["loss"].axes[0].get_xlim() == (0, 0.5)


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the run's folder must exist, got .*nowhere"):
        run_figures.plot_run(tmp_path / "nowhere")


def test_one_class_in_the_test_split_skips_roc_and_pr(make_run, caplog):
    ham_only = TWO_CLASSES[TWO_CLASSES["label"] == "ham"]
    with caplog.at_level(logging.WARNING):
        figures = run_figures.figures(make_run(metrics=None, predictions=ham_only))
    assert list(figures) == ["confusion_matrix"]
    assert annotations(figures["confusion_matrix"]) == ["1\n50.0%", "1\n50.0%", "0\nn/a", "0\nn/a"]
    assert caplog.messages == [
        "last_block, seed 123: no ROC and PR curves, the test split has only one class"
    ]


def test_probabilities_that_are_not_finite_skip_roc_and_pr(make_run, caplog):
    predictions = TWO_CLASSES.assign(probability_spam=[0.9, 0.6, 0.4, "nan"])
    figures = run_figures.figures(make_run(metrics=None, predictions=predictions))
    assert list(figures) == ["confusion_matrix"]
    assert "probabilities that are not finite" in caplog.text


def test_no_predictions_at_all_are_not_drawn(make_run, caplog):
    assert run_figures.plot_run(make_run(metrics=None, predictions=TWO_CLASSES.iloc[:0])) == []
    assert "there are no test predictions to draw" in caplog.text


def test_predictions_that_break_their_contract_are_an_error(make_run):
    run_dir = make_run(predictions=TWO_CLASSES.replace({"label": {"ham": "eggs"}}))
    with pytest.raises(ValueError, match=r"label must be one of \['ham', 'spam'\], got 'eggs'"):
        run_figures.plot_run(run_dir)
    TWO_CLASSES.drop(columns="probability_ham").to_csv(run_dir / "predictions_test.csv")
    with pytest.raises(ValueError, match=r"test.csv: there must be a column 'probability_ham'"):
        run_figures.plot_run(run_dir)


def test_confusion_counts_have_true_classes_as_rows():
    truth, predicted = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0])
    counts = confusion_counts(made_predictions(truth, np.eye(2)[predicted], ["ham", "spam"]))
    assert counts.tolist() == [[1, 1], [1, 2]]


def test_confusion_figure_shows_counts_and_row_percentages(make_run):
    predictions = pd.concat([TWO_CLASSES, TWO_CLASSES.iloc[[0]]])
    figure = run_figures.figures(make_run(predictions=predictions))["confusion_matrix"]
    assert annotations(figure) == ["1\n50.0%", "1\n50.0%", "1\n33.3%", "2\n66.7%"]
    assert texts(figure)[0] == "Confusion matrix, 5 test examples"


def test_two_classes_have_one_curve_of_the_second():
    truth = np.array([1, 0, 1, 0])
    scores = TWO_CLASSES[["probability_ham", "probability_spam"]].to_numpy()
    predictions = made_predictions(truth, scores, ["ham", "spam"])
    (roc,) = class_curves("roc", predictions)
    assert (roc.name, roc.area, roc.prevalence) == ("spam", 0.75, 0.5)
    assert roc.x.tolist() == [0, 0, 0.5, 0.5, 1]
    assert roc.y.tolist() == [0, 0.5, 0.5, 1, 1]
    (pr,) = class_curves("precision_recall", predictions)
    assert (pr.name, pr.prevalence) == ("spam", 0.5)
    assert pr.x.tolist() == [0, 0.5, 1]
    assert pr.y == pytest.approx([1, 1, 2 / 3])
    assert pr.area == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_two_class_figures_have_area_and_chance_in_the_legend(make_run):
    figures = run_figures.figures(make_run())
    assert legend_texts(figures["roc"]) == ["spam 0.750", "chance 0.500"]
    assert legend_texts(figures["precision_recall"]) == ["spam 0.833", "prevalence 0.500"]
    assert list(figures["precision_recall"].axes[0].lines[1].get_ydata()) == [0.5, 0.5]
    assert figures["roc"].axes[0].get_legend().get_title().get_text() == "AUROC"


def test_areas_under_the_drawn_curves_are_the_numbers_in_the_legend():
    _, truth, scores, names = three_classes()
    predictions = made_predictions(truth, scores, names)
    rocs = class_curves("roc", predictions)
    prs = class_curves("precision_recall", predictions)
    assert [curve.name for curve in rocs] == [curve.name for curve in prs] == names
    for index, (roc, pr) in enumerate(zip(rocs, prs, strict=True)):
        positive, score = truth == index, scores[:, index]
        assert roc.area == pytest.approx(roc_auc_score(positive, score))
        assert pr.area == pytest.approx(average_precision_score(positive, score))
    macro_roc, macro_pr = mean_curve("roc", rocs), mean_curve("precision_recall", prs)
    assert macro_roc.area == pytest.approx(roc_auc_score(np.eye(3)[truth], scores))
    for roc in [*rocs, macro_roc]:
        assert np.trapezoid(roc.y, roc.x) == pytest.approx(roc.area, abs=1e-12)
    for pr in [*prs, macro_pr]:
        assert (np.diff(pr.x) * pr.y[1:]).sum() == pytest.approx(pr.area, abs=1e-12)


def test_three_classes_are_each_drawn_against_the_rest_with_their_average(make_run):
    predictions, truth, scores, names = three_classes()
    summary = SUMMARY | {"class_names": names}
    run_dir = make_run(predictions=predictions, summary=summary)
    figures = run_figures.figures(run_dir)
    assert list(figures) == ALL
    areas = [roc_auc_score(truth == index, scores[:, index]) for index in range(3)]
    assert legend_texts(figures["roc"]) == [
        f"None {areas[0]:.3f}",
        f"1 {areas[1]:.3f}",
        f"cash $ or $ {areas[2]:.3f}",  # shown as it is, not as a formula
        f"macro average {np.mean(areas):.3f}",
        "chance 0.500",
    ]
    assert legend_texts(figures["precision_recall"])[-1] == "mean prevalence 0.333"
    for figure in figures.values():
        assert_nothing_leaves_the_page(figure)
    assert [path.stem for path in run_figures.plot_run(run_dir)] == ALL


def test_a_class_absent_from_the_test_split_has_no_curve(make_run, caplog):
    predictions, _, _, names = three_classes()
    predictions = predictions[predictions["label"] != "1"]
    summary = SUMMARY | {"class_names": names}
    figures = run_figures.figures(make_run(predictions=predictions, summary=summary))
    entries = [entry.rsplit(" ", 1)[0] for entry in legend_texts(figures["roc"])]
    assert entries == ["None", "cash $ or $", "macro average", "chance"]
    assert caplog.messages == [
        "last_block, seed 123: no curves for classes absent from test: ['1']"
    ]


@pytest.mark.parametrize("num_classes", [12, 40])
def test_of_many_classes_the_most_frequent_are_drawn_and_the_page_grows(make_run, num_classes):
    names = [f"a class with a long name {index}" for index in range(num_classes)]
    # Classes 0 and 1 are the rarest.
    truth = np.repeat(np.arange(num_classes), [1, 1] + [3] * (num_classes - 2))
    scores = np.random.default_rng(0).dirichlet(np.ones(num_classes), size=len(truth))
    labels = np.array(names)[truth]
    predictions = pd.DataFrame({"text": "-", "label": labels, "predicted": labels})
    predictions[[f"probability_{name}" for name in names]] = scores
    summary = SUMMARY | {"class_names": names, "fallbacks": ["fallback"]}
    figures = run_figures.figures(make_run(metrics=None, predictions=predictions, summary=summary))
    lines = figures["roc"].axes[0].lines
    assert len(lines) == 10 + 2  # their average, chance
    looks = {(line.get_color(), line.get_linestyle()) for line in lines}
    assert len(looks) == len(lines)
    title = figures["roc"].axes[0].get_legend().get_title().get_text()
    assert title == f"AUROC\neach class against the rest\n10 most frequent of {num_classes} classes"
    first = class_curves("roc", made_predictions(truth, scores, names))[2]
    assert lines[0].get_ydata().tolist() == first.y.tolist()
    assert figures["confusion_matrix"].get_figheight() > style.SIZE[1]
    assert len(annotations(figures["confusion_matrix"])) == (144 if num_classes == 12 else 0)
    for figure in figures.values():
        assert_nothing_leaves_the_page(figure)


@pytest.mark.parametrize(
    ("heights", "placed"),
    [
        ([0.2, 0.8], [0.2, 0.8]),  # far enough apart
        ([0.5, 0.5], [0.45, 0.55]),  # apart by the gap, around their mean
        ([0.52, 0.48, 0.9], [0.55, 0.45, 0.9]),  # order kept
        ([1.0, 1.0, 0.99], [0.9, 1.0, 0.8]),  # pushed down from the edge
        ([0.0, 0.0], [0.0, 0.1]),  # pushed up from the edge
    ],
)
def test_spread_moves_names_apart_but_not_off_the_plot(heights, placed):
    assert style.spread(heights, 0.1, 0, 1) == pytest.approx(placed)


def test_plain_text_is_cut_and_has_no_characters_that_a_file_cannot_hold():
    assert style.plain("abcdef", limit=4) == "abc…"
    assert style.plain("a\x07b\ud800c\n$5", limit=20) == "a b c $5"


def test_names_in_dollars_are_no_formulas(make_run):
    predictions, _, _, names = three_classes()
    summary = SUMMARY | {"class_names": names, "name": "$x^2$ and $y$"}
    for figure in run_figures.figures(make_run(predictions=predictions, summary=summary)).values():
        shown = [text for text in figure.findobj(Text) if "$" in text.get_text()]
        assert shown
        assert not any(text.get_parse_math() for text in shown)


def test_baselines_are_in_the_accuracy_figure_alone(make_run):
    summary = SUMMARY | {
        "baselines": {"majority": {"accuracy": 0.5}, "naive_bayes": {"accuracy": 0.75}}
    }
    figures = run_figures.figures(make_run(summary=summary))
    *_, best = figures["accuracy"].axes[0].lines
    assert list(best.get_ydata()) == [0.75, 0.75]
    assert annotations(figures["accuracy"])[-1] == "best baseline 75.0%"
    assert texts(figures["accuracy"])[2] == (
        "test accuracy of baselines: majority 50.0%, naive bayes 75.0%"
    )
    assert_nothing_leaves_the_page(figures["accuracy"])
    assert len(texts(figures["loss"])) == 2
