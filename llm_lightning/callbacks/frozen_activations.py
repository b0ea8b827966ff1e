"""Computes what the frozen blocks say about every example before training starts."""

import hashlib
import json
import time
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, Protocol, cast

import lightning as L
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.unpadding import Packing
from llm_lightning.data.download import cache_dir
from llm_lightning.data.module import DataModule
from llm_lightning.finetuning.frozen_activations.cache import PrefixCache, Reading, frozen_depth
from llm_lightning.finetuning.frozen_activations.files import FOLDER, PrefixFiles
from llm_lightning.finetuning.strategies import Strategy
from llm_lightning.run_format.splits import SPLITS

FORMAT = 3  # to be raised when the same settings come to give other states
_memory: dict[str, Tensor] = {}  # of the last run in this process: a sweep's next may need the same


class Task(Protocol):
    """What is asked of the module that trains."""

    backbone: GPT2
    strategy: Strategy
    prefix: PrefixCache | None
    base: dict[str, Any] | None

    @property
    def hparams(self) -> Any:
        """Its plain arguments."""

    def reading(self, batch: Any) -> Reading:
        """Says what is read of a batch."""

    def why_not_cached(self) -> str | None:
        """Returns why an example's states are not the same in every batch, if so."""


class FrozenPrefix(L.Callback):
    """Fills the prefix cache of a task at the start of a fit.

    Args:
        memory_mib: largest states that are kept in memory, in MiB; larger ones go to a file in
            the cache folder, which other runs use too.
        disk_mib: what these files may take together, in MiB; the ones that were not used for
            longest make room.
    """

    def __init__(self, memory_mib: int = 4096, disk_mib: int = 51200) -> None:
        for key, value in (("memory_mib", memory_mib), ("disk_mib", disk_mib)):
            if value < 0:
                raise ValueError(f"callbacks.prefix.{key} must be at least 0, got {value}")
        self._memory_bytes = memory_mib * 2**20
        self._files = PrefixFiles(cache_dir() / FOLDER, disk_mib * 2**20)
        self.facts: dict[str, Any] | None = None
        """What a summary should say about it; ``None`` if nothing was kept."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Computes the states, or takes those that are there."""
        task = cast(Task, pl_module)
        data = cast(DataModule, trainer.datamodule)  # type: ignore[attr-defined]
        depth = useful_depth(task)
        splits = whole_splits(trainer)
        if not depth or not splits:
            return
        started = time.perf_counter()
        task.prefix = prefix = empty_cache(task, data, depth, splits)
        key = _key(trainer, task, data, splits, depth)
        shape = (prefix.num_rows, prefix.width)

        def fill(rows: Tensor) -> None:
            prefix.keep_in(rows)
            _compute(trainer, task, data, prefix, splits)

        is_in_memory = prefix.num_bytes <= self._memory_bytes
        if not is_in_memory:
            prefix.keep_in(self._files.open(key, shape, fill))
        elif key in _memory:
            prefix.keep_in(_memory[key])
        else:
            fill(torch.empty(shape))
            _memory.clear()
            _memory[key] = prefix.rows
        self.facts = {
            "blocks": depth,
            "examples": prefix.num_examples,
            "mib": prefix.num_bytes / 2**20,
            "kept_in": "memory" if is_in_memory else "file",
            "seconds": time.perf_counter() - started,
        }


def tokens_at_once(device: str) -> int:
    """Returns how many tokens a batch may have on a kind of device, padding included."""
    return 65536 if device == "cuda" else 2048


def useful_depth(task: Task) -> int:
    """Returns how many blocks need to be run only once for every example."""
    if not task.strategy.cache_prefix or task.why_not_cached():
        return 0
    return frozen_depth(task.backbone)


