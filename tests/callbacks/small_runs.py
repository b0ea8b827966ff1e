"""Whole fits and evaluations of small models, with and without cached activations."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest

from llm_lightning.backbone.tokenizer import GPT2Tokenizer
from llm_lightning.backbone.weights import ModelConfig, locate
from llm_lightning.callbacks.frozen_activations import FrozenActivations
from llm_lightning.data.instructions import Instructions
from llm_lightning.data.module import DataModule
from llm_lightning.data.table import Table
from llm_lightning.run_format.splits import EVALUATED
from llm_lightning.tasks.classifier import Classifier
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.tasks.task import Task

SIZES = {"n_layer": 3, "n_embd": 32, "n_head": 2, "n_positions": 128}
ROOM = "llm_lightning.finetuning"
LAST_LAYER = {
    "_target_": f"{ROOM}.strategies.TopBlocks",
    "num_blocks": 0,
    "train_final_norm": False,
}
LAST_BLOCK = {"_target_": f"{ROOM}.strategies.TopBlocks", "num_blocks": 1}
_WORDS = [f"w{i}" for i in range(15)]


def messages(**fields: Any) -> Table:
    """40 short texts of two classes: 28 for training, 4 for validation, 8 for test."""
    file = Path("messages.csv")
    rows = [f'"{" ".join(_WORDS[i % 7 : 8 + i * 5 % 11])} {i}",{"ab"[i % 2]}' for i in range(40)]
    file.write_text("t,l\n" + "\n".join(rows) + "\n")
    fixed: dict[str, Any] = {"path": str(file), "text_column": "t", "label_column": "l"}
    return ready(Table(**fixed | {"batch_size": 4} | fields))


def instructions(**fields: Any) -> Instructions:
    """28 records without input, 23 of them for training."""
    file = Path("records.json")
    records = [
        {"instruction": " ".join(_WORDS[i % 5 :]), "input": "", "output": _WORDS[i % 7] + " yes"}
        for i in range(28)
    ]
    file.write_text(json.dumps(records))
    return ready(Instructions(**{"path": str(file), "batch_size": 4} | fields))


def ready(data: Any) -> Any:
    data.prepare_data()
    data.use_model(GPT2Tokenizer(), SIZES["n_positions"])
    data.setup("fit")
    return data


def task_for(
    data: DataModule,
    *,
    task: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    finetune: dict[str, Any] = LAST_BLOCK,
    seed: int = 123,
    **optim: Any,
) -> Task:
    """A model with random weights as its base, the same for every seed."""
    config = ModelConfig(**SIZES | (model or {}), weights="random")
    is_classifier = isinstance(data, Table)
    options = {} if is_classifier else {"generation": {}}
    built: Task = (Classifier if is_classifier else LanguageModel)(
        task=options | (task or {}),
        model=config.architecture(),
        finetune=finetune,
        optim={"lr": 1e-3} | optim,
        seed=123,
        **data.task_arguments(),
    )
    built.load_base(config, locate(config))
    return built


class Losses(L.Callback):
    """Collects the logged losses."""

    def __init__(self) -> None:
        self.train: list[float] = []
        self.val: list[float] = []

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        self.train.append(float(trainer.callback_metrics["train/loss"]))

    def on_validation_end(self, trainer: L.Trainer, *args: Any) -> None:
        self.val.append(float(trainer.callback_metrics["val/loss"]))


def trainer_with(callbacks: Sequence[L.Callback], **options: Any) -> L.Trainer:
    return L.Trainer(
        **{"max_epochs": 2, "enable_checkpointing": False} | options,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        callbacks=list(callbacks),
    )


def run(
    data: DataModule, task: Task, frozen: FrozenActivations | None = None, **options: Any
) -> dict[str, Any]:
    """Fits and evaluates; returns all losses and the facts of the cache."""
    losses = Losses()
    trainer = trainer_with([losses, *([frozen] if frozen else [])], **options)
    L.seed_everything(123, workers=True, verbose=False)
    trainer.fit(task, datamodule=data)
    trainer.test(task, datamodule=data, verbose=False)
    final = [float(trainer.callback_metrics[f"{split}/loss"]) for split in EVALUATED]
    return {
        "train": np.array(losses.train),
        "val": np.array(losses.val),
        "final": final,
        "facts": frozen.facts if frozen else None,
    }


def assert_same(cached: dict[str, Any], plain: dict[str, Any]) -> None:
    for key in ("train", "val", "final"):
        assert cached[key] == pytest.approx(plain[key], abs=1e-5)
    assert len(cached["train"]) > 5
