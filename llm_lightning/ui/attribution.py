"""Which tokens of a text mattered for a class: occlusion.

A few neighbouring tokens at a time are left out, and the text is classified without them. What the
probability of the class loses is what they contributed (Zeiler and Fergus 2014, section 4.2, for
images; Li et al. 2016, "Understanding Neural Networks through Representation Erasure"). It takes
one more forward pass a piece, and shows what the model does and not an approximation of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from llm_lightning.data.batching import Padder
from llm_lightning.tasks.text_classifier import TextClassifier

MOST_PIECES = 64
"""A longer text is left out several tokens at a time, so that it does not take for ever."""
_BATCH_SIZE = 32


@dataclass(frozen=True)
class Piece:
    """Neighbouring tokens."""

    text: str
    change: float | None
    """What the probability of the class loses without them; negative if it grows. ``None`` for what
    the model did not see because the text was too long."""


@dataclass(frozen=True)
class Attribution:
    """How much each part of a text mattered."""

    pieces: list[Piece]
    """In the order of the text."""
    tokens_a_piece: int
    probability: float
    """Of the class with the whole text, before temperature scaling."""


def occlusion(model: TextClassifier, text: str, label: str) -> Attribution:
    """Measures what each part of a text contributes to the probability of a class.

    Args:
        model: in evaluation mode.
        text: any string.
        label: name of a class.
    """
    padder = Padder(**model.hparams["text"])
    column = model.hparams["class_names"].index(label)
    ids, offsets = model.tokenizer.encode_with_offsets(text)
    seen = _seen(padder, len(ids))
    size = max(1, -(-len(seen) // MOST_PIECES))
    spans = _spans(seen, len(ids), size)
    left_out = [span for span in spans if span[0] in seen]
    rows = [[ids[i] for i in sorted(seen.difference(span))] for span in ([], *left_out)]
    whole, *without = _probabilities(model, padder, rows)[:, column].tolist()
    changes = dict(zip(map(tuple, left_out), (whole - p for p in without), strict=True))
    pieces = []
    start = 0
    for span in spans:
        end = len(text) if span is spans[-1] else max(start, offsets[span[-1]][1])
        pieces.append(Piece(text[start:end], changes.get(tuple(span))))
        start = end
    return Attribution(pieces, size, whole)


def _seen(padder: Padder, num_tokens: int) -> set[int]:
    """Which tokens of a text are left after truncation."""
    if not num_tokens:
        return set()
    whole = padder.examples([list(range(num_tokens))])[0].ids
    return set(whole[len(padder.prefix) : len(whole) - len(padder.suffix)])


def _spans(seen: set[int], num_tokens: int, size: int) -> list[list[int]]:
    """Neighbouring tokens that are left out together, or that were all cut away."""
    spans: list[list[int]] = []
    for i in range(num_tokens):
        is_open = spans and (spans[-1][-1] in seen) == (i in seen)
        if is_open and (i not in seen or len(spans[-1]) < size):
            spans[-1].append(i)
        else:
            spans.append([i])
    return spans


@torch.inference_mode()
def _probabilities(
    model: TextClassifier, padder: Padder, token_ids: Sequence[list[int]]
) -> NDArray[np.float64]:
    """Classifies encoded texts; shape (N, number of classes)."""
    examples = padder.examples(token_ids)
    found = np.empty((len(examples), len(model.hparams["class_names"])))
    # Where the padding of a batch matters, each text is classified alone, as `predict` does it.
    is_alone = padder.padding == "none" or model.why_not_cacheable() is not None
    step = 1 if is_alone else _BATCH_SIZE
    for start in range(0, len(examples), step):
        batch = padder.collate(examples[start : start + step])
        logits = model(batch.input_ids.to(model.device), batch.lengths.to(model.device))
        found[batch.indices.numpy()] = logits.float().softmax(dim=-1).cpu().numpy()
    return found
