"""What a network's run prints before it trains."""

from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from llm_lightning.callbacks import frozen_activations
from llm_lightning.finetuning.coverage import parameter_groups
from llm_lightning.presentation.plurals import counted
from llm_lightning.presentation.terminal import console, facts_grid, results_table
from llm_lightning.run_format.run_facts import WeightFacts
from llm_lightning.runs.built import Built
from llm_lightning.runs.record import device_name
from llm_lightning.runs.settings import RunSettings
from llm_lightning.runs.terminal_output import as_typed, print_fallbacks

_NAMES_SHOWN = 3


def print_start(
    built: Built, settings: RunSettings, model_settings: Mapping[str, Any], threads: str | None
) -> None:
    """Prints what will train, on what, from which weights, and into which folder.

    Args:
        built: the model, its data and its trainer.
        settings: of the run.
        model_settings: settings that come with the model, by their keys.
        threads: a line about how many there are, where they were chosen.
    """
    print_fallbacks(built.fallbacks, in_brief=settings.is_later_of_sweep)
    console.print(f"\n[bold]{escape(settings.name)}[/bold], seed {settings.seed}")
    groups = parameter_groups(built.task)
    trainable = sum(group.trainable for group in groups)
    total = sum(group.total for group in groups)
    table = results_table("parameters", "trainable", "total", "share", footer=True)
    footers = ("all", f"{trainable:,}", f"{total:,}", f"{trainable / total:.1%}")
    for column, footer in zip(table.columns, footers, strict=True):
        column.footer = footer
    for group in groups:
        style = None if group.trainable else "dim"
        share = f"{group.trainable / group.total:.0%}"
        table.add_row(group.name, f"{group.trainable:,}", f"{group.total:,}", share, style=style)
    console.print(table)

    facts = facts_grid()
    if finetuning := built.task.strategy.describe(built.task):
        shown = (f"{key.replace('_', ' ')} {_short(value)}" for key, value in finetuning.items())
        facts.add_row("finetune", escape(", ".join(shown)))
    data = [built.data.source, *built.data.describe()]
    for title, line in zip(["data", *[""] * (len(data) - 1)], data, strict=True):
        facts.add_row(title, escape(line))
    weights = built.weights
    head = ", its head too" if weights.head_loaded else ""
    facts.add_row("weights", escape(weights.source + head))
    if weights.unused:
        facts.add_row("", escape(unused_weights(weights)))
    if model_settings:
        shown = (f"{key}={value}" for key, value in model_settings.items())
        facts.add_row("settings", escape(f"{' '.join(shown)} (they come with {weights.model})"))
    device = f"{device_name(built.trainer)}, precision {built.trainer.precision}"
    facts.add_row("device", escape(device))
    if threads:
        facts.add_row("threads", escape(threads))
    if frozen := frozen_activations.describe(built.task, built.trainer, built.data):
        facts.add_row("frozen", escape(frozen))
    facts.add_row("folder", escape(str(as_typed(settings.run_dir))))
    console.print(facts)
    console.print()


def unused_weights(weights: WeightFacts) -> str:
    """Returns which tensors of a file are left out: heads of other tasks, poolers before them."""
    names = ", ".join(weights.unused_names[:_NAMES_SHOWN])
    more = weights.unused - min(len(weights.unused_names), _NAMES_SHOWN)
    others = f" and {more:,} more" if more else ""
    return f"not used: {counted(weights.unused, 'tensor')} of the file ({names}{others})"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"
