"""Computes the output of the frozen blocks for every example before training starts."""

import hashlib
import json
import time
from contextlib import AbstractContextManager
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, cast

import lightning as L
from torch import Tensor

from llm_lightning.backbone.packed_products import packed
from llm_lightning.callbacks.cacheable import (
    cacheable_depth,
    cacheable_splits,
    empty_cache,
    tokens_per_batch,
)
from llm_lightning.data.module import DataModule
from llm_lightning.data.shares import dealt
from llm_lightning.finetuning.frozen_activations.activation_files import FOLDER, ActivationFiles
from llm_lightning.finetuning.frozen_activations.cache import ActivationCache, frozen_depth
from llm_lightning.finetuning.frozen_activations.forward import frozen_activations
from llm_lightning.finetuning.frozen_activations.last_in_memory import LastInMemory
from llm_lightning.finetuning.frozen_activations.together import load_in_memory, open_file
from llm_lightning.network import cache_dir
from llm_lightning.presentation.progress import progress_bar
from llm_lightning.tasks.task import Task

FORMAT = 3  # to be increased when the same settings start to give other activations
_last_in_memory = LastInMemory()


class FrozenActivations(L.Callback):
    """Fills a task's cache of frozen activations at the start of a fit.

    Args:
        memory_mib: largest activations that are kept in memory, in MiB, all processes together;
            larger ones are written to a file in the cache folder, which other runs can use.
        disk_mib: largest total size of these files, in MiB; the least recently used ones are
            deleted for new ones.

    Raises:
        ValueError: if a size is negative; from a fit, if the disk has no space.
    """

    def __init__(self, memory_mib: int = 1024, disk_mib: int = 51200) -> None:
        for key, value in (("memory_mib", memory_mib), ("disk_mib", disk_mib)):
            if value < 0:
                raise ValueError(
                    f"callbacks.frozen_activations.{key} must be at least 0, got {value}"
                )
        self._memory_bytes = memory_mib * 2**20
        self._files = ActivationFiles(cache_dir() / FOLDER, disk_mib * 2**20)
        self.facts: dict[str, Any] | None = None
        """The cache for a summary: ``blocks``, ``examples``, ``mib``, ``kept_in`` (``memory`` or
        ``file``), ``seconds``; ``None`` if nothing was cached."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Computes the activations, or takes those of an earlier run."""
        task = cast(Task, pl_module)
        data = cast(DataModule, trainer.datamodule)  # type: ignore[attr-defined]
        depth, splits = cacheable_depth(task), cacheable_splits(trainer)
        if not depth or not splits:
            return
        started = time.perf_counter()
        task.frozen_activations = cache = empty_cache(task, data, depth, splits)
        key = _key(trainer, task, data, cache, splits)

        def fill(rows: Tensor) -> None:
            cache.store_in(rows)
            compute_all(trainer, task, data, cache, splits)

        # Every process has a copy in memory; all of them map the same file.
        fits_in_memory = cache.num_bytes * data.processes.size <= self._memory_bytes
        if fits_in_memory:
            load_in_memory(_last_in_memory, key, cache, fill)
        else:
            shape = (cache.num_rows, cache.width)
            cache.store_in(open_file(self._files, key, shape, fill))
        self.facts = {
            "blocks": depth,
            "examples": cache.num_examples,
            "mib": cache.num_bytes / 2**20,
            "kept_in": "memory" if fits_in_memory else "file",
            "seconds": time.perf_counter() - started,
        }


def compute_all(
    trainer: L.Trainer, task: Task, data: DataModule, cache: ActivationCache, splits: list[str]
) -> None:
    """Runs the frozen blocks for all examples of some splits and stores the result.

    Of several processes each takes every n-th batch.
    """
    num_tokens = tokens_per_batch(trainer.strategy.root_device.type)
    with progress_bar() as progress, frozen_products(trainer, task, cache.depth):
        bar = progress.add_task("frozen blocks", total=cache.num_examples)
        for split in splits:
            batches = data.sorted_batches(split, num_tokens)
            for batch, is_filler in dealt(batches, data.processes):
                compute_batch(trainer, task, cache, split, batch, keep=not is_filler)
                progress.advance(bar, len(batch.indices) * data.processes.size)


def frozen_products(trainer: L.Trainer, task: Task, depth: int) -> AbstractContextManager[None]:
    """Has the first blocks multiply by weights that are converted once, where that is faster."""
    in_bf16 = str(trainer.precision) == "bf16-mixed"
    blocks = task.backbone.blocks[:depth] if in_bf16 else ()
    return packed(blocks, tokens_per_batch(trainer.strategy.root_device.type))


def compute_batch(
    trainer: L.Trainer,
    task: Task,
    cache: ActivationCache,
    split: str,
    batch: Any,
    *,
    keep: bool = True,
) -> None:
    """Runs the frozen blocks for one batch, given on the CPU, and stores the result.

    Args:
        trainer: of the run.
        task: the model.
        cache: with storage.
        split: of the batch.
        batch: of the split.
        keep: false only keeps this process in step with others.
    """
    inputs = task.model_inputs(trainer.strategy.batch_to_device(batch))
    with trainer.precision_plugin.forward_context():
        x = frozen_activations(
            task.backbone, inputs, cache.depth, selected_only=cache.selected_only
        )
    if keep:
        cache.put(split, batch.indices, x)


def describe(task: Task, trainer: L.Trainer, data: DataModule) -> str | None:
    """Returns a line on the blocks that run only once; ``None`` if there are none."""
    depth = frozen_depth(task.backbone)
    if not depth or not task.strategy.cache_frozen_activations:
        return None
    blocks = f"blocks 0 to {depth - 1}" if depth > 1 else "block 0"
    reason = task.why_not_cacheable() or task.backbone.why_not_resumable(depth)
    if not any(isinstance(c, FrozenActivations) for c in trainer.callbacks):  # type: ignore[attr-defined]
        reason = "callbacks.frozen_activations was removed"
    splits = cacheable_splits(trainer)
    if not splits:
        reason = reason or "only a part of each split is used (trainer.limit_..._batches)"
    if reason:
        return f"{blocks} run in every epoch: {reason}"
    examples = {name: split["examples"] for name, split in data.facts()["splits"].items()}
    epochs = trainer.max_epochs or 0
    passes = {"train": epochs + 1, "val": epochs + 1, "test": 1}  # the final evaluation is one
    all_passes = sum(examples[split] * passes[split] for split in examples)
    saved = sum(examples[split] * (passes[split] - 1) for split in splits)
    share = saved * depth / (all_passes * task.backbone.num_blocks)
    return f"{blocks} run once for every example, which saves {share:.0%} of all forward passes"


def _key(
    trainer: L.Trainer, task: Task, data: DataModule, cache: ActivationCache, splits: list[str]
) -> str:
    """Identifies activations by everything that they depend on."""
    facts = data.facts()["splits"]
    everything = {
        "format": FORMAT,
        "versions": [version("llm-lightning"), version("torch")],
        "base": cast(dict[str, Any], task.base)["fingerprint"],
        "strategy": asdict(cast(Any, task.strategy)),
        "model": task.backbone.architecture(),
        "depth": cache.depth,
        "selected_only": cache.selected_only,
        "contents": cache.contents,
        "data": {split: facts[split]["sha256"] for split in splits},
        "text": task.hparams["text"],
        "precision": str(trainer.precision),
        "device": trainer.strategy.root_device.type,
    }
    return hashlib.sha256(json.dumps(everything, sort_keys=True, default=str).encode()).hexdigest()
