"""Activations that stay in memory for the next run of a sweep."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from llm_lightning.finetuning.frozen_activations.cache import ActivationCache


class LastInMemory:
    """The activations of the last run in this process; the next run may need the same.

    Never two sets at once: the old activations are freed before new ones are allocated, even
    where the last run's model still refers to them.
    """

    def __init__(self) -> None:
        self._key: str | None = None
        self._cache: ActivationCache | None = None

    def load(
        self,
        key: str,
        cache: ActivationCache,
        fill: Callable[[Float[Tensor, "num_rows C"]], None],
    ) -> None:
        """Gives a cache its storage, with the activations in it.

        Args:
            key: identifies what the activations depend on.
            cache: gets the last run's storage if the keys are equal, and new storage otherwise.
            fill: computes the activations into the new storage, (num_rows, C).
        """
        if self._cache is not None and self.has(key):
            cache.store_in(self._cache.rows)
        else:
            self.clear()
            fill(torch.empty(cache.num_rows, cache.width))
        self._key, self._cache = key, cache

    def has(self, key: str) -> bool:
        """Whether the activations are those of a key."""
        return self._cache is not None and key == self._key

    def clear(self) -> None:
        """Frees the activations."""
        if self._cache is not None:
            self._cache.free()
        self._key = self._cache = None
