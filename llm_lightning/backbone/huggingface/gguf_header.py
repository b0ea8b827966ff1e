"""The header of a GGUF file, walked before a library believes its lengths.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A header of a few bytes may announce an
array of 2^60 values; the ``gguf`` package would collect them until the memory is full.
"""

import math
import struct
from pathlib import Path
from typing import Any, BinaryIO

from llm_lightning.backbone.memory import MOST_BLOCKS

_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q",
    12: "<d",
}  # fmt: skip
"""Format of each kind of value that has a fixed size."""
_VERSIONS = (2, 3)
_MOST_DIMENSIONS = 8
_DEFAULT_ALIGNMENT = 32


def check_header(file: Path) -> None:
    """Checks that everything that the header announces is in the file.

    Args:
        file: a GGUF file.

    Raises:
        ValueError: naming the first thing that is wrong.
        OSError: if the file cannot be read.
    """
    with file.open("rb") as opened:
        try:
            _Header(opened, file.stat().st_size).check()
        except (ValueError, struct.error, OverflowError) as error:
            raise ValueError(f"model.weights: {file} is damaged: {error}") from error


class _Header:
    def __init__(self, opened: BinaryIO, size: int) -> None:
        self._opened, self._size = opened, size

    def check(self) -> None:
        if self._bytes(4) != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        if (version := self._number("<I")) not in _VERSIONS:
            raise ValueError(f"version {version} of the format is not known")
        num_tensors, num_fields = self._number("<Q"), self._number("<Q")
        fields = {}
        for _ in range(num_fields):
            key = self._text()
            fields[key] = self._value(self._number("<I"))
        tensors = [self._tensor() for _ in range(num_tensors)]
        self._check_data(tensors, fields.get("general.alignment") or _DEFAULT_ALIGNMENT)
        self._check_sizes(tensors, fields)

    def _left(self) -> int:
        return self._size - self._opened.tell()

    def _bytes(self, number: int) -> bytes:
        if number > self._left():
            raise ValueError(
                f"it announces {number:,} bytes and has {self._left():,} left; was its download "
                f"interrupted?"
            )
        return self._opened.read(number)

    def _number(self, kind: str) -> Any:
        return struct.unpack(kind, self._bytes(struct.calcsize(kind)))[0]

    def _text(self) -> str:
        return self._bytes(self._number("<Q")).decode("utf-8", errors="replace")

    def _value(self, kind: int, depth: int = 0) -> Any:
        """A scalar or a text; of an array nothing but that it is there."""
        if kind == _STRING:
            return self._text()
        if kind in _SCALARS:
            return self._number(_SCALARS[kind])
        if kind != _ARRAY or depth:
            raise ValueError(f"a value is of the unknown kind {kind}")
        inner, length = self._number("<I"), self._number("<Q")
        if inner in _SCALARS:
            self._bytes(length * struct.calcsize(_SCALARS[inner]))
            return None
        for _ in range(length):  # each takes 8 bytes or more
            self._value(inner, depth + 1)
        return None

    def _tensor(self) -> tuple[list[int], int, int]:
        """Dimensions, type and offset of a tensor."""
        self._text()
        if (number := self._number("<I")) > _MOST_DIMENSIONS:
            raise ValueError(f"a tensor has {number:,} dimensions")
        dimensions = [self._number("<Q") for _ in range(number)]
        return dimensions, self._number("<I"), self._number("<Q")

    def _check_data(self, tensors: list[tuple[list[int], int, int]], alignment: Any) -> None:
        from gguf.constants import GGML_QUANT_SIZES

        if not isinstance(alignment, int) or alignment < 1:
            raise ValueError(f"its alignment is {alignment!r}")
        start = -(-self._opened.tell() // alignment) * alignment
        sizes = {int(kind): found for kind, found in GGML_QUANT_SIZES.items()}
        for dimensions, kind, offset in tensors:
            if kind not in sizes:
                raise ValueError(f"a tensor is of the unknown type {kind}")
            block, num_bytes = sizes[kind]
            end = start + offset + math.prod(dimensions) * num_bytes // block
            if end > self._size:
                raise ValueError(
                    f"a tensor of shape {tuple(dimensions)} would end at byte {end:,}, and the "
                    f"file has {self._size:,}; was its download interrupted?"
                )

    def _check_sizes(
        self, tensors: list[tuple[list[int], int, int]], fields: dict[str, Any]
    ) -> None:
        """Compares the sizes of the network that it announces with its tensors."""
        widest = max((size for dimensions, *_ in tensors for size in dimensions), default=0)
        limits = {
            "block_count": min(len(tensors), MOST_BLOCKS),
            "embedding_length": widest,
            "feed_forward_length": widest,
        }
        for name, limit in limits.items():
            value = fields.get(f"{fields.get('general.architecture')}.{name}")
            if isinstance(value, int) and not 1 <= value <= limit:
                raise ValueError(f"{name} is {value:,}, which its tensors have no place for")
