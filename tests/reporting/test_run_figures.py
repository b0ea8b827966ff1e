"""The figures of fabricated runs: what they show, not only that they exist."""

import json
import struct
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text
from reporting.figure_runs import (
    ALL,
    SUMMARY,
    TWO_CLASSES,
    annotations,
    assert_nothing_leaves_the_page,
    legend_texts,
    made_predictions,
    texts,
    three_classes,
    write_run,
)

from llm_lightning.reporting.analyse.confusions import count_confusions
from llm_lightning.reporting.draw import run_figures


def png_size(path):
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", head[16:])


def test_a_finished_run_has_five_pictures_of_the_same_size(tmp_path):
    run_dir = write_run(tmp_path)
    written = run_figures.plot_run(run_dir)
    assert written == [run_dir / "plots" / f"{name}.png" for name in ALL]
    assert set((run_dir / "plots").iterdir()) == set(written)
    assert {png_size(path) for path in written} == {(1050, 630)}


def test_the_same_run_gives_the_same_bytes(tmp_path):
    run_dir = write_run(tmp_path)
    first = [path.read_bytes() for path in run_figures.plot_run(run_dir)]
    assert [path.read_bytes() for path in run_figures.plot_run(run_dir)] == first


def test_pyplot_and_slow_libraries_are_never_imported(tmp_path):
    code = (
        "import pathlib, sys; "
        "from llm_lightning.reporting.draw.run_figures import plot_run; "
        "assert len(plot_run(pathlib.Path(sys.argv[1]))) == 5; "
        "print([name for name in ('matplotlib.pyplot', 'sklearn', 'torch') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(write_run(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_loss_figure_draws_the_curves_with_both_axes(tmp_path):
    figure = run_figures.figures(write_run(tmp_path))["loss"]
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


def test_the_highest_loss_is_below_the_upper_end_of_its_axis(tmp_path):
    """Also where losses hardly vary, so that a margin in proportion to their range is too small."""
    metrics = "epoch,step,train/loss,val/loss\n0,1,0.70,\n0,3,0.69,\n0,3,,0.68\n"
    axes = run_figures.figures(write_run(tmp_path, metrics=metrics))["loss"].axes[0]
    assert axes.get_ylim() == pytest.approx((0, 1.08 * 0.7))


def test_accuracy_figure_shows_the_test_accuracy_as_a_level_line(tmp_path):
    figure = run_figures.figures(write_run(tmp_path))["accuracy"]
    train, val, test = figure.axes[0].lines
    assert train.get_ydata().tolist() == [0.625, 0.9375]
    assert val.get_ydata().tolist() == [0.75, 0.875]
    assert list(test.get_ydata()) == [0.5, 0.5]
    assert annotations(figure) == ["train 93.8%", "validation 87.5%", "test 50.0%"]
    assert figure.axes[0].get_ylim() == (0.4, 1.0)


def test_each_figure_names_run_and_seed_and_a_footnote_only_with_fallbacks(tmp_path):
    run_dir = write_run(tmp_path)
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


def test_without_predictions_only_the_learning_curves_are_drawn(tmp_path):
    written = run_figures.plot_run(write_run(tmp_path, predictions=None))
    assert [path.name for path in written] == ["loss.png", "accuracy.png"]


def test_without_metrics_only_the_predictions_are_drawn(tmp_path):
    written = run_figures.plot_run(write_run(tmp_path, metrics=None))
    assert [path.stem for path in written] == ALL[2:]


def test_without_summary_a_run_is_drawn_and_called_unfinished(tmp_path):
    figures = run_figures.figures(write_run(tmp_path, summary=None))
    assert list(figures) == ALL
    for figure in figures.values():
        assert texts(figure)[1:] == ["my_run", "unfinished run: there is no summary.json"]
    assert annotations(figures["loss"]) == ["train 0.250", "validation 0.300"]
    assert figures["loss"].axes[0].child_axes == []
    assert legend_texts(figures["roc"])[0] == "spam 0.750"


@pytest.mark.parametrize("metrics", ["", "epoch,step,lr-AdamW\n", "epoch,step,lr-AdamW\n0,1,0.1\n"])
def test_a_run_that_has_logged_no_curve_yet_has_no_pictures(tmp_path, metrics):
    run_dir = write_run(tmp_path, metrics=metrics, predictions=None, summary=None)
    assert run_figures.plot_run(run_dir) == []
    assert not (run_dir / "plots").exists()


def test_part_of_an_epoch_is_drawn_to_its_last_step(tmp_path):
    metrics = "epoch,step,train/loss\n0,0,0.9\n0,1,0.7\n"
    figures = run_figures.figures(write_run(tmp_path, metrics=metrics, predictions=None))
    assert list(figures) == ["loss"]
    assert figures["loss"].axes[0].get_xlim() == (0, 0.5)


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the run's folder must exist, got .*nowhere"):
        run_figures.plot_run(tmp_path / "nowhere")


def test_no_predictions_at_all_are_not_drawn(tmp_path, caplog):
    run_dir = write_run(tmp_path, metrics=None, predictions=TWO_CLASSES.iloc[:0])
    assert run_figures.plot_run(run_dir) == []
    assert "there are no test predictions to draw" in caplog.text


def test_predictions_that_break_their_contract_are_an_error(tmp_path):
    run_dir = write_run(tmp_path, predictions=TWO_CLASSES.replace({"label": {"ham": "eggs"}}))
    with pytest.raises(ValueError, match=r"label must be one of \['ham', 'spam'\], got 'eggs'"):
        run_figures.plot_run(run_dir)
    TWO_CLASSES.drop(columns="probability_ham").to_csv(run_dir / "predictions_test.csv")
    with pytest.raises(ValueError, match=r"test.csv: there must be a column 'probability_ham'"):
        run_figures.plot_run(run_dir)


def test_confusion_counts_have_true_classes_as_rows():
    truth, predicted = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0])
    found = count_confusions([made_predictions(truth, np.eye(2)[predicted], ["ham", "spam"])])
    assert found.matrix([0, 1]).tolist() == [[1, 1], [1, 2]]


