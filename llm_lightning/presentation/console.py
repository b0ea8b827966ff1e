"""What a run says on the terminal."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

if TYPE_CHECKING:  # the list of experiments should not wait for torch
    from llm_lightning.finetuning.coverage import ParameterGroup
    from llm_lightning.run_format.status import Progress


METRIC_TITLES = {
    "balanced_accuracy": "balanced",
    "f1": "F1",
    "auroc": "AUROC",
    "response_loss": "response loss",
}
# Digits after the point of metrics that are no shares.
PLAIN_METRICS = {"loss": 3, "response_loss": 3, "perplexity": 2}
# What a run of each kind is good for next.
NEXT_COMMANDS = {
    "classification": 'python -m llm_lightning predict "{run_dir}" "You won a prize!"',
    "instructions": 'python -m llm_lightning generate "{run_dir}" "What is the opposite of hot?"',
}

OUTPUT_TO_FILE = "LLM_LIGHTNING_OUTPUT_TO_FILE"
"""Environment variable by which a sweep tells its jobs to write to files, not to the terminal."""

_console = Console(highlight=False)
_errors = Console(highlight=False, stderr=True)


def print_experiments(experiments: dict[str, str], problem: str | None = None) -> None:
    """Lists what can be run, to answer a command that names no experiment or a wrong one.

    Args:
        experiments: name and one line each.
        problem: what was wrong; ``None`` if the list was asked for.
    """
    target = _console if problem is None else _errors
    if problem:
        target.print(f"[red]{escape(problem)}[/red]\n")
    target.print("Experiments:")
    width = max(map(len, experiments))
    for name, description in experiments.items():
        target.print(f"  {name:<{width}}  {escape(description)}")
    target.print("\nExample: [bold]python -m llm_lightning +experiment=last_block[/bold]")
    target.print("Add [bold]--cfg job[/bold] to see every setting and [bold]-m[/bold] to sweep.")


def print_error(message: str) -> None:
    """Prints what was wrong, where, and what to do."""
    _errors.print(Panel(escape(message), title="error", title_align="left", border_style="red"))


def print_notices(notices: Sequence[str]) -> None:
    """Frames what was replaced by a stand-in, why, and how to get it; nothing if nothing was."""
    if notices:
        text = "\n\n".join(escape(notice) for notice in notices)
        title = "stand-in: these numbers say nothing about the real thing"
        _console.print(Panel(text, title=title, title_align="left", border_style="yellow"))


def print_reminder(notices: Sequence[str]) -> None:
    """Says in a line each, and not among the answers, what was a stand-in when a model learnt."""
    for notice in notices:
        _errors.print(escape(notice.splitlines()[0].rstrip(":")), soft_wrap=True)


def print_heading(name: str, seed: int, data: Sequence[str]) -> None:
    """Prints what is fitted without a network, and on what."""
    _console.print(f"\n[bold]{escape(name)}[/bold], seed {seed}")
    for line in data:
        _console.print(escape(line))


def print_start(
    name: str,
    seed: int,
    groups: Sequence["ParameterGroup"],
    finetuning: dict[str, Any],
    data: Sequence[str],
    weights: str,
    device: str,
    prefix: str | None,
    run_dir: Path,
) -> None:
    """Prints what will train, on what, from where, and into which folder."""
    _console.print(f"\n[bold]{escape(name)}[/bold], seed {seed}")
    table = Table(box=SIMPLE_HEAD, show_footer=True, pad_edge=False)
    trainable = sum(group.trainable for group in groups)
    total = sum(group.total for group in groups)
    table.add_column("parameters", footer="all")
    table.add_column("trainable", justify="right", footer=f"{trainable:,}")
    table.add_column("total", justify="right", footer=f"{total:,}")
    table.add_column("share", justify="right", footer=f"{trainable / total:.1%}")
    for group in groups:
        style = None if group.trainable else "dim"
        share = f"{group.trainable / group.total:.0%}"
        table.add_row(group.name, f"{group.trainable:,}", f"{group.total:,}", share, style=style)
    _console.print(table)

    facts = facts_grid()
    if finetuning:
        shown = (f"{key.replace('_', ' ')} {_short(value)}" for key, value in finetuning.items())
        facts.add_row("finetune", escape(", ".join(shown)))
    for title, line in zip(["data", *[""] * (len(data) - 1)], data, strict=True):
        facts.add_row(title, escape(line))
    facts.add_row("weights", escape(weights))
    facts.add_row("device", escape(device))
    if prefix:
        facts.add_row("frozen", escape(prefix))
    facts.add_row("folder", escape(str(run_dir)))
    _console.print(facts)
    _console.print()


def facts_grid() -> Table:
    """A table of names and facts; what is too long for a line, as a path, goes on in the next."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def print_skipped(name: str, seed: int, run_dir: Path) -> None:
    """Says that a run is there already."""
    _console.print(
        f"[bold]{escape(name)}[/bold], seed {seed}: finished before with the same settings, data "
        f"and weights (rerun=true runs it again)\nfolder  {escape(str(run_dir))}"
    )


@contextmanager
def redirected(file: Path) -> Iterator[None]:
    """Sends what a job says to a file, if it runs beside others in a sweep."""
    if OUTPUT_TO_FILE not in os.environ:
        yield
        return
    with (
        file.open("a", encoding="utf-8") as output,
        redirect_stdout(output),
        redirect_stderr(output),
    ):
        yield


