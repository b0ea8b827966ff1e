"""The one Hydra task: build, fit, evaluate, summarise."""

import contextlib
import math
import os
import platform
import time
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn, cast

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from llm_lightning import console, run_folder
from llm_lightning.answering import answer_test_split
from llm_lightning.build import Run, build, plain
from llm_lightning.config import Checkpoint
from llm_lightning.data.splits import SPLIT_NAMES
from llm_lightning.finetuning.coverage import parameter_groups
from llm_lightning.network import Unavailable
from llm_lightning.reporting.run_plots import plot_run
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.tasks.task import EVALUATED, Diverged
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
        resumed_from = run_folder.start(run_dir, cfg, is_stand_in=bool(built.notices))
    except (ValueError, Unavailable, InstantiationException, OmegaConfBaseException) as error:
        _remove_if_empty(run_dir)  # Hydra makes the folder before anything is known
        _refuse(error)

    built.data.write_splits(run_dir / run_folder.SPLITS)
    console.print_notices(built.notices)
    console.print_start(
        name=run_dir.parent.name,
        seed=cfg.seed,
        groups=parameter_groups(built.task),
        finetuning=built.task.strategy.describe(built.task),
        data=[built.data.source, *built.data.describe()],
        weights=built.weights["source"],
        device=f"{_device_name(built.trainer)}, precision {built.trainer.precision}",
        run_dir=_shown(run_dir),
    )
    reset_peak_memory(built.trainer.strategy.root_device)
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    seconds_before = _fit(built, run_dir, resumed_from)
    if "checkpoint" in cfg.callbacks:
        last = run_dir / run_folder.CHECKPOINTS / "last.ckpt"
        built.trainer.save_checkpoint(last, weights_only=True)
    metrics = evaluate(built, cfg.evaluate)
    seconds = seconds_before + time.perf_counter() - started
    summary = summarize(cfg, built, metrics, seconds)
    run_folder.join_curves(run_dir)
    run_folder.write_summary(run_dir, summary)
    (run_dir / run_folder.CHECKPOINTS / run_folder.RESUME).unlink(missing_ok=True)
    if isinstance(built.task, LanguageModel) and built.data.kind == "instructions":
        summary["answers"] = _answer(built.task, built.trainer, run_dir)
        run_folder.write_summary(run_dir, summary)
    _log_hparams(cfg, built, summary)
    plot_run(run_dir)
    console.print_results(summary, _shown(run_dir))
    console.print_notices(built.notices)


def _fit(built: Run, run_dir: Path, resumed_from: Path | None) -> float:
    """Trains, from the beginning or from where an interrupted run had come.

    Returns:
        Seconds that the interrupted run had trained.
    """
    seconds = 0.0
    expected: type[ValueError] = Diverged
    if resumed_from is not None:
        before = torch.load(resumed_from, map_location="cpu", weights_only=True)
        run_folder.set_curves_aside(run_dir, before["global_step"])
        console.print_resumed(before["epoch"] + 1)
        seconds = before["callbacks"]["Timer"]["time_elapsed"]["train"]
        expected = ValueError  # data or base may have changed
    try:
        built.trainer.fit(built.task, datamodule=built.data, ckpt_path=resumed_from)
    except expected as error:
        _refuse(error)
    return seconds


def _answer(model: LanguageModel, trainer: L.Trainer, run_dir: Path) -> dict[str, Any]:
    """Answers the test split; an interruption leaves a finished run and what was answered."""
    model.to(trainer.strategy.root_device)
    try:
        return answer_test_split(model, run_dir)
    except KeyboardInterrupt:
        console.print_error(
            f"interrupted while answering; go on with\n"
            f'python -m llm_lightning.generate "{_shown(run_dir)}" --answers'
        )
        raise SystemExit(130) from None


def _refuse(error: Exception) -> NoReturn:
    """Tells the user what was wrong, framed, and ends the process."""
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        raise error
    if isinstance(error, MissingMandatoryValue):
        told = f"{error.full_key} has no default: give it a value, as in {error.full_key}=3"
    elif isinstance(error, InstantiationException):
        told = str(error.__cause__ or error)
    else:
        told = str(error)
    console.print_error(told)
    raise SystemExit(1) from error


