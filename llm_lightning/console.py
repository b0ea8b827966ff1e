"""What a run says on the terminal."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from llm_lightning.finetuning.coverage import ParameterGroup

METRICS = ("loss", "accuracy", "balanced_accuracy", "precision", "recall", "f1", "auroc")

_console = Console(highlight=False, soft_wrap=False)
_errors = Console(highlight=False, stderr=True)


def print_experiments(experiments: dict[str, str], problem: str | None = None) -> None:
    """Lists what can be run, in answer to a command that names no experiment or a wrong one."""
    if problem:
        _errors.print(f"[red]{escape(problem)}[/red]\n")
    _errors.print("Experiments:")
    width = max(map(len, experiments))
    for name, description in experiments.items():
        _errors.print(f"  {name:<{width}}  {escape(description)}")
    _errors.print("\nExample: [bold]python -m llm_lightning +experiment=last_block[/bold]")
    _errors.print("Add [bold]--cfg job[/bold] to see every setting and [bold]-m[/bold] to sweep.")


def print_error(message: str) -> None:
    """Prints what was wrong, where, and what to do."""
    _errors.print(Panel(escape(message), title="error", title_align="left", border_style="red"))


def print_notices(notices: Sequence[str]) -> None:
    """Frames what was replaced by a stand-in; nothing if nothing was."""
    if notices:
        text = "\n\n".join(escape(notice) for notice in notices)
        _console.print(Panel(text, title="stand-in", title_align="left", border_style="yellow"))


def print_start(
    name: str,
    seed: int,
    groups: Sequence[ParameterGroup],
    data: dict[str, Any],
    weights: str,
    device: str,
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

    facts = Table.grid(padding=(0, 2))
    facts.add_row("data", escape(data["source"]))
    for split, facts_of in data["splits"].items():
        counts = ", ".join(f"{count:,} {name}" for name, count in facts_of["class_counts"].items())
        cut = f", {facts_of['truncated']} truncated" if facts_of["truncated"] else ""
        facts.add_row("", escape(f"{split}: {facts_of['examples']:,} ({counts}){cut}"))
    facts.add_row(
        "",
        f"at most {data['max_length']} tokens, padding {data['padding']}; "
        f"{data['test_in_train']} of {data['test_examples']} test texts also stand in training",
    )
    facts.add_row("weights", escape(weights))
    facts.add_row("device", escape(device))
    facts.add_row("folder", escape(str(run_dir)))
    _console.print(facts)
    _console.print()


def print_results(summary: dict[str, Any], run_dir: Path) -> None:
    """Prints the final table, the times, and what to do next."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(f"{summary['name']}, seed {summary['seed']}")
    for metric in METRICS:
        table.add_column(metric.replace("_", " "), justify="right")
    for split, values in summary["metrics"].items():
        table.add_row(
            split,
            *(
                f"{values[metric]:.3f}" if metric == "loss" else f"{100 * values[metric]:.2f}"
                for metric in METRICS
            ),
        )
    _console.print(table)
    seconds = summary["seconds"]
    _console.print(
        f"{summary['seconds']['total']:.0f} s in all ({seconds['training']:.0f} training, "
        f"{seconds['validation']:.0f} validation, {seconds['evaluation']:.0f} final evaluation), "
        f"peak memory {summary['peak_memory_mib']:,.0f} MiB"
    )
    _console.print(f"checkpoint  {summary['checkpoint']} (the table's), {summary['other_checkpoint']}")
    _console.print(f"folder      {escape(str(run_dir))}")
    _console.print(
        f'next        python -m llm_lightning.predict "{escape(str(run_dir))}" "You won a prize!"'
    )
