"""Run folders with all that a page reads, without training."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml
from reporting import run_folders

from llm_lightning.backbone.gpt2 import GPTConfig
from llm_lightning.data.batching import Padder
from llm_lightning.tasks.classifier import Classifier

TINY = GPTConfig(n_layer=1, n_head=2, n_embd=8, n_positions=64, vocab_size=50257)
CLASSES = list(run_folders.CLASSES)


def tiny_classifier(pooling: str = "last_real", **padder: Any) -> Classifier:
    """A classifier with random weights, in evaluation mode."""
    torch.manual_seed(1)
    text = {"max_length": 16, **padder}
    model = Classifier(
        task={"pooling": pooling},
        model=asdict(TINY),
        finetune={"_target_": "llm_lightning.finetuning.strategies.AllLayers"},
        optim={},
        class_names=CLASSES,
        class_weights=None,
        text=asdict(Padder(**text)),
        seed=1,
    )
    with torch.no_grad():  # small random weights hardly tell texts apart
        model.backbone.input_embedding.weight.mul_(30)
    return model.eval()


def write_data_run(folder: Path, data: dict[str, Any], pooling: str = "last_real") -> Path:
    """A classification run whose configuration and checkpoint say how its texts were encoded."""
    run_folders.write_classifier(folder.parent.parent, folder.parent.name, seed=1)
    config = {
        "seed": 123,
        "model": {"n_layer": 1, "n_positions": 64},
        "task": {"pooling": pooling},
        "data": {"_target_": "llm_lightning.data.spam.SmsSpam", "split": "table", **data},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    text = asdict(Padder(**{"max_length": 6, "padding": data.get("padding", "batch")}))
    hyper = {"class_names": CLASSES, "text": text, "model": asdict(TINY)}
    (folder / "checkpoints").mkdir()
    torch.save({"hyper_parameters": hyper}, folder / "checkpoints" / "best.ckpt")
    return folder


def write_instruction_data_run(folder: Path, **data: Any) -> Path:
    """An instruction run before its first checkpoint."""
    (folder / "splits").mkdir(parents=True)
    records = run_folders.RECORDS
    for split in ("train", "val", "test"):
        (folder / "splits" / f"{split}.json").write_text(json.dumps(records))
    config = {
        "model": {"n_layer": 1, "n_positions": 64},
        "task": {"tie_weights": True},
        "data": {"_target_": "llm_lightning.data.instructions.Instructions", **data},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder
