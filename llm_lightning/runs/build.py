"""A configuration becomes objects: what is cheap first, the weights last."""

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import hydra
import lightning as L
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf

from llm_lightning.backbone.weights import ModelConfig, Weights, ask_hub, locate
from llm_lightning.config.root import Checkpoint
from llm_lightning.data.module import DataModule, HasStandIn
from llm_lightning.network import Unavailable
from llm_lightning.callbacks.status import EpochStatus
from llm_lightning.tasks.task import Task
from llm_lightning.training.precision import resolve
from llm_lightning.callbacks.timing import StageTimer

FALLBACK_MODEL = "nano"


@dataclass
class Found:
    """What a configuration asks for, as far as it can be had; cheap to come by."""

    data: DataModule
    """After ``setup``."""
    source: str | None
    """Model and weights, for people; ``None`` for a baseline, which has none."""
    notices: list[str]
    """What stands in for something else; empty in a run that means what it says."""


@dataclass
class FoundModel(Found):
    """The same with what a network needs."""

    model: ModelConfig
    """The one asked for, or the one that stands in for it."""
    weights: Weights
    trainer: L.Trainer
    timer: StageTimer


@dataclass
class Run:
    """Everything that a configuration became."""

    data: DataModule
    task: Task
    trainer: L.Trainer
    timer: StageTimer
    weights: dict[str, Any]
    """``model``, ``source`` and ``sha256`` of the weights, and whether their head was taken over
    (``head_loaded``), as the summary records them."""
    notices: list[str]
    """What stands in for something else."""


def find_data(cfg: DictConfig) -> Found:
    """Finds the data of a baseline; raises what :func:`find` raises."""
    OmegaConf.to_object(cfg.task)
    _check(cfg)
    data, notices = _data(cfg), []
    if notice := _prepare(data, cfg):
        notices.append(notice)
    data.setup("fit")
    return Found(data, None, notices)


def find(cfg: DictConfig) -> FoundModel:
    """Checks the configuration and finds data and weights.

    Raises:
        ValueError: if a setting is wrong.
        Unavailable: if data or weights cannot be had and ``offline_fallback`` is off.
    """
    _quiet_lightning()
    for group in ("model", "task", "finetune", "optim"):
        OmegaConf.to_object(cfg[group])  # checks ranges now rather than after the downloads
    _check(cfg)
    timer = StageTimer()
    watchers = [timer, EpochStatus(Path(cfg.run_dir))]
    callbacks = [*watchers, *(instantiate(callback) for callback in cfg.callbacks.values())]
    loggers = [instantiate(logger) for logger in cfg.loggers.values()]
    trainer = instantiate(
        cfg.trainer,
        precision=resolve(cfg.trainer.precision, cfg.trainer.accelerator),
        callbacks=callbacks,
        logger=loggers,
        enable_checkpointing=not {"checkpoint", "resume"}.isdisjoint(cfg.callbacks),
    )
    model = _model_config(cfg)
    data, notices = _data(cfg), []
    hub_probe = ask_hub(model)  # waits, if it must, while the data are fetched
    if notice := _prepare(data, cfg):
        notices.append(notice)
    try:
        weights = locate(model, hub_probe)
    except Unavailable as error:
        if not (cfg.offline_fallback and model.weights == "pretrained"):
            raise
        model = _model_config(_with_fallback_model())
        weights = locate(model)
        data.context_length = min(data.context_length, model.n_positions)
        notices.append(_notice(f"The model {model.name}, {weights.source},", error))
    data.setup("fit")
    source = f"{model.name}: {weights.source}"
    return FoundModel(data, source, notices, model, weights, trainer, timer)


def _data(cfg: DictConfig) -> DataModule:
    data = cast(DataModule, get_class(cfg.data._target_)(**plain(cfg.data)))
    kinds = _task_class(cfg).data_kinds
    if data.kind not in kinds:
        raise ValueError(
            f"task={HydraConfig.get().runtime.choices['task']} cannot learn from "
            f"data={HydraConfig.get().runtime.choices['data']}: it needs "
            f"{' or '.join(kinds)} data, and these are {data.kind}"
        )
    return data


