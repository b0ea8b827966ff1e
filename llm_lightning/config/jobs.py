"""A configuration becomes a job: beyond this file nothing knows OmegaConf."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import lightning as L
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from llm_lightning.backbone.weights import ModelConfig
from llm_lightning.config.experiments import conf_dir
from llm_lightning.config.run_name import run_name
from llm_lightning.data.module import DataModule
from llm_lightning.evaluation.baselines import Baseline
from llm_lightning.run_format.published import Published
from llm_lightning.runs.baseline_job import BaselineJob
from llm_lightning.runs.job import Job
from llm_lightning.runs.network_job import NetworkJob
from llm_lightning.runs.settings import Checkpoint, RunSettings
from llm_lightning.training.precision import resolve

FALLBACK_MODEL = "nano"

# Of the command line, what chose the model that the fallback replaces.
_REPLACED = {"model", "model.weights", "model.hub_id", "model.revision"}


def job_of(cfg: DictConfig) -> Job:
    """Builds the job that a composed configuration describes.

    Raises:
        ValueError: naming the key, if a setting is wrong or missing.
    """
    try:
        task = OmegaConf.to_object(cfg.task)
        _check(cfg)
        settings, data = _run_settings(cfg), _data(cfg)
        if isinstance(task, Baseline):
            return BaselineJob(settings=settings, data=data, baseline=task)
        return _network_job(cfg, task, settings, data)
    except MissingMandatoryValue as error:
        key = error.full_key
        raise ValueError(f"{key} has no default: give it a value, as in {key}=3") from error
    except OmegaConfBaseException as error:
        raise ValueError(str(error)) from error


def _network_job(cfg: DictConfig, task: Any, settings: RunSettings, data: DataModule) -> NetworkJob:
    model, finetune, optim = (
        cast(Any, OmegaConf.to_object(cfg[group])) for group in ("model", "finetune", "optim")
    )
    precision = resolve(cfg.trainer.precision, cfg.trainer.accelerator)
    return NetworkJob(
        settings=settings,
        data=data,
        model=cast(ModelConfig, model),
        task_class=get_class(cfg.task._target_),
        task=task,
        finetune=finetune,
        optim=optim,
        trainer=cast(Callable[..., L.Trainer], _maker(cfg.trainer, precision=precision)),
        callbacks={str(name): _maker(part) for name, part in cfg.callbacks.items()},
        loggers={str(name): _maker(part) for name, part in cfg.loggers.items()},
        evaluate=cfg.evaluate,
        compile=cfg.compile,
        baselines=list(cfg.baselines),
        untrained_responses=cfg.untrained_responses,
        model_settings=_model_settings(cfg),
        fallback=None if model.name == FALLBACK_MODEL else _fallback_job,
    )


def _maker(part: DictConfig, **fixed: Any) -> Callable[..., Any]:
    """A function that instantiates a part; its own errors come out as ValueError."""

    def make(**arguments: Any) -> Any:
        try:
            return instantiate(part, **fixed, **arguments)
        except InstantiationException as error:
            raise ValueError(str(error.__cause__ or error)) from error

    return make


def _fallback_job() -> NetworkJob:
    """Composes this run's configuration again, with the model that needs no download."""
    given = OverridesParser.create().parse_overrides(list(HydraConfig.get().overrides.task))
    kept = [str(one.input_line) for one in given if one.key_or_group not in _REPLACED]
    cfg = compose("config", overrides=[*kept, f"model={FALLBACK_MODEL}"])
    return cast(NetworkJob, job_of(cfg))


def _run_settings(cfg: DictConfig) -> RunSettings:
    hydra = HydraConfig.get()
    movable = cfg.copy()
    movable.run_dir = "."  # paths inside the folder are recorded relative to it
    published = OmegaConf.to_object(cfg.published) if cfg.published else None
    run_dir = Path(cfg.run_dir)
    overrides = list(hydra.overrides.task)
    name = run_name(overrides)
    return RunSettings(
        name=name,
        experiment=hydra.runtime.choices.get("experiment"),
        overrides=overrides,
        seed=cfg.seed,
        run_dir=run_dir,
        # In a dry run Hydra's folder is a scratch folder.
        home=Path(cfg.runs_dir).absolute() / name / f"seed_{cfg.seed}" if cfg.dry_run else run_dir,
        configuration=plain(movable),
        offline_fallback=cfg.offline_fallback,
        rerun=cfg.rerun,
        objective=cfg.objective,
        published=cast(Published | None, published),
    )


def _data(cfg: DictConfig) -> DataModule:
    data = cast(DataModule, get_class(cfg.data._target_)(**plain(cfg.data)))
    task_class: Any = get_class(cfg.task._target_)
    kinds = task_class.data_kinds
    if data.kind not in kinds:
        choices = HydraConfig.get().runtime.choices
        raise ValueError(
            f"task={choices['task']} cannot be trained on data={choices['data']}: it needs "
            f"{' or '.join(kinds)} data, and these are {data.kind}"
        )
    return data


def _model_settings(cfg: DictConfig) -> dict[str, Any]:
    """Settings in effect because they suit the model: those of ``conf/model_task`` still there."""
    task = HydraConfig.get().runtime.choices["task"]
    file = conf_dir() / "model_task" / f"{cfg.model.name}_{task}.yaml"
    if not file.is_file():
        return {}
    suited = _flat(plain(cast(DictConfig, OmegaConf.load(file))))
    return {key: value for key, value in suited.items() if OmegaConf.select(cfg, key) == value}


def _flat(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in fields.items():
        inner = isinstance(value, dict)
        flat |= _flat(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return flat


def plain(cfg: DictConfig) -> dict[str, Any]:
    """Returns plain dicts and lists of plain values."""
    container = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True, enum_to_str=True)
    return cast(dict[str, Any], container)


def _check(cfg: DictConfig) -> None:
    """Refuses settings that Lightning would only notice later, or with a stack trace."""
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
            "above 0: the final table needs something to evaluate",
        ),
    )
    for key, holds, rule in rules:
        if not holds:
            raise ValueError(f"{key} must be {rule}, got {OmegaConf.select(cfg, key)!r}")
    for method in cfg.baselines:
        Baseline(method)  # raises for a name that is none
    if cfg.evaluate is Checkpoint.best and "checkpoint" not in cfg.callbacks:
        raise ValueError("evaluate=best needs callbacks.checkpoint, which was removed")
    if cfg.evaluate is Checkpoint.best and cfg.trainer.limit_val_batches == 0:
        raise ValueError("evaluate=best needs validation, got trainer.limit_val_batches=0")


def _is_count(value: Any, *, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
