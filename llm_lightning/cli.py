"""The one Hydra task: compose, build, fit, evaluate, summarise."""

import logging
import os
import platform
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import hydra
import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from hydra.errors import HydraException, InstantiationException
from hydra.utils import get_class, instantiate
from lightning.pytorch.callbacks import ModelCheckpoint, Timer
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, OmegaConf

from llm_lightning import config, console, run_folder
from llm_lightning.backbone.pretrained import ModelConfig, Weights, load_weights, locate
from llm_lightning.data.classification import ClassificationData
from llm_lightning.data.spam import SmsSpam
from llm_lightning.finetuning.coverage import parameter_groups
from llm_lightning.network import Unavailable
from llm_lightning.reporting.run_plots import plot_run
from llm_lightning.tasks.classifier import EVALUATED, Classifier
from llm_lightning.training.memory import peak_memory_mib, reset_peak_memory

LIBRARIES = ("torch", "lightning", "torchmetrics", "tiktoken", "pandas", "hydra-core")
FALLBACK_MODEL = "nano"


def main() -> None:
    """Entry point of ``python -m llm_lightning``."""
    config.register()
    arguments = sys.argv[1:]
    asks_hydra = {"--hydra-help", "--version", "--info", "-i", "--shell-completion", "-sc"}
    if not asks_hydra & set(arguments):
        problem = _experiment_problem(arguments, list_experiments())
        if problem is not None or {"--help", "-h"} & set(arguments):
            console.print_experiments(list_experiments(), problem)
            sys.exit(2 if problem is not None else 0)
    run_one = hydra.main(
        version_base="1.3", config_path=str(config.conf_dir()), config_name="config"
    )(run)
    run_one()


def list_experiments() -> dict[str, str]:
    """Returns each experiment's name and the one line that says what it is."""
    experiments = {}
    for file in sorted((config.conf_dir() / "experiment").glob("[!_]*.yaml")):
        comments = [line for line in file.read_text().splitlines() if line.startswith("# ")]
        experiments[file.stem] = comments[1].removeprefix("# ")  # after the package line
    return experiments


def _experiment_problem(arguments: Sequence[str], experiments: dict[str, str]) -> str | None:
    """Says what is wrong with the choice of experiment: ``""`` if there is none at all."""
    overrides = [argument for argument in arguments if not argument.startswith("-")]
    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
    except HydraException:
        return None  # Hydra explains syntax better
    chosen = [override for override in parsed if override.key_or_group == "experiment"]
    if not chosen:
        return ""
    for override in chosen:
        if not override.is_add():
            return f"write +experiment={override.value()}, with a plus sign"
        value = override.value()
        if isinstance(value, Glob):
            if not value.filter(list(experiments)):
                return f"+experiment={value}: no experiment matches"
        elif override.is_sweep_override():
            names = [str(name) for name in override.sweep_string_iterator()]
            if unknown := [name for name in names if name not in experiments]:
                return f"+experiment: there is no experiment {', '.join(unknown)}"
        elif str(value) not in experiments:
            return f"+experiment={value}: there is no experiment of this name"
    return None


@dataclass
class Run:
    """Everything that a configuration became."""

    data: ClassificationData
    task: Classifier
    trainer: L.Trainer
    weights: dict[str, Any]
    notices: list[str]


def run(cfg: DictConfig) -> None:
    """Trains, evaluates and writes the run folder.

    A fault of the user's is a framed message and exit status 1; HYDRA_FULL_ERROR=1 shows where
    it was raised.
    """
    started = time.perf_counter()
    run_dir = Path(cfg.run_dir)
    try:
        run_folder.start(run_dir, cfg)
        built = build(cfg)
    except (ValueError, Unavailable, InstantiationException) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        cause = error.__cause__ if isinstance(error, InstantiationException) else error
        console.print_error(str(cause or error))
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
    if built.trainer.interrupted:
        raise SystemExit(130)
    metrics = evaluate(built, cfg.evaluate)
    summary = summarize(cfg, built, metrics, seconds=time.perf_counter() - started)
    run_folder.write_summary(run_dir, summary)
    _log_hparams(built.trainer, summary)
    plot_run(run_dir)
    console.print_results(summary, _shown(run_dir))
    console.print_notices(built.notices)


