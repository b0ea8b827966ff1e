"""The one Hydra task: build, fit, evaluate, summarise."""

import math
import os
import platform
import time
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, MissingMandatoryValue

from llm_lightning import console, run_folder
from llm_lightning.build import Run, build, plain
from llm_lightning.config import Checkpoint
from llm_lightning.finetuning.coverage import parameter_groups
from llm_lightning.network import Unavailable
from llm_lightning.reporting.run_plots import plot_run
from llm_lightning.tasks.classifier import EVALUATED
from llm_lightning.training.memory import peak_memory_mib, reset_peak_memory

LIBRARIES = ("torch", "lightning", "torchmetrics", "tiktoken", "pandas", "hydra-core")


def run(cfg: DictConfig) -> None:
    """Trains, evaluates and writes the run folder.

    A fault of the user's is a framed message and exit status 1; HYDRA_FULL_ERROR=1 shows where
    it was raised.
    """
    started = time.perf_counter()
    run_dir = Path(cfg.run_dir)
    try:
        built = build(cfg)
        run_folder.start(run_dir, cfg)  # a former run of this name goes only now
    except (ValueError, Unavailable, InstantiationException, MissingMandatoryValue) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        console.print_error(_told(error))
        raise SystemExit(1) from error

    built.data.write_splits(run_dir / run_folder.SPLITS)
    console.print_notices(built.notices)
    console.print_start(
        name=run_dir.parent.name,
        seed=cfg.seed,
        groups=parameter_groups(built.task),
        data=built.data.facts(),
        weights=built.weights["source"],
        device=f"{_device(built.trainer)}, precision {built.trainer.precision}",
        run_dir=_shown(run_dir),
    )
    reset_peak_memory()
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    built.trainer.fit(built.task, datamodule=built.data)
    metrics = evaluate(built, cfg.evaluate)
    summary = summarize(cfg, built, metrics, seconds=time.perf_counter() - started)
    run_folder.write_summary(run_dir, summary)
    _log_hparams(built.trainer, summary)
    plot_run(run_dir)
    console.print_results(summary, _shown(run_dir))
    console.print_notices(built.notices)


def _told(error: Exception) -> str:
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} has no default: give it a value, as in {error.full_key}=3"
    if isinstance(error, InstantiationException):
        return str(error.__cause__ or error)
    return str(error)


def evaluate(built: Run, checkpoint: Checkpoint) -> dict[str, dict[str, float]]:
    """Evaluates the chosen weights on all of train, val and test.

    Returns:
        For each split its metrics, accuracies and the like as shares in [0, 1].
    """
    if checkpoint is Checkpoint.best:
        path = cast(ModelCheckpoint, built.trainer.checkpoint_callback).best_model_path
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        built.task.load_state_dict(state, strict=True)
    built.trainer.test(built.task, datamodule=built.data, verbose=False)
    logged = {name: float(value) for name, value in built.trainer.callback_metrics.items()}
    return {
        shown: {metric: logged[f"{split}/{metric}"] for metric in console.METRICS}
        for shown, split in zip(("train", "val", "test"), EVALUATED, strict=True)
    }


def summarize(
    cfg: DictConfig, built: Run, metrics: dict[str, dict[str, float]], seconds: float
) -> dict[str, Any]:
    """Returns the contents of ``summary.json``."""
    run_dir = Path(cfg.run_dir)
    groups = parameter_groups(built.task)
    trainer = built.trainer
    fit, validation, test = (
        built.timer.time_elapsed(stage) for stage in ("train", "validate", "test")
    )
    other = next(checkpoint for checkpoint in Checkpoint if checkpoint is not cfg.evaluate)
    return {
        "name": run_dir.parent.name,
        "experiment": HydraConfig.get().runtime.choices.get("experiment"),
        "overrides": list(HydraConfig.get().overrides.task),
        "seed": cfg.seed,
        "notices": built.notices,
        "metrics": metrics,
        # A stand-in is never set beside the real thing.
        "published": plain(cfg.published) if cfg.published and not built.notices else None,
        "class_names": built.data.splits.class_names,
        "checkpoint": f"checkpoints/{cfg.evaluate.value}.ckpt",
        "other_checkpoint": f"checkpoints/{other.value}.ckpt",
        "parameters": {
            "trainable": sum(group.trainable for group in groups),
            "total": sum(group.total for group in groups),
            "groups": [asdict(group) for group in groups],
        },
        "data": built.data.facts(),
        "weights": built.weights,
        "epochs": trainer.current_epoch,
        "optimizer_steps": trainer.global_step,
        "steps_per_epoch": math.ceil(
            trainer.num_training_batches / trainer.accumulate_grad_batches
        ),
        "seconds": {
            "total": seconds,
            "training": fit - validation,
            "validation": validation,
            "evaluation": test,
        },
        "peak_memory_mib": peak_memory_mib(),
        "device": _device(trainer),
        "precision": str(trainer.precision),
        "versions": {"python": platform.python_version(), "llm-lightning": version("llm-lightning")}
        | {name: version(name) for name in LIBRARIES},
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _log_hparams(trainer: L.Trainer, summary: dict[str, Any]) -> None:
    """Fills TensorBoard's HPARAMS page: the choices people compare, beside the final metrics."""
    hparams = {
        "experiment": summary["experiment"],
        "seed": summary["seed"],
        "model": summary["weights"]["model"],
        "trainable": summary["parameters"]["trainable"],
        "max_length": summary["data"]["max_length"],
        "padding": summary["data"]["padding"],
        **{
            override.split("=", 1)[0].lstrip("+"): override.split("=", 1)[-1]
            for override in summary["overrides"]
            if not override.startswith("+experiment")
        },
    }
    final = {f"final/test_{name}": value for name, value in summary["metrics"]["test"].items()}
    final["final/val_accuracy"] = summary["metrics"]["val"]["accuracy"]
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(hparams, final)
        logger.finalize("success")
    # Lightning's loggers leave an empty one beside config.yaml, which says it all.
    (Path(trainer.default_root_dir) / "hparams.yaml").unlink(missing_ok=True)


def _device(trainer: L.Trainer) -> str:
    device = trainer.strategy.root_device
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({torch.get_num_threads()} threads)"


def _shown(path: Path) -> Path:
    """The path as a person would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
