"""Try it: classify a text and see which tokens mattered; or many texts, as a table to download."""

import shlex
import tempfile
from html import escape
from pathlib import Path

import gradio as gr

from llm_lightning.presentation.command_lines import command_line
from llm_lightning.presentation.plurals import counted
from llm_lightning.runs.prediction import decision_of, predict
from llm_lightning.ui import markup
from llm_lightning.ui.attribution import Attribution, occlusion
from llm_lightning.ui.context import PRIVATE, Context, RunChooser, is_classifier, reported, typed
from llm_lightning.ui.text_upload import pasted_texts, predictions_table, uploaded_texts

_MOST_SHOWN = 20
_STRONGEST = 8


def try_tab(context: Context, tab: gr.Tab) -> None:
    """Builds the screen."""
    chosen = RunChooser(
        context,
        "Classifier",
        is_classifier,
        nothing="There is no finished classifier yet: start one in the tab Runs.",
    )
    tab.select(chosen.update, inputs=chosen.field, outputs=chosen.field, **PRIVATE)
    text = gr.Textbox(label="Text", lines=3, elem_id="try-text")
    classify = gr.Button("Classify", variant="primary", elem_id="try-classify")
    shown = gr.HTML(elem_id="try-shown")

    gr.Markdown("### Many texts")
    pasted = gr.Textbox(label="One text a line", lines=4, elem_id="try-many")
    with gr.Row():
        file = gr.File(label="Or a file: a table, or one text a line", height=170)
        column = gr.Textbox("text", label="Column of the texts, in a table")
    classify_all = gr.Button("Classify all", elem_id="try-classify-all")
    some = gr.HTML(elem_id="try-some")
    download = gr.DownloadButton("Download predictions", visible=False, elem_id="try-download")

    @reported
    def one(value: str | None, given: str) -> str:
        folder = context.folder(value)
        if not given.strip():
            raise ValueError("type a text first")
        with context.models.classifier(folder) as (model, summary):
            decision = decision_of(summary)
            found = predict(model, [given], decision)[0]
            why = occlusion(model, given, found.label)
        parts = [f'<p class="label">{escape(found.label)}</p>']
        if found.abstained:
            parts.append(
                markup.note("The decision is left to people: the label is a guess.", "bad")
            )
        if decision is not None:
            parts.append(
                markup.note(
                    f"The run's decision: {decision.kind}, temperature {decision.temperature:.3g}; "
                    f"without it the label is {found.raw_label}."
                )
            )
        if found.truncated:
            length = model.hparams["text"]["max_length"]
            parts.append(markup.note(f"Cut to {length} tokens, as in training.", "bad"))
        parts += [markup.probabilities(found.probabilities), _why(why, found.label)]
        return "".join(parts) + markup.commands(
            command_line("predict", typed(folder), *_as_argument(given))
        )

    @reported
    def many(
        value: str | None, lines: str, uploaded: str | None, name: str
    ) -> tuple[str, gr.DownloadButton]:
        folder = context.folder(value)
        texts = uploaded_texts(Path(uploaded), name) if uploaded else pasted_texts(lines)
        with context.models.classifier(folder) as (model, summary):
            found = predict(model, texts, decision_of(summary))
        table = predictions_table(found)
        target = Path(tempfile.mkdtemp(prefix="llm_lightning_")) / "predictions.csv"
        table.to_csv(target, index=False, lineterminator="\n")
        rows = [
            (
                one.label + (" (abstained)" if one.abstained else ""),
                f"{100 * one.probability:.1f} %",
                one.text[:300],
            )
            for one in found[:_MOST_SHOWN]
        ]
        left = len(found) - len(rows)
        cut = sum(one.truncated for one in found)
        notes = [f"{counted(len(found), 'text')} classified"]
        notes += [f"the first {len(rows)} are shown"] if left else []
        notes += [f"{cut} cut as in training"] if cut else []
        source = Path(uploaded).name if uploaded else "texts.txt"
        parts = markup.note("; ".join(notes), "good")
        parts += markup.table(("label", "probability", "text"), rows)
        button = gr.DownloadButton(value=str(target), visible=True)
        return parts + markup.commands(_of_many(folder, source, name)), button

    chosen.field.input(  # what is shown is of another run
        lambda: ("", "", gr.DownloadButton(visible=False)),
        outputs=[shown, some, download],
        **PRIVATE,
    )
    classify.click(one, inputs=[chosen.field, text], outputs=shown, **PRIVATE)
    inputs = [chosen.field, pasted, file, column]
    classify_all.click(many, inputs=inputs, outputs=[some, download], **PRIVATE)


def _why(found: Attribution, label: str) -> str:
    if not found.pieces:
        return markup.note("The text has no tokens.")
    each = (
        "each token"
        if found.tokens_a_piece == 1
        else f"every {found.tokens_a_piece} neighbouring tokens"
    )
    about = (
        f"Occlusion: how many points the probability of {label} "
        f"({100 * found.probability:.2f} %, before any decision) "
        f"falls without {each}. Blue speaks for {label}, orange against it."
    )
    measured = [piece for piece in found.pieces if piece.change is not None]
    strongest = sorted(measured, key=lambda piece: -abs(piece.change or 0))[:_STRONGEST]
    rows = [(piece.text.strip() or "␣", f"{100 * (piece.change or 0):+.2f}") for piece in strongest]
    return (
        "<h4>Which tokens mattered</h4>"
        + markup.note(about)
        + markup.marked_text(found)
        + markup.table(("token", "points"), rows)
    )


def _as_argument(text: str) -> list[str]:
    return ["--", text] if text.startswith("-") else [text]


def _of_many(folder: Path, source: str, column: str) -> str:
    """The line that classifies a file; a table needs Python, for the command reads lines."""
    if not source.lower().endswith((".csv", ".tsv")):
        return command_line("predict", typed(folder), "--file", source, "--json")
    separator = ", sep='\\t'" if source.lower().endswith(".tsv") else ""
    code = (
        "import llm_lightning, pandas as pd; "
        f"t = pd.read_csv({source!r}, dtype=str, keep_default_na=False{separator})[{column!r}]; "
        f"llm_lightning.load({typed(folder)!r}).predict(list(t)).to_csv('predictions.csv', "
        "index=False)"
    )
    return shlex.join(["python", "-c", code])
