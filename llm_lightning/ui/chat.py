"""Talking to a run: the prompt as its model gets it, and the response while it is generated."""

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.data.prompts import Prompts, Record, Turn
from llm_lightning.evaluation.responses import prompt_tokens
from llm_lightning.run_format.summary import Summary
from llm_lightning.runs.generation import stream_text
from llm_lightning.tasks.language_model import LanguageModel

Lent = AbstractContextManager[tuple[LanguageModel, Summary]]
"""A language model for as long as it is needed."""


@dataclass(frozen=True)
class Prompt:
    """What a model gets."""

    text: str
    num_tokens: int
    num_cut: int
    """Tokens of ``text`` that did not fit into the context and were left out."""


def conversation(turns: Sequence[tuple[str, str]], instruction: str, given: str = "") -> Record:
    """Returns an instruction with the turns before it.

    Raises:
        ValueError: if the instruction is empty.
    """
    if not instruction.strip():
        raise ValueError("type an instruction first")
    return Record(instruction, given, history=tuple(Turn(*turn) for turn in turns))


def prompt_of(model: LanguageModel, record: Record, options: GenerationOptions) -> Prompt:
    """Returns the prompt that a model gets for a record."""
    look = Prompts(model.hparams["text"]["prompt_style"], model.tokenizer)
    kept = prompt_tokens(record, look, model.backbone.context_length, options)
    whole = look.prompt_ids(record, 2**31)
    return Prompt(look.prompt_text(record), len(kept), len(whole) - len(kept))


def options_of(model: LanguageModel, changes: dict[str, Any]) -> GenerationOptions:
    """Returns the run's generation settings with some of them changed.

    Args:
        model: of the run.
        changes: by name; ``None`` keeps the run's.

    Raises:
        ValueError: if one is out of range.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        return replace(model.options.generation, **given)
    except ValueError as error:
        raise ValueError(str(error).removeprefix("task.generation.")) from error


def stream_response(
    model: LanguageModel, record: Record, options: GenerationOptions
) -> Iterator[str]:
    """Yields the response as far as it has come, each time a piece is added.

    The model computes in a thread of its own: the one that asks for the pieces may be another each
    time. It stops after the next token when nobody asks any more.
    """
    pieces: queue.Queue[str | BaseException | None] = queue.Queue()
    is_over = threading.Event()

    def generate() -> None:
        try:
            for piece in stream_text(model, record, options):
                pieces.put(piece)
                if is_over.is_set():
                    return
            pieces.put(None)
        except BaseException as error:  # for the one that asks
            pieces.put(error)

    worker = threading.Thread(target=generate, daemon=True)
    worker.start()
    response = ""
    try:
        while (piece := pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            response += piece
            yield response
    finally:
        is_over.set()
        worker.join()
