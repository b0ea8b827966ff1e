"""What a tokenizer must offer, and GPT-2's.

GPT-2's byte-pair encoding is built from ranks packaged with the library: no network, ever.
``assets/gpt2.tiktoken`` holds the 50,256 mergeable ranks (OpenAI, MIT licence beside it), one
``<base64 bytes> <rank>`` per line. tiktoken's own ``gpt2`` encoding would download the same data.
"""

import base64
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NoReturn, Protocol, runtime_checkable

import tiktoken

END_OF_TEXT = "<|endoftext|>"
END_OF_TEXT_ID = 50256
VOCAB_SIZE = 50257

# GPT-2's pre-tokenisation (Radford et al. 2019, section 2.2; encoder.py of the published code).
_SPLIT_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

_LONG_RUN = 10_000
"""Characters of white space from which tiktoken's pattern is not used: it backtracks over a run,
and at some hundred thousand the process ends in a panic."""
# White space as the pattern has it; Python's own also includes four separators of ASCII.
_LONG_SPACE = re.compile(
    r"[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]" rf"{{{_LONG_RUN},}}"
)


@runtime_checkable
class Tokenizer(Protocol):
    """Turns text into a model's token ids and back."""

    @property
    def vocab_size(self) -> int:
        """Number of token ids, special ones included."""

    @property
    def pad_id(self) -> int:
        """Id that fills the rows of a batch on the right."""

    @property
    def end_id(self) -> int:
        """Id that ends a text, of the training data or generated."""

    @property
    def start_id(self) -> int:
        """Id that stands for the beginning of a text, of which the first token is predicted."""

    @property
    def prefix(self) -> tuple[int, ...]:
        """Ids that the model expects before a text, such as ``[CLS]``."""

    @property
    def suffix(self) -> tuple[int, ...]:
        """Ids that the model expects after a text, such as ``[SEP]``."""

    @property
    def has_chat_template(self) -> bool:
        """Whether the tokenizer brings a template for conversations."""

    def encode(self, text: str) -> list[int]:
        """Encodes a user's text, without ``prefix`` and ``suffix``.

        Special tokens are treated as ordinary text: ``<|endoftext|>`` inside a message cannot end
        or reset the model's input.
        """

    def encode_batch(self, texts: Sequence[str]) -> Sequence[list[int]]:
        """Encodes users' texts, as :meth:`encode` each of them."""

    def encode_with_offsets(
        self, text: str, *, special: bool = False
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """Encodes a text, and finds which part of it each token covers.

        Args:
            text: any string.
            special: whether special tokens in the text become their ids, which only text that no
                user wrote may want.

        Returns:
            Token ids; and start and end of each token in characters. A character that a token
            covers in part is included, so the tokens of one character have the same offsets.
        """

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of token ids, without special tokens.

        Bytes that are no whole character become U+FFFD.
        """

    def special_id(self, text: str) -> int | None:
        """Returns the id of the special token with exactly this spelling, if there is one."""

    def render_chat(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Writes a conversation as the model's chat template has it.

        Args:
            messages: each with ``role`` (system, user or assistant) and ``content``.

        Raises:
            ValueError: if there is no template, or it refuses the conversation.
        """

    def save(self, folder: Path) -> None:
        """Writes the files that the tokenizer is made from into an existing folder."""


@cache
def gpt2_encoding() -> tiktoken.Encoding:
    """Returns GPT-2's encoding; built once per process (about 0.2 s)."""
    lines = _ranks().read_bytes().splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, lines)}
    return tiktoken.Encoding(
        name="gpt2",
        pat_str=_SPLIT_PATTERN,
        mergeable_ranks=ranks,
        special_tokens={END_OF_TEXT: END_OF_TEXT_ID},
        explicit_n_vocab=VOCAB_SIZE,
    )


def encode(text: str) -> list[int]:
    """Encodes a user's text as GPT-2 does; see :class:`GPT2Tokenizer`."""
    encoding = gpt2_encoding()
    if len(text) < _LONG_RUN:
        return encoding.encode_ordinary(text)
    ids: list[int] = []
    start = 0
    for run in _LONG_SPACE.finditer(text):
        # The last character of a run belongs to what follows, as the pattern has it.
        end = run.end() - (run.end() < len(text))
        ids += encoding.encode_ordinary(text[start : run.start()])
        ids += encoding._encode_single_piece(text[run.start() : end])
        start = end
    return ids + encoding.encode_ordinary(text[start:])


@dataclass(frozen=True)
class GPT2Tokenizer:
    """GPT-2's tokenizer, whose only special token both ends a text and fills rows."""

    vocab_size = VOCAB_SIZE
    pad_id = END_OF_TEXT_ID
    end_id = END_OF_TEXT_ID
    start_id = END_OF_TEXT_ID
    prefix: tuple[int, ...] = ()
    suffix: tuple[int, ...] = ()
    has_chat_template = False

    def encode(self, text: str) -> list[int]:
        """See :class:`Tokenizer`."""
        return encode(text)

    def encode_batch(self, texts: Sequence[str]) -> Sequence[list[int]]:
        """See :class:`Tokenizer`."""
        return list(map(encode, texts))

    def encode_with_offsets(
        self, text: str, *, special: bool = False
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """See :class:`Tokenizer`."""
        encoding = gpt2_encoding()
        parts = text.split(END_OF_TEXT) if special else [text]
        ids = encode(parts[0])
        for part in parts[1:]:
            ids += [END_OF_TEXT_ID, *encode(part)]
        offsets = []
        end = 0
        for token in encoding.decode_tokens_bytes(ids):
            # In UTF-8 all bytes of a character but the first, and no others, start with bits 10.
            num_started = sum(byte & 0xC0 != 0x80 for byte in token)
            start = end - (token[0] & 0xC0 == 0x80)
            end += num_started
            offsets.append((start, end))
        return ids, offsets

    def decode(self, ids: Sequence[int]) -> str:
        """See :class:`Tokenizer`."""
        return gpt2_encoding().decode([token for token in ids if token != END_OF_TEXT_ID])

    def special_id(self, text: str) -> int | None:
        """See :class:`Tokenizer`."""
        return END_OF_TEXT_ID if text == END_OF_TEXT else None

    def render_chat(self, messages: Iterable[Mapping[str, str]]) -> NoReturn:
        """Refuses: GPT-2 was not trained on conversations."""
        raise ValueError("GPT-2's tokenizer has no chat template")

    def save(self, folder: Path) -> None:
        """See :class:`Tokenizer`."""
        with resources.as_file(_ranks()) as ranks:
            shutil.copy(ranks, folder)


def _ranks() -> resources.abc.Traversable:
    return resources.files(__package__) / "assets" / "gpt2.tiktoken"
