"""The rate that is found is trained with, and everything else is as before the test."""

from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import pytest
import torch
from callbacks.small_runs import LAST_BLOCK, messages, task_for, trainer_with

from llm_lightning.callbacks.frozen_activations import FrozenActivations
from llm_lightning.callbacks.lr_finder import LearningRateFinder
from llm_lightning.callbacks.progress import FitProgress

pytestmark = pytest.mark.usefixtures("own_folder")


class FirstStep(L.Callback):
    def __init__(self) -> None:
        self.weights: torch.Tensor | None = None
        self.rates: list[float] = []
        self.steps = 0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        if self.weights is None:
            self.weights = pl_module.head.weight.detach().clone()
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_end(self, trainer: Any, *args: Any) -> None:
        self.steps = trainer.global_step


def test_the_found_rate_is_the_peak_of_the_schedule(capsys: pytest.CaptureFixture[str]) -> None:
    data = messages()
    task = task_for(data, finetune=LAST_BLOCK, schedule="cosine", warmup_fraction=0.25)
    before = task.head.weight.detach().clone()
    first = FirstStep()
    finder = LearningRateFinder("found", min_lr=1e-5, max_lr=1.0, num_training_steps=30)
    trainer = L.Trainer(
        max_epochs=6, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_model_summary=False, log_every_n_steps=1,
        callbacks=[FitProgress(), FrozenActivations(), finder, first],
    )  # fmt: skip
    trainer.fit(task, datamodule=data)
    curve = pd.read_csv(Path("found/lr_finder.csv"))
    assert curve["lr"].is_monotonic_increasing
    assert len(curve) >= 20
    found = task.optim.lr
    assert found != 1e-3
    assert curve["lr"].min() <= found <= curve["lr"].max()
    assert f"learning rate {found:.3g}, found in" in capsys.readouterr().out
    assert first.weights is not None
    assert torch.equal(first.weights, before), "the weights of the test are undone"
    total = 6 * 7  # steps: 28 texts in batches of 4
    assert first.steps == total
    expected = [found * task.optim.lr_factor(step, total) for step in range(total)]
    assert first.rates == pytest.approx(expected)


def test_a_resumed_run_looks_for_no_rate() -> None:
    data = messages()
    finder = LearningRateFinder("found")
    trainer = trainer_with([finder])
    trainer._checkpoint_connector._ckpt_path = "somewhere"
    trainer.ckpt_path = "somewhere"
    finder.on_fit_start(trainer, task_for(data))
    assert finder.optimal_lr is None


def test_arguments_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"min_lr must be above 0 and below max_lr"):
        LearningRateFinder("x", min_lr=1.0, max_lr=0.1)
    with pytest.raises(ValueError, match=r"num_training_steps must be at least 20, got 5"):
        LearningRateFinder("x", num_training_steps=5)
