"""Matrix products in float32 by oneDNN, on processors where those of MKL take twice as long.

PyTorch multiplies float32 matrices with MKL, which uses instructions of half the width on
processors that are not Intel's. Its other library, oneDNN, looks at what the processor can do. On
an AMD EPYC with AVX-512 a linear layer takes 45 % of the time (experiments/serving). Only for
inference: the operator has no gradient. Results differ from MKL's in the last bits.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_LEAST_ROWS = 256
"""Of what is multiplied: below, preparing a product takes oneDNN longer than it saves."""


def faster_products(num_rows: int) -> AbstractContextManager[Any]:
    """Has large linear layers computed by oneDNN where that is faster; nothing else changes.

    Args:
        num_rows: about as many rows as are multiplied at a time. With few of them nothing changes,
            since to look at every call takes a fifth of the time of a short text.
    """
    is_faster = num_rows >= _LEAST_ROWS and is_amd_with_avx512()
    return _OneDNN() if is_faster else nullcontext()


@cache
def is_amd_with_avx512() -> bool:
    """Whether this is a processor for which MKL uses half of the width."""
    names = Path("/proc/cpuinfo")
    return (
        torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and names.is_file()
        and "AuthenticAMD" in names.read_text(encoding="utf-8")
    )


class _OneDNN(TorchFunctionMode):
    """Replaces ``linear`` wherever the code under it calls it."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.linear and not kwargs and _is_large(args[0]) and all(map(_is_plain, args)):
            x, weight, bias = (*args, None)[:3]
            return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return func(*args, **(kwargs or {}))


def _is_large(x: Tensor) -> bool:
    return x.numel() >= _LEAST_ROWS * x.shape[-1]


def _is_plain(value: Any) -> bool:
    """Whether the operator takes it: no other precision, no quantized or other kind of tensor."""
    if value is None:
        return True
    return (
        type(value) in (Tensor, torch.nn.Parameter)
        and value.dtype == torch.float32
        and value.device.type == "cpu"
        and not (value.requires_grad and torch.is_grad_enabled())
        and not torch.is_autocast_enabled("cpu")
    )
