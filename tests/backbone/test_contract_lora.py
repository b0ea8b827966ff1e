"""Adapters compute what PEFT's compute: outputs, and the gradients of A, B and magnitudes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from contract import LORA, backbone, batch, inputs_of, mask_of, reference
from contract_families import BLOCKS, FAMILIES, Family
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.func import functional_call
from transformers import AutoModel

from llm_lightning.backbone.protocol import Backbone
from llm_lightning.finetuning.adaptation import LoRA
from llm_lightning.finetuning.lora import LoRALinear, adapters

Folders = Callable[[str], Path]
EVERY = ["q", "k", "v", "out", "fc1", "fc2"]


class Adapted(nn.Module):
    """A backbone with adapters that are not 0, and a head."""

    def __init__(self, made: Backbone, **fields: Any) -> None:
        super().__init__()
        self.backbone = made
        self.head = nn.Linear(made.hidden_size, 2)
        strategy = LoRA(**{"rank": LORA["rank"], "alpha": LORA["alpha"]} | fields)
        strategy.apply(self)
        strategy.base_loaded(self)
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for layer in self.layers().values():
                layer.lora_B.normal_(std=0.3, generator=generator)
                if layer.lora_magnitude is not None:
                    layer.lora_magnitude.mul_(1.1)

    def layers(self) -> dict[str, LoRALinear]:
        return adapters(cast(nn.Module, self.backbone))

    def gradients(self) -> tuple[Tensor, dict[str, Tensor]]:
        """States of real tokens, (N, C), and the gradient of every adapter by its layer."""
        texts = batch()
        states = self.backbone(texts.input_ids, mask_of(texts))[mask_of(texts)]
        states.sin().sum().backward()
        found = {}
        for name, layer in self.layers().items():
            for part in ("A", "B", "magnitude"):
                parameter = getattr(layer, f"lora_{part}")
                if parameter is not None:
                    found[f"{name}.{part}"] = parameter.grad
        return states.detach(), found


def with_peft(family: Family, folder: Path, ours: Adapted, *, dora: bool) -> Any:
    """Transformers' model with the same adapters, as PEFT has them."""
    names = [name.removeprefix(family.inside) for name in ours.layers()]
    config = LoraConfig(
        r=LORA["rank"],
        lora_alpha=LORA["alpha"],
        target_modules=names,
        use_dora=dora,
        fan_in_fan_out=family.kind == "gpt2",
    )
    theirs = get_peft_model(reference(AutoModel, folder), config)
    with torch.no_grad():
        for name, layer in ours.layers().items():
            other = theirs.base_model.model.get_submodule(name.removeprefix(family.inside))
            other.lora_A["default"].weight.copy_(layer.lora_A)
            other.lora_B["default"].weight.copy_(layer.lora_B)
            if layer.lora_magnitude is not None:
                other.lora_magnitude_vector["default"].weight.copy_(layer.lora_magnitude)
    return theirs


# PEFT's own use of a name of transformers that is going away.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
@pytest.mark.parametrize("targets", [["q", "v"], EVERY], ids=["q_v", "all"])
@pytest.mark.parametrize("name", FAMILIES)
def test_adapters_equal_peft(folder_of: Folders, name: str, targets: list[str], dora: bool) -> None:
    family = FAMILIES[name]
    is_fused = any(len(roles) > 1 for roles in family.layers.values())
    if is_fused and targets != EVERY:
        targets = ["q", "k", "v"]  # which PEFT cannot adapt one by one
    ours = Adapted(backbone(family, folder_of(name)), targets=targets, qkv="shared", dora=dora)
    wanted = {layer for block in range(BLOCKS) for layer in family.layers_of(block, *targets)}
    assert set(ours.layers()) == wanted
    theirs = with_peft(family, folder_of(name), ours, dora=dora)
    states, gradients = ours.gradients()
    texts = batch()
    out = theirs(**inputs_of(texts)).last_hidden_state[mask_of(texts)]
    assert close(states, out.detach())
    out.sin().sum().backward()
    for layer in wanted:
        other = theirs.base_model.model.get_submodule(layer.removeprefix(family.inside))
        assert close(gradients[f"{layer}.A"], other.lora_A["default"].weight.grad), layer
        assert close(gradients[f"{layer}.B"], other.lora_B["default"].weight.grad), layer
        if dora:
            magnitude = other.lora_magnitude_vector["default"].weight
            assert close(gradients[f"{layer}.magnitude"], magnitude.grad), layer
    assert len(gradients) == len(wanted) * (3 if dora else 2)


@pytest.mark.parametrize("targets", [["q", "v"], ["q", "k", "v"]], ids=["q_v", "q_k_v"])
@pytest.mark.parametrize("name", ["modernbert", "gpt2"])
def test_separate_adapters_are_slices_of_one_matrix(
    folder_of: Folders, name: str, targets: list[str]
) -> None:
    family = FAMILIES[name]
    ours = Adapted(backbone(family, folder_of(name)), targets=targets)
    states, gradients = ours.gradients()
    base, parts, weights = reference(AutoModel, folder_of(name)), {}, {}
    rank, scale = LORA["rank"], LORA["alpha"] / LORA["rank"]
    for layer_name, layer in ours.layers().items():
        key = f"{layer_name.removeprefix(family.inside)}.weight"
        a = layer.lora_A.detach().clone().requires_grad_()
        b = layer.lora_B.detach().clone().requires_grad_()
        parts |= {f"{layer_name}.A": a, f"{layer_name}.B": b}
        C, updates = 32, []
        for role in ("q", "k", "v"):
            if role in targets:
                at = targets.index(role)
                own_a, own_b = a[at * rank : (at + 1) * rank], b[at * C : (at + 1) * C]
                updates.append(scale * own_b @ own_a)
            else:
                updates.append(torch.zeros(C, C))
        update = torch.cat(updates)  # (3 C, C)
        weights[key] = base.get_parameter(key) + (update.T if name == "gpt2" else update)
    texts = batch()
    out = merged(base, weights)[mask_of(texts)]
    assert close(states, out.detach())
    out.sin().sum().backward()
    assert gradients.keys() == parts.keys()
    assert all(close(gradients[part], parts[part].grad) for part in parts)


def merged(base: nn.Module, weights: Mapping[str, Tensor]) -> Tensor:
    """States of the base with other weights."""
    out = functional_call(base, dict(weights), kwargs=inputs_of(batch()))
    return cast(Tensor, out.last_hidden_state)


def close(found: Tensor, wanted: Tensor) -> bool:
    assert found.shape == wanted.shape
    return float((found - wanted).abs().max()) <= 1e-5 * max(1.0, float(wanted.abs().max()))
