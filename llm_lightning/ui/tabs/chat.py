"""Chat: a run responds to instructions, piece by piece, to the prompt that is shown."""

import json
import shlex
from collections.abc import Iterator
from typing import Any

import gradio as gr

from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.presentation.command_lines import command_line
from llm_lightning.presentation.plurals import counted
from llm_lightning.ui import markup
from llm_lightning.ui.chat import conversation, options_of, prompt_of, stream_response
from llm_lightning.ui.context import (
    PRIVATE,
    Context,
    RunChooser,
    follows_instructions,
    reported,
    typed,
)

_DEFAULT = GenerationOptions()
_FLAGS = {
    "max_new_tokens": "--max-new-tokens",
    "temperature": "--temperature",
    "top_k": "--top-k",
    "top_p": "--top-p",
    "repetition_penalty": "--repetition-penalty",
    "seed": "--seed",
}

Turns = list[tuple[str, str]]


def chat_tab(context: Context, tab: gr.Tab) -> None:
    """Builds the screen."""
    chosen = RunChooser(
        context,
        "Language model",
        follows_instructions,
        nothing="No finished run follows instructions yet: start one, such as instruct_nano, in "
        "the tab Runs.",
    )
    tab.select(chosen.update, inputs=chosen.field, outputs=chosen.field, **PRIVATE)
    turns = gr.State([])
    shown = gr.Chatbot(
        label="Conversation",
        height=360,
        render_markdown=False,
        buttons=["copy"],
        elem_id="chat-shown",
    )
    instruction = gr.Textbox(
        label="Instruction", lines=2, placeholder="Shift+Enter sends", elem_id="chat-instruction"
    )
    given = gr.Textbox(label="Input: the text it is about (may be empty)", elem_id="chat-input")
    with gr.Row():
        send = gr.Button("Send", variant="primary", elem_id="chat-send")
        stop = gr.Button("Stop")
        clear = gr.Button("Clear")
    with gr.Accordion("How tokens are chosen", open=False):
        with gr.Row():
            temperature = gr.Slider(0, 2, 0, step=0.05, label="Temperature (0: the most likely)")
            longest = gr.Slider(1, 1024, 128, step=1, label="Most new tokens")
            seed = gr.Number(_DEFAULT.seed, precision=0, label="Seed")
        with gr.Row():
            top_k = gr.Number(0, precision=0, minimum=0, label="Top-k (0: all)")
            top_p = gr.Slider(0.05, 1, 1, step=0.05, label="Top-p (1: all)")
            penalty = gr.Slider(0.5, 2, 1, step=0.05, label="Repetition penalty (1: none)")
        remembers = gr.Checkbox(False, label="Send the earlier turns too")
    prompt = gr.HTML(elem_id="chat-prompt")

    def changes(values: tuple[Any, ...]) -> dict[str, Any]:
        t, most, number, k, p, repetition = values
        return {
            "temperature": float(t),
            "max_new_tokens": int(most),
            "seed": int(number or 0),
            "top_k": int(k) if k else None,
            "top_p": float(p) if p < 1 else None,
            "repetition_penalty": float(repetition),
        }

    @reported
    def respond(
        value: str | None, words: str, about: str, before: Turns, with_before: bool, *rest: Any
    ) -> Iterator[tuple[Any, ...]]:
        folder = context.folder(value)
        record = conversation(before if with_before else [], words, about)
        chosen_options = changes(rest)
        said = words if not about else f"{words}\n\n{about}"
        with context.models.language_model(folder) as (model, _):
            options = options_of(model, chosen_options)
            found = prompt_of(model, record, options)
            cut = f", {found.num_cut} more were cut" if found.num_cut else ""
            below = (
                f"<h4>The prompt as the model gets it: "
                f"{counted(found.num_tokens, 'token')}{cut}</h4>"
                + markup.literal(found.text)
                + markup.commands(*_commands(folder, words, about, record.history, chosen_options))
            )
            yield _messages([*before, (said, "…")]), before, below, ""
            response = ""
            for response in stream_response(model, record, options):
                yield _messages([*before, (said, response)]), before, below, ""
        after = [*before, (said, response.strip())]
        yield _messages(after), after, below, ""

    inputs = [chosen.field, instruction, given, turns, remembers]
    inputs += [temperature, longest, seed, top_k, top_p, penalty]
    outputs = [shown, turns, prompt, instruction]
    sent = gr.on(
        [send.click, instruction.submit], respond, inputs=inputs, outputs=outputs, **PRIVATE
    )
    stop.click(None, cancels=[sent], **PRIVATE)
    clear.click(lambda: ([], [], ""), outputs=[shown, turns, prompt], **PRIVATE)
    chosen.field.change(lambda: ([], [], ""), outputs=[shown, turns, prompt], **PRIVATE)


def _messages(turns: Turns) -> list[dict[str, str]]:
    return [
        {"role": role, "content": text or "(nothing)"}
        for turn in turns
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]


def _commands(
    folder: Any, words: str, about: str, history: Any, options: dict[str, Any]
) -> list[str]:
    """The command for one instruction; the server's for a conversation, which only that takes."""
    if not history:
        flags = [
            part
            for name, flag in _FLAGS.items()
            if options[name] is not None
            for part in (flag, f"{options[name]:.10g}")
        ]
        given = ["--input", about] if about else []
        return [command_line("generate", typed(folder), words, *given, *flags)]
    messages = [
        {"role": role, "content": text}
        for turn in history
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]
    last = f"{words}\n\n{about}" if about else words
    names = {"max_new_tokens": "max_tokens"}
    body = {"model": folder.name, "messages": [*messages, {"role": "user", "content": last}]}
    body |= {names.get(k, k): v for k, v in options.items() if v is not None}
    address = "http://127.0.0.1:8000/v1/chat/completions"
    send = ["curl", address, "-H", "Content-Type: application/json", "-d", json.dumps(body)]
    return [command_line("serve", typed(folder)), shlex.join(send)]
