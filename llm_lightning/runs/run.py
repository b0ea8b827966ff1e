"""The one Hydra task: find, build, fit, evaluate, summarise."""

import contextlib
import math
import os
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import get_class
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig, MissingMandatoryValue
from omegaconf.errors import OmegaConfBaseException

from llm_lightning.presentation import console
from llm_lightning.runs import folder as run_folder
from llm_lightning.run_format import status
from llm_lightning.runs.responses import answer_test_split, ready_to_answer
from llm_lightning.runs.baseline import fit_baseline, is_baseline
from llm_lightning.runs.build import FoundModel, Run, build, find, find_data
from llm_lightning.config.root import Checkpoint
from llm_lightning.data.splits import SPLIT_NAMES
from llm_lightning.dry_run.run import plan_run, real_folder
from llm_lightning.finetuning.coverage import parameter_groups
from llm_lightning.network import Unavailable
from llm_lightning.dry_run.plan import print_line, print_plan
from llm_lightning.reporting.draw.run_figures import plot_run
from llm_lightning.runs.folder import Former
from llm_lightning.runs.record import Metrics, device_name, log_hparams, summarize
from llm_lightning.tasks.classifier import Classifier
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.tasks.task import EVALUATED, Diverged
from llm_lightning.callbacks import frozen_activations as prefix
from llm_lightning.training.allocator import keep_freed_memory
from llm_lightning.training.memory import reset_peak_memory

# What a user can put right; anything else is a defect and shows where it happened.
_USER_ERRORS = (ValueError, Unavailable, InstantiationException, OmegaConfBaseException)


class Refused(Exception):
    """What was wrong, in the words that a user reads."""


def run(cfg: DictConfig) -> float | None:
    """Does one job, unless it is done already; in a dry run, says what it would take.

    A fault of the user's is a framed message and exit status 1; HYDRA_FULL_ERROR=1 shows where
    it was raised. In a sweep a job that fails leaves ``status.json``, and the sweep goes on.

    Returns:
        The validation value that ``objective`` names; ``None`` where it is undefined or the job
        failed, and 0 in a dry run.
    """
    run_dir = Path(cfg.run_dir)
    with console.redirected(run_dir / run_folder.OUTPUT):
        return _attempt(cfg, run_dir, HydraConfig.get().mode is RunMode.MULTIRUN)


def _attempt(cfg: DictConfig, run_dir: Path, is_sweep: bool) -> float | None:
    try:
        return _dry_run(cfg, is_sweep) if cfg.dry_run else _run(cfg, run_dir)
    except Refused as error:
        console.print_error(str(error))
        told = str(error)
    except Exception as error:
        if not is_sweep:
            raise
        console.print_error(traceback.format_exc())
        told = f"{type(error).__name__}: {error}"
    if not is_sweep:
        _remove_if_empty(run_dir)  # Hydra makes the folder before anything is known
        raise SystemExit(1)
    if run_folder.is_free(run_dir):
        status.write(run_dir, "failed", error=told)
    return None


def _dry_run(cfg: DictConfig, is_sweep: bool) -> float:
    with _told(*_USER_ERRORS):
        found = find_data(cfg) if is_baseline(cfg) else find(cfg)
        _check_objective(cfg)
        plan = plan_run(cfg, found)
    plan.write(Path(cfg.run_dir))
    if is_sweep:
        print_line(plan)
    else:
        console.print_notices(found.notices)
        print_plan(plan, _shown(real_folder(cfg)))
    return 0.0


