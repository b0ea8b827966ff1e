"""``python -m llm_lightning generate RUN "instruction"``: a fine-tuned model answers.

Prompt style, context and weights all come from the run folder.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from llm_lightning.backbone.generation import GenerationOptions, stream_tokens
from llm_lightning.backbone.tokenizer import gpt2_encoding
from llm_lightning.commands.startup import run_and_exit
from llm_lightning.data.prompts import Record
from llm_lightning.evaluation.responses import prompt_tokens
from llm_lightning.network import Unavailable
from llm_lightning.presentation import console
from llm_lightning.run_format.files import RESPONSES
from llm_lightning.runs import folder as run_folder
from llm_lightning.runs.folder import load_language_model
from llm_lightning.runs.responses import answer_test_split, ready_to_answer
from llm_lightning.tasks.language_model import LanguageModel


def stream_text(model: LanguageModel, record: Record, options: GenerationOptions) -> Iterator[str]:
    """Yields an answer in pieces of whole characters, as they are written.

    Args:
        model: in evaluation mode.
        record: instruction and input; its output is not looked at.
        options: how tokens are chosen.
    """
    n_positions = model.backbone.config.n_positions
    prompt = prompt_tokens(record, model.hparams["text"]["prompt_style"], n_positions, options)
    pending = b""
    for _, token in stream_tokens(model.backbone, model.head, [prompt], options):
        pending += gpt2_encoding().decode_single_token_bytes(token)
        try:
            text = pending.decode("utf-8")
        except UnicodeDecodeError:
            continue  # a character may be spread over several tokens
        pending = b""
        yield text
    if pending:
        yield pending.decode("utf-8", errors="replace")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        model, summary = load_language_model(options.run)
        given = {
            field.name: getattr(options, field.name)
            for field in fields(GenerationOptions)
            if getattr(options, field.name) is not None
        }
        model.options.generation = replace(model.options.generation, **given)
    except (ValueError, Unavailable) as error:
        console.print_error(str(error))
        return 1
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = ready_to_answer(model, device, summary["precision"])
    if options.answers:
        return _answer_test_split(model, options.run, summary)
    if not model.hparams["text"]:
        console.print_error(f"{options.run} was trained on plain text: it follows no instructions")
        return 1
    console.print_reminder(summary["notices"])
    if options.instruction is not None:
        _print_answer(model, Record(options.instruction, options.input))
        return 0
    return _converse(model)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m llm_lightning generate",
        description="An instruction-tuned run answers; without an instruction it asks for them.",
    )
    parser.add_argument("run", type=Path, help="run folder, e.g. runs/instruct/seed_123")
    parser.add_argument("instruction", nargs="?", help="what the model is asked to do")
    parser.add_argument("--input", default="", help="what the instruction is about")
    parser.add_argument(
        "--answers",
        action="store_true",
        help=f"answer the test split into {RESPONSES}, going on where that stopped",
    )
    choice = parser.add_argument_group("how tokens are chosen (default: as the run was configured)")
    choice.add_argument("--max-new-tokens", type=int, help="longest answer")
    choice.add_argument("--temperature", type=float, help="0 takes the likeliest token")
    choice.add_argument("--top-k", type=int, help="draw among this many tokens")
    choice.add_argument("--top-p", type=float, help="draw among tokens of this much probability")
    choice.add_argument("--repetition-penalty", type=float, help="above 1: repeat less")
    choice.add_argument("--seed", type=int, help="of the draws")
    choice.add_argument("--batch-size", type=int, help="prompts at once, for --answers")
    return parser


def _print_answer(model: LanguageModel, record: Record) -> None:
    for text in stream_text(model, record, model.options.generation):
        print(text, end="", flush=True)
    print()


def _converse(model: LanguageModel) -> int:
    """Asks for instructions until the input ends; each is answered on its own."""
    asks = sys.stdin.isatty()
    if asks:
        print("An instruction a line, then its input (or an empty line); Ctrl-D ends.")
    try:
        while True:
            instruction = input("\ninstruction> " if asks else "").strip()
            if not instruction:
                continue
            given = input("input> ").strip() if asks else ""
            _print_answer(model, Record(instruction, given))
    except (EOFError, KeyboardInterrupt):
        if asks:
            print()
    return 0


def _answer_test_split(model: LanguageModel, folder: Path, summary: dict[str, Any]) -> int:
    if not (folder / run_folder.SPLITS / "test.json").is_file():
        console.print_error(f"{folder} has no splits/test.json: there are no test instructions")
        return 1
    try:
        summary["answers"] = answer_test_split(model, folder)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt("the same command goes on where this one stopped") from stop
    run_folder.write_summary(folder, summary)
    console.print_answer_scores(summary["answers"])
    return 0


if __name__ == "__main__":
    run_and_exit(main)
