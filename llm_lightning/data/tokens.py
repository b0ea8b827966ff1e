"""Encoded texts, one after another in one array: four bytes a token, and no object for it."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import overload

import numpy as np
from numpy.typing import NDArray

from llm_lightning.backbone.tokenizer import Tokenizer
from llm_lightning.data.batching import Example, Padder

_TEXTS_AT_ONCE = 1024
"""Texts that are encoded together, which may use several threads."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """The token ids of N texts."""

    ids: NDArray[np.int32]
    """(all tokens,), text by text."""
    ends: NDArray[np.int64]
    """(N,), where in ``ids`` each text ends."""

    @classmethod
    def of(cls, texts: Iterable[Sequence[int]]) -> "Tokens":
        """Takes token ids text by text; they need not all be there at the same time."""
        ids, ends = array("i"), array("q")
        for text in texts:
            ids.extend(text)
            ends.append(len(ids))
        return cls(np.asarray(ids, dtype=np.int32), np.asarray(ends, dtype=np.int64))

    @classmethod
    def encoded(cls, tokenizer: Tokenizer, texts: Iterable[str]) -> "Tokens":
        """Encodes texts, without the model's special tokens."""
        return cls.of(_encoded(tokenizer, iter(texts)))

    def __len__(self) -> int:
        """The number of texts."""
        return len(self.ends)

    def __getitem__(self, index: int) -> NDArray[np.int32]:
        """Token ids of a text; a view."""
        return self.ids[self.ends[index - 1] if index else 0 : self.ends[index]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,) number of tokens of each text."""
        return np.diff(self.ends, prepend=0)

    def prepared(self, padder: Padder) -> "Tokens":
        """Returns them truncated, and with the model's special tokens around them."""
        lengths = self.lengths
        is_whole = len(lengths) == 0 or (lengths.min() > 0 and lengths.max() <= padder.room)
        if is_whole and not (padder.prefix or padder.suffix):
            return self
        return Tokens.of(padder.whole(self[index].tolist()) for index in range(len(self)))


def _encoded(tokenizer: Tokenizer, texts: Iterator[str]) -> Iterator[list[int]]:
    while some := list(islice(texts, _TEXTS_AT_ONCE)):
        yield from tokenizer.encode_batch(some)


class Examples(Sequence[Example]):
    """The examples of a split, each made when it is asked for.

    Args:
        tokens: as :meth:`Tokens.prepared` returns them.
        labels: class index of each text.
    """

    def __init__(self, tokens: Tokens, labels: Sequence[int]) -> None:
        self._tokens = tokens
        self._labels = np.asarray(labels, dtype=np.int64)
        if len(self._labels) != len(tokens):
            raise ValueError(f"{len(tokens)} texts need as many labels, got {len(self._labels)}")

    def __len__(self) -> int:
        """The number of examples."""
        return len(self._tokens)

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...

    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        """An example, numbered by its position; or several."""
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return Example(self._tokens[index], int(self._labels[index]), index)

    @property
    def lengths(self) -> list[int]:
        """Number of tokens of each example."""
        return list(map(int, self._tokens.lengths))
