"""What a finished run says about itself: ``summary.json`` and TensorBoard's HPARAMS page."""

import math
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, OmegaConf

from llm_lightning.runs import folder as run_folder
from llm_lightning.runs.build import Run, plain
from llm_lightning.config.root import Checkpoint
from llm_lightning.data.module import DataModule
from llm_lightning.finetuning.coverage import parameter_groups
from llm_lightning.training.memory import peak_memory_mib
from llm_lightning.callbacks.frozen_activations import FrozenPrefix
from llm_lightning.run_format.splits import SPLITS

LIBRARIES = ("torch", "lightning", "torchmetrics", "tiktoken", "pandas", "hydra-core")

Metrics = dict[str, dict[str, float | None]]


def common_facts(
    cfg: DictConfig, data: DataModule, notices: list[str], metrics: Metrics
) -> dict[str, Any]:
    """What a run of any kind has to say."""
    facts = data.facts()
    return {
        "name": Path(cfg.run_dir).parent.name,
        "experiment": HydraConfig.get().runtime.choices.get("experiment"),
        "overrides": list(HydraConfig.get().overrides.task),
        "seed": cfg.seed,
        "notices": notices,
        "metrics": metrics,
        "answers": None,  # of an instruction run, once they are all there
        # A stand-in is never set beside the real thing.
        "published": plain(cfg.published) if cfg.published and not notices else None,
        "kind": data.kind,
        "class_names": facts.get("class_names"),
        "data": facts,
        "versions": {"python": platform.python_version(), "llm-lightning": version("llm-lightning")}
        | {name: version(name) for name in LIBRARIES},
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def summarize(cfg: DictConfig, built: Run, metrics: Metrics, seconds: float) -> dict[str, Any]:
    """Returns the contents of ``summary.json``."""
    run_dir = Path(cfg.run_dir)
    groups = parameter_groups(built.task)
    data, trainer = built.data, built.trainer
    splits = data.facts()["splits"]
    fit, validation, test = (
        built.timer.time_elapsed(stage) for stage in ("train", "validate", "test")
    )
    watchers = trainer.callbacks  # type: ignore[attr-defined]
    prefix = next((c.facts for c in watchers if isinstance(c, FrozenPrefix)), None)
    checkpoints = {
        checkpoint: f"{run_folder.CHECKPOINTS}/{checkpoint.value}.ckpt"
        for checkpoint in Checkpoint
        if (run_dir / run_folder.CHECKPOINTS / f"{checkpoint.value}.ckpt").is_file()
    }
    return common_facts(cfg, data, built.notices, metrics) | {
        # Fewer than the splits hold with trainer.limit_test_batches.
        "evaluated_examples": {
            name: min(splits[name]["examples"], int(batches) * data.eval_batch_size)
            for name, batches in zip(SPLITS, trainer.num_test_batches, strict=True)
        },
        "checkpoint": checkpoints.pop(cfg.evaluate, None),
        "other_checkpoints": list(checkpoints.values()),
        "parameters": {
            "trainable": sum(group.trainable for group in groups),
            "total": sum(group.total for group in groups),
            "groups": [asdict(group) for group in groups],
        },
        "finetune": built.task.strategy.describe(built.task),
        "weights": built.weights,
        "epochs": trainer.current_epoch,
        "optimizer_steps": trainer.global_step,
        "steps_per_epoch": math.ceil(
            trainer.num_training_batches / trainer.accumulate_grad_batches
        ),
        "examples_per_epoch": min(
            splits["train"]["examples"], int(trainer.num_training_batches) * data.batch_size
        ),
        "seconds": {
            "total": seconds,
            "training": fit - validation + (prefix["seconds"] if prefix else 0.0),
            "validation": validation,
            "evaluation": test,
        },
        "frozen_prefix": prefix,
        "peak_memory_mib": peak_memory_mib(trainer.strategy.root_device),
        "device": device_name(trainer),
        "precision": str(trainer.precision),
    }


# What TensorBoard's HPARAMS page shows of a run's settings.
HPARAMS = (
    "seed",
    "model.init",
    "model.causal",
    "task.position",
    "task.mask_padding",
    "task.tie_weights",
    "data.prompt_style",
    "data.mask",
    "data.split",
    "data.balance",
    "data.padding",
    "data.batch_size",
    "optim.lr",
    "optim.weight_decay",
    "optim.schedule",
    "trainer.max_epochs",
    "trainer.accumulate_grad_batches",
    "trainer.precision",
)


def log_hparams(cfg: DictConfig, built: Run, summary: dict[str, Any]) -> None:
    """Fills the HPARAMS page: the choices people compare, beside the final test metrics."""
    values = {key: OmegaConf.select(cfg, key) for key in HPARAMS}
    hparams = {key: value for key, value in values.items() if value is not None}
    hparams |= {
        "experiment": summary["experiment"],
        "weights": built.weights["source"],
        "trainable": summary["parameters"]["trainable"],
        "data.max_length": summary["data"]["max_length"],
    }
    hparams |= {f"finetune.{key}": value for key, value in summary["finetune"].items()}
    final = {
        f"final/test_{name}": value
        for name, value in summary["metrics"]["test"].items()
        if value is not None
    }
    if summary["answers"]:
        scores = summary["answers"]["scores"]
        final |= {f"final/test_{name}": score["mean"] for name, score in scores.items()}
    for logger in built.trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(hparams, final)
        logger.finalize("success")
    # Lightning's loggers leave an empty one beside config.yaml, which says it all.
    (Path(cfg.run_dir) / "hparams.yaml").unlink(missing_ok=True)


def device_name(trainer: L.Trainer) -> str:
    """The device a run computes on, for people."""
    device = trainer.strategy.root_device
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({torch.get_num_threads()} threads)"
