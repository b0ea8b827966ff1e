"""ROC and precision-recall curves, and the numbers beside them."""

import logging

import numpy as np
import pandas as pd
import pytest
from reporting.figure_runs import (
    ALL,
    SUMMARY,
    TWO_CLASSES,
    annotations,
    assert_nothing_leaves_the_page,
    legend_texts,
    made_predictions,
    three_classes,
    write_run,
)
from sklearn.metrics import average_precision_score, roc_auc_score

from llm_lightning.reporting.analyse.threshold_curves import class_curves, mean_curve
from llm_lightning.reporting.draw import run_figures, style


def test_one_class_in_the_test_split_skips_roc_and_pr(tmp_path, caplog):
    ham_only = TWO_CLASSES[TWO_CLASSES["label"] == "ham"]
    with caplog.at_level(logging.WARNING):
        figures = run_figures.figures(write_run(tmp_path, metrics=None, predictions=ham_only))
    assert list(figures) == ["confusion_matrix"]
    assert annotations(figures["confusion_matrix"]) == ["1\n50.0%", "1\n50.0%", "0\nn/a", "0\nn/a"]
    assert caplog.messages == [
        "last_block, seed 123: no ROC and PR curves, the test split has only one class"
    ]


def test_probabilities_that_are_not_finite_skip_roc_and_pr(tmp_path, caplog):
    predictions = TWO_CLASSES.assign(probability_spam=[0.9, 0.6, 0.4, "nan"])
    figures = run_figures.figures(write_run(tmp_path, metrics=None, predictions=predictions))
    assert list(figures) == ["confusion_matrix"]
    assert "probabilities that are not finite" in caplog.text


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


def test_two_class_figures_have_area_and_chance_in_the_legend(tmp_path):
    figures = run_figures.figures(write_run(tmp_path))
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


def test_three_classes_are_each_drawn_against_the_rest_with_their_average(tmp_path):
    predictions, truth, scores, names = three_classes()
    summary = SUMMARY | {"class_names": names}
    run_dir = write_run(tmp_path, predictions=predictions, summary=summary)
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


def test_a_class_absent_from_the_test_split_has_no_curve(tmp_path, caplog):
    predictions, _, _, names = three_classes()
    predictions = predictions[predictions["label"] != "1"]
    summary = SUMMARY | {"class_names": names}
    figures = run_figures.figures(write_run(tmp_path, predictions=predictions, summary=summary))
    entries = [entry.rsplit(" ", 1)[0] for entry in legend_texts(figures["roc"])]
    assert entries == ["None", "cash $ or $", "macro average", "chance"]
    assert caplog.messages == ["last_block, seed 123: no curves for classes absent from test: '1'"]


@pytest.mark.parametrize("num_classes", [12, 40])
def test_of_many_classes_the_most_frequent_are_drawn_and_the_page_grows(tmp_path, num_classes):
    names = [f"a class with a long name {index}" for index in range(num_classes)]
    # Classes 0 and 1 are the rarest.
    truth = np.repeat(np.arange(num_classes), [1, 1] + [3] * (num_classes - 2))
    scores = np.random.default_rng(0).dirichlet(np.ones(num_classes), size=len(truth))
    labels = np.array(names)[truth]
    predictions = pd.DataFrame({"text": "-", "label": labels, "predicted": labels})
    predictions[[f"probability_{name}" for name in names]] = scores
    summary = SUMMARY | {"class_names": names, "fallbacks": ["fallback"]}
    figures = run_figures.figures(
        write_run(tmp_path, metrics=None, predictions=predictions, summary=summary)
    )
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
