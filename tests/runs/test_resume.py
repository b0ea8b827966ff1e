"""Interrupted runs go on as if nothing had happened; checkpoints hold what trained."""

import json
import sys
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import pytest
import torch

from llm_lightning.commands import main as cli
from llm_lightning.runs.load import load_classifier, load_language_model

pytestmark = pytest.mark.usefixtures("own_folder")

RUN = (
    "trainer=smoke", "model=nano", "baselines=[]", "untrained_responses=false",
    "trainer.max_epochs=3", "trainer.limit_val_batches=null", "model.resid_pdrop=0.1",
    "checkpoint_every=4",
)  # fmt: skip
CLASSIFY = ("+experiment=lora", "finetune.dropout=0.2", *RUN)
INSTRUCT = (
    "+experiment=instruct", "finetune=lora", "finetune.head=lora", "task.tie_weights=true",
    "task.generation.max_new_tokens=2", *RUN,
)  # fmt: skip


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Path:
    """Runs to the end; returns the run's folder."""
    monkeypatch.setattr(sys, "argv", ["llm_lightning"])
    if status := cli.main(arguments):
        raise SystemExit(status)
    runs_dir = next(a.removeprefix("runs_dir=") for a in arguments if a.startswith("runs_dir="))
    return next(Path(runs_dir).glob("*/seed_123"))


class Killed(BaseException):
    """What no handler catches."""


def interrupt(monkeypatch: pytest.MonkeyPatch, *arguments: str, in_epoch: int) -> Path:
    """Runs until the second batch of an epoch, counted from 0."""

    def kill(self: Any, trainer: L.Trainer, module: Any, batch: Any, index: int) -> None:
        if (trainer.current_epoch, index) == (in_epoch, 1):
            raise Killed

    monkeypatch.setattr(sys, "argv", ["llm_lightning"])
    with monkeypatch.context() as patch:
        patch.setattr(L.Callback, "on_train_batch_start", kill)
        with pytest.raises(Killed):
            cli.main(arguments)
    runs_dir = next(a.removeprefix("runs_dir=") for a in arguments if a.startswith("runs_dir="))
    return next(Path(runs_dir).glob("*/seed_123"))


