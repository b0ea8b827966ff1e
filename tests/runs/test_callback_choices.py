"""callbacks= and logger= by whole commands: what they write, and how they resume."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from program import SMOKE, command
from runs.test_resume import command as finished
from runs.test_resume import curves, interrupt, trained

pytestmark = [
    pytest.mark.usefixtures("own_folder"),
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*SWA is currently only supported every epoch"),
    # Libraries of loggers, about themselves.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:wandb"),
]
RUN = (
    "+experiment=last_block", *SMOKE, "trainer.max_epochs=3", "trainer.limit_val_batches=null",
    "trainer.limit_train_batches=8",
)  # fmt: skip


@pytest.mark.parametrize("choice", ["ema", "swa", "lr_finder", "gradient_checkpointing"])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    monkeypatch: pytest.MonkeyPatch, choice: str
) -> None:
    settings = (*RUN, f"callbacks={choice}", "callbacks.frozen_activations.memory_mib=64")
    if choice == "lr_finder":
        settings += ("callbacks.lr_finder.num_training_steps=20",)
    whole = finished(monkeypatch, *settings, "runs_dir=whole")
    killed = interrupt(monkeypatch, *settings, "runs_dir=killed", in_epoch=2)
    finished(monkeypatch, *settings, "runs_dir=killed")
    for name in ("best", "last"):
        expected, got = trained(whole, name), trained(killed, name)
        assert expected.keys() == got.keys()
        for key in expected:
            assert torch.equal(expected[key], got[key]), (name, key)
    pd.testing.assert_frame_equal(curves(killed), curves(whole))


def test_best_is_what_was_validated_with_an_average(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = finished(
        monkeypatch,
        *RUN,
        "callbacks=ema",
        "evaluate=best",
        "trainer.limit_test_batches=null",
        "runs_dir=runs",
    )
    logged = pd.read_csv(folder / "metrics.csv")["val/loss"].min()
    final = json.loads((folder / "summary.json").read_text())["metrics"]
    assert final["val"]["loss"] == pytest.approx(logged, abs=1e-5)


def test_early_stopping_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = finished(
        monkeypatch, *RUN, "callbacks=early_stopping", "callbacks.early_stopping.patience=1",
        "callbacks.early_stopping.min_delta=10", "trainer.max_epochs=9", "runs_dir=runs",
    )  # fmt: skip
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["epochs"] == 2
    assert summary["ended_early"] == "val/loss stopped improving (callbacks=early_stopping)"


def test_time_ends_training(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = finished(monkeypatch, *RUN, "trainer.max_time={milliseconds: 1}", "runs_dir=runs")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["optimizer_steps"] < 2
    assert summary["ended_early"] == "the time of trainer.max_time was over"


def test_what_does_not_go_together_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status = command(
        monkeypatch, *RUN, "callbacks=early_stopping", "trainer.limit_val_batches=0",
        "runs_dir=runs",
    )  # fmt: skip
    assert status != 0
    err = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "callbacks=early_stopping watches val/loss, which needs validation" in err
    assert "Traceback" not in err
    assert not list(Path("runs").glob("*/*/*")), "no file"


def test_several_loggers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    folder = finished(
        monkeypatch, *RUN, "trainer.max_epochs=1", "runs_dir=runs",
        "logger=[tensorboard,wandb,mlflow,trackio]",
    )  # fmt: skip
    expected = pd.read_csv(folder / "metrics.csv")["val/loss"].dropna().tolist()
    assert list(folder.glob("events.out.tfevents.*"))
    another = command(
        monkeypatch, *RUN, "seed=5", "trainer.max_epochs=1", "runs_dir=runs", "logger=wandb"
    )
    assert another == 0
    (sent,) = (folder / "wandb").glob("offline-run-*/*.wandb")
    assert b"val/loss" in sent.read_bytes(), "ended by the next run"
    (next_one,) = Path("runs").glob("*/seed_5/wandb/offline-run-*/*.wandb")
    assert next_one.stem != sent.stem
    with sqlite3.connect("runs/mlflow.db") as database:
        found = database.execute("SELECT value FROM metrics WHERE key = 'val/loss'").fetchall()
    database.close()
    assert [value for (value,) in found] == pytest.approx(expected)
    with sqlite3.connect("runs/trackio/llm_lightning.db") as database:
        rows = database.execute("SELECT metrics FROM metrics").fetchall()
    database.close()
    values: list[dict[str, Any]] = [json.loads(text) for (text,) in rows]
    losses = [value["val/loss"] for value in values if "val/loss" in value]
    assert losses == pytest.approx(expected)


def test_without_a_logger_the_curves_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = finished(monkeypatch, *RUN, "trainer.max_epochs=1", "logger=[]", "runs_dir=runs")
    assert not list(folder.glob("events.out.tfevents.*"))
    assert "val/loss" in pd.read_csv(folder / "metrics.csv")
    assert list(yaml.safe_load((folder / "config.yaml").read_text())["loggers"]) == ["csv"]
