"""A trained model as plain tensors: adapters merged, quantized weights dequantized."""

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llm_lightning.finetuning.lora import LoRALinear
from llm_lightning.finetuning.qlora import NF4Linear
from llm_lightning.finetuning.strategies import as_module, is_tied
from llm_lightning.tasks.finetuned_model import FineTunedModel
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.tasks.text_classifier import TextClassifier


@dataclass
class Dense:
    """A backbone and its head without adapters, in full precision.

    Shapes: V rows of the head (classes or tokens), C embedding width.
    """

    config: Any
    """The backbone's: GPT-2's, or that of transformers."""
    backbone: dict[str, Tensor]
    """Tensors by their names in the backbone."""
    head: Float[Tensor, "V C"]
    """Weight of the head."""
    head_bias: Float[Tensor, " V"] | None
    """Of a classifier; ``None`` if the head has none."""
    is_tied: bool
    """Whether the head is the input embedding."""


@torch.no_grad()
def dense(task: FineTunedModel, *, merge: bool = True) -> Dense:
    """Merges adapters and dequantizes weights; the task is unchanged.

    Args:
        task: trained.
        merge: whether adapters are merged; if not, they are omitted, which gives the base.

    Returns:
        The weights on the CPU, in full precision.
    """
    own: Any = as_module(task.backbone)
    weights = {
        name: plain_weight(module) if merge else base_weight(module)
        for name, module in own.named_modules()
        if isinstance(module, nn.Linear)
    }
    backbone = {}
    for name, value in own.state_dict().items():
        layer, _, kind = name.rpartition(".")
        if kind.startswith("lora_"):
            continue
        is_weight = kind == "weight" and layer in weights
        backbone[name] = (weights[layer] if is_weight else value).detach().float().cpu()
    head = plain_weight(task.head).detach().float().cpu()
    bias = task.head.bias
    return Dense(
        config=own.config,
        backbone=backbone,
        head=head,
        head_bias=None if bias is None else bias.detach().float().cpu(),
        is_tied=is_tied(task) and not isinstance(task.head, LoRALinear),
    )


def plain_weight(layer: nn.Module) -> Float[Tensor, "out_features in_features"]:
    """Returns the weight of an equivalent plain layer, its adapter merged."""
    return layer.merged_weight() if isinstance(layer, LoRALinear) else base_weight(layer)


def base_weight(layer: nn.Module) -> Float[Tensor, "out_features in_features"]:
    """Returns the weight without its adapter, in full precision."""
    if isinstance(layer, LoRALinear | NF4Linear):
        return layer.base_weight()
    return cast(nn.Linear, layer).weight


def with_bias_in_norm(model: Dense, norm: str) -> Dense:
    """Moves a classifier's bias c into the final LayerNorm, for formats whose head has none.

    The head computes W (n + b) + c, where b is the LayerNorm's bias. With d = pinv(W) c this equals
    W (n + b + d), because W d = c if the rows of W are linearly independent.

    Args:
        model: unchanged; returned as it is if its head has no bias.
        norm: name of the LayerNorm's bias in the backbone.

    Raises:
        ValueError: if the rows are not linearly independent.
    """
    if model.head_bias is None:
        return model
    weight, bias = model.head.double(), model.head_bias.double()
    shift = torch.linalg.pinv(weight) @ bias
    if not torch.allclose(weight @ shift, bias, atol=1e-6):
        raise ValueError(
            f"the classifier's bias cannot be exported: the format's head has none, and moving it "
            f"into the final LayerNorm requires linearly independent rows, but this head has "
            f"{len(weight)} rows of {weight.shape[1]} numbers, of rank "
            f"{int(torch.linalg.matrix_rank(weight))}"
        )
    moved = (model.backbone[norm].double() + shift).float()
    return replace(model, backbone=model.backbone | {norm: moved}, head_bias=None)


def rebuilt(task: FineTunedModel, model: Dense) -> FineTunedModel:
    """Returns a task of the same kind with these plain weights, in evaluation mode."""
    fields: dict[str, Any] = dict(task.hparams)
    fields["finetune"] = {"_target_": "llm_lightning.finetuning.strategies.AllLayers"}
    fields["model"] = fields["model"] | {"init": "empty"}
    if isinstance(task, LanguageModel):
        fields["task"] = fields["task"] | {"tie_weights": model.is_tied}
    plain = type(task)(**fields)
    state = {f"backbone.{name}": value for name, value in model.backbone.items()}
    state["head.weight"] = model.head
    if isinstance(task, TextClassifier):
        empty = torch.zeros(len(model.head))
        state["head.bias"] = empty if model.head_bias is None else model.head_bias
    plain.load_state_dict(state, strict=True)
    plain.tokenizer = task.tokenizer
    return plain.eval()
