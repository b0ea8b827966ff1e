"""Encodes instruction records as prompts, or as prompts with responses and labels.

The whole text is tokenised at once and its tokens are then assigned to pieces (a field, or the text
between fields), so a prompt is, token for token, the beginning of the text seen in training. Pieces
do not share tokens: fields have no surrounding white space, and the text between them begins and
ends with newlines, where GPT-2's pre-tokenisation always splits. A token that spanned two pieces
all the same would belong to the one in which it ends.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import NamedTuple

import torch

from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID, gpt2_encoding
from llm_lightning.data.prompt_styles import PROMPT_STYLES
from llm_lightning.data.sequences import NO_LABEL, TokenSequence

MASKS = ("none", "prompt", "prompt_and_header")

_TURN = "history "


class Turn(NamedTuple):
    """An earlier exchange of a conversation."""

    user: str
    assistant: str


@dataclass
class Record:
    """An instruction and its response. Every field is stripped of surrounding white space."""

    instruction: str
    """The task; in a conversation the last message of the user."""
    input: str = ""
    """The text that the instruction refers to; may be empty."""
    output: str = ""
    """The response; empty if a model is to generate it."""
    system: str = ""
    """System message, ahead of everything else; may be empty."""
    history: tuple[Turn, ...] = ()
    """Earlier turns, oldest first."""

    def __post_init__(self) -> None:
        """Strips every field, so that pieces do not share tokens."""
        for name in ("instruction", "input", "output", "system"):
            setattr(self, name, getattr(self, name).strip())
        self.history = tuple(Turn(*(text.strip() for text in turn)) for turn in self.history)

    @property
    def question(self) -> tuple[str, tuple[Turn, ...], str, str]:
        """All fields but the output; equal for records of the same task."""
        return self.system, self.history, self.instruction, self.input


class Encoded(NamedTuple):
    """A record as tokens and labels, with the fields that were truncated."""

    sequence: TokenSequence
    cut: tuple[str, ...]
    """The truncated fields, in the order of truncation; usually empty."""


def encode_record(record: Record, style: str, mask: str, max_length: int) -> Encoded:
    """Encodes a record for training; its last label, and no other, is the end-of-text token.

    A record that is too long is truncated in this order, each step only as far as necessary: the
    end of the input, the earlier turns from the oldest on, the end of the system message. If that
    is not enough, the longer of instruction and response is truncated, down to half of the
    remaining room, and then the other: neither is dropped in favour of the other.

    Args:
        record: the instruction and its response.
        style: one of ``PROMPT_STYLES``.
        mask: which labels the loss ignores. ``none``: none; ``prompt``: all but headers and
            responses, as in the book's exercise 7.2; ``prompt_and_header``: all but responses. The
            end of text is always in the loss.
        max_length: largest number of input tokens.

    Returns:
        Input tokens and labels, and the truncated fields.

    Raises:
        ValueError: if ``max_length`` leaves no room beside the text of the style.
    """
    pieces, cut = _shortened(_tokenised(record, style), style, max_length)
    ids: list[int] = []
    parts: list[str] = []
    for piece in pieces:
        ids += piece.tokens
        parts += [piece.part] * len(piece.tokens)
    ids.append(END_OF_TEXT_ID)
    parts.append("response")
    in_loss = {
        "none": ("question", "header", "response"),
        "prompt": ("header", "response"),
        "prompt_and_header": ("response",),
    }[mask]
    labels = [
        token if part in in_loss else NO_LABEL
        for token, part in zip(ids[1:], parts[1:], strict=True)
    ]
    sequence = TokenSequence(
        torch.tensor(ids[:-1]),
        torch.tensor(labels),
        torch.tensor([part == "response" for part in parts[1:]]),
    )
    return Encoded(sequence, cut)


def prompt_ids(record: Record, style: str, max_length: int) -> list[int]:
    """Encodes a record as the prompt after which a model generates the response.

    The prompt ends with the header; ``output`` is ignored. Without truncation it equals the
    beginning of the ids of ``encode_record``. Fields are truncated in the same order, but without
    room for a response.

    Args:
        record: the instruction.
        style: one of ``PROMPT_STYLES``.
        max_length: largest number of tokens in the prompt.

    Returns:
        Token ids.

    Raises:
        ValueError: if ``max_length`` leaves no room beside the text of the style.
    """
    pieces, _ = _shortened(_tokenised(replace(record, output=""), style), style, max_length)
    return [token for piece in pieces for token in piece.tokens]


class _Piece(NamedTuple):
    field: str
    """The field that the piece belongs to; pieces of ``frame`` are never dropped."""
    part: str
    """``question``, ``header`` or ``response``, which the masks refer to."""
    text: str
    is_value: bool
    """Whether the piece can be truncated; others are kept or dropped as a whole."""
    tokens: Sequence[int] = ()


def _pieces(record: Record, style: str) -> list[_Piece]:
    look = PROMPT_STYLES[style]
    pieces = []
    if record.system:
        pieces += [
            _Piece("system", "question", look.before_system, False),
            _Piece("system", "question", record.system, True),
            _Piece("system", "question", look.after_system, False),
        ]
    pieces.append(_Piece("frame", "question", look.opening, False))
    for index, turn in enumerate(record.history):
        field = f"{_TURN}{index}"
        pieces += [
            _Piece(field, "question", look.before_instruction + turn.user, False),
            _Piece(field, "header", look.header, False),
            _Piece(field, "response", turn.assistant, False),
            _Piece(field, "question", look.after_turn, False),
        ]
    pieces += [
        _Piece("frame", "question", look.before_instruction, False),
        _Piece("instruction", "question", record.instruction, True),
    ]
    if record.input:
        pieces += [
            _Piece("input", "question", look.before_input, False),
            _Piece("input", "question", record.input, True),
        ]
    return [
        *pieces,
        _Piece("frame", "header", look.header, False),
        _Piece("response", "response", record.output, True),
    ]


def _tokenised(record: Record, style: str) -> list[_Piece]:
    pieces = _pieces(record, style)
    encoding = gpt2_encoding()
    text = "".join(piece.text for piece in pieces)
    if record.output:
        tokens = encoding.encode_ordinary(text)
    else:
        # Newlines at the very end would become one token, unlike those that a response follows.
        tokens = encoding.encode_ordinary(text + ".")[:-1]
    piece_ends = list(accumulate(len(piece.text.encode()) for piece in pieces))
    token_ends = accumulate(len(encoding.decode_single_token_bytes(token)) for token in tokens)
    tokens_of: list[list[int]] = [[] for _ in pieces]
    for token, end in zip(tokens, token_ends, strict=True):
        tokens_of[bisect_left(piece_ends, end)].append(token)
    return [piece._replace(tokens=own) for piece, own in zip(pieces, tokens_of, strict=True)]


def _shortened(
    pieces: list[_Piece], style: str, max_length: int
) -> tuple[list[_Piece], tuple[str, ...]]:
    """Drops tokens, field by field, until at most ``max_length`` remain."""
    frame = _num_tokens([piece for piece in pieces if piece.field == "frame"])
    if frame >= max_length:
        raise ValueError(
            f"data.max_length must be more than {frame}, the number of tokens that the prompt "
            f"style {style!r} adds to every record, got {max_length}"
        )
    turns = dict.fromkeys(piece.field for piece in pieces if piece.field.startswith(_TURN))
    cut: list[str] = []
    for field in ("input", *turns, "system"):
        excess = _num_tokens(pieces) - max_length
        if excess <= 0:
            break
        own = [piece for piece in pieces if piece.field == field]
        if not own:
            continue
        cut.append(field)
        values = [piece for piece in own if piece.is_value]
        if values and len(values[0].tokens) > excess:
            kept = _beginning(values[0].tokens, len(values[0].tokens) - excess)
            pieces = [
                piece._replace(tokens=kept) if piece is values[0] else piece for piece in pieces
            ]
        else:  # with the text around the field
            pieces = [piece for piece in pieces if piece.field != field]
    if _num_tokens(pieces) > max_length:
        pieces, fields = _shared(pieces, max_length - frame)
        cut += fields
    return pieces, tuple(cut)


def _shared(pieces: list[_Piece], room: int) -> tuple[list[_Piece], list[str]]:
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


def _num_tokens(pieces: Sequence[_Piece]) -> int:
    return sum(len(piece.tokens) for piece in pieces)


def _beginning(tokens: Sequence[int], length: int) -> Sequence[int]:
    """The first ``length`` tokens, without the bytes of an incomplete character at the end."""
    if length >= len(tokens):
        return tokens
    encoding = gpt2_encoding()
    # In UTF-8 all bytes of a character but the first, and no others, start with the bits 10.
    while length and encoding.decode_single_token_bytes(tokens[length])[0] & 0xC0 == 0x80:
        length -= 1
    return tokens[:length]
