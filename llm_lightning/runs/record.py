"""What a finished run records about itself: the summary, and TensorBoard's HPARAMS page."""

import math
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import reduce
from importlib.metadata import version
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from llm_lightning.callbacks.frozen_activations import FrozenActivations
from llm_lightning.callbacks.pruning import Pruning
from llm_lightning.callbacks.saving import saving_facts
from llm_lightning.data.classification import ClassificationData
from llm_lightning.data.module import DataModule
from llm_lightning.finetuning.coverage import parameter_groups
from llm_lightning.run_format import files
from llm_lightning.run_format.files import SPLIT_LABEL
from llm_lightning.run_format.run_facts import Seconds, Seeds, Trial
from llm_lightning.run_format.splits import SPLITS
from llm_lightning.run_format.summary import Metrics, Summary
from llm_lightning.runs.built import Built
from llm_lightning.runs.early_end import why_ended_early
from llm_lightning.runs.settings import Checkpoint, RunSettings
from llm_lightning.training.peak_memory import peak_memory_mib

LIBRARIES = ("lightning", "torchmetrics", "tiktoken", "pandas", "hydra-core")

# Settings that TensorBoard's HPARAMS page shows.
HPARAMS = (
    "seed",
    "init_seed",
    "order_seed",
    "data.split_seed",
    "model.init",
    "model.causal",
    "task.pooling",
    "task.mask_padding",
    "task.tie_weights",
    "data.prompt_style",
    "data.mask",
    "data.split",
    "data.balance",
    "data.truncate",
    "data.padding",
    "data.batch_size",
    "optim.lr",
    "optim.weight_decay",
    "optim.schedule",
    "trainer.max_epochs",
    "trainer.accumulate_grad_batches",
    "trainer.precision",
)


