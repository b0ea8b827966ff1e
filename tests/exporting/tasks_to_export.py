"""Small tasks whose every parameter was moved, as if they had been trained."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID
from llm_lightning.run_format.run_facts import DataFacts, SplitFacts, WeightFacts
from llm_lightning.run_format.summary import Summary
from llm_lightning.tasks.classifier import Classifier
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.tasks.task import Task

TINY = {"n_layer": 3, "n_head": 2, "n_embd": 8, "n_positions": 32, "vocab_size": 50257}
ALL = {"_target_": "llm_lightning.finetuning.strategies.AllLayers"}

LENGTHS = torch.tensor([3, 17, 32, 1])


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids of texts of ``LENGTHS``, padded on the right, and which of them are real."""
    torch.manual_seed(9)
    ids = torch.randint(END_OF_TEXT_ID, (4, 32))
    is_real = torch.arange(32) < LENGTHS[:, None]
    return ids.masked_fill(~is_real, END_OF_TEXT_ID), is_real


def lora(**fields: Any) -> dict[str, Any]:
    defaults = {"_target_": "llm_lightning.finetuning.adaptation.LoRA", "rank": 2, "alpha": 3.0}
    return defaults | fields


def classifier(finetune: dict[str, Any] = ALL, num_classes: int = 3, **fields: Any) -> Classifier:
    defaults: dict[str, Any] = {
        "task": {},
        "model": TINY,
        "finetune": finetune,
        "optim": {},
        "class_names": [f"class {index}" for index in range(num_classes)],
        "class_weights": None,
        "text": {"max_length": 32, "padding": "batch"},
        "seed": 1,
    }
    return moved(Classifier(**defaults | fields))


def language_model(
    finetune: dict[str, Any] = ALL, *, tie_weights: bool = True, **fields: Any
) -> LanguageModel:
    defaults: dict[str, Any] = {
        "task": {"tie_weights": tie_weights, "generation": {}},
        "model": TINY,
        "finetune": finetune,
        "optim": {},
        "text": {"prompt_style": "alpaca"},
        "seed": 1,
    }
    return moved(LanguageModel(**defaults | fields))


@torch.no_grad()
def moved(task: Any) -> Any:
    """Moves every parameter: zeros and equal halves would hide mistakes."""
    torch.manual_seed(5)
    for name, parameter in task.named_parameters():
        if not name.startswith("backbone.") or "lora" in name or parameter.requires_grad:
            parameter += 0.3 * torch.randn_like(parameter)
        else:
            parameter += 0.1 * torch.randn_like(parameter)
    return task.eval()


def summary() -> Summary:
    """Those fields of a run's summary that a card shows."""
    return Summary.model_construct(
        name="my run", seed=1, fallbacks=[], metrics={"test": {"loss": 0.5, "accuracy": None}},
        weights=WeightFacts.model_construct(model="tiny", source="tiny: packaged weights"),
        data=DataFacts.model_construct(splits={"test": SplitFacts(examples=9, sha256="ab")}),
        evaluated_examples={"test": 9},
    )  # fmt: skip


def base_of(task: Task) -> GPT2:
    """The plain network under the adapters, built from the parameters' own names."""
    model = GPT2(replace(task.backbone.config, init="empty"))
    own = task.backbone.state_dict()
    model.load_state_dict({name: own[name] for name in model.state_dict()})
    return model.eval()


def code_of(folder: Path) -> str:
    """The Python on an export's card, for this folder."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert code, card
    return code[1].replace("<this folder>", str(folder))
