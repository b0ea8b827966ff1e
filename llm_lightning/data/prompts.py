"""Records become prompts, and prompts with their answers become labelled tokens.

The whole text is tokenised once and then cut into pieces, so a prompt is, token for token, the
beginning of the text that was learnt. Pieces never share a token: fields carry no white space at
their ends, and a style's own text meets them with a newline, where GPT-2's pre-tokenisation
always breaks. Should a token span two pieces all the same, it counts to the one it ends in.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import NamedTuple

import torch

from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID, gpt2_encoding
from llm_lightning.data.sequences import NO_LABEL, TokenSequence

MASKS = ("none", "prompt", "prompt_and_header")

_TURN = "history "


class Turn(NamedTuple):
    """What was said earlier in a conversation."""

    user: str
    assistant: str


@dataclass
class Record:
    """One task and its answer. Every field loses the white space at its ends."""

    instruction: str
    """What is asked; in a conversation the user's last message."""
    input: str = ""
    """What the instruction is about; may be empty."""
    output: str = ""
    """The answer; empty where it is still to be written."""
    system: str = ""
    """Stands ahead of everything else; may be empty."""
    history: tuple[Turn, ...] = ()
    """Earlier turns, oldest first."""

    def __post_init__(self) -> None:
        """Strips every field; see the module's first lines."""
        for name in ("instruction", "input", "output", "system"):
            setattr(self, name, getattr(self, name).strip())
        self.history = tuple(Turn(*(text.strip() for text in turn)) for turn in self.history)

    @property
    def question(self) -> tuple[str, tuple[Turn, ...], str, str]:
        """All but the answer: what makes two records the same task."""
        return self.system, self.history, self.instruction, self.input


@dataclass(frozen=True)
class PromptStyle:
    """The text around the fields of a record, in the order in which it stands.

    A conversation is the system text, the opening, and the turns; every turn has its instruction,
    header and response.
    """

    before_system: str
    after_system: str
    opening: str
    before_instruction: str
    before_input: str
    header: str
    """Between a question and its response."""
    after_turn: str
    """Between a response and the next turn."""


PROMPT_STYLES = {
    # The book's, which is that of Stanford Alpaca (Taori et al. 2023).
    "alpaca": PromptStyle(
        before_system="",
        after_system="\n\n",
        opening="Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request.\n\n",
        before_instruction="### Instruction:\n",
        before_input="\n\n### Input:\n",
        header="\n\n### Response:\n",
        after_turn="\n\n",
    ),
    # The book's exercise 7.1. To GPT-2 the tags are ordinary text of five tokens or so.
    "phi3": PromptStyle(
        before_system="<|system|>\n",
        after_system="\n",
        opening="",
        before_instruction="<|user|>\n",
        before_input="\n",
        header="\n<|assistant|>:\n",
        after_turn="\n",
    ),
    "plain": PromptStyle(
        before_system="",
        after_system="\n\n",
        opening="",
        before_instruction="",
        before_input="\n\n",
        header="\n\n",
        after_turn="\n\n",
    ),
}


class Encoded(NamedTuple):
    """A record as tokens and labels, and what did not fit."""

    sequence: TokenSequence
    cut: tuple[str, ...]
    """The fields that lost text, in the order in which they lost it; empty for most."""


def encode_record(record: Record, style: str, mask: str, max_length: int) -> Encoded:
    """Encodes a record to be learnt; its last label, and no other, is the end-of-text token.

    A record that is too long loses, each only as far as need be: the end of its input, its
    earlier turns from the oldest on, and the end of its system text. If that is not enough, the
    longer of its instruction and its response loses its end, and both do where each alone would
    take more than half of what is left: neither goes for the sake of the other.

    Args:
        record: the task and its answer.
        style: one of ``PROMPT_STYLES``.
        mask: ``none``, every token is learnt; ``prompt``, headers and responses are, as in the
            book's exercise 7.2; ``prompt_and_header``, responses are. The end of text always is.
        max_length: most tokens that are read.

    Raises:
        ValueError: if ``max_length`` has no room beside the style's own text.
    """
    pieces, cut = _shortened(_tokenised(record, style), style, max_length)
    ids: list[int] = []
    parts: list[str] = []
    for piece in pieces:
        ids += piece.tokens
        parts += [piece.part] * len(piece.tokens)
    ids.append(END_OF_TEXT_ID)
    parts.append("response")
    learnt = {
        "none": ("question", "header", "response"),
        "prompt": ("header", "response"),
        "prompt_and_header": ("response",),
    }[mask]
    labels = [
        token if part in learnt else NO_LABEL
        for token, part in zip(ids[1:], parts[1:], strict=True)
    ]
    sequence = TokenSequence(
        torch.tensor(ids[:-1]),
        torch.tensor(labels),
        torch.tensor([part == "response" for part in parts[1:]]),
    )
    return Encoded(sequence, cut)


def prompt_ids(record: Record, style: str, max_length: int) -> list[int]:
    """Returns the tokens after which a model writes the answer; ``output`` is not looked at.

    They end with the header: the model is asked for the answer alone. For a record that needs no
    cut they are the first ids of ``encode_record``; fields are cut in the same order, without a
    response to make room for.

    Args:
        record: the task.
        style: one of ``PROMPT_STYLES``.
        max_length: most tokens of the prompt.

    Raises:
        ValueError: if ``max_length`` has no room beside the style's own text.
    """
    pieces, _ = _shortened(_tokenised(replace(record, output=""), style), style, max_length)
    return [token for piece in pieces for token in piece.tokens]


class _Piece(NamedTuple):
    field: str
    """Which field goes short if this piece does; ``frame`` is never cut."""
    part: str
    """``question``, ``header`` or ``response``: what masks go by."""
    text: str
    is_value: bool
    """Whether its end can be cut off alone; other pieces stay or go whole."""
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
        # Newlines at the very end would merge, which they do not once an answer follows.
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
    """Leaves out tokens, field by field, until at most ``max_length`` are left."""
    frame = _num_tokens([piece for piece in pieces if piece.field == "frame"])
    if frame >= max_length:
        raise ValueError(
            f"data.max_length must be more than {frame}, the tokens that the prompt style "
            f"{style!r} adds to every record, got {max_length}"
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
        else:  # what frames a field goes with it
            pieces = [piece for piece in pieces if piece.field != field]
    if _num_tokens(pieces) > max_length:
        pieces, fields = _shared(pieces, max_length - frame)
        cut += fields
    return pieces, tuple(cut)


def _shared(pieces: list[_Piece], room: int) -> tuple[list[_Piece], list[str]]:
    """Cuts instruction and response to ``room`` tokens together, the longer one first.

    Of two that are equally long, the instruction keeps the odd token.
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
    """The first ``length`` tokens, less those that would be left of a character cut in two."""
    if length >= len(tokens):
        return tokens
    encoding = gpt2_encoding()
    # In UTF-8 the second and later bytes of a character, and no others, start with the bits 10.
    while length and encoding.decode_single_token_bytes(tokens[length])[0] & 0xC0 == 0x80:
        length -= 1
    return tokens[:length]
