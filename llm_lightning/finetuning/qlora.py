"""LoRA over a base that is stored in four bits: QLoRA as a strategy.

Dettmers et al. 2023, "QLoRA: Efficient Finetuning of Quantized LLMs", section 3: every matrix of
the frozen blocks is kept in 4-bit NormalFloat with double quantisation, is expanded to bf16 where
it is used, and the adapters beside it train in bf16. The packing is bitsandbytes'.
"""

import logging
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llm_lightning.finetuning.adaptation import LoRA
from llm_lightning.finetuning.lora import LoRALinear
from llm_lightning.finetuning.strategies import Model

INSTALL = "pip install 'llm-lightning[qlora]'"


class _NF4(nn.Linear):
    """A linear layer whose frozen weight is packed once it is loaded."""

    @property
    def is_quantized(self) -> bool:
        """Whether the weight is packed."""
        return hasattr(self.weight, "quant_state")

    def quantize(self, *, double_quantization: bool) -> None:
        """Packs the weight.

        Args:
            double_quantization: whether the scales of the blocks of 64 weights are themselves
                stored in 8 bits.

        Raises:
            ValueError: if it is packed already.
        """
        if self.is_quantized:
            raise ValueError("the weight is quantised already")
        packed = _bitsandbytes().nn.Params4bit(
            self.weight.detach(),
            requires_grad=False,
            quant_type="nf4",
            compress_statistics=double_quantization,
        )
        self.weight = packed.to(self.weight.device)  # which packs it

    def base_weight(self) -> Tensor:
        """Returns the (out_features, in_features) weight, expanded to full precision."""
        if not self.is_quantized:
            return self.weight
        packed: Any = self.weight
        dense: Tensor = _bitsandbytes().functional.dequantize_4bit(packed.data, packed.quant_state)
        return dense.float()

    def _base_forward(self, x: Tensor) -> Tensor:
        if not self.is_quantized:
            return F.linear(x, self.weight, self.bias)
        packed: Any = self.weight
        out: Tensor = _bitsandbytes().matmul_4bit(
            x.to(torch.bfloat16), packed.data.t(), quant_state=packed.quant_state
        )
        # As a plain layer does: under autocast in its precision, otherwise in the input's.
        device = x.device.type
        is_mixed = torch.is_autocast_enabled(device)
        out = out.to(torch.get_autocast_dtype(device) if is_mixed else x.dtype)
        return out if self.bias is None else out + self.bias.to(out.dtype)


class NF4Linear(_NF4):
    """A frozen layer without an adapter.

    Args:
        base: the layer; its parameters are kept, not copied, and frozen.
    """

    def __init__(self, base: nn.Linear) -> None:
        super().__init__(base.in_features, base.out_features, base.bias is not None, device="meta")
        self.weight, self.bias = base.weight, base.bias
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        return self._base_forward(x)


class NF4LoRALinear(_NF4, LoRALinear):
    """An adapted layer; A and B are in bf16.

    DoRA's lengths stay in full precision: at their size a step of the learning rate is less than
    bf16 resolves, and they would not train.

    Merging puts the sum of the expanded base and the adapter in place, in full precision: packing
    it again would lose most of what the adapter learnt, and is refused.
    """

    def __init__(self, base: nn.Linear, **options: Any) -> None:
        LoRALinear.__init__(self, base, **options)
        self.lora_A = nn.Parameter(self.lora_A.detach().bfloat16())
        self.lora_B = nn.Parameter(self.lora_B.detach().bfloat16())

    def quantize(self, *, double_quantization: bool) -> None:
        """Packs the base.

        Raises:
            ValueError: if it is packed already, or holds the adapter.
        """
        if self.is_merged:
            raise ValueError(
                "a merged weight is not quantised: what the adapter learnt would be lost; "
                "unmerge() first"
            )
        super().quantize(double_quantization=double_quantization)


@dataclass
class QLoRA(LoRA):
    """Freezes everything, packs the blocks' matrices into four bits and trains adapters in bf16.

    Embeddings, LayerNorms, biases and the head stay as they are.

    Raises:
        ValueError: as for LoRA, or if bitsandbytes is not installed.
    """

    _target_: str = "llm_lightning.finetuning.qlora.QLoRA"
    double_quantization: bool = True
    """Whether the scales of the packed weights are themselves stored in 8 bits."""

    def __post_init__(self) -> None:
        """Checks the ranges, and that the extra is installed."""
        super().__post_init__()
        _bitsandbytes()

    def apply(self, model: Model) -> None:
        """See :class:`~llm_lightning.finetuning.strategies.Strategy`."""
        super().apply(model)
        for name, layer in list(model.backbone.named_modules()):
            if type(layer) is nn.Linear:
                parent, _, child = name.rpartition(".")
                setattr(model.backbone.get_submodule(parent), child, NF4Linear(layer))

    def base_loaded(self, model: Model) -> None:
        """Packs the weights; DoRA starts at the lengths of the packed ones."""
        for layer in _packed_layers(model):
            layer.quantize(double_quantization=self.double_quantization)
        super().base_loaded(model)

    def describe(self, model: Model) -> dict[str, Any]:
        """What LoRA says, and the memory of the packed matrices beside that of dense ones."""
        layers = _packed_layers(model)
        numbers = sum(layer.in_features * layer.out_features for layer in layers)
        packed = sum(packed_bytes(layer) for layer in layers)
        return super().describe(model) | {
            "packed_mib": packed / 2**20,
            "as_bf16_mib": 2 * numbers / 2**20,
            "as_fp32_mib": 4 * numbers / 2**20,
            "share_of_bf16": packed / (2 * numbers),
        }

    def _layer(self, name: str) -> type[LoRALinear]:
        return LoRALinear if name == "head" else NF4LoRALinear


def packed_bytes(layer: nn.Linear) -> int:
    """Bytes of a layer's weight, with everything that is needed to expand it."""
    weight: Any = layer.weight
    tensors = [weight.data]
    state = getattr(weight, "quant_state", None)
    while state is not None:
        tensors += [state.absmax, state.code]
        if isinstance(state.offset, Tensor):
            tensors.append(state.offset)
        state = state.state2
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _packed_layers(model: Any) -> list[_NF4]:
    return [layer for layer in model.modules() if isinstance(layer, _NF4)]


def _bitsandbytes() -> ModuleType:
    logger = logging.getLogger("bitsandbytes")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it advises a package that makes no difference here
    try:
        import bitsandbytes
    except ImportError as error:
        raise ValueError(f"finetune=qlora needs bitsandbytes: {INSTALL}") from error
    finally:
        logger.setLevel(level)
    return bitsandbytes
