"""``python -m llm_lightning tune +experiment=...``: one search a row, then fresh seeds.

A row is a combination of what the command line varies, except ``seed``. For each there are three
sweeps of the ordinary kind, so that a finished run is skipped and an interrupted one resumed:

1. trials of what the sweep file varies, with a seed of their own, compared on validation;
2. the best of them with fresh seeds;
3. the row as it is, with the same seeds, to compare with.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

from rich.markup import escape

from llm_lightning.commands import train
from llm_lightning.commands.command_line import command_line_problem, dry_run_is_set
from llm_lightning.commands.failures import refused
from llm_lightning.config.composition import composed
from llm_lightning.config.experiments import list_experiments
from llm_lightning.config.overrides import first, parse, values
from llm_lightning.presentation.terminal import console, errors, print_error
from llm_lightning.run_format import status
from llm_lightning.run_format.objectives import LESS_IS_BETTER
from llm_lightning.run_format.summary import Summary, read_summary
from llm_lightning.runs.terminal_output import metric_text

TRIAL_SEED = 0
"""Of all trials; no seed that is evaluated afterwards may be this one."""
SEEDS = "1,2,3"
"""Of the runs after the search, unless the command line has others."""


@dataclass(frozen=True)
class Tuning:
    """What to search for, for which rows, and with which seeds to evaluate."""

    rows: list[list[str]]
    """The overrides of each row."""
    seeds: str
    """As on a command line."""
    searched: set[str]
    """Keys that the sweep file varies."""
    of_search: list[str]
    """Overrides that concern the trials alone: ranges in place of the sweep file's, and settings of
    the sweeper."""
    runs_dir: Path
    objective: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        tuning = read_tuning(options.settings, options.sweep)
    except ValueError as error:
        return refused(error)
    is_dry = dry_run_is_set(options.settings)
    failed = 0
    for row in tuning.rows:
        since = datetime.now(UTC)
        _sweep(*row, *tuning.of_search, f"+sweep={options.sweep}", f"seed={TRIAL_SEED}")
        if is_dry:  # what a run takes does not depend on how well it does
            failed += _sweep(*row, f"seed={tuning.seeds}")
            continue
        best = best_trial(tuning, since)
        if best is None:
            print_error(f"{' '.join(row)}: no trial has a validation {tuning.objective}")
            failed += 1
            continue
        chosen = [one for one in best.overrides if _key(one) in tuning.searched]
        value = metric_text(tuning.objective, best.metrics["val"][tuning.objective])
        console.print(
            f"[bold]chosen[/bold] {escape(' '.join(chosen))}: validation {tuning.objective} {value}"
        )
        failed += _sweep(*row, *chosen, f"seed={tuning.seeds}")
        failed += _sweep(*row, f"seed={tuning.seeds}")
    return 1 if failed else 0


def read_tuning(settings: Sequence[str], sweep: str) -> Tuning:
    """Reads what a command line asks for.

    Args:
        settings: as for a run.
        sweep: name of a file in ``conf/sweep``.

    Raises:
        ValueError: naming the setting that is wrong.
    """
    experiments = list_experiments()
    problem = command_line_problem(["-m", *settings], experiments, ())
    if problem is not None:
        raise ValueError(problem or "choose a row to tune: +experiment=last_block")
    overrides = {one.key_or_group: one for one in parse(settings)}
    cfg = composed([*(first(one) for one in overrides.values()), f"+sweep={sweep}"])
    searched = set(cfg.hydra.sweeper.get("params") or {})
    if not cfg.trial:
        raise ValueError(f"+sweep={sweep} is no search: its file lacks trial: true")
    seed = overrides.pop("seed", None)
    of_search = [
        str(overrides.pop(key).input_line)
        for key in list(overrides)
        if key in searched or key.replace("/", ".").startswith("hydra.sweeper")
    ]
    seeds = ",".join(values(seed)) if seed else SEEDS
    if str(TRIAL_SEED) in seeds.split(","):
        raise ValueError(f"seed={TRIAL_SEED} is that of the trials: evaluate with other seeds")
    return Tuning(
        rows=[
            list(row)
            for row in product(
                *(
                    [str(one.input_line)]
                    if one.is_delete()
                    else [f"{one.get_key_element()}={value}" for value in values(one)]
                    for one in overrides.values()
                )
            )
        ],
        seeds=seeds,
        searched=searched,
        of_search=of_search,
        runs_dir=Path(cfg.runs_dir),
        objective=cfg.objective,
    )


def best_trial(tuning: Tuning, since: datetime) -> Summary | None:
    """The trial with the best validation metric, of those that ended since a moment.

    Trials that were finished before and are skipped end anew. Of equally good ones the one with the
    lower validation loss counts.
    """
    found = status.read_progress(tuning.runs_dir, since, None).finished
    trials = [one for one in map(_readable, found) if one is not None and _has_value(one, tuning)]
    sign = 1 if tuning.objective in LESS_IS_BETTER else -1

    def rank(summary: Summary) -> tuple[float, float]:
        metrics = summary.metrics["val"]
        loss = metrics.get("loss")
        return sign * (metrics[tuning.objective] or 0.0), float("inf") if loss is None else loss

    return min(trials, key=rank, default=None)


def _readable(folder: Path) -> Summary | None:
    """A trial's summary; ``None``, with a line, if it is damaged and cannot be compared."""
    try:
        return read_summary(folder)
    except ValueError as error:
        errors.print(escape(f"left out: {error}"), soft_wrap=True)
        return None


def _has_value(summary: Summary, tuning: Tuning) -> bool:
    return summary.metrics["val"].get(tuning.objective) is not None


def _sweep(*overrides: str) -> int:
    """Runs a sweep; returns its exit status."""
    try:
        return train.main(["-m", *overrides])
    except SystemExit as ended:
        return 1 if ended.code else 0


def _key(override: str) -> str:
    return override.lstrip("+").partition("=")[0]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m llm_lightning tune",
        description="Search for the settings of one or more rows, each with as many trials, chosen "
        "on validation; then run the best and the row as it is with fresh seeds.",
    )
    parser.add_argument(
        "settings",
        nargs="+",
        metavar="SETTING",
        help=f"as for a run, such as +experiment=last_block,all; what varies makes rows, and seed "
        f"is that of the runs after the search (default: seed={SEEDS})",
    )
    parser.add_argument(
        "--sweep",
        default="tuned",
        metavar="NAME",
        help="file in conf/sweep that says what to search for (default: %(default)s)",
    )
    return parser