def _run(cfg: DictConfig, run_dir: Path) -> float | None:
    with _told(*_USER_ERRORS):
        found = find_data(cfg) if is_baseline(cfg) else find(cfg)
        _check_objective(cfg)
        former = run_folder.former(run_dir, cfg, found)
    if former is Former.FINISHED:
        console.print_skipped(run_dir.parent.name, cfg.seed, _shown(run_dir))
        status.write(run_dir, "finished")  # once more: a sweep counts it as done
        return _objective(cfg, run_folder.read_summary(run_dir))
    if not isinstance(found, FoundModel):
        run_folder.start(run_dir, cfg, former)
        with status.recorded(run_dir):
            summary = fit_baseline(cfg, found)
            _show(summary, run_dir)
        return _objective(cfg, summary)
    if former is Former.UNANSWERED:
        with status.recorded(run_dir):
            model, summary = run_folder.load_language_model(run_dir)
            _answer(model, found.trainer.strategy.root_device, summary, run_dir)
            _show(summary, run_dir)
        return _objective(cfg, summary)
    with _told(*_USER_ERRORS):
        built = build(cfg, found)
        resumed_from = run_folder.start(run_dir, cfg, former)
    with status.recorded(run_dir):
        return _objective(cfg, _train(cfg, built, run_dir, resumed_from))


def _check_objective(cfg: DictConfig) -> None:
    task: Any = Classifier if is_baseline(cfg) else get_class(cfg.task._target_)
    if cfg.objective not in task.metric_names:
        names = ", ".join(task.metric_names)
        raise ValueError(f"objective must be one of {names}, got {cfg.objective!r}")


def _objective(cfg: DictConfig, summary: dict[str, Any]) -> float | None:
    value: float | None = summary["metrics"]["val"][cfg.objective]
    return value


def _train(cfg: DictConfig, built: Run, run_dir: Path, resumed_from: Path | None) -> dict[str, Any]:
    """Trains, evaluates and writes the run folder; returns the summary."""
    started = time.perf_counter()
    built.data.write_splits(run_dir / run_folder.SPLITS)
    console.print_notices(built.notices)
    console.print_start(
        name=run_dir.parent.name,
        seed=cfg.seed,
        groups=parameter_groups(built.task),
        finetuning=built.task.strategy.describe(built.task),
        data=[built.data.source, *built.data.describe()],
        weights=built.weights["source"] + (", its head too" if built.task.head_is_loaded else ""),
        prefix=prefix.describe(built.task, built.trainer, built.data),
        device=f"{device_name(built.trainer)}, precision {built.trainer.precision}",
        run_dir=_shown(run_dir),
    )
    device = built.trainer.strategy.root_device
    keep_freed_memory()
    reset_peak_memory(device)
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
        _answer(built.task, device, summary, run_dir)
    log_hparams(cfg, built, summary)
    _show(summary, run_dir)
    return summary


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
        seconds = before["callbacks"]["StageTimer"]["time_elapsed"]["train"]
        expected = ValueError  # the base may have changed
    with _told(expected):
        built.trainer.fit(built.task, datamodule=built.data, ckpt_path=resumed_from)
    return seconds


def evaluate(built: Run, checkpoint: Checkpoint) -> Metrics:
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


def _answer(
    model: LanguageModel, device: torch.device, summary: dict[str, Any], run_dir: Path
) -> None:
    """Answers the test split; an interruption leaves a trained run and what was answered."""
    try:
        summary["answers"] = answer_test_split(
            ready_to_answer(model, device, summary["precision"]), run_dir
        )
    except KeyboardInterrupt:
        console.print_error(
            f"interrupted while answering; go on with the same command, or with\n"
            f'python -m llm_lightning generate "{_shown(run_dir)}" --answers'
        )
        raise SystemExit(130) from None
    run_folder.write_summary(run_dir, summary)


def _show(summary: dict[str, Any], run_dir: Path) -> None:
    """Draws and prints what a finished run has to show."""
    plot_run(run_dir)
    console.print_results(summary, _shown(run_dir))
    console.print_notices(summary["notices"])


@contextlib.contextmanager
def _told(*expected: type[Exception]) -> Iterator[None]:
    """Turns errors of the kinds that a user can put right into what to tell."""
    try:
        yield
    except expected as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        if isinstance(error, MissingMandatoryValue):
            told = f"{error.full_key} has no default: give it a value, as in {error.full_key}=3"
        elif isinstance(error, InstantiationException):
            told = str(error.__cause__ or error)
        else:
            told = str(error)
        raise Refused(told) from error


def _remove_if_empty(run_dir: Path) -> None:
    with contextlib.suppress(OSError):
        run_dir.rmdir()
        run_dir.parent.rmdir()


def _shown(path: Path) -> Path:
    """The path as a person would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
