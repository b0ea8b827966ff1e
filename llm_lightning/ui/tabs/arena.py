"""Arena: two responses without names, and which is better; ratings only for those who ask."""

import time
from pathlib import Path
from typing import Any

import gradio as gr

from llm_lightning.evaluation.arena import Pair, next_pair, open_arena, ratings, record_vote
from llm_lightning.evaluation.arena.judged import judged_agreements
from llm_lightning.presentation.command_lines import command_line
from llm_lightning.presentation.plurals import counted
from llm_lightning.ui import markup
from llm_lightning.ui.context import PRIVATE, Context, RunChooser, reported, typed
from llm_lightning.ui.found_runs import FoundRun

_MOST_RUNS = 8
_SECONDS_TO_READ = 0.3
"""Whoever votes sooner has pressed twice and not seen the pair."""

CHOICES = {
    "left": ("A is better (A)", "vote-left"),
    "right": ("B is better (B)", "vote-right"),
    "tie": ("Tie (T)", "vote-tie"),
    "both_bad": ("Both bad (X)", "vote-both-bad"),
}
"""Text and element of each vote's button; ``keys.js`` presses them."""

_EMPTY = "(an empty response)"

Shown = tuple[Pair, tuple[str, ...], str, float]
"""A pair, the runs it is of, who looks at it, and since when."""


def arena_tab(context: Context, tab: gr.Tab) -> None:
    """Builds the screen."""
    chosen = RunChooser(
        context,
        "Runs with responses to the same test split",
        _responded,
        nothing="No run has responses yet: start one that follows instructions in the tab Runs.",
        several=_MOST_RUNS,
    )
    tab.select(chosen.update, inputs=chosen.field, outputs=chosen.field, **PRIVATE)
    voter = gr.Textbox("", label="Your name (nobody is asked about a pair twice)")
    begin = gr.Button("Show a pair", variant="primary", elem_id="arena-begin")
    shown = gr.State(None)
    task = gr.HTML(elem_id="arena-task")
    with gr.Row():
        left, right = gr.HTML(elem_id="arena-left"), gr.HTML(elem_id="arena-right")
    with gr.Row(visible=False) as voting:
        buttons = {
            choice: gr.Button(text, elem_id=name) for choice, (text, name) in CHOICES.items()
        }
    said = gr.HTML(elem_id="arena-said")
    standings = gr.Button("Show the ratings", elem_id="arena-ratings")
    rated = gr.HTML(elem_id="arena-rated")

    def present(folders: list[Path], name: str, message: str) -> tuple[Any, ...]:
        arena = open_arena(folders, context.votes)
        pair = next_pair(arena, name)
        command = markup.commands(
            command_line("arena", *map(typed, folders), *_database(context), "--vote", *_by(name))
        )
        if pair is None:
            over = markup.note("You have seen every pair. Show the ratings below.", "good")
            return None, over, "", "", gr.Row(visible=False), message + command
        state = (pair, tuple(map(str, folders)), name, time.monotonic())
        return (
            state,
            "<h4>Task</h4>" + markup.literal(pair.task),
            "<h4>A</h4>" + markup.literal(pair.left.strip() or _EMPTY),
            "<h4>B</h4>" + markup.literal(pair.right.strip() or _EMPTY),
            gr.Row(visible=True),
            message + command,
        )

    @reported
    def show(values: list[str], name: str) -> tuple[Any, ...]:
        return present([context.folder(value) for value in values or []], name.strip(), "")

    def vote(choice: str) -> Any:
        @reported
        def cast(state: Shown | None) -> tuple[Any, ...]:
            if state is None:
                raise ValueError("show a pair first")
            pair, folders, name, since = state
            if time.monotonic() - since < _SECONDS_TO_READ:
                return tuple(gr.skip() for _ in range(6))
            paths = [Path(folder) for folder in folders]
            record_vote(open_arena(paths, context.votes), pair, choice, name)
            return present(paths, name, markup.note("Your vote is recorded.", "good"))

        return cast

    @reported
    def rate(values: list[str], name: str) -> str:
        return _ratings(context, [context.folder(value) for value in values or []])

    outputs = [shown, task, left, right, voting, said]
    chosen.field.input(  # the pair and the ratings are of other runs
        lambda: (None, "", "", "", gr.Row(visible=False), "", ""),
        outputs=[*outputs, rated],
        **PRIVATE,
    )
    begin.click(show, inputs=[chosen.field, voter], outputs=outputs, **PRIVATE)
    for choice, button in buttons.items():
        # One after another: the second of two quick votes sees that its pair is new.
        button.click(
            vote(choice),
            inputs=shown,
            outputs=outputs,
            concurrency_id="votes",
            concurrency_limit=1,
            **PRIVATE,
        )
    standings.click(rate, inputs=[chosen.field, voter], outputs=rated, **PRIVATE)


def _responded(run: FoundRun) -> bool:
    return run.summary is not None and run.summary.responses is not None


def _ratings(context: Context, folders: list[Path]) -> str:
    arena = open_arena(folders, context.votes)
    votes, others = arena.votes()
    left_out = f"{counted(others, 'vote')} left out: about other runs or older responses"
    if not votes:
        return markup.note(
            "There is no vote on these responses yet: show a pair, and choose."
        ) + markup.note(left_out if others else "")
    found = ratings(votes, arena.runs)
    rows = [
        (
            one.run,
            f"{one.rating:.0f}",
            f"{one.interval.low:.0f} to {one.interval.high:.0f}",
            *map(str, (one.votes, one.wins, one.losses, one.ties, one.both_bad)),
        )
        for one in found.runs
    ]
    headings = ("run", "rating", "95 %", "votes", "won", "lost", "tied", "both bad")
    notes = [
        f"Bradley-Terry on Elo's scale, from {counted(found.num_votes, 'vote')} about "
        f"{counted(found.num_tasks, 'task')}"
    ]
    if line := found.position.sentence("A was preferred in", "votes"):
        notes.append(line)
    if arena.identical:
        notes.append(f"{counted(arena.identical, 'pair')} of equal responses not put to the vote")
    if arena.left_out:
        notes.append(f"{counted(arena.left_out, 'task')} left out: not every run has a response")
    if others:
        notes.append(left_out)
    for name, judged in judged_agreements(folders, arena, votes).items():
        kappa = "undefined" if judged.kappa is None else f"{judged.kappa:.2f}"
        agreed = f"{judged.same} of {counted(judged.votes, 'vote')}"
        notes.append(f"agreement with {name}: {agreed}, Cohen's kappa {kappa}")
    command = command_line("arena", *map(typed, folders), *_database(context))
    return (
        markup.table(headings, rows)
        + "".join(markup.note(text) for text in notes)
        + markup.commands(command)
    )


def _database(context: Context) -> list[str]:
    return ["--database", typed(context.votes)]


def _by(name: str) -> list[str]:
    return ["--voter", name] if name else []
