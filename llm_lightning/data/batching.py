"""Texts to token batches: truncation and padding, the same for training and for prediction.

Lengths travel with the batch. Nothing here or later looks for padding by token value: a message
may hold any token, the padding token included.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Sampler

from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID

PADDINGS = ("max_length", "batch", "none")

# Batches that are sorted together; more of them pad less and shuffle less.
_BATCHES_PER_POOL = 50


class Batch(NamedTuple):
    """What a model reads in one step. B examples, T positions."""

    input_ids: Tensor
    """(B, T) int64; positions from a row's length on hold the padding token."""
    lengths: Tensor
    """(B,) int64, real tokens a row, at least 1."""
    labels: Tensor
    """(B,) int64 class index; -1 where it is not known."""
    indices: Tensor
    """(B,) int64, which example of its split each row is."""

    def to(self, device: torch.device) -> "Batch":
        """Moves to a device; ``indices`` stay on the CPU, where cached activations are."""
        moved = (tensor.to(device, non_blocking=device.type == "cuda") for tensor in self[:-1])
        return Batch._make((*moved, self.indices))


@dataclass
class Example:
    """One encoded text."""

    ids: list[int]
    """Token ids, at least one."""
    label: int
    """Class index; -1 if not known."""
    index: int = 0
    """Which of its split it is."""

    def __len__(self) -> int:
        """The number of tokens."""
        return len(self.ids)


@dataclass
class Padder:
    """Cuts and pads: what a run must remember to read new text as it read its training text.

    Raises:
        ValueError: if a field is out of range.
    """

    max_length: int
    """Longest input, in tokens; what is longer loses its end."""
    padding: str = "batch"
    """``max_length``: every batch is ``max_length`` wide. ``batch``: as wide as its longest row.
    ``none``: rows must be equally long, which one row always is."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if self.max_length < 1:
            raise ValueError(f"data.max_length must be at least 1 token, got {self.max_length}")
        if self.padding not in PADDINGS:
            raise ValueError(
                f"data.padding must be one of {', '.join(PADDINGS)}, got {self.padding!r}"
            )

    def examples(
        self, token_ids: Sequence[list[int]], labels: Sequence[int] | None = None
    ) -> list[Example]:
        """Truncates encoded texts. An empty text becomes a single end-of-text token."""
        known = labels if labels is not None else [-1] * len(token_ids)
        return [
            Example(ids[: self.max_length] or [END_OF_TEXT_ID], int(label), index)
            for index, (ids, label) in enumerate(zip(token_ids, known, strict=True))
        ]

    def collate(self, examples: Sequence[Example]) -> Batch:
        """Pads examples on the right with the end-of-text token, as the book does."""
        lengths = [len(example.ids) for example in examples]
        width = self.max_length if self.padding == "max_length" else max(lengths)
        if self.padding == "none" and min(lengths) != width:
            raise ValueError(
                f"data.padding=none cannot batch texts of different lengths ({min(lengths)} and "
                f"{width} tokens): set data.batch_size=1, or data.padding=batch"
            )
        input_ids = torch.full((len(examples), width), END_OF_TEXT_ID)
        for row, example in zip(input_ids, examples, strict=True):
            row[: len(example.ids)] = torch.tensor(example.ids)
        return Batch(
            input_ids=input_ids,
            lengths=torch.tensor(lengths),
            labels=torch.tensor([example.label for example in examples]),
            indices=torch.tensor([example.index for example in examples]),
        )


def longest_first(lengths: Sequence[int], num_tokens: int) -> list[list[int]]:
    """Cuts examples, sorted by length, into batches that pad least.

    Args:
        lengths: of every example, in tokens.
        num_tokens: most tokens in a batch, padding included; one example may have more.

    Returns:
        Indices of the examples of each batch.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if not batches or (len(batches[-1]) + 1) * lengths[batches[-1][0]] > num_tokens:
            batches.append([])
        batches[-1].append(index)
    return batches


class LengthGroupedBatches(Sampler[list[int]]):
    """Random batches of examples of similar length, so that little is padded.

    Each epoch shuffles all examples, sorts within pools of 50 batches, and shuffles the batches.
    The order depends on the generator, from which nothing else may draw.

    Args:
        lengths: of every example.
        batch_size: examples in a batch.
        drop_last: whether an epoch leaves out the examples that fill no batch.
        generator: decides the order.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        *,
        drop_last: bool,
        generator: torch.Generator,
    ) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._drop_last = drop_last
        self._generator = generator

    def __len__(self) -> int:
        """Batches in an epoch."""
        whole, rest = divmod(len(self._lengths), self._batch_size)
        return whole if self._drop_last or not rest else whole + 1

    def __iter__(self) -> Iterator[list[int]]:
        """One epoch of batches of indices."""
        order = torch.randperm(len(self._lengths), generator=self._generator).tolist()
        if self._drop_last:
            order = order[: len(self) * self._batch_size]
        pool_size = self._batch_size * _BATCHES_PER_POOL
        batches = []
        for start in range(0, len(order), pool_size):
            pool = sorted(order[start : start + pool_size], key=self._lengths.__getitem__)
            batches += [
                pool[at : at + self._batch_size] for at in range(0, len(pool), self._batch_size)
            ]
        for index in torch.randperm(len(batches), generator=self._generator).tolist():
            yield batches[index]
