"""The Python API: what a notebook calls."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from program import SMOKE

import llm_lightning


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[llm_lightning.Run]:
    """A run on a DataFrame, whose texts are told apart by one word."""
    words = ("good", "bad")
    table = pd.DataFrame(
        {
            "review": [f"a {words[i % 2]} film, number {i}" for i in range(80)],
            "stars": [words[i % 2] for i in range(80)],
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("notebook"))
        patch.setenv("LLM_LIGHTNING_CACHE", "cache")
        patch.setattr(sys, "argv", ["kernel", "--not-for-hydra"])
        yield llm_lightning.train(
            "last_block", *SMOKE[:3], "data.text_column=review", "data.label_column=stars",
            "trainer.limit_test_batches=null", data=table,
        )  # fmt: skip


def test_a_run_has_metrics_pictures_and_a_folder(run: llm_lightning.Run) -> None:
    assert list(run.metrics.index) == ["train", "val", "test", "naive_bayes (test)",
                                       "logreg (test)"]  # fmt: skip
    assert run.metrics.loc["logreg (test)", "accuracy"] == 1
    assert run.summary.class_names == ["bad", "good"]
    assert isinstance(run.plot("loss"), Figure)
    assert {"loss", "accuracy"} <= set(run.plot())
    with pytest.raises(ValueError, match=r"name must be one of .*loss.*got 'x'"):
        run.plot("x")
    assert (run.folder / "summary.json").is_file()
    assert "test loss" in repr(run)


def test_predictions_are_a_table(run: llm_lightning.Run) -> None:
    found = run.predict(["a good film", "a bad film"])
    assert list(found.columns) == [
        "text", "label", "probability", "abstained", "truncated", "empty",
        "probability_bad", "probability_good",
    ]  # fmt: skip
    assert found["text"].tolist() == ["a good film", "a bad film"]
    assert (found[["probability_bad", "probability_good"]].sum(axis=1) - 1).abs().max() < 1e-6
    with pytest.raises(TypeError, match="a list of texts"):
        run.predict("a good film")
    with pytest.raises(ValueError, match=r"use run\.predict"):
        run.generate(["Name a colour."])


def test_a_finished_run_is_opened_again(
    run: llm_lightning.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run.folder.absolute()
    monkeypatch.chdir(tmp_path)
    again = llm_lightning.load(folder)
    assert again.summary == run.summary
    with pytest.raises(ValueError, match="not the folder of a finished run"):
        llm_lightning.load(tmp_path)


def test_wrong_names_and_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"experiment must be one of .*got 'last_blok'"):
        llm_lightning.train("last_blok")
    with pytest.raises(ValueError, match=r"optim\.lr must be above 0"):
        llm_lightning.train("last_block", *SMOKE, "optim.lr=-1")
    with pytest.raises(ValueError, match="dry_run belongs on the command line"):
        llm_lightning.train("last_block", *SMOKE, "dry_run=true")
    with pytest.raises(AttributeError, match="has no attribute 'tune'"):
        llm_lightning.tune  # noqa: B018
