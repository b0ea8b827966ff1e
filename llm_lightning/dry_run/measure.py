"""Times a few steps of training, evaluation and generation, and measures their memory.

Times are per token of a batch, padding included, so that they scale to batches of other widths.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader

from llm_lightning.backbone.generation import generate
from llm_lightning.callbacks.cacheable import (
    cacheable_depth,
    cacheable_splits,
    empty_cache,
    tokens_per_batch,
)
from llm_lightning.callbacks.frozen_activations import compute_batch, frozen_products
from llm_lightning.data.module import DataModule
from llm_lightning.finetuning.frozen_activations.cache import ActivationCache
from llm_lightning.runs.built import Built
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.tasks.task import Task
from llm_lightning.training.clock import now
from llm_lightning.training.peak_memory import reset_peak_memory
from llm_lightning.training.step_memory import memory_by_part

_LEAST_STEPS = 3
_ENOUGH_S = 3.0
_ENOUGH_STEPS = 50
EVALUATED_BATCHES = 6
"""Batches that the time of evaluation is estimated from."""
_GENERATED_TOKENS = 8
_TIMED_BATCHES = 3
_SAMPLE_BYTES = 64 * 2**20


@dataclass
class Training:
    """What a few steps took, and the memory they needed."""

    seconds_per_token: float
    validation_end_s: float
    """Time of the callbacks at the end of a validation, such as sample responses."""
    steps_per_epoch: int
    total_steps: int
    memory: dict[str, int]
    """Bytes by part."""


class _Enough(Exception):
    """Raised to end a measurement."""


class TrainingMeasure(L.Callback):
    """Times steps, then measures memory at the widest batch, and stops the training.

    Args:
        widest: the batch that needs most memory.
        at_validation: callbacks whose work at the end of a validation is timed.
    """

    def __init__(self, widest: Any, at_validation: Sequence[L.Callback]) -> None:
        self._widest = widest
        self._at_validation = at_validation
        self._marks: list[tuple[float, int, int]] = []  # seconds, tokens so far, optimizer steps
        self.found: Training | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the clock."""
        reset_peak_memory(pl_module.device)
        self._marks.append((now(pl_module.device), 0, 0))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Stops after enough steps, or with the epoch.

        Raises:
            _Enough: then.
        """
        assert isinstance(pl_module, Task)
        tokens = self._marks[-1][1] + batch.input_ids.numel()
        self._marks.append((now(pl_module.device), tokens, trainer.global_step))
        is_last = index + 1 == trainer.num_training_batches
        if not is_last and not self._is_enough():
            return
        memory = memory_by_part(pl_module, self._widest)
        accumulated = trainer.accumulate_grad_batches
        self.found = Training(
            seconds_per_token=self._seconds_per_token(),
            validation_end_s=self._at_validation_end(trainer, pl_module),
            steps_per_epoch=-(-int(trainer.num_training_batches) // accumulated),
            total_steps=int(trainer.estimated_stepping_batches),
            memory=memory,
        )
        raise _Enough

    def _is_enough(self) -> bool:
        first, last, before = self._after_first_step(), self._marks[-1], self._marks[-2]
        if first is None or last[2] == before[2]:  # the middle of an accumulation
            return False
        steps = last[2] - first[2]
        return steps >= _ENOUGH_STEPS or (steps >= _LEAST_STEPS and last[0] - first[0] > _ENOUGH_S)

    def _seconds_per_token(self) -> float:
        first = self._after_first_step()
        # The first step is slow: memory is fetched, kernels are chosen. Where there is no other,
        # it is what the run will take.
        start = self._marks[0] if first is None or first is self._marks[-1] else first
        end = self._marks[-1]
        return (end[0] - start[0]) / (end[1] - start[1])

    def _after_first_step(self) -> tuple[float, int, int] | None:
        return next((mark for mark in self._marks if mark[2] > 0), None)

    def _at_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> float:
        started = now(module.device)
        for callback in self._at_validation:
            callback.on_validation_epoch_end(trainer, module)
        return now(module.device) - started


class FrozenActivationsMeasure(L.Callback):
    """In place of the callback that fills the cache of frozen activations: times a few batches.

    All other activations stay zeros, which makes no difference to the time of a step.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        """Time to run the frozen blocks once for every example."""
        self.mib = 0.0
        """Size of their activations, in main memory or in a file."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Lays out the cache, and runs a few batches."""
        assert isinstance(pl_module, Task)
        data = cast(DataModule, trainer.datamodule)  # type: ignore[attr-defined]
        depth, splits = cacheable_depth(pl_module), cacheable_splits(trainer)
        if not depth or not splits:
            return
        cache = empty_cache(pl_module, data, depth, splits)
        self.mib = cache.num_bytes / 2**20
        # numpy's zeros take memory only where they are written.
        cache.store_in(torch.from_numpy(np.zeros((cache.num_rows, cache.width), np.float32)))
        pl_module.frozen_activations = cache
        with frozen_products(trainer, pl_module, depth):
            self.seconds = _seconds_of_all(trainer, pl_module, data, cache, splits)


