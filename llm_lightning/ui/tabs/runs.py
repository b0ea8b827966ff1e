"""Runs: how far each has come, curves, differences; start one, stop one."""

import shlex
import time
from pathlib import Path
from typing import Any

import gradio as gr

from llm_lightning.presentation.command_lines import command_line
from llm_lightning.presentation.durations import duration
from llm_lightning.run_format.files import CONFIG
from llm_lightning.runs.terminal_output import metric_text
from llm_lightning.ui import markup, run_control
from llm_lightning.ui.config_difference import config_difference
from llm_lightning.ui.context import PRIVATE, Context, RunChooser, reported, typed
from llm_lightning.ui.found_runs import MOST_SHOWN, FoundRun
from llm_lightning.ui.live_curves import live_curves

_SECONDS_BETWEEN_LOOKS = 3.0
_MOST_LIVE = 4
"""Runs whose curves are drawn as they train."""
_EXPERIMENT = "last_block"
"""Which one is chosen at first: the book's."""


def runs_tab(context: Context, page: gr.Blocks) -> None:
    """Builds the screen."""
    table = gr.HTML()
    gr.HTML(markup.commands(command_line("report", *map(typed, context.roots), "--out", "report")))
    live = gr.HTML(elem_id="runs-live")
    seen = gr.State("")

    gr.Markdown("### One run")
    chosen = RunChooser(context, "Run")
    one = gr.HTML()

    gr.Markdown("### In what do two runs differ?")
    with gr.Row():
        first = RunChooser(context, "First run")
        second = RunChooser(context, "Second run", place=1)
    difference = gr.HTML()

    gr.Markdown("### Start a run")
    with gr.Row():
        experiment = gr.Dropdown(
            choices=[(f"{name}: {about}", name) for name, about in context.experiments.items()],
            value=_first_choice(context.experiments),
            label="Experiment",
        )
        settings = gr.Textbox(
            label="Settings, as on the command line", placeholder="optim.lr=1e-4 seed=2"
        )
    command = gr.HTML()
    start = gr.Button("Start", variant="primary", elem_id="start-run")

    gr.Markdown("### Stop or continue a run")
    running = RunChooser(
        context, "Running", lambda run: run.is_running, nothing="No run is running."
    )
    stop = gr.Button("Stop (it saves first, and can be continued)", elem_id="stop-run")
    waiting = RunChooser(
        context, "Not finished", _can_continue, nothing="No run waits to be continued."
    )
    go_on = gr.Button("Continue", elem_id="continue-run")
    said = gr.HTML(elem_id="run-message")

    lists = [chosen, first, second, running, waiting]
    fields = [chooser.field for chooser in lists]

    def look(digest: str, *values: Any) -> list[Any]:
        runs = context.runs()
        shown, curves = _table(runs), _live(runs)
        now = f"{shown}{curves}"
        if now == digest:
            return [gr.skip() for _ in range(3 + len(lists))]
        updates = [chooser.update(value) for chooser, value in zip(lists, values, strict=True)]
        return [shown, curves, now, *updates]

    def preview(name: str, given: str) -> str:
        try:
            launch = run_control.launch_of(name, given, context.roots[0], context.problem_of)
        except ValueError as error:
            return markup.note(str(error), "bad")
        return markup.commands(launch.command)

    @reported
    def begin(name: str, given: str) -> str:
        launch = run_control.launch_of(name, given, context.roots[0], context.problem_of)
        return _started(launch)

    @reported
    def end(value: str | None) -> str:
        holder = run_control.stop(context.folder(value))
        return markup.note(
            f"process {holder.pid} was asked to save and stop; Continue goes on from there", "good"
        ) + markup.commands(f"kill -TERM {holder.pid}")

    @reported
    def continue_run(value: str | None) -> str:
        folder = context.folder(value)
        launch = run_control.earlier_launch(folder)
        if launch is None:
            raise ValueError(
                f"{folder} was not started here: the command that started it continues it"
            )
        return _started(launch)

    @reported
    def one_run(value: str | None) -> str:
        return _one(context, value)

    @reported
    def differences(one_value: str | None, other_value: str | None) -> str:
        return _difference(context, one_value, other_value)

    looked: dict[str, Any] = {
        "fn": look,
        "inputs": [seen, *fields],
        "outputs": [table, live, seen, *fields],
    }
    gr.Timer(_SECONDS_BETWEEN_LOOKS).tick(**looked, **PRIVATE | {"show_progress": "hidden"})
    page.load(**looked, **PRIVATE)
    show_one: dict[str, Any] = {
        "fn": one_run,
        "inputs": chosen.field,
    }
    gr.on([chosen.field.change, page.load], **show_one, outputs=one, **PRIVATE)
    pair = [first.field, second.field]
    gr.on(
        [first.field.change, second.field.change, page.load],
        differences,
        inputs=pair,
        outputs=difference,
        **PRIVATE,
    )
    choices = [experiment, settings]
    gr.on(
        [experiment.change, settings.change, page.load],
        preview,
        inputs=choices,
        outputs=command,
        **PRIVATE,
    )
    start.click(begin, inputs=choices, outputs=said, **PRIVATE)
    stop.click(end, inputs=running.field, outputs=said, **PRIVATE)
    go_on.click(continue_run, inputs=waiting.field, outputs=said, **PRIVATE)