def common_facts(
    settings: RunSettings, data: DataModule, fallbacks: list[str], metrics: Metrics
) -> dict[str, Any]:
    """Returns the fields of a summary that every run has, whatever it fits.

    Args:
        settings: of the run.
        data: after ``setup``.
        fallbacks: what replaced data or weights that were unavailable.
        metrics: of all splits.
    """
    facts = data.facts()
    return {
        "name": settings.name,
        "experiment": settings.experiment,
        "overrides": settings.overrides,
        "seed": settings.seed,
        "seeds": Seeds(init=settings.init_seed, order=settings.order_seed, split=data.split_seed),
        "trial": None
        if settings.trial_of is None
        else Trial(objective=settings.objective, searched=settings.trial_of),
        "fallbacks": fallbacks,
        "metrics": metrics,
        # A fallback is never set beside published numbers.
        "published": None if fallbacks else settings.published,
        "kind": data.kind,
        "class_names": facts.get("class_names"),
        "data": facts,
        "versions": {
            "python": platform.python_version(),
            "llm-lightning": version("llm-lightning"),
            # The metadata of PyPI's CUDA builds do not say which build it is, as +cu130 does.
            "torch": str(torch.__version__),
        }
        | {name: version(name) for name in LIBRARIES},
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def summarize(
    settings: RunSettings, built: Built, metrics: Metrics, evaluated: Checkpoint, seconds: float
) -> Summary:
    """Returns the summary of a network's run.

    Args:
        settings: of the run.
        built: after training and evaluation.
        metrics: of the final evaluation.
        evaluated: the weights that ``metrics`` belong to.
        seconds: how long the run took, interruptions left out.
    """
    groups = parameter_groups(built.task)
    data, trainer = built.data, built.trainer
    splits = data.facts()["splits"]
    train, validation, test = (
        built.timer.time_elapsed(stage) for stage in ("train", "validate", "test")
    )
    saving, failed_saves = saving_facts(trainer)
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    stopped_after = next((c.stopped_after for c in callbacks if isinstance(c, Pruning)), None)
    frozen = next((c.facts for c in callbacks if isinstance(c, FrozenActivations)), None)
    kept = {
        checkpoint: f"{files.CHECKPOINTS}/{files.checkpoint_file(checkpoint.value)}"
        for checkpoint in Checkpoint
        if (
            settings.run_dir / files.CHECKPOINTS / files.checkpoint_file(checkpoint.value)
        ).is_file()
    }
    # Fewer than the splits hold with trainer.limit_test_batches.
    num_evaluated = {
        str(name): min(
            splits[name]["examples"],
            int(batches) * data.eval_batch_size * data.processes.size,
        )
        for name, batches in zip(SPLITS, trainer.num_test_batches, strict=True)
    }
    fields = common_facts(settings, data, built.fallbacks, metrics) | {
        "evaluated_examples": num_evaluated,
        "averaged_classes": averaged_classes(data, num_evaluated),
        "checkpoint": kept.pop(evaluated, None),
        "other_checkpoints": list(kept.values()),
        "failed_saves": failed_saves,
        "parameters": {
            "trainable": sum(group.trainable for group in groups),
            "total": sum(group.total for group in groups),
            "groups": [group.model_dump() for group in groups],
        },
        "finetune": built.task.strategy.describe(built.task),
        "weights": built.weights,
        "epochs": trainer.current_epoch,
        "ended_early": why_ended_early(trainer),
        "optimizer_steps": trainer.global_step,
        "steps_per_epoch": math.ceil(
            trainer.num_training_batches / trainer.accumulate_grad_batches
        ),
        "examples_per_epoch": min(
            splits["train"]["examples"],
            int(trainer.num_training_batches) * data.batch_size * data.processes.size,
        ),
        "seconds": Seconds(
            total=seconds,
            training=train - validation + (frozen["seconds"] if frozen else 0.0),
            validation=validation,
            evaluation=test,
            saving=saving,
        ),
        "frozen_activations": frozen,
        "peak_memory_mib": peak_memory_mib(trainer.strategy.root_device),
        "device": device_name(trainer),
        "precision": str(trainer.precision),
    }
    if stopped_after is not None:
        fields["trial"].stopped_after = stopped_after
    return Summary.model_validate(fields)


def averaged_classes(data: DataModule, evaluated: Mapping[str, int]) -> dict[str, int]:
    """Returns how many classes occur in each split, which averages are over.

    Args:
        data: of any kind; nothing is averaged over classes where there are none.
        evaluated: how many examples of each split were evaluated, the first ones.
    """
    if not isinstance(data, ClassificationData):
        return {}
    return {
        name: int(table[SPLIT_LABEL].iloc[: evaluated[name]].nunique())
        for name, table in data.splits.items()
    }


def log_hparams(settings: RunSettings, built: Built, summary: Summary) -> None:
    """Fills the HPARAMS page: the settings that people compare, beside the final test metrics."""
    values = {key: _setting(settings.configuration, key) for key in HPARAMS}
    hparams = {key: value for key, value in values.items() if value is not None}
    hparams |= {
        "experiment": summary.experiment,
        "weights": built.weights.source,
        "trainable": summary.parameters.trainable,
        "data.max_length": summary.data.max_length,
    }
    hparams |= {f"finetune.{key}": value for key, value in summary.finetune.items()}
    final = {
        f"final/test_{name}": value
        for name, value in summary.metrics["test"].items()
        if value is not None
    }
    if summary.responses:
        scores = summary.responses.scores
        final |= {f"final/test_{name}": score.mean for name, score in scores.items()}
    for logger in built.trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(hparams, final)
        logger.finalize("success")


def device_name(trainer: L.Trainer) -> str:
    """Returns the device that a run computes on, or how many of what, for people."""
    device = trainer.strategy.root_device
    number = f"{trainer.world_size} x " if trainer.world_size > 1 else ""
    if device.type == "cuda":
        return number + torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{number}{device.type} ({threads} {'thread' if threads == 1 else 'threads'})"


def _setting(configuration: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key; ``None`` where there is none."""

    def inner(part: Any, name: str) -> Any:
        return part.get(name) if isinstance(part, Mapping) else None

    return reduce(inner, key.split("."), configuration)
