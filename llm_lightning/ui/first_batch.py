"""The first batch that a run trained on, as its model saw it."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from llm_lightning.backbone.tokenizer import Tokenizer
from llm_lightning.data.batching import Batch
from llm_lightning.data.sequences import NO_LABEL, SequenceBatch
from llm_lightning.tasks.pooling import pooled_positions
from llm_lightning.ui.run_data import RunData, RunTexts

TEXT, SPECIAL, PADDING = "text", "special", "padding"
"""Roles of a classifier's tokens."""
IN_LOSS, MASKED = "in the loss", "masked"
"""Roles of a language model's tokens, beside ``PADDING``: whether the loss asks for them."""


class Cell(NamedTuple):
    """A position of a row."""

    token: int
    text: str
    """Of the token alone; a special token is its number in angle brackets."""
    role: str
    is_pooled: bool = False
    """Whether the head of a classifier sees its hidden state."""


@dataclass(frozen=True)
class BatchRow:
    """An example of a batch."""

    index: int
    """Of the example in the training split, from 0."""
    label: str | None
    """Of a classifier."""
    cells: list[Cell]


@dataclass(frozen=True)
class FirstBatch:
    """The first training batch."""

    rows: list[BatchRow]
    shape: tuple[int, int]
    """Rows and positions."""
    num_padding: int
    pooled: str | None
    """What the head of a classifier sees, in words."""

    def count(self, role: str) -> int:
        """Returns the number of positions of a role."""
        return sum(cell.role == role for row in self.rows for cell in row.cells)


def first_batch(run: RunData) -> FirstBatch:
    """Draws the first batch again, in the order that the run's seed gives.

    Args:
        run: its data.
    """
    batch = next(iter(run.data.train_dataloader()))
    if isinstance(batch, Batch):
        return _of_classifier(batch, run)
    return _of_language_model(batch, run.data.tokenizer)


def token_text(tokenizer: Tokenizer, token: int) -> str:
    """Returns the text of one token, visible whatever it is."""
    hidden = "⟨end⟩" if token == tokenizer.end_id else f"⟨{token}⟩"
    return tokenizer.decode([token]) or hidden


def _of_classifier(batch: Batch, run: RunData) -> FirstBatch:
    data = run.data
    if not isinstance(data, RunTexts):
        raise TypeError(f"a classifier's batch comes from its texts, got {type(data)}")
    num_rows, num_positions = batch.input_ids.shape
    pooled: list[set[int]] = [set() for _ in range(num_rows)]
    lengths = batch.lengths.tolist()
    if run.pooling is not None:
        positions = pooled_positions(batch.lengths, num_positions, run.pooling)
        for row, length in enumerate(lengths):
            whole = num_positions if run.pooling == "mean" else length
            pooled[row] = set(range(whole) if positions is None else positions[row].tolist())
    before, after = len(data.padder.prefix), len(data.padder.suffix)
    rows = []
    for row, ids in enumerate(batch.input_ids.tolist()):
        length = lengths[row]
        cells = []
        for position, token in enumerate(ids):
            is_text = before <= position < length - after
            role = PADDING if position >= length else TEXT if is_text else SPECIAL
            text = token_text(data.tokenizer, token)
            cells.append(Cell(token, text, role, position in pooled[row]))
        label = data.splits.class_names[int(batch.labels[row])]
        rows.append(BatchRow(int(batch.indices[row]), label, cells))
    padding = num_rows * num_positions - sum(lengths)
    return FirstBatch(rows, (num_rows, num_positions), padding, _in_words(run.pooling))


def _of_language_model(batch: SequenceBatch, tokenizer: Tokenizer) -> FirstBatch:
    """A token is in the loss if the label of the position before it is that token.

    The last label of a row, which is usually the end of the text, is no input: a cell is added.
    """
    num_rows, num_positions = batch.input_ids.shape
    rows = []
    for row in range(num_rows):
        length = int(batch.lengths[row])
        labels: list[int] = batch.labels[row].tolist()
        ids: list[int] = batch.input_ids[row].tolist()
        cells = []
        for position, token in enumerate(ids[:length]):
            asked = position > 0 and labels[position - 1] != NO_LABEL
            text = token_text(tokenizer, token)
            cells.append(Cell(token, text, IN_LOSS if asked else MASKED))
        last = labels[length - 1]
        if last != NO_LABEL:
            cells.append(Cell(last, token_text(tokenizer, last), IN_LOSS))
        cells += [
            Cell(token, token_text(tokenizer, token), PADDING)
            for token in ids[length + (last != NO_LABEL) :]
        ]
        rows.append(BatchRow(int(batch.indices[row]), None, cells))
    padding = num_rows * num_positions - int(batch.lengths.sum())
    return FirstBatch(rows, (num_rows, num_positions), padding, None)


def _in_words(pooling: str | None) -> str | None:
    words: dict[Any, str] = {
        "last_real": "the state of the last real token",
        "last": "the state of the last position, padding or not",
        "first": "the state of the first token",
        "mean_real": "the mean of the states of all real tokens",
        "mean": "the mean of the states of all positions, padding among them",
    }
    return words.get(pooling)
