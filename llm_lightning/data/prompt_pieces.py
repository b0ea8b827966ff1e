"""The parts of an encoded record, and how a record that is too long is shortened part by part."""

from collections.abc import Sequence
from typing import NamedTuple

FRAME = "frame"
"""The field of pieces that every record has."""
TURN = "history "
"""How the fields of earlier turns begin; their number follows."""


class Token(NamedTuple):
    """A token and the characters that it covers, those covered in part included."""

    id: int
    start: int
    end: int


class Piece(NamedTuple):
    """A field of a record, or the text between two fields."""

    field: str
    """The field that the piece belongs to; pieces of ``FRAME`` are never dropped."""
    part: str
    """``question``, ``header`` or ``response``, which the masks refer to; or ``ignored``, which is
    never in the loss."""
    text: str
    is_given: bool = False
    """Whether the text comes from the record, and not from the prompt style."""
    tokens: Sequence[Token] = ()


def num_tokens(pieces: Sequence[Piece]) -> int:
    """Counts the tokens of all pieces."""
    return sum(len(piece.tokens) for piece in pieces)


def shortened(
    pieces: list[Piece], style: str, max_length: int
) -> tuple[list[Piece], tuple[str, ...]]:
    """Drops tokens, field by field, until at most ``max_length`` remain.

    The order is that of :meth:`~llm_lightning.data.prompts.Prompts.encode`.

    Args:
        pieces: of a record, with their tokens.
        style: name of the prompt style, for the error.
        max_length: largest number of tokens.

    Returns:
        The remaining pieces, and the fields that were truncated.

    Raises:
        ValueError: if the frame alone is too long.
    """
    frame = num_tokens([piece for piece in pieces if piece.field == FRAME])
    if frame >= max_length:
        raise ValueError(
            f"data.max_length must be more than {frame}, the number of tokens that the prompt "
            f"style {style!r} adds to every record, got {max_length}"
        )
    turns = dict.fromkeys(piece.field for piece in pieces if piece.field.startswith(TURN))
    cut: list[str] = []
    for field in ("input", *turns, "system"):
        excess = num_tokens(pieces) - max_length
        if excess <= 0:
            break
        own = [piece for piece in pieces if piece.field == field]
        if not own:
            continue
        cut.append(field)
        values = [piece for piece in own if piece.is_given and field not in turns]
        if values and len(values[0].tokens) > excess:
            kept = _beginning(values[0].tokens, len(values[0].tokens) - excess)
            pieces = [
                piece._replace(tokens=kept) if piece is values[0] else piece for piece in pieces
            ]
        else:  # with the text around the field
            pieces = [piece for piece in pieces if piece.field != field]
    if num_tokens(pieces) > max_length:
        pieces, fields = _shared(pieces, max_length - frame)
        cut += fields
    return pieces, tuple(cut)


def _shared(pieces: list[Piece], room: int) -> tuple[list[Piece], list[str]]:
    """Truncates instruction and response to ``room`` tokens in total, the longer one first.

    If they are equally long, the instruction keeps the odd token.
    """
    tokens = {
        piece.field: piece.tokens for piece in pieces if piece.field in ("instruction", "response")
    }
    longer, shorter = sorted(tokens, key=lambda field: len(tokens[field]), reverse=True)
    half = room - room // 2
    kept = {longer: _beginning(tokens[longer], max(room - len(tokens[shorter]), half))}
    kept[shorter] = _beginning(tokens[shorter], room - len(kept[longer]))
    pieces = [piece._replace(tokens=kept.get(piece.field, piece.tokens)) for piece in pieces]
    return pieces, [field for field in kept if len(kept[field]) < len(tokens[field])]


def _beginning(tokens: Sequence[Token], length: int) -> Sequence[Token]:
    """The first ``length`` tokens, without part of a character at the end."""
    if length >= len(tokens):
        return tokens
    while length and tokens[length].start < tokens[length - 1].end:
        length -= 1
    return tokens[:length]
