"""``python -m llm_lightning generate RUN "instruction"``: a run follows instructions.

Prompt style, context and weights all come from the run's folder.
"""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import torch
from rich.markup import escape

from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.commands.consent import consent
from llm_lightning.commands.failures import USER, refused
from llm_lightning.commands.given_texts import check_utf8, decoded_lines
from llm_lightning.commands.options import ALLOW_DOWNLOAD
from llm_lightning.commands.startup import HELD
from llm_lightning.data.prompts import Record
from llm_lightning.network import Unavailable
from llm_lightning.presentation.harmless import harmless
from llm_lightning.presentation.terminal import errors, print_error
from llm_lightning.run_format import files
from llm_lightning.run_format.summary import Summary, read_summary, write_summary
from llm_lightning.runs.errors import FolderHeld
from llm_lightning.runs.generation import stream_text, what_is_lost
from llm_lightning.runs.held_folder import held
from llm_lightning.runs.load import load_language_model
from llm_lightning.runs.prediction import best_device
from llm_lightning.runs.reminder import print_reminder
from llm_lightning.runs.responses import ready_to_generate, respond
from llm_lightning.runs.terminal_output import print_response_scores
from llm_lightning.tasks.language_model import LanguageModel


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    if not options.responses:
        return _generate(options)
    try:
        read_summary(options.run)  # beside a path that holds no run, nothing is made
        with held(options.run, by_others=f"{files.RESPONSES} can be completed after it has ended"):
            return _generate(options)
    except FolderHeld as error:
        print_error(str(error))
        return HELD
    except ValueError as error:
        return refused(error)


def _generate(options: argparse.Namespace) -> int:
    try:
        model, summary = load_language_model(options.run, consent(options.allow_download))
        given = {
            field.name: getattr(options, field.name)
            for field in fields(GenerationOptions)
            if getattr(options, field.name) is not None
        }
        model.options.generation = replace(model.options.generation, **given)
        for name in ("instruction", "input"):
            check_utf8(getattr(options, name) or "", name)
    except (ValueError, Unavailable) as error:
        return refused(error)
    device = best_device()
    print_reminder(summary.fallbacks)
    if options.responses:
        return _respond_to_test_split(model, device, options.run, summary)
    if not model.hparams["text"]:
        print_error(f"{options.run} was trained on plain text: it follows no instructions")
        return USER
    model = ready_to_generate(model, device, summary.precision)
    try:
        if options.instruction is not None:
            _print_response(model, Record(options.instruction, options.input))
        elif sys.stdin.isatty():
            _converse(model)
        else:
            for line in decoded_lines(sys.stdin.buffer, "standard input"):
                if line.strip():
                    _print_response(model, Record(line.strip(), ""))
    except ValueError as error:
        return refused(error)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m llm_lightning generate",
        description="A response to an instruction, by the model of a run; without an instruction "
        "it prompts for them.",
    )
    parser.add_argument("run", type=Path, help="run folder, e.g. runs/instruct/seed_123")
    parser.add_argument("instruction", nargs="?", help="what the model shall do")
    parser.add_argument("--input", default="", help="the text that the instruction is about")
    parser.add_argument(
        "--responses",
        action="store_true",
        help=f"respond to the test split into {files.RESPONSES}, continuing where that stopped",
    )
    parser.add_argument("--allow-download", action="store_true", help=ALLOW_DOWNLOAD)
    choice = parser.add_argument_group("how tokens are chosen (default: as the run was configured)")
    choice.add_argument("--max-new-tokens", type=int, help="longest response")
    choice.add_argument("--temperature", type=float, help="0 takes the most likely token")
    choice.add_argument("--top-k", type=int, help="sample among this many tokens")
    choice.add_argument("--top-p", type=float, help="sample among tokens of this much probability")
    choice.add_argument("--repetition-penalty", type=float, help="above 1: repeat less")
    choice.add_argument("--seed", type=int, help="of the samples")
    choice.add_argument("--batch-size", type=int, help="prompts at once, for --responses")
    return parser


def _print_response(model: LanguageModel, record: Record) -> None:
    if lost := what_is_lost(model, record, model.options.generation):
        errors.print(f"[yellow]warning[/yellow] {escape(lost)}", soft_wrap=True)
    for text in stream_text(model, record, model.options.generation):
        print(harmless(text), end="", flush=True)
    print()


def _converse(model: LanguageModel) -> None:
    """Reads instructions from a terminal until the input ends; each gets a response of its own."""
    print("Type an instruction, then its input (or an empty line); Ctrl-D ends.")
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            if not (instruction := input("\ninstruction> ").strip()):
                continue
            given = input("input> ").strip()
            try:
                record = Record(check_utf8(instruction, "this"), check_utf8(given, "this"))
            except ValueError as error:
                errors.print(escape(str(error)))
                continue
            _print_response(model, record)
    print()


def _respond_to_test_split(
    model: LanguageModel, device: torch.device, folder: Path, summary: Summary
) -> int:
    if not (folder / files.SPLITS_FOLDER / files.split_file("test", "instructions")).is_file():
        print_error(f"{folder} has no test split: there are no test instructions")
        return USER
    summary = respond(model, device, summary, folder)
    write_summary(folder, summary)
    if summary.responses:
        print_response_scores(summary.responses)
    return 0
