"""What a run prints: what becomes of its folder, and what came out."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.panel import Panel

from llm_lightning.presentation.durations import duration
from llm_lightning.presentation.plurals import counted
from llm_lightning.presentation.terminal import console, errors, facts_grid, results_table
from llm_lightning.reporting.draw.run_figures import plot_run
from llm_lightning.run_format import files
from llm_lightning.run_format.run_facts import ResponseFacts, Score
from llm_lightning.run_format.summary import Summary
from llm_lightning.runs.settings import RunSettings
from llm_lightning.runs.terminal_classes import class_facts, print_classes
from llm_lightning.runs.terminal_decision import print_decision

METRIC_TITLES = {
    "balanced_accuracy": "balanced",
    "f1": "F1",
    "auroc": "AUROC",
    "response_loss": "response loss",
}
# Digits after the point of metrics that are not shares.
PLAIN_METRICS = {"loss": 3, "response_loss": 3, "perplexity": 2}
BASELINE_TITLES = {
    "majority": "majority class",
    "length": "text length",
    "naive_bayes": "naive Bayes on words",
    "logreg": "logistic regression on words",
}
SCORE_TITLES = {"exact_match": "exact match", "rouge_l": "ROUGE-L", "token_f1": "token F1"}
# The command to try a finished run of each kind with.
NEXT_COMMANDS = {
    "classification": 'python -m llm_lightning predict "{run_dir}" "You won a prize!"',
    "instructions": 'python -m llm_lightning generate "{run_dir}" "What is the opposite of hot?"',
}
_RESPONSES_SHOWN = 3
_CHARACTERS_SHOWN = 60


def print_fallbacks(fallbacks: Sequence[str], *, in_brief: bool = False) -> None:
    """Frames what was replaced, why, and how to avoid it; nothing if nothing was.

    Args:
        fallbacks: of the run.
        in_brief: a line each without a frame, as for later runs of a sweep.
    """
    if in_brief:
        for fallback in fallbacks:
            first = fallback.splitlines()[0].rstrip(":")
            console.print(f"[yellow]fallback[/yellow] {escape(first)}", soft_wrap=True)
    elif fallbacks:
        text = "\n\n".join(escape(fallback) for fallback in fallbacks)
        title = "fallback: not comparable with results on the original data and weights"
        console.print(Panel(text, title=title, title_align="left", border_style="yellow"))


def print_heading(settings: RunSettings, data: Sequence[str]) -> None:
    """Prints the name of a run and its data."""
    console.print(f"\n[bold]{escape(settings.name)}[/bold], seed {settings.seed}")
    for line in data:
        console.print(escape(line))


def print_skipped(settings: RunSettings) -> None:
    """Prints that a run is finished already."""
    console.print(
        f"[bold]{escape(settings.name)}[/bold], seed {settings.seed}: finished before with the "
        f"same settings, data and weights (rerun=true runs it again)\n"
        f"folder  {escape(str(as_typed(settings.run_dir)))}"
    )


def print_resumed(epochs: int, step: int | None) -> None:
    """Prints that an interrupted run is resumed.

    Args:
        epochs: that are complete.
        step: the last optimizer step, if it was within an epoch.
    """
    where = f"epoch {epochs}" if step is None else f"step {step:,}, in epoch {epochs + 1},"
    console.print(f"resuming after {where} of the interrupted run (rerun=true starts over)\n")


def print_set_aside(file: Path, problem: str) -> None:
    """Prints that a damaged file was renamed."""
    line = f"{file} is damaged ({problem}): set aside as {file.name}{files.DAMAGED}"
    errors.print(escape(line), soft_wrap=True)


def draw(summary: Summary, folder: Path) -> None:
    """Draws a run's pictures; one that fails costs the picture, never the run."""
    try:
        plot_run(folder, summary)
    except Exception as error:  # of matplotlib's, or of texts that it cannot draw
        problem = (str(error) or "no reason given").splitlines()[0]
        errors.print(
            escape(f"{files.PLOTS}/ is incomplete: {type(error).__name__}: {problem}"),
            soft_wrap=True,
        )


def show(summary: Summary, settings: RunSettings) -> None:
    """Prints the results of a finished run."""
    print_results(summary, as_typed(settings.run_dir))
    print_fallbacks(summary.fallbacks, in_brief=settings.is_later_of_sweep)


