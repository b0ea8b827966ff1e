"""Run folders with a model of a few thousand weights, to be damaged."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from reporting import run_folders

from llm_lightning.backbone.families import Model, architecture, locate, save_tokenizer
from llm_lightning.backbone.families import load_tokenizer as tokenizer_of
from llm_lightning.backbone.weights import ModelConfig
from llm_lightning.tasks.classifier import Classifier
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.tasks.task import Task

TINY = {"n_layer": 2, "n_head": 2, "n_embd": 8, "n_positions": 32, "vocab_size": 50257}
LAST_BLOCK = {"_target_": "llm_lightning.finetuning.strategies.TopBlocks", "num_blocks": 1}
LORA = {"_target_": "llm_lightning.finetuning.adaptation.LoRA", "rank": 2}
CHECKPOINT = "checkpoints/last.ckpt"


def random_gpt2() -> ModelConfig:
    return ModelConfig(**TINY, weights="random")


def write_classifier_run(
    root: Path, model: Model | None = None, finetune: dict[str, Any] = LAST_BLOCK
) -> Path:
    """Writes the folder of a classifier that can be loaded; returns it."""
    model = model or random_gpt2()
    found = locate(model)
    task = Classifier(
        task={}, model=architecture(model, found), finetune=finetune, optim={},
        class_names=["ham", "spam"], class_weights=None,
        text={"max_length": 32, "padding": "batch"}, seed=1,
    )  # fmt: skip
    task.load_base(model, found)
    task.tokenizer = tokenizer_of(model, found)
    folder = run_folders.write_classifier(root, checkpoint=CHECKPOINT)
    return _with_checkpoint(folder, task)


def write_instruction_run(root: Path) -> Path:
    """Writes the folder of a model that follows instructions; returns it."""
    model = random_gpt2()
    found = locate(model)
    task = LanguageModel(
        task={"generation": {"max_new_tokens": 4}, "tie_weights": True},
        model=architecture(model, found), finetune=LAST_BLOCK, optim={},
        text={"prompt_style": "alpaca", "mask": "none"}, seed=1,
    )  # fmt: skip
    task.load_base(model, found)
    folder = run_folders.write_responses(root, checkpoint=CHECKPOINT)
    return _with_checkpoint(folder, task)


def _with_checkpoint(folder: Path, task: Task) -> Path:
    checkpoint: dict[str, Any] = {
        "state_dict": task.state_dict(), "hyper_parameters": dict(task.hparams),
        "pytorch-lightning_version": "2.6.6",
    }  # fmt: skip
    task.on_save_checkpoint(checkpoint)
    (folder / "checkpoints").mkdir()
    torch.save(checkpoint, folder / CHECKPOINT)
    save_tokenizer(task.tokenizer, folder / "tokenizer")
    return folder


def edit_checkpoint(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Changes the checkpoint of a run in place; returns its file."""
    file = folder / CHECKPOINT
    checkpoint = torch.load(file, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, file)
    return file


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change that sets a dotted key, or deletes it for an ellipsis."""
    *parents, last = path.split("/")

    def change(checkpoint: dict[str, Any]) -> None:
        part = checkpoint
        for name in parents:
            part = part[name]
        if value is ...:
            del part[last]
        else:
            part[last] = value

    return change
