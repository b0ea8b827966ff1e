"""Keys and values of earlier tokens, kept while a text is generated token by token.

Shapes: B batch, T new positions, S positions including the cached ones, H attention heads, D width
of a head.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class LayerCache:
    """Keys and values of one attention layer; memory is allocated once, at the first write."""

    def __init__(self, cache: "KeyValueCache") -> None:
        self.cache = cache
        self.keys: Tensor | None = None  # (B, H, capacity, D)
        self.values: Tensor | None = None

    def extend(
        self, key: Float[Tensor, "B H T D"], value: Float[Tensor, "B H T D"]
    ) -> tuple[Float[Tensor, "B H S D"], Float[Tensor, "B H S D"]]:
        """Stores keys and values of new tokens; returns those of all tokens."""
        if self.keys is None or self.values is None:
            # Zeros, not empty: masked values are multiplied by 0, and 0 * nan is nan.
            B, H, _, D = key.shape
            shape = (B, H, self.cache.capacity, D)
            self.keys, self.values = key.new_zeros(shape), value.new_zeros(shape)
        return self._put(self.keys, key), self._put(self.values, value)

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Drops all rows but these."""
        if self.keys is not None and self.values is not None:
            self.keys, self.values = self._kept(self.keys, rows), self._kept(self.values, rows)

    def repeated(self, cache: "KeyValueCache", rows: Int[Tensor, " R"]) -> "LayerCache":
        """Returns a copy with some rows, any number of times each, for a cache of other size."""
        layer = LayerCache(cache)
        if self.keys is not None and self.values is not None:
            layer.keys = self._copied(self.keys, cache, rows)
            layer.values = self._copied(self.values, cache, rows)
        return layer

    def _copied(self, stored: Tensor, cache: "KeyValueCache", rows: Tensor) -> Tensor:
        _, H, _, D = stored.shape
        copy = stored.new_zeros(len(rows), H, cache.capacity, D)
        copy[:, :, : self.cache.width] = stored[rows, :, : self.cache.width]
        return copy

    def _put(self, stored: Tensor, new: Tensor) -> Tensor:
        rows = torch.arange(len(new), device=new.device)[:, None]
        stored[rows, :, self.cache.slots] = new.transpose(1, 2)
        return stored[:, :, : self.cache.width]

    def _kept(self, stored: Tensor, rows: Tensor) -> Tensor:
        width = self.cache.width
        stored[: len(rows), :, :width] = stored[rows, :, :width]
        return stored[: len(rows)]


class KeyValueCache:
    """The key/value cache of all layers, with which each token is computed only once.

    A token's slot is its position in its row. Slots beyond a row's length hold padding or zeros:
    no query of the row attends to them, and the row's next tokens overwrite them. So rows of
    different lengths need neither left padding nor position ids. For inference only: writes are
    in place.

    Args:
        n_layer: the model's number of blocks.
        capacity: slots of each row, the length of the longest text in tokens.
    """

    def __init__(self, n_layer: int, capacity: int) -> None:
        self.capacity = capacity
        self.width = 0  # S: slots in use in the longest row
        self.lengths = torch.zeros(1, dtype=torch.long)  # (B,) tokens of each row
        self.slots = torch.zeros(1, 0, dtype=torch.long)  # (B, T) slots of the newest tokens
        self.layers = [LayerCache(self) for _ in range(n_layer)]

    def allocate(
        self, input_ids: Int[Tensor, "B T"], padding_mask: Bool[Tensor, "B T"] | None
    ) -> Bool[Tensor, "B 1 T S"] | None:
        """Assigns slots to new tokens.

        Args:
            input_ids: token ids.
            padding_mask: true at real tokens, padding on the right; ``None``: no padding.

        Returns:
            The attention mask, true where a new token may attend to a slot; ``None`` if the cache
            was empty, since the causal rule is then enough.

        Raises:
            ValueError: if the tokens do not fit.
        """
        B, T = input_ids.shape
        if self.capacity < self.width + T:
            raise ValueError(f"the cache holds {self.capacity} tokens a row, got {self.width + T}")
        past, self.width = self.width, self.width + T
        self.lengths = self.lengths.to(input_ids.device).expand(B)
        self.slots = self.lengths[:, None] + torch.arange(T, device=input_ids.device)
        self.lengths = self.lengths + (T if padding_mask is None else padding_mask.sum(dim=1))
        if past == 0:
            return None
        return self.slots[:, None, :, None] >= torch.arange(self.width, device=input_ids.device)

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Drops all rows but these, given in ascending order."""
        self.lengths = self.lengths[rows]
        self.width = int(self.lengths.max())
        for layer in self.layers:
            layer.keep(rows)

    def repeated(self, rows: Int[Tensor, " R"], room: int) -> "KeyValueCache":
        """Returns a copy, to continue some rows in several ways.

        Args:
            rows: of this cache, in any order and any number of times each.
            room: slots for further tokens of the longest row.
        """
        copy = KeyValueCache(0, self.width + room)
        copy.width, copy.lengths = self.width, self.lengths[rows]
        copy.layers = [layer.repeated(copy, rows) for layer in self.layers]
        return copy
