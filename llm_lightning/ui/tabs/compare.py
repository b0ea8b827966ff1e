"""Compare: one text or instruction through several runs; the best, worst and random test items."""

from pathlib import Path

import gradio as gr

from llm_lightning.data.prompts import Record
from llm_lightning.presentation.command_lines import command_line
from llm_lightning.run_format.summary import read_summary
from llm_lightning.runs.generation import stream_text
from llm_lightning.runs.prediction import decision_of, predict
from llm_lightning.ui import markup
from llm_lightning.ui.chosen_items import CHOICES, chosen_items
from llm_lightning.ui.context import PRIVATE, Context, RunChooser, reported, typed
from llm_lightning.ui.found_runs import FoundRun, short_names

_MOST_RUNS = 4
_MOST_CHARACTERS = 600
_EMPTY = "(nothing)"


def compare_tab(context: Context, tab: gr.Tab) -> None:
    """Builds the screen."""
    chosen = RunChooser(
        context,
        f"Runs of one kind, at most {_MOST_RUNS}",
        _can_compare,
        nothing="No run has finished with a model yet: start one in the tab Runs.",
        several=_MOST_RUNS,
    )
    tab.select(chosen.update, inputs=chosen.field, outputs=chosen.field, **PRIVATE)
    text = gr.Textbox(label="Text or instruction", lines=3, elem_id="compare-text")
    compare = gr.Button("Compare", variant="primary", elem_id="compare-go")
    shown = gr.HTML(elem_id="compare-shown")
    gr.Markdown("### Test items")
    with gr.Row():
        choice = gr.Radio(list(CHOICES), value=CHOICES[0], label="Which")
        number = gr.Slider(1, 50, 10, step=1, label="How many")
        seed = gr.Number(123, precision=0, label="Seed of the random ones")
    look = gr.Button("Show test items", elem_id="compare-items")
    items = gr.HTML(elem_id="compare-items-shown")

    @reported
    def side_by_side(values: list[str], given: str) -> str:
        folders = _folders(context, values)
        kind = read_summary(folders[0]).kind
        is_classifier = kind == "classification"
        if not given.strip():
            raise ValueError(f"type {'a text' if is_classifier else 'an instruction'} first")
        answers = _classified if is_classifier else _answered
        return answers(context, folders, given)

    @reported
    def test_items(values: list[str], which: str, most: float, drawn: float | None) -> str:
        folders = _folders(context, values)
        found = chosen_items(folders, which, int(most), int(drawn or 0))
        names = _names(folders)
        of_responses = read_summary(folders[0]).kind == "instructions"
        about = (
            "by the mean ROUGE-L of the responses"
            if of_responses
            else "by the mean probability of the right class"
        )
        headings = ("text", "reference", *short_names(names), "item")
        rows = [
            (
                item.task[:_MOST_CHARACTERS],
                item.reference[:_MOST_CHARACTERS],
                *(
                    f"{answer[:_MOST_CHARACTERS] or _EMPTY}\n{score:.3f}"
                    for answer, score in zip(item.answers, item.scores, strict=True)
                ),
                str(item.index),
            )
            for item in found
        ]
        report = command_line("report", *map(typed, folders), "--out", "report")
        return (
            markup.note(f"{which} test items {'' if which == 'random' else about}")
            + markup.table(headings, rows)
            + markup.commands(report)
        )

    # Not "change", which a list of several says when its screen is opened, too.
    chosen.field.input(lambda: ("", ""), outputs=[shown, items], **PRIVATE)
    compare.click(side_by_side, inputs=[chosen.field, text], outputs=shown, **PRIVATE)
    inputs = [chosen.field, choice, number, seed]
    look.click(test_items, inputs=inputs, outputs=items, **PRIVATE)


def _can_compare(run: FoundRun) -> bool:
    return run.has_model and run.kind in ("classification", "instructions")


def _folders(context: Context, values: list[str]) -> list[Path]:
    if not values:
        raise ValueError("choose at least one run")
    folders = [context.folder(value) for value in values]
    kinds = {read_summary(folder).kind for folder in folders}
    if len(kinds) > 1:
        raise ValueError("choose runs of one kind: classifiers, or language models")
    return folders


def _names(folders: list[Path]) -> list[str]:
    return [f"{folder.parent.name}/{folder.name}" for folder in folders]


def _classified(context: Context, folders: list[Path], text: str) -> str:
    rows, headings = [], ["run", "label", "probability", "all probabilities"]
    for folder, name in zip(folders, _names(folders), strict=True):
        with context.models.classifier(folder) as (model, summary):
            one = predict(model, [text], decision_of(summary))[0]
        label = one.label + (" (abstained)" if one.abstained else "")
        every = ", ".join(f"{key} {100 * value:.2f} %" for key, value in one.probabilities.items())
        rows.append((name, label, f"{100 * one.probability:.2f} %", every))
    lines = [command_line("predict", typed(folder), text) for folder in folders]
    return markup.table(headings, rows) + markup.commands(*lines)


def _answered(context: Context, folders: list[Path], text: str) -> str:
    rows = []
    for folder, name in zip(folders, _names(folders), strict=True):
        with context.models.language_model(folder) as (model, _):
            response = "".join(stream_text(model, Record(text), model.options.generation))
        rows.append((name, response.strip() or _EMPTY))
    lines = [command_line("generate", typed(folder), text) for folder in folders]
    return markup.table(("run", "response"), rows) + markup.commands(*lines)
