"""A checkpoint of one, two or two sharing processes goes on in any of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from forked import in_processes

from llm_lightning.backbone.tokenizer import GPT2Tokenizer
from llm_lightning.backbone.weights import ModelConfig, locate
from llm_lightning.callbacks.resume import Resume
from llm_lightning.data.table import Table
from llm_lightning.distributed.processes import Processes
from llm_lightning.run_format import files
from llm_lightning.runs.fit import quiet_lightning
from llm_lightning.tasks.classifier import Classifier
from llm_lightning.training.checkpoint_files import CheckpointFiles
from llm_lightning.training.parallel import trainer_arguments

pytestmark = pytest.mark.usefixtures("own_folder")

ROOM = "llm_lightning.finetuning"
FINETUNE: dict[str, dict[str, Any]] = {
    "all": {"_target_": f"{ROOM}.strategies.AllLayers"},
    "last_block": {"_target_": f"{ROOM}.strategies.TopBlocks", "num_blocks": 1},
    "lora": {"_target_": f"{ROOM}.adaptation.LoRA", "rank": 4, "alpha": 4},
}
SIZES: dict[str, Any] = {"n_layer": 3, "n_embd": 32, "n_head": 2, "n_positions": 64}
ALONE, DDP, FSDP2 = "alone", "ddp", "fsdp2"


class Stopped(Exception):
    """What ends a run in the middle of its second epoch."""


class Watch(L.Callback):
    """Collects losses, and may stop."""

    def __init__(self, *, stops: bool) -> None:
        self._stops = stops
        self.losses: list[float] = []

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: Any, batch: Any, index: int
    ) -> None:
        if self._stops and (trainer.current_epoch, index) == (1, 2):
            raise Stopped

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        self.losses.append(float(trainer.callback_metrics["train/loss"]))

    def on_validation_end(self, trainer: L.Trainer, *args: Any) -> None:
        self.losses.append(float(trainer.callback_metrics["val/loss"]))


def data() -> Table:
    """Twenty-eight short texts to train on: four steps an epoch."""
    rows = [f"{'w ' * (3 + 5 * i % 11)}{i},{'ab'[i % 2]}" for i in range(40)]
    Path("messages.csv").write_text("t,l\n" + "\n".join(rows) + "\n")
    made = Table(path="messages.csv", text_column="t", label_column="l")
    made.prepare_data()
    made.use_model(GPT2Tokenizer(), SIZES["n_positions"])
    made.setup("fit")
    return made


def fit(
    kind: str, finetune: str, folder: Path, resume_from: Path | None = None, *, stops: bool = False
) -> list[float]:
    """Losses of the training; writes ``last.ckpt``, or leaves the state it was stopped in."""
    messages, config = data(), ModelConfig(**SIZES, weights="random")
    task = Classifier(
        task={},
        model=config.architecture(),
        finetune=FINETUNE[finetune],
        optim={"lr": 1e-3, "decay_norms_and_biases": False, "schedule": "cosine"},
        seed=1,
        **messages.task_arguments(),
    )
    task.load_base(config, locate(config))

    def train(processes: Processes) -> list[float]:
        quiet_lightning()
        messages.processes = processes
        messages.batch_size = messages.eval_batch_size = 8 // processes.size
        watch = Watch(stops=stops)
        trainer = L.Trainer(
            accelerator="cpu",
            max_epochs=2,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            plugins=[CheckpointFiles()],
            callbacks=[Resume(str(folder), every=1), watch],
            **trainer_arguments(processes, kind),
        )
        try:
            trainer.fit(task, datamodule=messages, ckpt_path=resume_from)
        except Stopped:
            return []
        trainer.save_checkpoint(folder / "last.ckpt")
        return watch.losses

    if kind == ALONE:
        return train(Processes())
    work: Callable[[int], list[float]] = lambda rank: train(Processes(2, rank))  # noqa: E731
    first, second = in_processes(work, Path().absolute())
    assert first == second
    return list(first)


@pytest.mark.parametrize(
    ("finetune", "before", "after"),
    [
        ("last_block", FSDP2, ALONE),
        *(
            pytest.param(finetune, before, after, marks=pytest.mark.slow)
            for finetune, before, after in (
                ("all", FSDP2, FSDP2),
                ("all", ALONE, FSDP2),
                ("lora", FSDP2, DDP),
            )
        ),
    ],
)
def test_an_interrupted_run_goes_on_elsewhere(finetune: str, before: str, after: str) -> None:
    whole = fit(ALONE, finetune, Path("whole"))
    assert len(whole) == 10, "four steps and a validation in each of two epochs"
    fit(before, finetune, Path("first"), stops=True)
    state = Path("first") / files.RESUME
    saved = torch.load(state)
    assert saved["global_step"] == 6
    rest = fit(after, finetune, Path("second"), resume_from=state)
    np.testing.assert_allclose(rest, whole[-len(rest) :], rtol=0, atol=1e-5)
    assert len(rest) == 3, "two steps and a validation"
    ours, theirs = (torch.load(Path(name) / "last.ckpt") for name in ("second", "whole"))
    assert ours["state_dict"].keys() == theirs["state_dict"].keys()
    for name, value in theirs["state_dict"].items():
        if name.endswith("c_attn.bias"):
            continue  # keys' biases change nothing; AdamW makes steps of the rounding errors
        torch.testing.assert_close(ours["state_dict"][name], value, rtol=0, atol=1e-5)
    assert (
        ours["optimizer_states"][0]["param_groups"] == theirs["optimizer_states"][0]["param_groups"]
    )
    for index, values in theirs["optimizer_states"][0]["state"].items():
        for name, value in values.items():
            found = ours["optimizer_states"][0]["state"][index][name]
            torch.testing.assert_close(found, value, rtol=0, atol=1e-5)