def test_confusion_figure_shows_counts_and_row_percentages(tmp_path):
    predictions = pd.concat([TWO_CLASSES, TWO_CLASSES.iloc[[0]]])
    figure = run_figures.figures(write_run(tmp_path, predictions=predictions))["confusion_matrix"]
    assert annotations(figure) == ["1\n50.0%", "1\n50.0%", "1\n33.3%", "2\n66.7%"]
    assert texts(figure)[0] == "Confusion matrix, 5 test examples"


def test_names_in_dollars_are_no_formulas(tmp_path):
    predictions, _, _, names = three_classes()
    summary = SUMMARY | {"class_names": names, "name": "$x^2$ and $y$"}
    run_dir = write_run(tmp_path, predictions=predictions, summary=summary)
    for figure in run_figures.figures(run_dir).values():
        shown = [text for text in figure.findobj(Text) if "$" in text.get_text()]
        assert shown
        assert not any(text.get_parse_math() for text in shown)


def test_baselines_are_in_the_accuracy_figure_alone(tmp_path):
    summary = SUMMARY | {
        "baselines": {"majority": {"accuracy": 0.5}, "naive_bayes": {"accuracy": 0.75}}
    }
    figures = run_figures.figures(write_run(tmp_path, summary=summary))
    *_, best = figures["accuracy"].axes[0].lines
    assert list(best.get_ydata()) == [0.75, 0.75]
    assert annotations(figures["accuracy"])[-1] == "best baseline 75.0%"
    assert texts(figures["accuracy"])[2] == (
        "test accuracy of baselines: majority 50.0%, naive bayes 75.0%"
    )
    assert_nothing_leaves_the_page(figures["accuracy"])
    assert len(texts(figures["loss"])) == 2
