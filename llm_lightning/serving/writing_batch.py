"""Texts that a language model writes together, where the model is."""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from llm_lightning.backbone.generation import stream_tokens
from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.serving.model_process import Cancelled, Compute, Emit
from llm_lightning.tasks.language_model import LanguageModel

Finish = Literal["stop", "length"]


@dataclass(frozen=True)
class Asked:
    """A text to be written."""

    prompt: list[int]
    """Token ids, at least one and fewer than the context has."""
    options: GenerationOptions
    """Those of all texts of a batch differ in ``max_new_tokens`` alone."""


class Written(NamedTuple):
    """What was written of one of the texts."""

    row: int
    """Its place in the batch."""
    token: int | None
    """The next one; ``None``: it has ended."""
    finish: Finish = "length"
    """Why, if it has."""


def writes(model: LanguageModel, stop_id: int) -> Compute:
    """Returns what writes a list of :class:`Asked`, and emits :class:`Written`.

    Args:
        model: in evaluation mode.
        stop_id: the token that ends a text.
    """

    def write(texts: list[Asked], emit: Emit, cancelled: Cancelled) -> None:
        backbone = model.backbone
        room = [
            min(text.options.max_new_tokens, backbone.context_length - len(text.prompt))
            for text in texts
        ]
        done = [0] * len(texts)
        ended: set[int] = set()
        tokens = stream_tokens(
            backbone,
            model.head,
            [text.prompt for text in texts],
            replace(texts[0].options, max_new_tokens=max(room), batch_size=len(texts)),
            stop_id=stop_id,
            unwanted=ended,
        )
        for row, token in tokens:
            done[row] += 1
            emit(Written(row, token))
            full = {row} if done[row] == room[row] else set()
            for other in (full | set(cancelled())) - ended:
                ended.add(other)
                emit(Written(other, None))
        for row in set(range(len(texts))) - ended:
            emit(Written(row, None, "stop"))

    return write