def describe(task: Task, trainer: L.Trainer, data: DataModule) -> str | None:
    """Returns a line on what is run once, before training; ``None`` if nothing could be."""
    depth = frozen_depth(task.backbone)
    if not depth or not task.strategy.cache_prefix:
        return None
    blocks = f"blocks 0 to {depth - 1}" if depth > 1 else "block 0"
    if reason := task.why_not_cached():
        return f"{blocks} run in every epoch: {reason}"
    examples = {name: split["examples"] for name, split in data.facts()["splits"].items()}
    epochs = trainer.max_epochs or 0
    passes = {"train": epochs + 1, "val": epochs + 1, "test": 1}  # the final evaluation is one
    splits = whole_splits(trainer)
    all_passes = sum(examples[split] * passes[split] for split in examples)
    saved = sum(examples[split] * (passes[split] - 1) for split in splits)
    share = saved * depth / (all_passes * len(task.backbone.h))
    return f"{blocks} run once for every example; {share:.0%} of all forward passes are saved"


def whole_splits(trainer: L.Trainer) -> list[str]:
    """Splits of which every example is looked at, more than once."""
    limits = {
        "train": trainer.limit_train_batches,
        "val": trainer.limit_val_batches,
        "test": trainer.limit_test_batches,
    }
    # 1.0 is all of them, 1 is a single batch.
    return [name for name in SPLITS if isinstance(limits[name], float) and limits[name] == 1]


def empty_cache(task: Task, data: DataModule, depth: int, splits: list[str]) -> PrefixCache:
    """Lays out the states of all examples."""
    counts = {}
    is_read = False
    for split in splits:
        index, count = [], []
        for batch in data.sorted_batches(split, tokens_at_once("cpu")):
            reading = task.reading(batch)
            is_read = depth == len(task.backbone.h) and reading.positions is not None
            index.append(batch.indices)
            count.append(reading.num_positions if is_read else reading.widths)
        order = torch.cat(index).argsort()
        counts[split] = torch.cat(count)[order]
    return PrefixCache(depth, is_read, counts, task.backbone.config.n_embd)


def _compute(
    trainer: L.Trainer, task: Task, data: DataModule, prefix: PrefixCache, splits: list[str]
) -> None:
    num_tokens = tokens_at_once(trainer.strategy.root_device.type)
    console = Console(highlight=False)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("frozen blocks", total=prefix.num_examples)
        for split in splits:
            for batch in data.sorted_batches(split, num_tokens):
                compute_batch(trainer, task, prefix, split, batch)
                progress.advance(bar, len(batch.indices))


@torch.no_grad()
def compute_batch(
    trainer: L.Trainer, task: Task, prefix: PrefixCache, split: str, on_cpu: Any
) -> None:
    """Runs the frozen blocks for a batch and keeps what they say."""
    r = task.reading(trainer.strategy.batch_to_device(on_cpu))
    packing = Packing.of(r.widths, r.input_ids.shape[1])
    reads = r.positions if prefix.is_read else None
    with trainer.precision_plugin.forward_context():
        x = task.backbone.prefix(r.input_ids, r.padding_mask, prefix.depth, packing, reads)
    if x.dim() == 2:  # packed
        x = x[: int(r.widths.sum())]
    else:
        counts = r.num_positions if prefix.is_read else r.widths
        x = x[torch.arange(x.shape[1], device=x.device) < counts[:, None]]
    prefix.put(split, on_cpu.indices, x)


def _key(trainer: L.Trainer, task: Task, data: DataModule, splits: list[str], depth: int) -> str:
    """Names states after everything that they depend on."""
    facts = data.facts()["splits"]
    everything = {
        "format": FORMAT,
        "versions": [version("llm-lightning"), version("torch")],
        "base": cast(dict[str, Any], task.base)["fingerprint"],
        "strategy": asdict(cast(Any, task.strategy)),
        "model": asdict(task.backbone.config),
        "depth": depth,
        "data": {split: facts[split]["sha256"] for split in splits},
        "text": task.hparams["text"],
        "task": task.hparams["task"],
        "precision": str(trainer.precision),
        "device": trainer.strategy.root_device.type,
    }
    return hashlib.sha256(json.dumps(everything, sort_keys=True, default=str).encode()).hexdigest()