def trained(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    checkpoint = torch.load(folder / f"checkpoints/{name}.ckpt", weights_only=True)
    state: dict[str, torch.Tensor] = checkpoint["state_dict"]
    return state


def curves(folder: Path) -> pd.DataFrame:
    table = pd.read_csv(folder / "metrics.csv")
    return table[[column for column in table if not column.startswith("time/")]]


@pytest.mark.slow
@pytest.mark.parametrize("settings", [CLASSIFY, INSTRUCT], ids=["classify", "instruct"])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], settings: tuple[str, ...]
) -> None:
    whole = command(monkeypatch, *settings, "runs_dir=whole")
    capsys.readouterr()
    killed = interrupt(monkeypatch, *settings, "runs_dir=killed", in_epoch=2)
    assert not (killed / "summary.json").exists()
    again = interrupt(monkeypatch, *settings, "runs_dir=killed", in_epoch=2)
    assert again == killed
    assert command(monkeypatch, *settings, "runs_dir=killed") == killed
    told = capsys.readouterr().out
    assert told.count("resuming after epoch 2 of the interrupted run") == 2
    assert "epoch 1/3" in told
    for name in ("best", "last"):
        expected, got = trained(whole, name), trained(killed, name)
        assert expected.keys() == got.keys()
        assert all(torch.equal(expected[key], got[key]) for key in expected)
    pd.testing.assert_frame_equal(curves(killed), curves(whole))
    summaries = [json.loads((f / "summary.json").read_text()) for f in (whole, killed)]
    assert summaries[0]["metrics"] == summaries[1]["metrics"]
    assert summaries[1]["seconds"]["total"] > summaries[1]["seconds"]["training"]
    assert {file.name for file in (killed / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    left = {file.name for file in killed.iterdir() if "tfevents" not in file.name}
    assert left == {file.name for file in whole.iterdir() if "tfevents" not in file.name}
    assert len(list(killed.glob("*tfevents*"))) == 1


@pytest.mark.slow
def test_starting_over_and_other_settings_forget_the_interrupted_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (*CLASSIFY, "trainer.max_epochs=2", "runs_dir=runs")
    folder = interrupt(monkeypatch, *arguments, in_epoch=1)
    assert (folder / "checkpoints" / "resume.ckpt").is_file()
    command(monkeypatch, *arguments, "rerun=true")
    told = capsys.readouterr().out
    assert "resuming" not in told
    assert told.count("epoch 1/2") == 2  # and once before the interruption
    folder = interrupt(monkeypatch, *arguments, "rerun=true", in_epoch=1)
    capsys.readouterr()
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("lr: 0.0008", "lr: 0.0007"))
    command(monkeypatch, *arguments)
    assert "resuming" not in capsys.readouterr().out


def test_data_that_changed_meanwhile_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Path("data.csv")
    rows = [f"message number {i},{'ham' if i % 2 else 'spam'}" for i in range(60)]
    table.write_text("text,label\n" + "\n".join(rows) + "\n")
    arguments = (
        "+experiment=last_layer", "data=table", "data.path=data.csv", *RUN, "runs_dir=runs"
    )  # fmt: skip
    folder = interrupt(monkeypatch, *arguments, in_epoch=1)
    table.write_text(table.read_text().replace("number 7,", "number seven,"))
    with pytest.raises(SystemExit) as ended:
        command(monkeypatch, *arguments)
    assert ended.value.code == 2
    told = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "data have changed since" in told
    assert "rerun=true" in told
    assert "seven" not in (folder / "splits" / "train.csv").read_text()


# --- checkpoints of what trained ------------------------------------------------------------------


def test_a_checkpoint_holds_what_trained_and_the_bases_fingerprint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = command(monkeypatch, *CLASSIFY, "runs_dir=runs")
    checkpoint = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    names = set(checkpoint["state_dict"])
    assert {name.rsplit(".", 1)[-1] for name in names} == {"lora_A", "lora_B", "weight", "bias"}
    assert {name for name in names if "lora" not in name} == {"head.weight", "head.bias"}
    assert checkpoint["base"]["model"]["weights"] == "pretrained"
    assert len(checkpoint["base"]["fingerprint"]) == 64
    assert "optimizer_states" not in checkpoint
    assert (folder / "checkpoints/last.ckpt").stat().st_size < 3_000_000

    model, summary = load_classifier(folder)
    assert summary.finetune == {"adapters": 24, "rank": 16, "effective_scale": 1.0}
    for name, value in checkpoint["state_dict"].items():
        assert torch.equal(model.state_dict()[name], value)


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["random", "pretrained"])
@pytest.mark.parametrize("tied", ["false", "true"])
def test_a_language_model_comes_back_over_its_base(
    monkeypatch: pytest.MonkeyPatch, weights: str, tied: str
) -> None:
    folder = command(
        monkeypatch, *INSTRUCT, f"task.tie_weights={tied}", f"model.weights={weights}",
        "trainer.max_epochs=1", "runs_dir=runs",
    )  # fmt: skip
    model, _ = load_language_model(folder)
    assert (model.head.weight is model.backbone.wte.weight) == (tied == "true")
    answers = json.loads((folder / "instruction-data-with-response.json").read_text())
    assert answers  # written by the model before it was saved and loaded
    assert (folder / "checkpoints/last.ckpt").stat().st_size < 7_000_000
    state = trained(folder)
    for name, value in state.items():
        assert torch.equal(model.state_dict()[name], value)


@pytest.mark.slow
def test_another_base_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = command(
        monkeypatch, *CLASSIFY, "model.weights=random", "trainer.max_epochs=1", "runs_dir=runs"
    )
    file = folder / "checkpoints/last.ckpt"
    checkpoint = torch.load(file, weights_only=True)
    checkpoint["base"]["fingerprint"] = "0" * 64
    torch.save(checkpoint, file)
    with pytest.raises(ValueError, match=r"trained on the base random .*\(fingerprint 000000"):
        load_classifier(folder)
