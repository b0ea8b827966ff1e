"""A fit that is killed within an epoch goes on from its checkpoint as if it had not been."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch
from small_runs import instructions, messages, task_for

from llm_lightning.callbacks import resume as resume_module
from llm_lightning.callbacks.curve_files import CsvCurves
from llm_lightning.callbacks.resume import Resume, read_interval, resume_curves
from llm_lightning.training import stop_signals

pytestmark = [
    pytest.mark.usefixtures("own_folder"),
    pytest.mark.filterwarnings("ignore:.*dataloader is not resumable"),  # as runs do
]

LORA = {
    "_target_": "llm_lightning.finetuning.adaptation.LoRA", "rank": 2, "dropout": 0.3,
}  # fmt: skip


class Killed(BaseException):
    """What no handler catches."""


class KillAt(L.Callback):
    """Ends the process, as it were, at a batch of training or validation."""

    def __init__(self, epoch: int, batch: int, act: Callable[[], None], stage: str) -> None:
        self.epoch, self.batch, self.act, self.stage = epoch, batch, act, stage

    def on_train_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        if self.stage == "train" and (trainer.current_epoch, args[-1]) == (self.epoch, self.batch):
            self.act()

    def on_validation_batch_start(
        self, trainer: L.Trainer, module: Any, batch: Any, index: int, loader: int = 0
    ) -> None:
        if self.stage == "val" and (trainer.current_epoch, index) == (self.epoch, self.batch):
            self.act()


def kill() -> None:
    raise Killed


class RandomNumbers(L.Callback):
    """Logs what every generator draws."""

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, *args: Any) -> None:
        module.log("numpy", float(np.random.rand()))
        module.log("torch", float(torch.rand(())))


def fit(
    make: Callable[[], tuple[Any, Any]], folder: str, *callbacks: L.Callback, every: Any = 1,
    **options: Any,
) -> dict[str, Any]:  # fmt: skip
    """Trains, from the checkpoint in the folder if there is one."""
    data, task = make()
    file = Path(folder) / "resume.ckpt"
    trainer = L.Trainer(
        **{"max_epochs": 2, "log_every_n_steps": 1} | options, accelerator="cpu",
        logger=[CsvCurves(folder)], enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
        callbacks=[*callbacks, Resume(folder, every), RandomNumbers()],
    )  # fmt: skip
    L.seed_everything(5, workers=True, verbose=False)
    resume_from = None
    if file.is_file():
        resume_from = file
        resume_curves(trainer, torch.load(file, weights_only=True))
    trainer.fit(task, datamodule=data, ckpt_path=resume_from)
    return {
        "weights": task.state_dict(),
        "curves": pd.read_csv(Path(folder) / "metrics.csv"),
        "steps": trainer.global_step,
        "order": data.state_dict()["order"],
    }


def assert_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, value in expected["weights"].items():
        assert torch.equal(found["weights"][name], value), name
    pd.testing.assert_frame_equal(found["curves"], expected["curves"], check_exact=True)
    assert found["steps"] == expected["steps"]


def classification(**fields: Any) -> tuple[Any, Any]:
    data = messages(**fields)
    task = task_for(data, finetune=LORA, model={"resid_pdrop": 0.1}, lr=1e-2, schedule="cosine")
    return data, task


def language(**fields: Any) -> tuple[Any, Any]:
    data = instructions(**fields)
    return data, task_for(data, finetune=LORA, model={"resid_pdrop": 0.1}, lr=1e-2)


@pytest.mark.parametrize(
    ("make", "options", "at"),
    [
        (classification, {"accumulate_grad_batches": 2}, (1, 5, "train")),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                (classification, {}, (0, 3, "train")),
                (lambda: classification(group_by_length=True), {}, (1, 2, "train")),
                (classification, {"val_check_interval": 3}, (0, 3, "train")),
                (classification, {"val_check_interval": 3}, (0, 4, "train")),
                (language, {"accumulate_grad_batches": 3}, (0, 5, "train")),
                (classification, {"limit_train_batches": 5}, (1, 0, "train")),
            )
        ),
    ],
)
def test_a_fit_killed_at_a_batch_ends_like_one_that_was_not(
    make: Any, options: dict[str, Any], at: tuple[int, int, str]
) -> None:
    whole = fit(make, "whole", **options)
    with pytest.raises(Killed):
        fit(make, "killed", KillAt(*at[:2], kill, at[2]), **options)
    assert Path("killed/resume.ckpt").is_file()
    assert_equal(fit(make, "killed", **options), whole)


@pytest.mark.slow
def test_loader_processes_do_not_matter() -> None:
    def make() -> tuple[Any, Any]:
        return classification(num_workers=1)

    whole = fit(make, "whole")
    with pytest.raises(Killed):
        fit(make, "killed", KillAt(0, 4, kill, "train"))
    assert_equal(fit(make, "killed"), whole)


@pytest.mark.parametrize(
    ("options", "at"),
    [
        ({}, (1, 0, "val")),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ({}, (0, 2, "train")),
                ({"accumulate_grad_batches": 2}, (0, 3, "train")),
                ({"val_check_interval": 3}, (1, 0, "val")),
            )
        ),
    ],
)
def test_a_signal_saves_at_the_next_step_and_loses_nothing(
    options: dict[str, Any], at: tuple[int, int, str]
) -> None:
    whole = fit(classification, "whole", every="5min", **options)
    with stop_signals.handled():
        stopping = KillAt(*at[:2], lambda: os.kill(os.getpid(), signal.SIGTERM), at[2])
        with pytest.raises(SystemExit):  # Lightning's end after a KeyboardInterrupt
            fit(classification, "killed", stopping, every="5min", **options)
        assert stop_signals.exit_status() == 143
    saved = torch.load("killed/resume.ckpt", weights_only=True)
    assert saved["resume"]["position"] is not None
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Lightning ignores it from then on
    assert_equal(fit(classification, "killed", every="5min", **options), whole)


@pytest.mark.slow
def test_checkpoints_that_take_long_are_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    saves: list[int] = []
    save = L.Trainer.save_checkpoint

    def slow(trainer: L.Trainer, *args: Any) -> None:
        time.sleep(0.1)
        saves.append(trainer.global_step)
        save(trainer, *args)

    monkeypatch.setattr(L.Trainer, "save_checkpoint", slow)
    steps = fit(classification, "dear", every="0.001s", max_epochs=3)["steps"]
    assert saves[0] == 1  # what it takes is not known before
    assert len(saves) < 3
    saves.clear()
    fit(classification, "asked", every=2, max_epochs=1)
    assert saves == [2, 4, 6, steps // 3]


def test_intervals() -> None:
    assert read_interval(200) == (200, float("inf"))
    assert read_interval("200") == (200, float("inf"))
    assert read_interval("5min") == (None, 300)
    assert read_interval("1.5 h") == (None, 5400)
    for wrong in (0, -3, True, None, "", "min", "5 days", "0s", "1e9", 2.5):
        with pytest.raises(ValueError, match="checkpoint_every must be a number of optimizer"):
            read_interval(wrong)  # type: ignore[arg-type]
    assert resume_module.KEY == "resume"
