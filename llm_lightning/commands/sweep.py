"""A sweep as a whole: how far it has come, and what failed in it.

Jobs may run in this process, in others, or on other machines; all that is known about them is the
``status.json`` in each run's folder.
"""

import math
import os
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from rich.markup import escape

from llm_lightning.commands.job_output import OUTPUT_TO_FILE
from llm_lightning.commands.startup import HELD
from llm_lightning.config.experiments import conf_dir, list_experiments
from llm_lightning.dry_run.plan import read_plans
from llm_lightning.dry_run.printing import print_power, print_total
from llm_lightning.presentation.durations import duration
from llm_lightning.presentation.extras import missing_extra
from llm_lightning.presentation.terminal import console, errors, print_error, results_table
from llm_lightning.run_format import status
from llm_lightning.run_format.folder_lock import holder_of
from llm_lightning.run_format.status import SweepProgress
from llm_lightning.run_format.summary import read_summary
from llm_lightning.runs.terminal_output import as_typed, metric_text
from llm_lightning.sweeping.job import slim
from llm_lightning.sweeping.study import RESULTS, finished_trials, is_search, read_plan

BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
# What the presets in conf/hydra need, and the extra that brings it.
_EXTRAS = {
    "hydra_plugins.llm_lightning.Search": ("optuna", "search"),
    "hydra_plugins.llm_lightning.Slurm": ("submitit", "slurm"),
    "hydra_plugins.llm_lightning.SlurmLocal": ("submitit", "slurm"),
    "hydra_plugins.llm_lightning.Ray": ("ray", "ray"),
}
_PRESETS = {
    "search": "hydra/sweeper=search",
    "slurm": "hydra/launcher=slurm",
    "ray": "hydra/launcher=ray",
}
_POLL_S = 1.0


def count_jobs(overrides: Sequence[str], params: dict[str, Any]) -> int | None:
    """Returns how many jobs the basic sweeper makes of a command; ``None`` if it cannot tell.

    Args:
        overrides: of the command line.
        params: of ``hydra.sweeper.params``, which the command line overrides.
    """
    lines = [f"{key}={value}" for key, value in params.items()] + list(overrides)
    counts: dict[str, int] = {}
    for override in OverridesParser.create().parse_overrides(lines):
        value: Any = override.value()
        if isinstance(value, Glob):
            group = conf_dir() / override.key_or_group
            is_experiment = override.key_or_group == "experiment"
            names = list_experiments() if is_experiment else [f.stem for f in group.glob("*.yaml")]
            counts[override.key_or_group] = len(value.filter(list(names)))
        elif override.is_sweep_override():
            if not override.is_discrete_sweep():
                return None
            counts[override.key_or_group] = len(list(override.sweep_string_iterator()))
        else:
            counts[override.key_or_group] = 1
    return math.prod(counts.values())


def plugin_problem(config: DictConfig) -> str | None:
    """Returns what is wrong with the choice of launcher and sweeper; ``None`` if nothing is."""
    for part in (config.hydra.launcher, config.hydra.sweeper):
        if part._target_ in _EXTRAS:
            package, extra = _EXTRAS[part._target_]
            if problem := missing_extra(_PRESETS[extra], {package: package}, extra):
                return problem
    return None


