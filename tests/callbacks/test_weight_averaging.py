"""What is averaged, validated and kept; and what cannot be averaged."""

from typing import Any

import lightning as L
import pytest
import torch
from callbacks.small_runs import LAST_BLOCK, messages, task_for, trainer_with
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from llm_lightning.callbacks.conditions import check_callbacks
from llm_lightning.callbacks.frozen_activations import FrozenActivations
from llm_lightning.callbacks.weight_averaging import ExponentialAverage, StochasticAverage

pytestmark = [
    pytest.mark.usefixtures("own_folder"),
    pytest.mark.filterwarnings("ignore:.*SWA is currently only supported every epoch"),
    pytest.mark.filterwarnings("ignore:.*exists and is not empty"),
]


class Watch(L.Callback):
    """The head's weights after every step, and those that are validated."""

    def __init__(self) -> None:
        self.steps: list[torch.Tensor] = []
        self.epochs: list[torch.Tensor] = []
        self.validated: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        self.steps.append(pl_module.head.weight.detach().clone())

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.epochs.append(pl_module.head.weight.detach().clone())

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        self.validated.append(pl_module.head.weight.detach().clone())


def test_the_moving_average_is_validated_kept_and_final() -> None:
    data = messages()
    task = task_for(data, finetune=LAST_BLOCK)
    watch = Watch()
    best = ModelCheckpoint("best", filename="best", monitor="val/loss", save_weights_only=False)
    callbacks = [FrozenActivations(), ExponentialAverage(decay=0.9), watch, best]
    trainer = L.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, callbacks=callbacks,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    average = task.head.weight.detach().clone()
    trainer.fit(task, datamodule=data)
    expected = []
    for number, weights in enumerate(watch.steps):
        average = weights.clone() if number == 0 else 0.9 * average + 0.1 * weights
        expected.append(average)
    assert torch.allclose(task.head.weight, expected[-1], atol=1e-6)
    assert torch.allclose(watch.validated[-1], expected[-1], atol=1e-6)
    assert not torch.allclose(watch.steps[-1], expected[-1], atol=1e-4)
    saved = torch.load(best.best_model_path, weights_only=True)
    kept = saved["state_dict"]["head.weight"]
    assert any(torch.allclose(kept, weights) for weights in watch.validated)
    frozen = "backbone.h.0.attn.c_attn.weight"
    assert frozen not in saved["state_dict"]
    assert frozen not in saved["current_model_state"]


def test_the_mean_of_the_last_epochs_is_final() -> None:
    data = messages()
    task = task_for(data, finetune=LAST_BLOCK)
    watch = Watch()
    average = StochasticAverage(swa_lrs=1e-3, swa_epoch_start=0.5, annealing_epochs=1)
    trainer_with([average, watch], max_epochs=4).fit(task, datamodule=data)
    # Lightning averages at the start of the epochs that count, from 0.5 * 4 on, counted from 1.
    assert torch.allclose(task.head.weight, torch.stack(watch.epochs[1:]).mean(dim=0), atol=1e-6)


def test_arguments_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"decay must lie between 0 and 1, got 1.0"):
        ExponentialAverage(decay=1.0)
    with pytest.raises(ValueError, match=r"update_every_n_steps must be at least 1, got 0"):
        ExponentialAverage(update_every_n_steps=0)


def test_a_quantized_base_and_missing_validation_are_refused() -> None:
    data = messages()
    qlora = {"_target_": "llm_lightning.finetuning.qlora.QLoRA"}
    task = task_for(data, finetune=qlora)
    for callback, name in ((ExponentialAverage(), "ema"), (StochasticAverage(1e-3), "swa")):
        with pytest.raises(ValueError, match=f"callbacks={name} cannot average a base in four"):
            check_callbacks(task, trainer_with([callback]))
    stopping = trainer_with([EarlyStopping("val/loss")], limit_val_batches=0)
    with pytest.raises(ValueError, match=r"needs validation, got trainer.limit_val_batches=0"):
        check_callbacks(task, stopping)
    check_callbacks(task, trainer_with([EarlyStopping("val/loss")]))