def print_results(summary: Summary, run_dir: Path) -> None:
    """Prints the final table, the times, and what to do next."""
    columns = list(summary.metrics["test"])
    table = results_table("", *(METRIC_TITLES.get(metric, metric) for metric in columns))
    for split, values in summary.metrics.items():
        cells = (metric_text(metric, values[metric]) for metric in columns)
        table.add_row(split, *cells, style="bold" if split == "test" else None)
    console.print(table)
    if summary.kind == "classification":
        print_classes(summary, run_dir)
    if summary.decision:
        print_decision(summary.decision)
    if summary.baselines:
        _print_baselines(summary)
    if summary.responses:
        print_response_scores(summary.responses)
        _print_some_responses(run_dir / summary.responses.file)
    facts = facts_grid()
    if summary.kind == "classification":
        facts.add_row("classes", escape(class_facts(summary)))
        if summary.precision.startswith(("bf16", "16")):
            facts.add_row(
                "precision",
                f"{summary.precision}: predictions too; predict computes in fp32, where "
                f"probabilities differ a little",
            )
    seconds = summary.seconds
    facts.add_row(
        "time",
        f"{duration(seconds.total)} in all: {duration(seconds.training)} training, "
        f"{duration(seconds.validation)} validation, "
        f"{duration(seconds.evaluation)} final evaluation" + _response_time(summary),
    )
    if summary.ended_early:
        steps = counted(summary.optimizer_steps or 0, "optimizer step")
        facts.add_row("ended", escape(f"after {steps}: {summary.ended_early}"))
    num_used, num_all = summary.evaluated_examples["test"], summary.data.splits["test"].examples
    if num_used < num_all:
        facts.add_row(
            "evaluated", f"{num_used} of {num_all} test examples (trainer.limit_test_batches)"
        )
    if summary.peak_memory_mib is not None:
        facts.add_row("memory", f"{summary.peak_memory_mib:,.0f} MiB at the peak")
    if summary.checkpoint:
        others = "".join(f", also {other}" for other in summary.other_checkpoints)
        facts.add_row("weights", f"{summary.checkpoint} (evaluated above){others}")
    for name, times in summary.failed_saves.items():
        facts.add_row("not saved", escape(f"{name}, {counted(times, 'time')}: see the warnings"))
    facts.add_row("folder", escape(f"{run_dir} (pictures in {files.PLOTS}/)"))
    if any(run_dir.glob(files.EVENTS)):
        facts.add_row("curves", escape(f"tensorboard --logdir {run_dir.parent.parent}"))
    elif (run_dir / files.CURVES).is_file():
        facts.add_row("curves", escape(str(run_dir / files.CURVES)))
    command = NEXT_COMMANDS.get(summary.kind)
    console.print(facts)
    if summary.checkpoint and command:
        console.print(f"\n{escape(command.format(run_dir=run_dir))}\n", soft_wrap=True)


def _print_baselines(summary: Summary) -> None:
    """Prints the run beside baselines without a network, on the same test split."""
    columns = ("accuracy", "f1", "auroc")
    table = results_table("test split", *(METRIC_TITLES.get(name, name) for name in columns))
    rows = {"this run": summary.metrics["test"]} | {
        BASELINE_TITLES.get(method, method): found for method, found in summary.baselines.items()
    }
    for title, found in rows.items():
        style = "bold" if title == "this run" else None
        table.add_row(title, *(metric_text(name, found[name]) for name in columns), style=style)
    console.print(table)


def print_response_scores(responses: ResponseFacts) -> None:
    """Prints how close the test responses are to the references, in percent."""
    before = responses.untrained_scores
    titles = ["before fine-tuning"] if before else []
    table = results_table(f"{responses.examples} test responses", *titles, "mean", "95 % interval")
    for name, score in responses.scores.items():
        untrained = [_percent(before[name])] if before else []
        low, high = 100 * score.low, 100 * score.high
        title = SCORE_TITLES.get(name, name)
        table.add_row(title, *untrained, _percent(score), f"{low:.2f} to {high:.2f}")
    console.print(table)
    if responses.precision not in (None, "fp32"):
        console.print(
            f"written with weights in {responses.precision}, as the run was trained; in fp32 some "
            f"responses differ"
        )


def _response_time(summary: Summary) -> str:
    found = summary.responses
    return f"; then {duration(found.seconds)} for the responses" if found else ""


def _print_some_responses(file: Path) -> None:
    records = json.loads(file.read_text(encoding="utf-8"))[:_RESPONSES_SHOWN]
    table = results_table("instruction", "reference", "response")
    for column in table.columns:
        column.justify, column.overflow = "left", "fold"
    for record in records:
        asked = " ".join(filter(None, (record["instruction"], record.get("input"))))
        shown = (asked, record["output"], record[files.RESPONSE])
        table.add_row(*(escape(_shortened(text)) for text in shown))
    console.print(table)


def as_typed(path: Path) -> Path:
    """Returns a path as a person would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def metric_text(name: str, value: float | None) -> str:
    """Returns a metric for people: shares in percent."""
    if value is None:
        return "undefined"
    if name in PLAIN_METRICS:
        return f"{value:,.{PLAIN_METRICS[name]}f}"
    return f"{100 * value:.2f}"


def _percent(score: Score) -> str:
    return f"{100 * score.mean:.2f}"


def _shortened(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _CHARACTERS_SHOWN else flat[: _CHARACTERS_SHOWN - 1] + "…"
