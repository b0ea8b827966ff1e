"""Truncation, padding and batching of encoded texts, the same for training and prediction.

A batch carries the lengths of its rows. Padding is never recognised by token value: a text may
contain any token, the padding token included.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler

from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID, Tokenizer

logger = logging.getLogger(__name__)

PADDINGS = ("max_length", "batch", "none")
TRUNCATIONS = ("end", "start", "middle")

MUCH_TRUNCATED = 0.1
"""Share of truncated texts of which a run warns."""

_BATCHES_PER_POOL = 50
"""Batches whose examples are sorted together; a larger pool means less padding, less shuffling."""


class Batch(NamedTuple):
    """A batch for a classifier: B examples, padded to T positions."""

    input_ids: Int[Tensor, "B T"]
    """(B, T) int64; padded on the right."""
    lengths: Int[Tensor, " B"]
    """(B,) int64, number of real tokens of each row, at least 1."""
    labels: Int[Tensor, " B"]
    """(B,) int64 class index; -1 if unknown."""
    indices: Int[Tensor, " B"]
    """(B,) int64, position of each row's example in its split."""
    is_filler: bool = False
    """Whether it only keeps this process in step with others, and counts for nothing."""

    def to(self, device: torch.device) -> "Batch":
        """Moves to a device; ``indices`` stay on the CPU, where cached activations are."""
        return self._replace(**on_device(self._asdict(), device))