def _first_choice(experiments: dict[str, str]) -> str | None:
    return _EXPERIMENT if _EXPERIMENT in experiments else next(iter(experiments), None)


def _can_continue(run: FoundRun) -> bool:
    return run.state in ("interrupted", "stopped", "failed")


def _started(launch: run_control.Launch) -> str:
    number = run_control.start(launch)
    text = f"process {number} works in {typed(launch.folder)}, whether this page is open or not"
    return markup.note(text, "good") + markup.commands(launch.command)


def _table(runs: list[FoundRun]) -> str:
    if not runs:
        return markup.note("There is no run here yet. Start one below.")
    rows = [
        (
            run.shown,
            run.state,
            "" if run.epoch is None else str(run.epoch),
            _results(run),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(run.changed_at)),
            _took(run),
            run.note,
        )
        for run in runs[:MOST_SHOWN]
    ]
    left_out = len(runs) - len(rows)
    shown = markup.table(
        ("run", "state", "epochs", "test", "changed", "took", "note"), rows, caption=""
    )
    more = f"{left_out} older runs are not shown: name a smaller folder" if left_out else ""
    return shown + markup.note(more)


def _results(run: FoundRun) -> str:
    if run.summary is None:
        return ""
    values = run.summary.metrics["test"]
    names = [name for name in ("accuracy", "perplexity", "loss") if values.get(name) is not None]
    return ", ".join(f"{name} {metric_text(name, values[name])}" for name in names[:2])


def _took(run: FoundRun) -> str:
    return "" if run.summary is None else duration(run.summary.seconds.total)


def _live(runs: list[FoundRun]) -> str:
    running = [run for run in runs if run.is_running]
    if not running:
        return markup.note("No run is running.")
    parts = []
    for number, run in enumerate(running[:_MOST_LIVE]):
        svgs = live_curves(run.folder, f"live{number}")
        parts.append(
            markup.panels(f"{run.shown}, running", svgs)
            if svgs
            else markup.note(f"{run.shown} is running; it has logged nothing yet")
        )
    return "".join(parts)


def _one(context: Context, value: str | None) -> str:
    if not value:
        return ""
    folder = context.folder(value)
    parts = [markup.panels("Curves", svgs) if (svgs := live_curves(folder, "one")) else ""]
    if output := run_control.last_output(folder):
        parts.append("<h4>Output</h4>" + markup.literal(output))
    launch = run_control.earlier_launch(folder)
    lines = [launch.command] if launch else []
    lines.append(command_line("report", typed(folder), "--out", "report"))
    return "".join(parts) + markup.commands(*lines)


def _difference(context: Context, first: str | None, second: str | None) -> str:
    if not first or not second:
        return ""
    one, other = context.folder(first), context.folder(second)
    command = markup.commands(f"diff {_quoted(one / CONFIG)} {_quoted(other / CONFIG)}")
    if one == other:
        return markup.note("Choose two different runs.") + command
    differing, equal = config_difference(one, other)
    shown = markup.table(("setting", "first run", "second run"), differing)
    return (shown if differing else "") + markup.note(f"{equal} settings are equal") + command


def _quoted(file: Path) -> str:
    return shlex.quote(typed(file))