def _remove_if_empty(run_dir: Path) -> None:
    with contextlib.suppress(OSError):
        run_dir.rmdir()
        run_dir.parent.rmdir()


def evaluate(built: Run, checkpoint: Checkpoint) -> dict[str, dict[str, float | None]]:
    """Evaluates the chosen weights on all of train, val and test.

    Returns:
        For each split its loss and metrics, accuracies and the like as shares in [0, 1]; ``None``
        for what is not defined, such as the AUROC of a single class or the response loss of
        texts without responses.
    """
    if checkpoint is Checkpoint.best:
        path = cast(ModelCheckpoint, built.trainer.checkpoint_callback).best_model_path
        built.task.load_trained(torch.load(path, map_location="cpu", weights_only=True))
    built.trainer.test(built.task, datamodule=built.data, verbose=False)
    logged = {name: float(value) for name, value in built.trainer.callback_metrics.items()}

    def values(split: str) -> dict[str, float | None]:
        named = {name: logged.get(f"{split}/{name}") for name in built.task.metric_names}
        return {
            name: None if value is None or not math.isfinite(value) else value
            for name, value in named.items()
        }

    return dict(zip(SPLIT_NAMES, map(values, EVALUATED), strict=True))


def summarize(
    cfg: DictConfig, built: Run, metrics: dict[str, dict[str, float | None]], seconds: float
) -> dict[str, Any]:
    """Returns the contents of ``summary.json``."""
    run_dir = Path(cfg.run_dir)
    groups = parameter_groups(built.task)
    data, trainer = built.data, built.trainer
    facts = data.facts()
    fit, validation, test = (
        built.timer.time_elapsed(stage) for stage in ("train", "validate", "test")
    )
    checkpoints = {
        checkpoint: f"{run_folder.CHECKPOINTS}/{checkpoint.value}.ckpt"
        for checkpoint in Checkpoint
        if (run_dir / run_folder.CHECKPOINTS / f"{checkpoint.value}.ckpt").is_file()
    }
    return {
        "name": run_dir.parent.name,
        "experiment": HydraConfig.get().runtime.choices.get("experiment"),
        "overrides": list(HydraConfig.get().overrides.task),
        "seed": cfg.seed,
        "notices": built.notices,
        "metrics": metrics,
        "answers": None,  # of an instruction run, once they are all there
        # Fewer than the splits hold with trainer.limit_test_batches.
        "evaluated_examples": {
            name: min(facts["splits"][name]["examples"], int(batches) * data.eval_batch_size)
            for name, batches in zip(SPLIT_NAMES, trainer.num_test_batches, strict=True)
        },
        # A stand-in is never set beside the real thing.
        "published": plain(cfg.published) if cfg.published and not built.notices else None,
        "kind": data.kind,
        "class_names": facts.get("class_names"),
        "checkpoint": checkpoints.pop(cfg.evaluate, None),
        "other_checkpoints": list(checkpoints.values()),
        "parameters": {
            "trainable": sum(group.trainable for group in groups),
            "total": sum(group.total for group in groups),
            "groups": [asdict(group) for group in groups],
        },
        "finetune": built.task.strategy.describe(built.task),
        "data": facts,
        "weights": built.weights,
        "epochs": trainer.current_epoch,
        "optimizer_steps": trainer.global_step,
        "steps_per_epoch": math.ceil(
            trainer.num_training_batches / trainer.accumulate_grad_batches
        ),
        "examples_per_epoch": min(
            facts["splits"]["train"]["examples"],
            int(trainer.num_training_batches) * data.batch_size,
        ),
        "seconds": {
            "total": seconds,
            "training": fit - validation,
            "validation": validation,
            "evaluation": test,
        },
        "peak_memory_mib": peak_memory_mib(trainer.strategy.root_device),
        "device": _device_name(trainer),
        "precision": str(trainer.precision),
        "versions": {"python": platform.python_version(), "llm-lightning": version("llm-lightning")}
        | {name: version(name) for name in LIBRARIES},
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
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


def _log_hparams(cfg: DictConfig, built: Run, summary: dict[str, Any]) -> None:
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


def _device_name(trainer: L.Trainer) -> str:
    device = trainer.strategy.root_device
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({torch.get_num_threads()} threads)"


def _shown(path: Path) -> Path:
    """The path as a person would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
