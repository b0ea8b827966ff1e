"""The rate of a GPU by its manufacturer."""

import torch
from lightning.fabric.utilities.throughput import get_available_flops

_DENSE = {"NVIDIA H200": {torch.bfloat16: 989.5e12, torch.float16: 989.5e12, torch.float32: 67e12}}
"""Where Lightning knows none under the name that the driver reports. NVIDIA H200 data sheet, SXM;
in half precision without sparsity, which is half of what it states."""


def peak_flops(device: torch.device, dtype: torch.dtype) -> float | None:
    """Returns the floating-point operations a second of dense products.

    Args:
        device: a GPU.
        dtype: of the products.

    Returns:
        ``None`` if they are unknown.
    """
    own = _DENSE.get(torch.cuda.get_device_name(device), {})
    return own.get(dtype) or get_available_flops(device, dtype)
