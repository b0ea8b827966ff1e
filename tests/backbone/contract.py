"""What tests of the backbone contract share: weights on disk, models that load them, batches."""

from pathlib import Path
from typing import Any

import torch
import transformers
from contract_families import FAMILIES, FIRST_WORD, PAD, Family
from torch import Tensor, nn

from llm_lightning.backbone.families import architecture, build, load_weights, locate
from llm_lightning.backbone.protocol import Backbone
from llm_lightning.data.batching import Batch
from llm_lightning.tasks.classifier import Classifier
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.tasks.task import Task

CLASSES = ["ham", "spam", "eggs"]
LENGTHS = [13, 4, 9, 1]
ROOM = "llm_lightning.finetuning"
LAST_LAYER: dict[str, Any] = {
    "_target_": f"{ROOM}.strategies.TopBlocks",
    "num_blocks": 0,
    "train_final_norm": False,
}
LAST_BLOCK: dict[str, Any] = {"_target_": f"{ROOM}.strategies.TopBlocks", "num_blocks": 1}
ALL: dict[str, Any] = {"_target_": f"{ROOM}.strategies.AllLayers"}
LORA: dict[str, Any] = {"_target_": f"{ROOM}.adaptation.LoRA", "rank": 4, "alpha": 8.0}
QLORA: dict[str, Any] = LORA | {"_target_": f"{ROOM}.qlora.QLoRA"}

DECODERS = [name for name, family in FAMILIES.items() if family.is_causal]
ENCODERS = [name for name, family in FAMILIES.items() if not family.is_causal]


def save(family: Family, auto: Any, folder: Path, *, seed: int = 0, **fields: Any) -> None:
    """Writes a folder of transformers; ``fields`` replace those of the family's configuration.

    Initial weights are so small, and biases and norms so uniform, that a block that does not run or
    a bias that is not loaded would hardly change the output; so all are varied.
    """
    torch.manual_seed(seed)
    config = family.config()
    config.update(fields)
    model = auto.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    model.save_pretrained(folder)


def backbone(family: Family, folder: Path) -> Backbone:
    """The model in a folder, without a head, made and loaded as a run does."""
    model = family.model(folder)
    found = locate(model)
    made = build(architecture(model, found))
    assert found.path is not None
    load_weights(made, found.path)
    assert isinstance(made, nn.Module)
    return made.eval()


def classifier(
    family: Family,
    folder: Path,
    finetune: dict[str, Any] = LAST_BLOCK,
    *,
    dropout: float = 0.0,
    **task: Any,
) -> Classifier:
    """A classifier on the model in a folder."""
    model = family.model(folder)
    found = locate(model)
    network = architecture(model, found)
    made = Classifier(
        task=task,
        model=network | ({"dropout": dropout} if dropout else {}),
        finetune=finetune,
        optim={"lr": 1e-2},
        class_names=CLASSES,
        class_weights=None,
        text={"max_length": 64, "padding": "batch"},
        seed=1,
    )
    made.load_base(model, found)
    return made.eval()


def language_model(
    family: Family, folder: Path, finetune: dict[str, Any] = LAST_BLOCK, *, tied: bool | None = None
) -> LanguageModel:
    """A language model on the model in a folder, with the head that its family has."""
    model = family.model(folder)
    found = locate(model)
    made = LanguageModel(
        task={"generation": {}, "tie_weights": family.is_tied if tied is None else tied},
        model=architecture(model, found),
        finetune=finetune,
        optim={"lr": 1e-2},
        text={"max_length": 64},
        seed=1,
    )
    made.load_base(model, found)
    return made.eval()


def batch(lengths: list[int] = LENGTHS, *, width: int | None = None, seed: int = 5) -> Batch:
    """Random texts, padded on the right; a text depends on its place, not on the others."""
    rows = torch.full((len(lengths), width or max(lengths)), PAD)
    for index, length in enumerate(lengths):
        generator = torch.Generator().manual_seed(seed + index)
        rows[index, :length] = torch.randint(FIRST_WORD, 97, (length,), generator=generator)
    numbers = torch.arange(len(lengths))
    return Batch(rows, torch.tensor(lengths), numbers % len(CLASSES), numbers)


def mask_of(texts: Batch) -> Tensor:
    """True at the real tokens of a batch, (B, T)."""
    return torch.arange(texts.input_ids.shape[1]) < texts.lengths[:, None]


def inputs_of(texts: Batch) -> dict[str, Tensor]:
    """A batch as transformers takes it."""
    return {"input_ids": texts.input_ids, "attention_mask": mask_of(texts).long()}


def reference(auto: Any, folder: Path) -> Any:
    """Transformers' own model of a folder."""
    return auto.from_pretrained(folder).eval()


def trainable(task: Task | nn.Module) -> set[str]:
    """Names of the parameters that train."""
    return {name for name, parameter in task.named_parameters() if parameter.requires_grad}


def pretraining_head(family: Family) -> Any:
    """The class with the head that a family is published with."""
    if family.is_causal:
        return transformers.AutoModelForCausalLM
    return transformers.AutoModelForMaskedLM
