"""Encodes instruction records as prompts, or as prompts with responses and labels.

The whole text is tokenised at once and its tokens are then assigned to pieces (a field, or the text
between fields), so a prompt is, token for token, the beginning of the text seen in training. Pieces
seldom share tokens: fields have no surrounding white space, and the text between them begins and
ends with newlines or special tokens, where GPT-2's pre-tokenisation, for one, always splits. A
token that spans two pieces all the same belongs to the one in which it ends.
"""

from bisect import bisect_left
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from typing import Any, NamedTuple

import torch

from llm_lightning.backbone.tokenizer import Tokenizer
from llm_lightning.data.chat_template import chat_style
from llm_lightning.data.prompt_pieces import FRAME, TURN, Piece, Token, shortened
from llm_lightning.data.prompt_styles import CHAT, PROMPT_STYLES
from llm_lightning.data.sequences import NO_LABEL, TokenSequence

MASKS = ("none", "prompt", "prompt_and_header")


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
    not_learnt: tuple[int, ...] = ()
    """Numbers of the earlier turns, from 0, whose response is never in the loss."""

    def __post_init__(self) -> None:
        """Strips every field, so that pieces do not share tokens."""
        for name in ("instruction", "input", "output", "system"):
            setattr(self, name, getattr(self, name).strip())
        self.history = tuple(Turn(*(text.strip() for text in turn)) for turn in self.history)

    def fields(self) -> dict[str, Any]:
        """Returns the fields as plain values, without ``not_learnt`` where it is empty."""
        return {k: v for k, v in asdict(self).items() if v or k != "not_learnt"}

    @property
    def question(self) -> tuple[str, tuple[Turn, ...], str, str]:
        """All fields but the output; equal for records of the same task."""
        return self.system, self.history, self.instruction, self.input


class Encoded(NamedTuple):
    """A record as tokens and labels, with the fields that were truncated."""

    sequence: TokenSequence
    cut: tuple[str, ...]
    """The truncated fields, in the order of truncation; usually empty."""


_IN_LOSS = {
    "none": ("question", "header", "response"),
    "prompt": ("header", "response"),
    "prompt_and_header": ("response",),
}


