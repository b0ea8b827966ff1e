import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reporting import figure_runs

from llm_lightning.reporting.draw.run_figures import figures, plot_run

METRICS = """\
epoch,step,train/loss,train/epoch_loss,val/loss,val/perplexity,val/response_loss
0,1,4.0,,,,
0,3,3.0,,,,
0,3,,,3.5,33.1,2.5
0,3,,3.6,,,
1,7,2.0,,,,
1,7,,,3.0,20.1,2.0
1,7,,2.4,,,
"""
SCORES = {
    "exact_match": {"mean": 0.25, "low": 0.0, "high": 0.75, "n": 4},
    "rouge_l": {"mean": 0.5, "low": 0.2, "high": 0.8, "n": 4},
}
SUMMARY = figure_runs.SUMMARY | {
    "name": "instruct",
    "kind": "instructions",
    "class_names": None,
    "responses": {
        "file": "instruction-data-with-response.json",
        "examples": 4,
        "scores": SCORES,
        "seconds": 1.0,
        "tokens_per_second": 9.0,
    },
    "metrics": {"train": {}, "val": {}, "test": {"loss": 3.0}},
}
PER_RESPONSE = pd.DataFrame({"exact_match": [0, 0, 0, 1], "rouge_l": [0.1, 0.3, 0.6, 1.0]})


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = figure_runs.write_run(tmp_path, METRICS, predictions=None, summary=SUMMARY)
    PER_RESPONSE.to_csv(folder / "response_scores.csv", index_label="index")
    return folder


def test_a_language_model_gets_its_own_pictures(run_dir: Path) -> None:
    assert [path.name for path in plot_run(run_dir)] == [
        "loss.png",
        "perplexity.png",
        "responses.png",
    ]


def test_loss_shows_responses_apart_and_is_per_token(run_dir: Path) -> None:
    (axes, *_) = figures(run_dir)["loss"].axes
    assert axes.get_ylabel() == "Loss (nats per token)"
    drawn = [line.get_ydata().tolist() for line in axes.lines]
    assert drawn == [[4.0, 3.0, 2.0], [3.6, 2.4], [3.5, 3.0], [2.5, 2.0]]
    assert "val. responses 2.000" in [text.get_text() for text in axes.texts]


def test_responses_have_no_line_of_their_own_if_the_loss_covers_nothing_else(run_dir: Path) -> None:
    metrics = pd.read_csv(run_dir / "metrics.csv")
    metrics["val/response_loss"] = metrics["val/loss"]
    metrics.to_csv(run_dir / "metrics.csv", index=False)
    (axes, *_) = figures(run_dir)["loss"].axes
    drawn = [line.get_ydata().tolist() for line in axes.lines]
    assert drawn == [[4.0, 3.0, 2.0], [3.6, 2.4], [3.5, 3.0]]


def test_perplexity_is_the_logged_one_on_a_log_axis(run_dir: Path) -> None:
    (axes, *_) = figures(run_dir)["perplexity"].axes
    assert axes.get_yscale() == "log"
    assert axes.lines[0].get_ydata().tolist() == [33.1, 20.1]


def test_responses_show_means_intervals_and_every_response(run_dir: Path) -> None:
    (axes,) = figures(run_dir)["responses"].axes
    intervals = [line.get_xdata() for line in axes.lines[::2]]
    assert [list(interval) for interval in intervals] == [[0.2, 0.8], [0.0, 0.75]]
    assert [float(line.get_xdata()[0]) for line in axes.lines[1::2]] == [0.5, 0.25]
    points = np.concatenate([points.get_offsets()[:, 0] for points in axes.collections])
    assert sorted(points) == sorted([*PER_RESPONSE["exact_match"], *PER_RESPONSE["rouge_l"]])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ROUGE-L", "exact match"]


def test_without_responses_or_their_scores_the_rest_is_drawn(run_dir: Path) -> None:
    (run_dir / "response_scores.csv").unlink()
    assert not figures(run_dir)["responses"].axes[0].collections
    (run_dir / "summary.json").write_text(json.dumps(SUMMARY | {"responses": None}))
    assert list(figures(run_dir)) == ["loss", "perplexity"]