class SweepWatcher(Callback):
    """Shows done, failed, running and left while a sweep runs; its end lists what failed.

    A sweep with failures ends the process with status 1.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None

    def __reduce__(self) -> tuple[type["SweepWatcher"], tuple[()]]:
        """Launchers send callbacks along with their jobs; what watches stays where it is."""
        return SweepWatcher, ()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Begins to watch.

        Raises:
            SystemExit: with status 1, if launcher or sweeper are not installed, and 75 if another
                process makes the same search.
        """
        if problem := plugin_problem(config):
            print_error(problem)
            raise SystemExit(1)  # Hydra turns every other exception of a callback into a warning
        if is_search(config) and not config.dry_run:
            plan = read_plan(config, list(config.hydra.overrides.task))
            if holder := holder_of(plan.held):
                print_error(f"process {holder.pid} on {holder.host} makes the same search")
                raise SystemExit(HELD)
        self._runs_dir = Path(config.hydra.sweep.dir)
        self._since = datetime.now(UTC)
        sweeper = config.hydra.sweeper
        if config.dry_run:
            self._prepare_dry_run(config)
            return
        self._total = (
            count_jobs(config.hydra.overrides.task, dict(sweeper.params or {}))
            if _is_basic(sweeper)
            else _trials_left(config)
        )
        os.environ[status.SWEEP] = uuid4().hex  # jobs inherit it
        if not _is_basic(config.hydra.launcher):
            os.environ[OUTPUT_TO_FILE] = "1"  # jobs side by side inherit it
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Gives the memory of a job's configuration back."""
        slim(job_return)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Lists what failed.

        Raises:
            SystemExit: with status 1, if anything did or did not end, and 75 if all that is left
                is held by other processes.
        """
        try:
            code = self._end(config)
        except Exception:  # which Hydra would turn into a warning
            print_error(traceback.format_exc())
            code = 1
        if code:
            raise SystemExit(code)

    def _end(self, config: DictConfig) -> int:
        if config.dry_run:
            refused = status.read_progress(self._runs_dir, self._since, None).failed
            plans = read_plans(self._runs_dir)
            print_total(plans, len(refused))
            print_power(plans, Path(config.runs_dir))
            return 1 if refused else 0
        self._stop.set()
        if self._watcher is not None:
            self._watcher.join()
        os.environ.pop(OUTPUT_TO_FILE, None)
        progress = status.read_progress(self._runs_dir, self._since, self._total)
        os.environ.pop(status.SWEEP, None)
        held = [folder for folder in progress.unfinished if holder_of(folder)]
        failures = {folder: status.reason(folder) for folder in progress.failed}
        failures |= {
            folder: "its process ended before it did"
            for folder in progress.unfinished
            if folder not in held
        }
        _print_end(progress, failures, held)
        _print_results(progress.finished, self._runs_dir)
        best = self._runs_dir / RESULTS
        if is_search(config) and best.is_file():
            _print_best(OmegaConf.load(best), config.objective, best)
        if failures:
            return 1
        return HELD if held else 0

    def _prepare_dry_run(self, config: DictConfig) -> None:
        """Runs are measured one after another: side by side they would slow each other down."""
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.launcher = {"_target_": BASIC_LAUNCHER}

    def _watch(self) -> None:
        # Where jobs print to files, the terminal is not shared with a job's progress bar.
        is_alone = OUTPUT_TO_FILE in os.environ
        with _line(is_live=is_alone) as show:
            while not self._stop.wait(_POLL_S):
                show(status.read_progress(self._runs_dir, self._since, self._total))


@contextmanager
def _line(*, is_live: bool) -> Iterator[Callable[[SweepProgress], None]]:
    """Yields a function that shows how far a sweep has come.

    Args:
        is_live: whether the line may stay in place on a terminal; otherwise, and where there is no
            terminal, a line is printed whenever a run has ended.
    """
    if is_live and console.is_terminal:
        with console.status("sweep: starting") as line:
            yield lambda progress: line.update(_progress_text(progress))
        return
    ended = 0

    def show(progress: SweepProgress) -> None:
        nonlocal ended
        if progress.ended != ended:
            ended = progress.ended
            console.print(_progress_text(progress), style="bold")

    yield show


def _progress_text(progress: SweepProgress) -> str:
    parts = [
        f"{progress.done} done",
        f"{progress.running} running",
        f"{len(progress.failed)} failed",
    ]
    if progress.left is not None:
        parts.append(f"{progress.left} left")
    if progress.eta_seconds:
        parts.append(f"about {duration(progress.eta_seconds)} to go")
    if progress.of_others:
        parts.append(f"{progress.of_others} of them another sweep's in this folder")
    return f"sweep: {', '.join(parts)}"


def _print_end(progress: SweepProgress, failures: dict[Path, str], held: Sequence[Path]) -> None:
    took = duration(progress.seconds)
    others = f", {len(held)} held by other processes" if held else ""
    line = f"\nsweep: {progress.done} done, {len(failures)} failed{others}, in {took}"
    console.print(line, style="bold")
    for folder, reason in failures.items():
        errors.print(f"[red]failed[/red] {escape(str(folder))}\n       {escape(reason)}")


def _print_results(finished: Sequence[Path], runs_dir: Path) -> None:
    """Prints a line a run, and the command that compares them."""
    if not finished:
        return
    table = results_table("run", "seed", "test")
    for folder in finished:
        summary = read_summary(folder)
        metrics = summary.metrics["test"]
        name = next(name for name in ("accuracy", "perplexity", "loss") if name in metrics)
        value = f"{name} {metric_text(name, metrics[name])}"
        if summary.responses:
            value = f"ROUGE-L {metric_text('rouge_l', summary.responses.scores['rouge_l'].mean)}"
        mark = " (fallback)" if summary.fallbacks else ""
        table.add_row(escape(summary.name), str(summary.seed), value + mark)
    console.print(table)
    shown = as_typed(runs_dir.absolute())
    console.print(f"python -m llm_lightning report {escape(str(shown))}\n", soft_wrap=True)


def _trials_left(config: DictConfig) -> int | None:
    """How many trials a search still has to make; ``None`` of a sweeper that is not ours."""
    if not is_search(config):
        return None
    plan = read_plan(config, list(config.hydra.overrides.task))
    return max(0, plan.n_trials - (0 if config.rerun else finished_trials(plan)))


def _print_best(found: Any, objective: str, file: Path) -> None:
    """Prints what a search found: ``best_params`` and ``best_value`` of the file."""
    settings = " ".join(f"{key}={value}" for key, value in found["best_params"].items())
    value = metric_text(objective, found["best_value"])
    console.print(f"best: validation {objective} {value} with")
    console.print(f"  {escape(settings)}", soft_wrap=True)
    console.print(f"file  {escape(str(file))}", soft_wrap=True)


def _is_basic(part: DictConfig) -> bool:
    return bool(part._target_.startswith("hydra._internal."))
