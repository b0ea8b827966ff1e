"""Frozen blocks that run once give the same losses as frozen blocks that run in every epoch."""

import weakref
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.utilities import move_data_to_device
from small_runs import (
    LAST_LAYER,
    ROOM,
    assert_same,
    instructions,
    messages,
    run,
    task_for,
)

from llm_lightning.callbacks import frozen_activations
from llm_lightning.callbacks.frozen_activations import FrozenActivations
from llm_lightning.data.module import DataModule
from llm_lightning.finetuning.frozen_activations.last_in_memory import LastInMemory

BITSANDBYTES = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes, of the extra qlora, is missing"
)
pytestmark = pytest.mark.filterwarnings("ignore:.*`logger=False`")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(frozen_activations, "_last_in_memory", LastInMemory())


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many examples went through the frozen blocks each time that they were computed."""
    counts: list[int] = []
    compute = frozen_activations.compute_all

    def counting(trainer: Any, task: Any, data: Any, cache: Any, splits: Any) -> None:
        counts.append(cache.num_examples)
        compute(trainer, task, data, cache, splits)

    monkeypatch.setattr(frozen_activations, "compute_all", counting)
    return counts


TWO_BLOCKS = {"_target_": f"{ROOM}.strategies.TopBlocks", "num_blocks": 2}
LORA = {"_target_": f"{ROOM}.adaptation.LoRA", "blocks": 1, "dropout": 0.1}
QLORA = {"_target_": f"{ROOM}.qlora.QLoRA", "blocks": 1}
PADDED = {"padding": "max_length"}
# Settings of task and data, and how many blocks are frozen.
CLASSIFIERS: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "last_layer": ({"finetune": LAST_LAYER}, {}, 3),
    "last_block": ({}, {}, 2),
    "last_two_blocks": ({"finetune": TWO_BLOCKS}, {}, 1),
    "lora on the last block": ({"finetune": LORA}, {}, 2),
    "qlora on the last block": ({"finetune": QLORA}, {}, 2),
    "last position, padded": ({"task": {"pooling": "last", "mask_padding": False}}, PADDED, 2),
    "last position, padded, last_layer": (
        {"finetune": LAST_LAYER, "task": {"pooling": "last"}}, PADDED, 3,
    ),
    "mean of all, padded": ({"task": {"pooling": "mean"}}, PADDED, 2),
    "mean of real tokens, last_layer": (
        {"finetune": LAST_LAYER, "task": {"pooling": "mean_real"}}, {}, 3,
    ),
    "first": ({"task": {"pooling": "first"}}, {}, 2),
    "no padding": ({}, {"padding": "none", "batch_size": 1}, 2),
    "not causal": ({"model": {"causal": False}}, {}, 2),
    "not causal, not masked, padded": (
        {"model": {"causal": False}, "task": {"mask_padding": False}}, PADDED, 2,
    ),
    "dropout before the head": ({"task": {"head_dropout": 0.2}}, {}, 2),
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=BITSANDBYTES if "qlora" in name else ()) for name in CLASSIFIERS],
)
def test_classifiers_have_the_same_losses(name: str) -> None:
    settings, fields, depth = CLASSIFIERS[name]
    cached = run(messages(**fields), task_for(messages(**fields), **settings), FrozenActivations())
    assert cached["facts"]["blocks"] == depth
    assert cached["facts"]["examples"] == 40
    assert_same(cached, run(messages(**fields), task_for(messages(**fields), **settings)))


UNTIED = {"tie_weights": False}
LANGUAGE: dict[str, tuple[dict[str, Any], int]] = {
    "last_block": ({"task": UNTIED}, 2),
    "last_layer": ({"task": UNTIED, "finetune": LAST_LAYER}, 3),
    "tied, last_block": ({}, 2),
    "lora on the last block": ({"finetune": LORA | {"dropout": 0.0}}, 2),
}


@pytest.mark.parametrize("mask", ["none", "prompt"])
@pytest.mark.parametrize("name", LANGUAGE)
def test_language_models_have_the_same_losses(name: str, mask: str) -> None:
    settings, depth = LANGUAGE[name]
    data = instructions(mask=mask)
    cached = run(data, task_for(data, **settings), FrozenActivations(), max_epochs=1)
    assert cached["facts"]["blocks"] == depth
    data = instructions(mask=mask)
    assert_same(cached, run(data, task_for(data, **settings), max_epochs=1))


def test_last_layer_stores_one_vector_per_example() -> None:
    data = messages()
    facts = run(data, task_for(data, finetune=LAST_LAYER), FrozenActivations(), max_epochs=1)[
        "facts"
    ]
    assert facts["mib"] * 2**20 == 40 * 32 * 4
    assert facts["kept_in"] == "memory"


def test_settings_that_activations_do_not_depend_on_share_them(computed: list[int]) -> None:
    for settings, fields in (
        ({}, {"seed": 1}),
        ({}, {"seed": 2}),
        ({"lr": 1e-2}, {"seed": 2}),
        ({}, {"seed": 1, "max_length": 9}),  # gives other activations
    ):
        data = messages(**fields)
        run(data, task_for(data, **settings), FrozenActivations(), max_epochs=1)
    assert computed == [40, 40]


def test_tasks_that_need_the_same_activations_share_them(computed: list[int]) -> None:
    last, unmasked = {"pooling": "last"}, {"pooling": "last", "mask_padding": False}
    for settings, num_computed in (
        ({"task": last}, 1),
        ({"task": {"pooling": "mean"}}, 1),
        ({"task": last | {"head_dropout": 0.1, "label_smoothing": 0.1}}, 1),
        ({"task": unmasked}, 2),  # other tokens are attended to
        ({"task": {"pooling": "last_real"}}, 3),  # only real tokens are there
        ({"task": {"pooling": "mean_real"}}, 3),
        ({"task": last, "finetune": LAST_LAYER}, 4),  # after the last block, of one position
        ({"task": {"pooling": "mean"}, "finetune": LAST_LAYER}, 5),  # of all
    ):
        data = messages(**PADDED)
        cached = run(data, task_for(data, **settings), FrozenActivations(), max_epochs=1)
        assert len(computed) == num_computed, settings
        data = messages(**PADDED)
        assert_same(cached, run(data, task_for(data, **settings), max_epochs=1))


def test_old_activations_are_freed_before_new_ones_are_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alive: list[bool] = []
    storages: list[weakref.ref[torch.UntypedStorage]] = []
    tasks = []  # a sweep's earlier model may live on, and so may its reference to the cache
    compute = frozen_activations.compute_all

    def watching(trainer: Any, task: Any, data: Any, cache: Any, splits: Any) -> None:
        alive.append(any(rows() is not None for rows in storages))
        storages.append(weakref.ref(cache.rows))
        compute(trainer, task, data, cache, splits)

    monkeypatch.setattr(frozen_activations, "compute_all", watching)
    for max_length in (20, 9):
        data = messages(max_length=max_length)
        tasks.append(task_for(data))
        run(data, tasks[-1], FrozenActivations(), max_epochs=1)
    assert alive == [False, False]
    first, second = (task.frozen_activations for task in tasks)
    assert first is not None
    assert "train" not in first, "the earlier model computes its frozen blocks again"
    assert second is not None
    assert "train" in second


@pytest.mark.parametrize("damage", ["none", "cut", "changed", "no checksum", "garbage"])
def test_activations_too_large_for_memory_are_in_a_file_that_runs_share(
    tmp_path: Path, computed: list[int], damage: str
) -> None:
    def cached() -> dict[str, Any]:
        data = messages()
        return run(data, task_for(data), FrozenActivations(memory_mib=0), max_epochs=1)

    plain = run(messages(), task_for(messages()), max_epochs=1)
    first = cached()
    assert first["facts"]["kept_in"] == "file"
    assert_same(first, plain)

    folder = tmp_path / "cache" / "frozen_activations"
    file = next(folder.glob("*.activations"))
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage == "changed":
        file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    elif damage == "no checksum":
        file.with_suffix(".sha256").unlink()
    elif damage == "garbage":
        file.with_suffix(".sha256").write_bytes(b"\xff\xfe no checksum")
    assert_same(cached(), plain)
    assert computed == ([40] if damage == "none" else [40, 40])
    assert {path.suffix for path in folder.iterdir()} == {".activations", ".sha256", ".lock"}


def test_a_full_disk_is_an_error_that_explains_what_to_do() -> None:
    data = messages()
    with pytest.raises(ValueError, match=r"activations\.disk_mib must be at least") as caught:
        run(data, task_for(data), FrozenActivations(memory_mib=0, disk_mib=0))
    assert "finetune.cache_frozen_activations=false" in str(caught.value)


def test_negative_sizes_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"callbacks\.frozen_activations\.disk_mib must be at least 0"
    ):
        FrozenActivations(disk_mib=-1)


@pytest.mark.parametrize("make", [messages, instructions])
def test_indices_stay_on_the_cpu_when_a_batch_moves(make: Callable[[], DataModule]) -> None:
    data = make()
    batch = next(iter(data.sorted_batches("train", 64)))
    moved = move_data_to_device(batch, torch.device("meta"))  # as Lightning moves batches
    tensors = {name: t for name, t in moved._asdict().items() if isinstance(t, torch.Tensor)}
    on_device = {name for name, tensor in tensors.items() if tensor.is_meta}
    assert on_device == {*batch._fields} - {"indices", "is_filler"}
    assert torch.equal(moved.indices, batch.indices)