@contextmanager
def sweep_line(*, is_live: bool) -> Iterator[Callable[["Progress"], None]]:
    """Gives a function that shows how far a sweep has come.

    Args:
        is_live: whether the line may stay in place on a terminal; otherwise, and where there is no
            terminal, a line is printed whenever a run has ended.
    """
    if is_live and _console.is_terminal:
        with _console.status("sweep: starting") as line:
            yield lambda progress: line.update(_sweep_line(progress))
        return
    ended = 0

    def show(progress: "Progress") -> None:
        nonlocal ended
        if progress.ended != ended:
            ended = progress.ended
            _console.print(_sweep_line(progress), style="bold")

    yield show


def _sweep_line(progress: "Progress") -> str:
    parts = [
        f"{progress.done} done",
        f"{progress.running} running",
        f"{len(progress.failed)} failed",
    ]
    if progress.left is not None:
        parts.append(f"{progress.left} left")
    if progress.eta_seconds:
        parts.append(f"about {_duration(progress.eta_seconds)} to go")
    return f"sweep: {', '.join(parts)}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def print_sweep_end(done: int, failures: dict[Path, str], seconds: float) -> None:
    """Prints how a sweep ended, and every run that failed with the reason."""
    took = _duration(seconds)
    _console.print(f"\nsweep: {done} done, {len(failures)} failed, in {took}", style="bold")
    for folder, reason in failures.items():
        _errors.print(f"[red]failed[/red] {escape(str(folder))}\n       {escape(reason)}")


def print_best(found: Any, objective: str, file: Path) -> None:
    """Prints what a search over settings found.

    Args:
        found: ``best_params`` and ``best_value``.
        objective: what the value is.
        file: where it stands.
    """
    settings = " ".join(f"{key}={value}" for key, value in found["best_params"].items())
    value = _metric(objective, found["best_value"])
    _console.print(f"best: validation {objective} {value} with")
    _console.print(f"  {escape(settings)}", soft_wrap=True)
    _console.print(f"file  {escape(str(file))}", soft_wrap=True)


def print_resumed(epochs: int) -> None:
    """Says that an interrupted run goes on."""
    _console.print(
        f"going on after epoch {epochs} of the interrupted run (rerun=true starts over)\n"
    )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"


def print_results(summary: dict[str, Any], run_dir: Path) -> None:
    """Prints the final table, the times, and what to do next."""
    columns = list(summary["metrics"]["test"])
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for metric in columns:
        table.add_column(METRIC_TITLES.get(metric, metric), justify="right")
    for split, values in summary["metrics"].items():
        table.add_row(split, *(_metric(metric, values[metric]) for metric in columns))
    _console.print(table)
    if summary["answers"]:
        print_answer_scores(summary["answers"])
    facts = facts_grid()
    if names := summary["class_names"]:
        of = f"of {names[1]!r}" if len(names) == 2 else f"averaged over {len(names)} classes"
        facts.add_row("classes", escape(f"precision, recall, F1 and AUROC are {of}"))
    seconds = summary["seconds"]
    facts.add_row(
        "time",
        f"{seconds['total']:.0f} s in all: {seconds['training']:.0f} training, "
        f"{seconds['validation']:.0f} validation, {seconds['evaluation']:.0f} final evaluation",
    )
    facts.add_row("memory", f"{summary['peak_memory_mib']:,.0f} MiB at the peak")
    if summary["checkpoint"]:
        others = "".join(f", also {other}" for other in summary["other_checkpoints"])
        facts.add_row("weights", f"{summary['checkpoint']} (the table's){others}")
    facts.add_row("folder", escape(str(run_dir)))
    if summary["epochs"] is not None:
        facts.add_row("curves", escape(f"tensorboard --logdir {run_dir.parent.parent}"))
    _console.print(facts)
    command = NEXT_COMMANDS.get(summary["kind"])
    if summary["checkpoint"] and command:
        _console.print(f"\n{escape(command.format(run_dir=run_dir))}\n", soft_wrap=True)


ANSWER_SCORES = {"exact_match": "exact match", "rouge_l": "ROUGE-L", "token_f1": "token F1"}


def print_answer_scores(answers: dict[str, Any]) -> None:
    """Prints how close the test answers are to the references, in percent."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(f"{answers['examples']} test answers")
    table.add_column("mean", justify="right")
    table.add_column("95 % interval", justify="right")
    for name, score in answers["scores"].items():
        low, high = 100 * score["low"], 100 * score["high"]
        title = ANSWER_SCORES.get(name, name)
        table.add_row(title, f"{100 * score['mean']:.2f}", f"{low:.2f} to {high:.2f}")
    _console.print(table)


def working(what: str) -> AbstractContextManager[Any]:
    """Shows on a terminal that something takes its time."""
    return _console.status(escape(what))


def print_export(folder: Path, comparisons: Sequence[str]) -> None:
    """Prints the files of an export with their sizes, and how it compares with the run."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(escape(str(folder)))
    table.add_column("MiB", justify="right")
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(file.relative_to(folder))
        table.add_row(escape(name), f"{file.stat().st_size / 2**20:.2f}")
    _console.print(table)
    _console.print("largest difference of logits from the run's:")
    for line in comparisons:
        _console.print(f"  {escape(line)}", soft_wrap=True)


def _metric(name: str, value: float | None) -> str:
    if value is None:
        return "undefined"
    if name in PLAIN_METRICS:
        return f"{value:,.{PLAIN_METRICS[name]}f}"
    return f"{100 * value:.2f}"


def print_predictions(
    predictions: Sequence[tuple[str, float, str]], num_truncated: int, max_length: int
) -> None:
    """Prints (label, probability, text) rows."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("label")
    table.add_column("probability", justify="right")
    table.add_column("text", overflow="fold")
    for label, probability, text in predictions:
        table.add_row(escape(label), f"{100 * probability:.1f} %", escape(text))
    _console.print(table)
    if num_truncated:
        _console.print(f"{num_truncated} texts were cut to {max_length} tokens, as in training")
