"""Our program, in this process: configured as on the command line, with a clock beside it."""

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import hydra
import lightning as L
import torch
from flops import adapter_weights
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict, read_write
from timing import device_facts, step_result
from torch.nn import functional as F
from torch.utils.data import DataLoader

from llm_lightning.callbacks.cacheable import cacheable_depth
from llm_lightning.callbacks.frozen_activations import FrozenActivations
from llm_lightning.config import schema
from llm_lightning.config.experiments import conf_dir
from llm_lightning.config.jobs import job_of
from llm_lightning.data.batching import Batch
from llm_lightning.runs.built import Built
from llm_lightning.runs.network_job import FoundNetwork, NetworkJob
from llm_lightning.training.allocator import keep_freed_memory
from llm_lightning.training.clock import now

RANK = 16

# What a bare loop does without: everything that watches, and everything that writes.
_WATCHERS = ("progress", "throughput", "learning_rate", "predictions")
_LOGGERS = ("tensorboard", "csv")


class StepClock(L.Callback):
    """Notes when each training step ends; from one to the next is all that a step costs."""

    def __init__(self) -> None:
        self.start = 0.0
        self.ends: list[float] = []

    def on_train_start(self, trainer: L.Trainer, *args: Any) -> None:
        """Notes the time, when the activations are cached already."""
        self.start = now(trainer.strategy.root_device)

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        """Notes the time, when the device has done the step."""
        self.ends.append(now(trainer.strategy.root_device))

    def seconds(self, warmup: int) -> list[float]:
        """Of each step after the first ones."""
        return [b - a for a, b in pairwise(self.ends)][warmup - 1 :]


def steps(
    *,
    table: str,
    max_length: int,
    strategy: str,
    overrides: list[str],
    warmup: int,
    sizes: dict[str, int],
    passes: int = 1,
) -> dict[str, Any]:
    """Times optimizer steps of the whole program, logging and metrics included.

    Args:
        table: CSV whose texts are trained on, in its order.
        max_length: texts are cut there.
        strategy: an experiment of ours: what trains.
        overrides: further settings.
        warmup: steps that do not count, at least one.
        sizes: of the model.
        passes: how often the texts are gone through, of which the last one counts: kernels are
            prepared for every new width.
    """
    overrides = [*overrides, f"trainer.max_epochs={passes}"]
    run, loader = built(table, max_length, strategy, overrides)
    clock = StepClock()
    run.trainer.callbacks.append(clock)
    run.trainer.fit(run.task, datamodule=run.data)
    skipped = (passes - 1) * len(loader)
    facts = _result(run, loader, clock.seconds(skipped + warmup), warmup, strategy, sizes)
    facts["first_pass_s"] = clock.ends[skipped - 1] - clock.start if skipped else None
    return facts


def lightning_steps(*, overrides: list[str], **settings: Any) -> dict[str, Any]:
    """The same without callbacks that watch and without loggers."""
    without = [f"~callbacks.{name}" for name in _WATCHERS]
    without += [f"~loggers.{name}" for name in _LOGGERS]
    without.append("+trainer.enable_progress_bar=false")  # Lightning would bring its own
    return steps(overrides=[*overrides, *without], **settings)


def bare_steps(
    *,
    table: str,
    max_length: int,
    strategy: str,
    overrides: list[str],
    warmup: int,
    sizes: dict[str, int],
) -> dict[str, Any]:
    """The same module on the same cached activations: forward, backward, optimizer and no more."""
    run, loader = built(table, max_length, strategy, [*overrides, "trainer.max_epochs=1"])
    run.trainer.fit(run.task, datamodule=run.data)  # fills the cache, and warms up
    task: Any = run.task
    if task.frozen_activations is None:
        raise RuntimeError(f"{strategy} caches no activations: there is nothing to compare")
    task.train()
    optimizer = task.optim.optimizer(task.parameters())
    ends = []
    for batch in loader:
        with run.trainer.precision_plugin.forward_context():
            hidden, _ = task.hidden(batch, "train")
            loss = F.cross_entropy(task.head(hidden[:, 0]).float(), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ends.append(time.perf_counter())
    seconds = [b - a for a, b in pairwise(ends)][warmup - 1 :]
    return _result(run, loader, seconds, warmup, strategy, sizes)


def built(
    table: str, max_length: int, strategy: str, overrides: list[str]
) -> tuple[Built, DataLoader[Batch]]:
    """Our program up to the start of training, on given texts in a given order."""
    schema.register()
    settings = [
        f"+experiment={strategy}",
        "data=table",
        *(f"data.{split}_path='{table}'" for split in ("train", "val", "test")),
        f"data.max_length={max_length}",
        f"run_dir='{Path.cwd() / 'run'}'",
        "trainer.limit_val_batches=0",
        "trainer.limit_test_batches=2",  # so that only training texts go through frozen blocks
        "~callbacks.checkpoint",
        "~callbacks.resume",
        *overrides,
    ]
    keep_freed_memory()  # as our program does
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = hydra.compose("config", settings, return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        with read_write(cfg), open_dict(cfg):
            del cfg["hydra"]
        Path(cfg.run_dir).mkdir()
        job, found = job_of(cfg).find()
        if not isinstance(job, NetworkJob) or not isinstance(found, FoundNetwork):
            raise TypeError(f"{strategy} trains no network")
        run = job.build(found)
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    loader: DataLoader[Batch] = DataLoader(
        run.data.train_dataloader().dataset,
        batch_size=run.data.batch_size,
        collate_fn=run.data.padder.collate,
    )
    run.data.train_dataloader = lambda: loader
    return run, loader


def _result(
    run: Built,
    loader: DataLoader[Batch],
    seconds: list[float],
    warmup: int,
    strategy: str,
    sizes: dict[str, int],
) -> dict[str, Any]:
    batches = list(loader)
    task: Any = run.task
    widths = [int(n) for batch in batches[warmup:] for n in task.model_inputs(batch).lengths]
    callback = next(c for c in run.trainer.callbacks if isinstance(c, FrozenActivations))
    frozen = callback.facts
    lora = strategy == "lora"
    facts = step_result(
        seconds,
        [[1, width] for width in widths],  # padding is not computed
        real_tokens=sum(int(batch.lengths.sum()) for batch in batches),
        precision="bf16" if str(run.trainer.precision).startswith("bf16") else "fp32",
        sizes=sizes,
        strategy=strategy,
        first_block=cacheable_depth(run.task) if frozen is not None else 0,
        selects_one=True,
        adapters=adapter_weights(sizes["n_embd"], RANK, is_shared=False) if lora else 0,
    )
    if frozen is not None:
        facts["frozen_s_per_example"] = frozen["seconds"] / frozen["examples"]
        facts["frozen_mib"] = frozen["mib"]
    facts["parameters"] = sum(p.numel() for p in run.task.parameters())
    facts["trained"] = sum(p.numel() for p in run.task.parameters() if p.requires_grad)
    facts["threads"] = torch.get_num_threads()
    return facts | device_facts(run.trainer.strategy.root_device)