class Prompts:
    """Encodes records in one prompt style with one tokenizer.

    Special tokens in the text of the style become their ids; in the fields of a record the same
    characters stay ordinary text.

    Args:
        style: one of ``PROMPT_STYLES``, or ``CHAT``.
        tokenizer: the model's.

    Raises:
        ValueError: if the style is ``CHAT`` and there is no chat template, or one that cannot be
            followed.
    """

    def __init__(self, style: str, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.name = style
        self.style = chat_style(tokenizer) if style == CHAT else PROMPT_STYLES[style]
        """The text around the fields of a record."""
        # A chat template has its own.
        self._prefix = () if style == CHAT else tokenizer.prefix
        self._has_special = any(
            self._is_special(text, token)
            for text in self.style.texts()
            for token in self._tokens(text, special=True)
        )
        end = self._tokens(self.style.end, special=True)
        self.stop_id = end[-1].id if end else tokenizer.end_id
        """The token that ends a response."""

    def encode(self, record: Record, mask: str, max_length: int) -> Encoded:
        """Encodes a record for training; its last label is the token that ends a response.

        A record that is too long is truncated in this order, each step only as far as necessary:
        the end of the input, the earlier turns from the oldest on, the end of the system message.
        If that is not enough, the longer of instruction and response is truncated, down to half of
        the remaining room, and then the other: neither is dropped in favour of the other.

        Args:
            record: the instruction and its response.
            mask: which labels the loss ignores. ``none``: none; ``prompt``: all but headers and
                responses, as in the book's exercise 7.2; ``prompt_and_header``: all but responses.
                The end of a response is always in the loss.
            max_length: largest number of input tokens.

        Returns:
            Input tokens and labels, and the truncated fields.

        Raises:
            ValueError: if ``max_length`` leaves no room beside the text of the style.
        """
        end = Piece(FRAME, "response", self.style.end)
        *pieces, end = self._tokenised([*self._pieces(record), end])
        # The last token is the one that ends the response.
        pieces = [*pieces, end._replace(tokens=end.tokens[:-1])]
        pieces, cut = shortened(pieces, self.name, max_length)
        ids: list[int] = []
        parts: list[str] = []
        for piece in pieces:
            ids += [token.id for token in piece.tokens]
            parts += [piece.part] * len(piece.tokens)
        ids.append(self.stop_id)
        parts.append("response")
        labels = [
            token if part in _IN_LOSS[mask] else NO_LABEL
            for token, part in zip(ids[1:], parts[1:], strict=True)
        ]
        sequence = TokenSequence(
            torch.tensor(ids[:-1]),
            torch.tensor(labels),
            torch.tensor([part == "response" for part in parts[1:]]),
        )
        return Encoded(sequence, cut)

    def prompt_ids(self, record: Record, max_length: int) -> list[int]:
        """Encodes a record as the prompt after which a model generates the response.

        The prompt ends with the header; ``output`` is ignored. Without truncation it equals the
        beginning of the ids of :meth:`encode`. Fields are truncated in the same order, but without
        room for a response.

        Args:
            record: the instruction.
            max_length: largest number of tokens in the prompt.

        Returns:
            Token ids.

        Raises:
            ValueError: if ``max_length`` leaves no room beside the text of the style.
        """
        return self._prompt(record, max_length)[0]

    def cut_fields(self, record: Record, max_length: int) -> tuple[str, ...]:
        """Returns the fields of a record that :meth:`prompt_ids` truncates, usually none."""
        return self._prompt(record, max_length)[1]

    def _prompt(self, record: Record, max_length: int) -> tuple[list[int], tuple[str, ...]]:
        pieces = self._tokenised(self._pieces(replace(record, output="")))
        pieces, cut = shortened(pieces, self.name, max_length)
        return [token.id for piece in pieces for token in piece.tokens], cut

    def prompt_text(self, record: Record) -> str:
        """Returns the text that :meth:`prompt_ids` encodes, whole; ``output`` is ignored."""
        return "".join(piece.text for piece in self._pieces(replace(record, output="")))

    def _pieces(self, record: Record) -> list[Piece]:
        look = self.style
        pieces = []
        opening, around_system = look.opening, "system"
        if look.opening_without_system is not None:
            opening, around_system = look.opening_without_system, FRAME
        if record.system:
            opening = look.opening
            pieces += [
                Piece(around_system, "question", look.before_system),
                Piece("system", "question", record.system, is_given=True),
                Piece(around_system, "question", look.after_system),
            ]
        pieces.append(Piece(FRAME, "question", opening))
        earlier_header = look.header if look.earlier_header is None else look.earlier_header
        for index, turn in enumerate(record.history):
            field = f"{TURN}{index}"
            response = "ignored" if index in record.not_learnt else "response"
            pieces += [
                Piece(field, "question", look.before_instruction),
                Piece(field, "question", turn.user, is_given=True),
                Piece(field, "header", earlier_header),
                Piece(field, response, turn.assistant, is_given=True),
                Piece(field, response, look.end),
                Piece(field, "question", look.after_turn),
            ]
        pieces += [
            Piece(FRAME, "question", look.before_instruction),
            Piece("instruction", "question", record.instruction, is_given=True),
        ]
        if record.input:
            pieces += [
                Piece("input", "question", look.before_input),
                Piece("input", "question", record.input, is_given=True),
            ]
        return [
            *pieces,
            Piece(FRAME, "header", look.header),
            Piece("response", "response", record.output, is_given=True),
        ]

    def _tokenised(self, pieces: list[Piece]) -> list[Piece]:
        text = "".join(piece.text for piece in pieces)
        last_part = next((piece.part for piece in reversed(pieces) if piece.text), None)
        # Newlines at the very end would become one token, unlike those that a response follows.
        followed = text + "." if last_part == "header" else text
        tokens = self._tokens(followed, special=self._has_special)
        ends = list(accumulate(len(piece.text) for piece in pieces))
        if self._has_special:
            given = [
                range(end - len(piece.text), end)
                for piece, end in zip(pieces, ends, strict=True)
                if piece.is_given
            ]
            tokens = self._without_special_in(given, followed, tokens)
        tokens_of: list[list[Token]] = [[] for _ in pieces]
        for token in tokens:
            if token.end <= len(text):
                tokens_of[bisect_left(ends, token.end)].append(token)
        before = [Token(token, 0, 0) for token in self._prefix]
        return [
            Piece(FRAME, "question", "", tokens=before),
            *(piece._replace(tokens=own) for piece, own in zip(pieces, tokens_of, strict=True)),
        ]

    def _tokens(self, text: str, *, special: bool) -> list[Token]:
        ids, offsets = self.tokenizer.encode_with_offsets(text, special=special)
        return [Token(index, *span) for index, span in zip(ids, offsets, strict=True)]

    def _is_special(self, text: str, token: Token) -> bool:
        # Some special tokens take the white space beside them.
        spelling = text[token.start : token.end].strip()
        return self.tokenizer.special_id(spelling) == token.id

    def _without_special_in(
        self, ranges: list[range], text: str, tokens: list[Token]
    ) -> list[Token]:
        """Encodes special tokens anew, as ordinary text, that overlap one of the ranges."""
        found = []
        for token in tokens:
            if not self._is_special(text, token) or not any(
                token.start < own.stop and own.start < token.end for own in ranges
            ):
                found.append(token)
                continue
            ordinary = self._tokens(text[token.start : token.end], special=False)
            found += [
                Token(part.id, part.start + token.start, part.end + token.start)
                for part in ordinary
            ]
        return found
