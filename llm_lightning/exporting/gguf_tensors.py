"""Tensors of a GGUF file: quantized as they are written, dequantized as they are read."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

QUANTIZATIONS = ("f16", "q8_0")
_Q8_BLOCK = 32  # weights that share a scale


def add_tensors(
    writer: Any, tensors: Iterable[tuple[str, Tensor, bool]], quantization: str
) -> None:
    """Adds tensors to a file.

    Args:
        writer: a ``gguf.GGUFWriter``.
        tensors: names, values in full precision, and whether a matrix stays in full precision, as
            vectors do.
        quantization: of the matrices: ``f16``, or ``q8_0``: 8 bits a weight and 16 for every 32
            weights, except for matrices whose row length is not a multiple of 32, which are
            written as ``f16``.
    """
    import gguf

    is_f16 = quantization == "f16"
    for name, value, is_whole in tensors:
        array = value.contiguous().numpy()
        if array.ndim == 1 or is_whole:
            writer.add_tensor(name, array)
            continue
        kind = gguf.GGMLQuantizationType.F16
        if not is_f16 and array.shape[1] % _Q8_BLOCK == 0:
            kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)


def add_file_type(writer: Any, quantization: str) -> None:
    """Adds which type most matrices have."""
    import gguf

    types = gguf.LlamaFileType
    writer.add_file_type(types.MOSTLY_F16 if quantization == "f16" else types.MOSTLY_Q8_0)


def finish(writer: Any) -> None:
    """Writes everything that was added."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Reads all tensors of a file, dequantized to full precision."""
    import gguf

    tensors = {}
    for found in gguf.GGUFReader(file).tensors:
        value = gguf.quants.dequantize(found.data, found.tensor_type)
        tensors[found.name] = torch.from_numpy(value.astype(np.float32))
    return tensors
