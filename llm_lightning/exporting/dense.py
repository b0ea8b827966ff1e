"""A trained model as plain tensors, whatever it was trained with."""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from llm_lightning.backbone.gpt2 import GPTConfig
from llm_lightning.finetuning.lora import LoRALinear
from llm_lightning.finetuning.qlora import NF4Linear
from llm_lightning.tasks.classifier import Classifier
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.tasks.task import Task


@dataclass
class Dense:
    """A backbone and its head without adapters, in full precision.

    Shapes: V rows of the head (classes or tokens), C embedding width.
    """

    config: GPTConfig
    backbone: dict[str, Tensor]
    """Tensors by their names in the backbone."""
    head: Tensor
    """(V, C)."""
    head_bias: Tensor | None
    """(V,), of a classifier."""
    is_tied: bool
    """Whether the head is the input embedding."""


@torch.no_grad()
def dense(task: Task, *, merge: bool = True) -> Dense:
    """Merges adapters, and unpacks what is stored in four bits; the task stays as it is.

    Args:
        task: a trained one.
        merge: whether adapters are merged; otherwise they are left out, which gives the base.
    """
    weights = {
        name: plain_weight(module) if merge else base_weight(module)
        for name, module in task.backbone.named_modules()
        if isinstance(module, nn.Linear)
    }
    backbone = {}
    for name, value in task.backbone.state_dict().items():
        layer, _, kind = name.rpartition(".")
        if kind.startswith("lora_"):
            continue
        is_weight = kind == "weight" and layer in weights
        backbone[name] = (weights[layer] if is_weight else value).detach().float().cpu()
    head = plain_weight(task.head).detach().float().cpu()
    bias = task.head.bias
    is_tied = task.head.weight is task.backbone.wte.weight
    return Dense(
        config=task.backbone.config,
        backbone=backbone,
        head=head,
        head_bias=None if bias is None else bias.detach().float().cpu(),
        is_tied=is_tied and not isinstance(task.head, LoRALinear),
    )


def plain_weight(layer: nn.Module) -> Tensor:
    """Returns the weight of a plain layer that computes the same."""
    return layer.merged_weight() if isinstance(layer, LoRALinear) else base_weight(layer)


def base_weight(layer: nn.Module) -> Tensor:
    """Returns the weight without an adapter, in full precision."""
    if isinstance(layer, LoRALinear | NF4Linear):
        return layer.base_weight()
    return cast(nn.Linear, layer).weight


def with_bias_in_final_norm(model: Dense) -> Dense:
    """Moves a classifier's bias c into the final LayerNorm, for formats whose head has none.

    The head reads W (n + b), b being the LayerNorm's bias. With d = pinv(W) c the same is
    W (n + b + d) without c, because W d = c where the rows of W are independent.

    Raises:
        ValueError: if they are not.
    """
    if model.head_bias is None:
        return model
    weight, bias = model.head.double(), model.head_bias.double()
    shift = torch.linalg.pinv(weight) @ bias
    if not torch.allclose(weight @ shift, bias, atol=1e-6):
        raise ValueError(
            f"the head's bias cannot move into the final LayerNorm, as formats whose head has none "
            f"need it: that asks for independent rows, and this head has {len(weight)} rows of "
            f"{weight.shape[1]} numbers, of rank {int(torch.linalg.matrix_rank(weight))}"
        )
    norm = (model.backbone["ln_f.bias"].double() + shift).float()
    backbone = model.backbone | {"ln_f.bias": norm}
    return Dense(model.config, backbone, model.head, None, model.is_tied)


def rebuilt(task: Task, model: Dense) -> Task:
    """Returns a task of the same kind with these weights, all of them plain."""
    fields: dict[str, Any] = dict(task.hparams)
    fields["finetune"] = {"_target_": "llm_lightning.finetuning.strategies.AllLayers"}
    fields["model"] = fields["model"] | {"init": "empty"}
    if isinstance(task, LanguageModel):
        fields["task"] = fields["task"] | {"tie_weights": model.is_tied}
    plain = type(task)(**fields)
    state = {f"backbone.{name}": value for name, value in model.backbone.items()}
    state["head.weight"] = model.head
    if isinstance(task, Classifier):
        empty = torch.zeros(len(model.head))
        state["head.bias"] = empty if model.head_bias is None else model.head_bias
    plain.load_state_dict(state, strict=True)
    return plain.eval()