def build(cfg: DictConfig) -> Run:
    """Builds everything, what is cheap first and the weights last.

    Raises:
        ValueError: if a setting is wrong.
        Unavailable: if data or weights cannot be had and ``offline_fallback`` is off.
    """
    _quiet_lightning()
    OmegaConf.to_object(cfg.optim)  # checks ranges now rather than after the downloads
    callbacks = [instantiate(callback) for callback in cfg.callbacks.values()]
    loggers = [instantiate(logger) for logger in cfg.loggers.values()]
    trainer = instantiate(cfg.trainer, callbacks=callbacks, logger=loggers)
    model = _model_config(cfg)
    data = _plain(cfg.data)
    data = cast(ClassificationData, get_class(data["_target_"])(**data))

    notices: list[str] = []
    try:
        data.prepare_data()
    except Unavailable as error:
        if not (cfg.offline_fallback and isinstance(data, SmsSpam)):
            raise
        data.use_embedded()
        notices.append(_notice("the embedded messages", error))
    data.setup()
    try:
        weights = locate(model)
    except Unavailable as error:
        if not (cfg.offline_fallback and model.weights == "pretrained"):
            raise
        name = model.name
        model = _model_config(_with_fallback_model())
        weights = locate(model)
        notices.append(_notice(f"{model.name}, {weights.source}, in place of {name},", error))

    task = _build_task(cfg, model, weights, data)
    sha256 = None if weights.path is None else load_weights(task.backbone, weights.path)
    facts = {"model": model.name, "source": f"{model.name}: {weights.source}", "sha256": sha256}
    return Run(data, task, trainer, facts, notices)


def _build_task(
    cfg: DictConfig, model: ModelConfig, weights: Weights, data: ClassificationData
) -> Classifier:
    architecture = model.architecture()
    if weights.path is not None:
        architecture["init"] = "empty"  # every weight is loaded next
    task_class = get_class(cfg.task._target_)
    return cast(
        Classifier,
        task_class(
            task=_plain(cfg.task),
            model=architecture,
            finetune=_plain(cfg.finetune),
            optim=_plain(cfg.optim),
            class_names=data.splits.class_names,
            class_weights=data.class_weights,
            text=asdict(data.padder),
            seed=cfg.seed,
        ),
    )


def _model_config(cfg: DictConfig) -> ModelConfig:
    return ModelConfig(**_plain(cfg.model))


def _with_fallback_model() -> DictConfig:
    """Composes this run's configuration again, with the model that needs no download."""
    overrides = OverridesParser.create().parse_overrides(list(HydraConfig.get().overrides.task))
    kept = [o.input_line for o in overrides if o.key_or_group not in ("model", "model.weights")]
    return hydra.compose("config", overrides=[*kept, f"model={FALLBACK_MODEL}"])


def _notice(replacement: str, error: Unavailable) -> str:
    return (
        f"This run uses {replacement} because {error.what} could not be had:\n{error.reason}\n"
        f"Its numbers say nothing about the real thing. To get it: {error.advice}."
    )


def evaluate(built: Run, checkpoint: str) -> dict[str, dict[str, float]]:
    """Evaluates the ``last`` or ``best`` weights on all of train, val and test.

    Returns:
        For each split its metrics, accuracies and the like as shares in [0, 1].
    """
    if checkpoint == "best":
        path = _checkpoints(built.trainer).best_model_path
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
    timer = next(callback for callback in trainer.callbacks if isinstance(callback, Timer))  # type: ignore[attr-defined]
    fit, validation, test = (timer.time_elapsed(s) for s in ("train", "validate", "test"))
    other = {"last": "best", "best": "last"}[cfg.evaluate]
    return {
        "name": run_dir.parent.name,
        "experiment": HydraConfig.get().runtime.choices.get("experiment"),
        "overrides": list(HydraConfig.get().overrides.task),
        "seed": cfg.seed,
        "notices": built.notices,
        "metrics": metrics,
        "published": _plain(cfg.published) if cfg.published else None,
        "class_names": built.data.splits.class_names,
        "checkpoint": f"checkpoints/{cfg.evaluate}.ckpt",
        "other_checkpoint": f"checkpoints/{other}.ckpt",
        "parameters": {
            "trainable": sum(group.trainable for group in groups),
            "total": sum(group.total for group in groups),
            "groups": [asdict(group) for group in groups],
        },
        "data": built.data.facts(),
        "weights": built.weights,
        "epochs": trainer.current_epoch,
        "optimizer_steps": trainer.global_step,
        "steps_per_epoch": -(-trainer.global_step // max(1, trainer.current_epoch)),
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
    final = {
        f"final/{split}_{metric}": value
        for split, values in summary["metrics"].items()
        for metric, value in values.items()
    }
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(hparams, final)
        logger.finalize("success")


def _checkpoints(trainer: L.Trainer) -> ModelCheckpoint:
    checkpoint = trainer.checkpoint_callback
    if not isinstance(checkpoint, ModelCheckpoint):
        raise ValueError("evaluate=best needs the checkpoint callback (callbacks.checkpoint)")
    return checkpoint


def _plain(cfg: DictConfig) -> dict[str, Any]:
    """Plain dicts and lists of plain values: beyond this module nothing knows OmegaConf."""
    return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))


def _device(trainer: L.Trainer) -> str:
    device = trainer.strategy.root_device
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({torch.get_num_threads()} threads)"


def _shown(path: Path) -> Path:
    """The path as a person would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _quiet_lightning() -> None:
    """Silences what speaks of things that are meant to be so."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Loader processes cost more than they bring for a few thousand short texts.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # The run folder was emptied on purpose before the loggers start.
    warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
