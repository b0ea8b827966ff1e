"""Metrics by class and confusions, over seeds, and of more classes than a page can show."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import run_folders
from figure_runs import made_predictions
from sklearn.metrics import classification_report

from llm_lightning.reporting.analyse.classes import class_tables
from llm_lightning.reporting.analyse.confusions import count_confusions, in_words
from llm_lightning.reporting.analyse.study import read_study
from llm_lightning.reporting.draw import style
from llm_lightning.reporting.draw.confusion_figures import confusion_figure, confusion_panel
from llm_lightning.reporting.read.run_record import Predictions
from llm_lightning.reporting.render.report_folder import write_report
from llm_lightning.run_format.class_metrics import SCORES


def drawn(num_classes: int, num_present: int, seed: int = 0) -> Predictions:
    """Predictions of which about two in three are right."""
    random = np.random.default_rng(seed)
    truth = np.random.default_rng(0).integers(num_present, size=8 * num_present)
    guess = random.integers(num_classes, size=len(truth))
    predicted = np.where(random.random(len(truth)) < 0.65, truth, guess)
    scores = np.full((len(truth), num_classes), 0.1 / num_classes)
    scores[np.arange(len(truth)), predicted] += 0.9
    return made_predictions(truth, scores, [f"class {index}" for index in range(num_classes)])


def row_of(*runs: Predictions) -> SimpleNamespace:
    return SimpleNamespace(runs=[SimpleNamespace(predictions=one) for one in runs])


def test_means_over_seeds_equal_those_of_scikit_learns_reports() -> None:
    runs = [drawn(50, 43, seed) for seed in (1, 2)]
    (found,) = class_tables([row_of(*runs)])
    present = np.unique(runs[0].truth)
    reports = [
        classification_report(
            one.truth,
            one.predicted,
            labels=present,
            target_names=[one.class_names[index] for index in present],
            output_dict=True,
            zero_division=0,
        )
        for one in runs
    ]
    assert len(found.lines) == len(present)
    assert len(found.without_support) == 50 - len(present)
    for line in [*found.lines, found.macro, found.weighted]:
        key = line.name.replace("average", "avg")
        for score in SCORES:
            expected = [report[key][score.replace("f1", "f1-score")] for report in reports]
            assert getattr(line, score) == pytest.approx(np.mean(expected)), (key, score)
        assert line.support == reports[0][key]["support"]
    assert [line.f1 for line in found.lines] == sorted(line.f1 for line in found.lines)


def test_worst_confusions_are_counted_over_seeds_and_said_in_words() -> None:
    names = ["ham", "spam", "news"]
    first = made_predictions(np.array([0, 0, 1, 2]), np.eye(3)[[1, 0, 1, 1]], names)
    second = made_predictions(np.array([0, 0, 1, 2]), np.eye(3)[[1, 1, 1, 2]], names)
    found = count_confusions([first, second])
    assert [in_words(one) for one in found.worst(5)] == [
        "3 of 4 'ham' taken for 'spam'",
        "1 of 2 'news' taken for 'spam'",
    ]
    assert found.by_errors() == [1, 0, 2]
    assert found.matrix([1, 0]).tolist() == [[2, 0, 0], [3, 1, 0], [1, 0, 1]]  # the last: news


@pytest.mark.parametrize("num_classes", [50, 1000])
def test_many_classes_have_a_matrix_of_those_with_most_errors(num_classes: int) -> None:
    predictions = drawn(num_classes, num_classes - 7)
    figure = confusion_figure(predictions, style.Caption("run"))
    axes = figure.axes[0]
    found = count_confusions([predictions])
    shown = [label.get_text() for label in axes.get_yticklabels()]
    first = predictions.class_names[found.by_errors()[0]]
    assert shown[0] == first
    assert shown[50:] == ([] if num_classes == 50 else ["950 others"])
    assert axes.get_ylabel().endswith("most errors first")
    assert any("taken for" in text.get_text() for text in figure.texts)
    panel = confusion_panel(row_of(predictions))
    assert panel is not None
    names = [label.get_text() for label in panel.axes[0].get_yticklabels()]
    assert names[0] == first
    assert names[12:] == [f"{num_classes - 12} others"]


def test_the_page_and_the_tables_state_averages_and_their_classes(tmp_path: Path) -> None:
    for seed, missed in ((1, [0]), (2, [0, 1])):
        metrics = {"accuracy": 0.85, "balanced_accuracy": 0.84, "loss": 0.3}
        all_splits = dict.fromkeys(("train", "val", "test"), metrics)
        run_folders.write_classifier(tmp_path, seed=seed, missed=missed, metrics=all_splits)
    study = read_study([tmp_path])
    write_report(study, tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    assert "3 of 20 <b>" not in page
    assert "2 of 10 <b>ham</b> taken for <b>spam</b>" in page
    assert "Averages are over the 2 classes with test messages." in page
    table = (tmp_path / "report" / "table.md").read_text()
    assert "average the 2 classes with test messages" in table
    assert "| 84.00 | 84.95 |" in table  # macro F1: the mean of 90.00 and 79.80 and ... by seed
    csv = (tmp_path / "report" / "table.csv").read_text()
    assert "balanced_accuracy,macro_f1,averaged_classes" in csv
