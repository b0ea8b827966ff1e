"""Which activations of a run can be computed once: of how many blocks, splits and positions."""

import hashlib

import lightning as L
import torch

from llm_lightning.data.module import DataModule
from llm_lightning.finetuning.frozen_activations.cache import ActivationCache, frozen_depth
from llm_lightning.run_format.splits import SPLITS
from llm_lightning.tasks.task import Task

_TOKENS_PER_BATCH = {"cuda": 65536}
_TOKENS_PER_BATCH_ELSEWHERE = 2048


def tokens_per_batch(device_type: str) -> int:
    """Returns how many tokens, padding included, a batch through the frozen blocks may have."""
    return _TOKENS_PER_BATCH.get(device_type, _TOKENS_PER_BATCH_ELSEWHERE)


def cacheable_depth(task: Task) -> int:
    """Returns how many of the first blocks have to run only once for every example."""
    if not task.strategy.cache_frozen_activations or task.why_not_cacheable():
        return 0
    depth = frozen_depth(task.backbone)
    return 0 if depth and task.backbone.why_not_resumable(depth) else depth


def cacheable_splits(trainer: L.Trainer) -> list[str]:
    """Returns the splits of which every example is used, more than once."""
    limits = {
        "train": trainer.limit_train_batches,
        "val": trainer.limit_val_batches,
        "test": trainer.limit_test_batches,
    }
    # The float 1.0 is all batches, the integer 1 a single one.
    return [name for name in SPLITS if isinstance(limits[name], float) and limits[name] == 1]


def empty_cache(task: Task, data: DataModule, depth: int, splits: list[str]) -> ActivationCache:
    """Returns a cache without storage for the activations of all examples of some splits.

    Args:
        task: the model.
        data: after ``setup``.
        depth: number of blocks, as from :func:`cacheable_depth`.
        splits: as from :func:`cacheable_splits`.
    """
    counts = {}
    selected_only = False
    contents = hashlib.sha256()
    for split in splits:
        indices, num_positions = [], []
        for batch in data.sorted_batches(split, tokens_per_batch("cpu")):
            inputs = task.model_inputs(batch)
            selected_only = depth == task.backbone.num_blocks and inputs.positions is not None
            indices.append(batch.indices)
            num_positions.append(inputs.counts if selected_only else inputs.lengths)
            # What the task's options change, whichever they are: tasks that compute the same
            # share it, such as two that differ in what they pool of all positions.
            for part in (inputs.padding_mask, inputs.positions if selected_only else None):
                contents.update(b"none" if part is None else part.numpy().tobytes())
            contents.update(inputs.lengths.numpy().tobytes())
        order = torch.cat(indices).argsort()
        counts[split] = torch.cat(num_positions)[order]
    width = task.backbone.hidden_size
    return ActivationCache(depth, selected_only, counts, width, contents.hexdigest())