def _prepare(data: DataModule, cfg: DictConfig) -> str | None:
    """Gets the data, or their stand-in; returns what to say about that."""
    try:
        data.prepare_data()
    except Unavailable as error:
        if not (cfg.offline_fallback and isinstance(data, HasStandIn)):
            raise
        data.use_embedded()
        return _notice(data.stand_in, error)
    return None


def build(cfg: DictConfig, found: FoundModel) -> Run:
    """Builds the model and loads its weights.

    Raises:
        ValueError: if the strategy or the weights do not fit the model.
    """
    model, weights = found.model, found.weights
    architecture = model.architecture()
    if weights.path is not None:
        architecture["init"] = "empty"  # every weight is loaded next
    task: Task = _task_class(cfg)(
        task=plain(cfg.task),
        model=architecture,
        finetune=plain(cfg.finetune),
        optim=plain(cfg.optim),
        seed=cfg.seed,
        **found.data.task_arguments(),
    )
    sha256 = task.load_base(model, weights)
    if cfg.compile:
        for block in task.backbone.h:
            block.compile(dynamic=True)  # in place: names in checkpoints stay as they are
    facts = {
        "model": model.name,
        "source": found.source,
        "sha256": sha256,
        "head_loaded": task.head_is_loaded,
    }
    return Run(found.data, task, found.trainer, found.timer, facts, found.notices)


def _task_class(cfg: DictConfig) -> Any:
    return get_class(cfg.task._target_)


def _check(cfg: DictConfig) -> None:
    """Refuses what Lightning would only notice later, or with a stack trace."""
    rules = (
        ("seed", 0 <= cfg.seed < 2**32, "between 0 and 2**32 - 1"),
        ("trainer.max_epochs", _is_count(cfg.trainer.max_epochs, least=0), "a whole number >= 0"),
        (
            "trainer.accumulate_grad_batches",
            _is_count(cfg.trainer.accumulate_grad_batches, least=1),
            "a whole number >= 1",
        ),
        ("trainer.devices", cfg.trainer.devices == 1, "1: gradients are averaged on one device"),
        (
            "trainer.limit_test_batches",
            cfg.trainer.limit_test_batches != 0,
            "above 0: the final table needs something to speak of",
        ),
    )
    for key, holds, rule in rules:
        if not holds:
            raise ValueError(f"{key} must be {rule}, got {OmegaConf.select(cfg, key)!r}")
    if cfg.evaluate is Checkpoint.best and "checkpoint" not in cfg.callbacks:
        raise ValueError("evaluate=best needs callbacks.checkpoint, which was removed")
    if cfg.evaluate is Checkpoint.best and cfg.trainer.limit_val_batches == 0:
        raise ValueError("evaluate=best needs validation, got trainer.limit_val_batches=0")


def _is_count(value: Any, *, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _model_config(cfg: DictConfig) -> ModelConfig:
    return ModelConfig(**plain(cfg.model))


def _with_fallback_model() -> DictConfig:
    """Composes this run's configuration again, with the model that needs no download."""
    given = OverridesParser.create().parse_overrides(list(HydraConfig.get().overrides.task))
    replaced = {"model", "model.weights", "model.hub_id", "model.revision"}
    kept = [str(one.input_line) for one in given if one.key_or_group not in replaced]
    return hydra.compose("config", overrides=[*kept, f"model={FALLBACK_MODEL}"])


def _notice(stand_in: str, error: Unavailable) -> str:
    reason = "\n".join(f"  {line}" for line in error.reason.splitlines())
    return (
        f"{stand_in} replaced {error.what}, which could not be had:\n{reason}\n"
        f"To get the real thing: {error.advice}."
    )


def plain(cfg: DictConfig) -> dict[str, Any]:
    """Plain dicts and lists of plain values: beyond this module nothing knows OmegaConf."""
    container = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    return cast(dict[str, Any], container)


def _quiet_lightning() -> None:
    """Silences what speaks of things that are meant to be so."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Loader processes cost more than they bring for a few thousand short texts.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # The run folder was emptied on purpose before the loggers start.
    warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
    # With few examples an epoch has fewer steps than are between two points of a curve.
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    # Lightning's own use of a torch name that is going away.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
