"""QLoRA as a strategy: adapters over a base that is quantized to four bits.

Dettmers et al. 2023, "QLoRA: Efficient Finetuning of Quantized LLMs", section 3: every matrix of
the frozen blocks is stored in 4-bit NormalFloat with double quantization, is dequantized to bf16
when it is used, and the adapters train in bf16. bitsandbytes does the quantization.
"""

import logging
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from llm_lightning.finetuning.adaptation import LoRA
from llm_lightning.finetuning.lora import LoRALinear
from llm_lightning.finetuning.strategies import Model, as_module
from llm_lightning.presentation.extras import require


class _NF4(nn.Linear):
    """A linear layer whose frozen weight is quantized once it is loaded."""

    @property
    def is_quantized(self) -> bool:
        """Whether the weight is quantized."""
        return hasattr(self.weight, "quant_state")

    def quantize(self, *, double_quantization: bool) -> None:
        """Quantizes the weight.

        Args:
            double_quantization: whether the scales, one for 64 weights, are themselves stored in 8
                bits.

        Raises:
            ValueError: if it is already quantized.
        """
        if self.is_quantized:
            raise ValueError("the weight is already quantized")
        quantized = _bitsandbytes().nn.Params4bit(
            self.weight.detach(),
            requires_grad=False,
            quant_type="nf4",
            compress_statistics=double_quantization,
        )
        self.weight = quantized.to(self.weight.device)  # which quantizes it

    def base_weight(self) -> Float[Tensor, "O I"]:
        """Returns the weight, dequantized to full precision."""
        if not self.is_quantized:
            return self.weight
        weight: Any = self.weight
        dense: Tensor = _bitsandbytes().functional.dequantize_4bit(weight.data, weight.quant_state)
        return dense.float()

    def _base_forward(self, x: Tensor) -> Tensor:
        if not self.is_quantized:
            return F.linear(x, self.weight, self.bias)
        weight: Any = self.weight
        out: Tensor = _bitsandbytes().matmul_4bit(
            x.to(torch.bfloat16), weight.data.t(), quant_state=weight.quant_state
        )
        # The precision of a plain layer: autocast's, or otherwise the input's.
        device = x.device.type
        is_mixed = torch.is_autocast_enabled(device)
        out = out.to(torch.get_autocast_dtype(device) if is_mixed else x.dtype)
        return out if self.bias is None else out + self.bias.to(out.dtype)


class NF4Linear(_NF4):
    """A frozen layer without an adapter.

    Args:
        base: the layer; its parameters are frozen and shared, not copied.
    """

    def __init__(self, base: nn.Linear) -> None:
        super().__init__(base.in_features, base.out_features, base.bias is not None, device="meta")
        self.weight, self.bias = base.weight, base.bias
        self.requires_grad_(False)

    def forward(self, x: Float[Tensor, "*batch I"]) -> Float[Tensor, "*batch O"]:
        """Applies the layer."""
        return self._base_forward(x)


class NF4LoRALinear(_NF4, LoRALinear):
    """An adapted layer; A and B are in bf16.

    DoRA's magnitudes stay in full precision: their updates are smaller than the resolution of bf16
    at their size, so that they would not train.

    Merging replaces the weight by the sum of the dequantized base and the adapter, in full
    precision. It cannot be quantized again, which would lose most of what the adapter learnt.
    """

    def __init__(self, base: nn.Linear, **options: Any) -> None:
        LoRALinear.__init__(self, base, **options)
        self.lora_A = nn.Parameter(self.lora_A.detach().bfloat16())
        self.lora_B = nn.Parameter(self.lora_B.detach().bfloat16())

    def quantize(self, *, double_quantization: bool) -> None:
        """Quantizes the base.

        Raises:
            ValueError: if it is already quantized, or includes the adapter.
        """
        if self.is_merged:
            raise ValueError(
                "a merged weight cannot be quantized: what the adapter learnt would be lost; "
                "unmerge() first"
            )
        super().quantize(double_quantization=double_quantization)


@dataclass
class QLoRA(LoRA):
    """Freezes everything, quantizes the blocks' matrices to four bits, trains adapters in bf16.

    Embeddings, LayerNorms, biases and the head are not quantized.

    Raises:
        ValueError: as for LoRA, or if bitsandbytes is not installed.
    """

    _target_: str = "llm_lightning.finetuning.qlora.QLoRA"
    double_quantization: bool = True
    """Whether the scales of the quantized weights are themselves stored in 8 bits."""

    def __post_init__(self) -> None:
        """Checks the ranges, and that bitsandbytes is installed."""
        super().__post_init__()
        _bitsandbytes()

    def apply(self, model: Model) -> None:
        """See :class:`~llm_lightning.finetuning.strategies.Strategy`."""
        super().apply(model)
        backbone = as_module(model.backbone)
        for name, layer in list(backbone.named_modules()):
            if type(layer) is nn.Linear:
                parent, _, child = name.rpartition(".")
                setattr(backbone.get_submodule(parent), child, NF4Linear(layer))

    def base_loaded(self, model: Model) -> None:
        """Quantizes the weights; DoRA's magnitudes start at the norms of the quantized ones."""
        for layer in _quantized_layers(model):
            layer.quantize(double_quantization=self.double_quantization)
        super().base_loaded(model)

    def describe(self, model: Model) -> dict[str, Any]:
        """The facts of LoRA, and the memory of the quantized matrices compared with dense ones."""
        layers = _quantized_layers(model)
        numbers = sum(layer.in_features * layer.out_features for layer in layers)
        quantized = sum(quantized_bytes(layer) for layer in layers)
        return super().describe(model) | {
            "quantized_mib": quantized / 2**20,
            "as_bf16_mib": 2 * numbers / 2**20,
            "as_fp32_mib": 4 * numbers / 2**20,
            "share_of_bf16": quantized / (2 * numbers),
        }

    def _layer(self, name: str) -> type[LoRALinear]:
        return LoRALinear if name == "head" else NF4LoRALinear


def quantized_bytes(layer: nn.Linear) -> int:
    """Returns the bytes of a layer's weight, with everything that dequantization needs."""
    weight: Any = layer.weight
    tensors = [weight.data]
    state = getattr(weight, "quant_state", None)
    while state is not None:
        tensors += [state.absmax, state.code]
        if isinstance(state.offset, Tensor):
            tensors.append(state.offset)
        state = state.state2
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _quantized_layers(model: Any) -> list[_NF4]:
    return [layer for layer in model.modules() if isinstance(layer, _NF4)]


def _bitsandbytes() -> ModuleType:
    require("finetune=qlora", {"bitsandbytes": "bitsandbytes"}, "qlora")
    logger = logging.getLogger("bitsandbytes")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it recommends a package that makes no difference here
    try:
        import bitsandbytes
    finally:
        logger.setLevel(level)
    return bitsandbytes