def _seconds_of_all(
    trainer: L.Trainer, task: Task, data: DataModule, cache: ActivationCache, splits: list[str]
) -> float:
    """Runs the frozen blocks for a few batches and works out how long all would take."""
    device = trainer.strategy.root_device
    tokens, seconds, num_timed, num_all = tokens_per_batch(device.type), 0.0, 0, 0
    for split in splits:
        for index, batch in enumerate(data.sorted_batches(split, tokens)):
            size = batch.input_ids.numel()
            num_all += size
            if split == splits[0] and index <= _TIMED_BATCHES:
                started = now(device)
                compute_batch(trainer, task, cache, split, batch)
                # The first batch warms up, and counts only where there is no other.
                if index <= 1:
                    seconds, num_timed = 0.0, 0
                seconds, num_timed = seconds + now(device) - started, num_timed + size
    return seconds / num_timed * num_all


class _EvaluationMeasure(L.Callback):
    """Times evaluation steps; the first one of each loader only starts the clock."""

    def __init__(self) -> None:
        self._marks: list[list[tuple[float, int]]] = [[], [], []]  # seconds, tokens so far

    def on_test_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, *at: int
    ) -> None:
        marks = self._marks[at[-1]]
        tokens = (marks[-1][1] if marks else 0) + batch.input_ids.numel()
        marks.append((now(module.device), tokens))

    def seconds_per_token(self) -> list[float]:
        ends = [(marks[0], marks[-1]) for marks in self._marks]
        return [(end[0] - start[0]) / (end[1] - start[1]) for start, end in ends]


def measure_training(built: Built, widest: Any, at_validation: Sequence[L.Callback]) -> Training:
    """Trains a few steps, which changes the model."""
    measure = TrainingMeasure(widest, at_validation)
    built.trainer.callbacks.append(measure)  # type: ignore[attr-defined]
    try:
        built.trainer.fit(built.task, datamodule=built.data)
    except _Enough:
        pass
    finally:
        built.trainer.callbacks.remove(measure)  # type: ignore[attr-defined]
    assert measure.found is not None
    return measure.found


def measure_evaluation(built: Built, batches: Sequence[Sequence[Any]]) -> list[float]:
    """Returns seconds per token of evaluating some batches of train, val and test."""
    measure = _EvaluationMeasure()
    built.trainer.callbacks.append(measure)  # type: ignore[attr-defined]
    built.trainer.limit_test_batches = 1.0
    loaders = [_loader([some[0], *some]) for some in batches]
    built.trainer.test(built.task, dataloaders=loaders, verbose=False)
    built.trainer.callbacks.remove(measure)  # type: ignore[attr-defined]
    return measure.seconds_per_token()


def _loader(batches: list[Any]) -> DataLoader[Any]:
    return DataLoader(batches, batch_size=None, collate_fn=_unchanged)  # type: ignore[arg-type]


def _unchanged(batch: Any) -> Any:
    return batch


def measure_generation(
    model: LanguageModel, prompts: Sequence[Sequence[int]]
) -> tuple[float, float]:
    """Returns the seconds to process these prompts at once, and the seconds of each new token."""
    options = replace(model.options.generation, batch_size=len(prompts))

    def timed(num_tokens: int) -> float:
        started = now(model.device)
        own = replace(options, max_new_tokens=num_tokens)
        generate(model.backbone, model.head, prompts, own, stop_id=None)
        return now(model.device) - started

    timed(1)
    prefill = timed(1)
    return prefill, max(0.0, timed(1 + _GENERATED_TOKENS) - prefill) / _GENERATED_TOKENS


def seconds_to_write(num_bytes: int, folder: Path) -> float:
    """Returns how long a checkpoint of this size takes, from one of 64 MiB at most."""
    size = min(num_bytes, _SAMPLE_BYTES)
    file = folder / "sample.ckpt"
    started = time.perf_counter()
    torch.save(torch.ones(size // 4 + 1), file)
    seconds = time.perf_counter() - started
    file.unlink()
    return seconds * max(1.0, num_bytes / (size + 1))