def on_device(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Moves a batch's tensors to a device, except its ``indices``."""
    is_async = device.type == "cuda"
    return {
        name: value
        if name == "indices" or not isinstance(value, Tensor)
        else value.to(device, non_blocking=is_async)
        for name, value in batch.items()
    }


@dataclass
class Example:
    """One encoded text."""

    ids: list[int] | NDArray[np.int32]
    """Token ids, at least one."""
    label: int
    """Class index; -1 if unknown."""
    index: int = 0
    """Position of the example in its split."""

    def __len__(self) -> int:
        """The number of tokens."""
        return len(self.ids)


@dataclass
class Padder:
    """Truncates, adds the model's special tokens and pads.

    Saved with a model, as plain values, so that new text is treated as in training. The defaults
    are GPT-2's, which models saved without these fields were trained with.

    Raises:
        ValueError: if a field is out of range.
    """

    max_length: int
    """Longest input, in tokens, special tokens included; at least 1 more than these."""
    padding: str = "batch"
    """``max_length``: pad to ``max_length``; ``batch``: pad to the longest row of the batch;
    ``none``: no padding, so the rows of a batch must have equal lengths."""
    truncate: str = "end"
    """What a longer text loses: its ``end``, its ``start``, or its ``middle``."""
    prefix: list[int] = field(default_factory=list)
    """Special tokens before a text."""
    suffix: list[int] = field(default_factory=list)
    """Special tokens after a text."""
    pad_id: int = END_OF_TEXT_ID
    """The token that fills rows."""
    end_id: int = END_OF_TEXT_ID
    """What an empty text becomes if the model puts no special tokens around a text."""

    @classmethod
    def of(cls, tokenizer: Tokenizer, max_length: int, padding: str, truncate: str) -> "Padder":
        """Makes the one for a model's tokenizer."""
        return cls(
            max_length=max_length,
            padding=padding,
            truncate=truncate,
            prefix=list(tokenizer.prefix),
            suffix=list(tokenizer.suffix),
            pad_id=tokenizer.pad_id,
            end_id=tokenizer.end_id,
        )

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if self.max_length < 1:
            raise ValueError(f"data.max_length must be at least 1 token, got {self.max_length}")
        if self.room < 1:
            raise ValueError(
                f"data.max_length must be more than {self.max_length - self.room}, the number of "
                f"special tokens that the model needs around a text, got {self.max_length}"
            )
        for key, choices in (("padding", PADDINGS), ("truncate", TRUNCATIONS)):
            if getattr(self, key) not in choices:
                raise ValueError(
                    f"data.{key} must be one of {', '.join(choices)}, got {getattr(self, key)!r}"
                )

    @property
    def room(self) -> int:
        """Largest number of tokens of a text itself, without special tokens."""
        return self.max_length - len(self.prefix) - len(self.suffix)

    def truncates(self, ids: Sequence[int]) -> bool:
        """Whether an encoded text is too long to be kept whole."""
        return len(ids) > self.room

    def examples(
        self, token_ids: Sequence[list[int]], labels: Sequence[int] | None = None
    ) -> list[Example]:
        """Truncates encoded texts and puts the special tokens around them.

        A text of no tokens becomes just these; if there are none, a single ``end_id``.

        Args:
            token_ids: token ids of each text, without special tokens.
            labels: class index of each text; -1 for all if not given.

        Returns:
            One example per text, numbered from 0.
        """
        known = labels if labels is not None else [-1] * len(token_ids)
        return [
            Example(self.whole(ids), int(label), index)
            for index, (ids, label) in enumerate(zip(token_ids, known, strict=True))
        ]

    def whole(self, ids: list[int]) -> list[int]:
        """Returns the token ids of an example, of those of a text; see :meth:`examples`."""
        return [*self.prefix, *self._kept(ids), *self.suffix] or [self.end_id]

    def _kept(self, ids: list[int]) -> list[int]:
        room = self.room
        if len(ids) <= room:
            return ids
        if self.truncate == "end":
            return ids[:room]
        if self.truncate == "start":
            return ids[-room:]
        num_last = room // 2
        return ids[: room - num_last] + ids[len(ids) - num_last :]

    def collate(self, examples: Sequence[Example]) -> Batch:
        """Pads examples on the right, as the book does.

        Args:
            examples: B examples of at most ``max_length`` tokens.

        Returns:
            A batch of shape (B, T), with T as ``padding`` has it.

        Raises:
            ValueError: if ``padding`` is ``none`` and the lengths differ.
        """
        lengths = [len(example.ids) for example in examples]
        width = self.max_length if self.padding == "max_length" else max(lengths)
        if self.padding == "none" and min(lengths) != width:
            raise ValueError(
                f"data.padding=none cannot batch texts of different lengths ({min(lengths)} and "
                f"{width} tokens): set data.batch_size=1, or data.padding=batch"
            )
        # In NumPy, where filling eight rows takes 5 and not 37 microseconds.
        input_ids = np.full((len(examples), width), self.pad_id, dtype=np.int64)
        for row, example in zip(input_ids, examples, strict=True):
            row[: len(example.ids)] = example.ids
        return Batch(
            input_ids=torch.from_numpy(input_ids),
            lengths=torch.tensor(lengths),
            labels=torch.tensor([example.label for example in examples]),
            indices=torch.tensor([example.index for example in examples]),
        )


def warn_of_truncation(num_truncated: int, num_texts: int, what: str) -> None:
    """Warns if more than a tenth of the texts lose tokens.

    Args:
        num_truncated: texts that do.
        num_texts: all texts.
        what: what they lose, in words.
    """
    if num_truncated > MUCH_TRUNCATED * num_texts:
        logger.warning(
            "%s of %s texts (%.0f %%) are truncated: %s; a larger data.max_length keeps more",
            f"{num_truncated:,}",
            f"{num_texts:,}",
            100 * num_truncated / num_texts,
            what,
        )


def check_batches(num_examples: int, batch_size: int, *, drop_last: bool) -> None:
    """Checks that an epoch of training has a batch.

    Args:
        num_examples: in the training split.
        batch_size: examples per batch.
        drop_last: whether a smaller last batch is dropped.

    Raises:
        ValueError: if it has none.
    """
    if drop_last and num_examples < batch_size:
        raise ValueError(
            f"data.drop_last=true drops all training examples: there are {num_examples:,}, fewer "
            f"than data.batch_size={batch_size}; set data.drop_last=false or a smaller batch_size"
        )


def longest_first(lengths: Sequence[int], num_tokens: int) -> list[list[int]]:
    """Forms batches of examples sorted by length, which minimises padding.

    Args:
        lengths: number of tokens of each example.
        num_tokens: largest number of tokens in a batch, padding included; an example that exceeds
            it forms a batch of its own.

    Returns:
        Indices of the examples of each batch, longest first.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if not batches or (len(batches[-1]) + 1) * lengths[batches[-1][0]] > num_tokens:
            batches.append([])
        batches[-1].append(index)
    return batches


class LengthGroupedBatches(Sampler[list[int]]):
    """Random batches of examples of similar length, which need little padding.

    Each epoch shuffles all examples, sorts them within pools of 50 batches, and shuffles the
    batches.

    Args:
        lengths: number of tokens of each example.
        batch_size: examples per batch.
        drop_last: whether to drop the examples of each epoch that do not fill a batch.
        generator: determines the order; nothing else may draw from it.
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
        """The number of batches in an epoch."""
        whole, rest = divmod(len(self._lengths), self._batch_size)
        return whole if self._drop_last or not rest else whole + 1

    def __iter__(self) -> Iterator[list[int]]:
        """Yields the indices of each batch, for one epoch."""
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
