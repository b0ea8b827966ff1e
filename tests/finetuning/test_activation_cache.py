"""The cache of frozen activations: what is stored comes back, in the layout that is needed."""

from typing import Any

import pytest
import torch

from llm_lightning.backbone.unpadding import Unpadding
from llm_lightning.finetuning.frozen_activations import cache as cache_module
from llm_lightning.finetuning.frozen_activations.cache import ActivationCache, staging_buffer
from llm_lightning.finetuning.frozen_activations.last_in_memory import LastInMemory

CPU = torch.device("cpu")
COUNTS = {"train": torch.tensor([20, 1, 9, 17]), "val": torch.tensor([3])}


@pytest.fixture
def filled() -> ActivationCache:
    cache = ActivationCache(2, False, COUNTS, width=4)
    cache.store_in(torch.empty(50, 4))
    for split, order in (("val", [0]), ("train", [2, 0, 3, 1])):
        cache.put(split, torch.tensor(order), torch.cat([rows(split, i) for i in order]))
    return cache


def rows(split: str, index: int) -> torch.Tensor:
    """(count, 4) numbers that name split, example and position."""
    first = 1000 * (split == "val") + 100 * index
    count = int(COUNTS[split][index])
    return (first + torch.arange(count, dtype=torch.float32))[:, None].expand(-1, 4)


def test_examples_come_back_in_any_order(filled: ActivationCache) -> None:
    found = filled.get("train", torch.tensor([3, 1]), CPU)
    assert found.shape == (2, 17, 4)
    assert torch.equal(found[0], rows("train", 3))
    assert found[1].eq(rows("train", 1)).all(), "beyond its own positions, the last is repeated"
    assert torch.equal(filled.get("val", torch.tensor([0]), CPU)[0], rows("val", 0))


def test_unpadded_batches_contain_each_position_once(filled: ActivationCache) -> None:
    indices = torch.tensor([0, 1, 2])
    assert filled.counts("train", indices).tolist() == [20, 1, 9]
    unpadding = Unpadding.of(filled.counts("train", indices), 20)
    assert unpadding is not None
    found = filled.get("train", indices, CPU, unpadding)
    assert torch.equal(found[:30], torch.cat([rows("train", i) for i in (0, 1, 2)]))


def test_sizes(filled: ActivationCache) -> None:
    assert filled.num_examples == 5
    assert filled.num_rows == 50
    assert filled.num_bytes == 50 * 4 * 4
    assert "test" not in filled


def test_without_storage_nothing_is_stored(filled: ActivationCache) -> None:
    assert "train" in filled
    filled.free()
    assert "train" not in filled
    with pytest.raises(RuntimeError, match=r"call store_in\(\) first"):
        _ = filled.rows


def test_activations_move_to_the_device_that_needs_them(filled: ActivationCache) -> None:
    assert filled.get("train", torch.tensor([1]), torch.device("meta")).device.type == "meta"


@pytest.mark.parametrize(("device", "pinned"), [("cuda:0", True), ("cpu", False), ("mps", False)])
def test_memory_is_pinned_for_cuda_only(
    monkeypatch: pytest.MonkeyPatch, device: str, pinned: bool
) -> None:
    asked: list[bool] = []
    empty = torch.empty

    def recording(shape: Any, *, pin_memory: bool) -> torch.Tensor:
        asked.append(pin_memory)
        return empty(shape)

    monkeypatch.setattr(cache_module.torch, "empty", recording)
    assert staging_buffer((3, 4), torch.device(device)).shape == (3, 4)
    assert asked == [pinned]


def test_the_last_activations_are_shared_by_key_and_freed_for_others() -> None:
    memory = LastInMemory()
    filled: list[str] = []
    caches = [ActivationCache(1, False, COUNTS, width=4) for _ in range(3)]

    def load(key: str, cache: ActivationCache) -> None:
        def fill(storage: torch.Tensor) -> None:
            filled.append(key)
            cache.store_in(storage)

        memory.load(key, cache, fill)

    load("a", caches[0])
    load("a", caches[1])
    assert filled == ["a"]
    assert caches[1].rows is caches[0].rows
    load("b", caches[2])
    assert filled == ["a", "b"]
    assert "train" not in caches[1]
    assert "train" in caches[2]
