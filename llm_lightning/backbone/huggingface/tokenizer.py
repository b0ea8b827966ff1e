"""Tokenizers of other models, as transformers loads them.

Only the fast ones, which are built on the ``tokenizers`` library: they know which characters a
token covers, and never run code that came with a model.

A tokenizer may have added tokens of two kinds. Special ones, such as ``<|im_start|>``, stay
ordinary text in what a user writes. Those that their model does not call special, such as
``<think>`` of Qwen3 or a word that somebody added, are part of the vocabulary like any other:
wherever they are written they become their token, as they did when the model was trained.
"""

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from llm_lightning.backbone.huggingface.quiet import quiet
from llm_lightning.presentation.extras import require

_PROBE = "a"
"""A text that every vocabulary has, to see which special tokens are put around it."""
_NO_CLOCK = "{% macro strftime_now(format) %}26 Jul 2024{% endmacro %}"
"""Replaces the function with which templates get the date, by the one that Llama 3's has if it
cannot know better."""


class FastTokenizer:
    """A fast tokenizer of transformers as a :class:`~llm_lightning.backbone.tokenizer.Tokenizer`.

    Args:
        tokenizer: a ``transformers.PreTrainedTokenizerFast``.

    Raises:
        ValueError: if it is not a fast one, or has no token that could end a text.
    """

    def __init__(self, tokenizer: Any) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ValueError(
                f"the tokenizer {type(tokenizer).__name__} has no fast version, and only fast "
                f"tokenizers are supported: choose a model with a tokenizer.json"
            )
        self._tokenizer = tokenizer
        self._special = {
            str(token): index for index, token in tokenizer.added_tokens_decoder.items()
        }
        self.vocab_size: int = len(tokenizer)
        self.prefix, self.suffix = _around_a_text(tokenizer)
        end = (tokenizer.eos_token_id, tokenizer.sep_token_id, *self.suffix[-1:])
        known = [token for token in (*end, tokenizer.pad_token_id) if token is not None]
        if not known:
            raise ValueError(
                f"{tokenizer.name_or_path}: the tokenizer has no token that ends or fills a text "
                f"(eos_token, sep_token or pad_token in tokenizer_config.json)"
            )
        self.end_id: int = known[0]
        start = tokenizer.bos_token_id
        self.start_id: int = self.end_id if start is None else start
        pad = (tokenizer.pad_token_id, tokenizer.eos_token_id, self.end_id)
        self.pad_id: int = next(token for token in pad if token is not None)

    @property
    def has_chat_template(self) -> bool:
        """See :class:`~llm_lightning.backbone.tokenizer.Tokenizer`."""
        return bool(self._tokenizer.chat_template)

    def encode(self, text: str) -> list[int]:
        """See :class:`~llm_lightning.backbone.tokenizer.Tokenizer`."""
        ids: list[int] = self._ordinary.encode(text, add_special_tokens=False).ids
        return ids

    def encode_batch(self, texts: Sequence[str]) -> Sequence[list[int]]:
        """See :class:`~llm_lightning.backbone.tokenizer.Tokenizer`."""
        found = self._ordinary.encode_batch(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in found]

    def encode_with_offsets(
        self, text: str, *, special: bool = False
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """See :class:`~llm_lightning.backbone.tokenizer.Tokenizer`."""
        backend = self._with_special if special else self._ordinary
        encoding = backend.encode(text, add_special_tokens=False)
        return encoding.ids, encoding.offsets

    def decode(self, ids: Sequence[int]) -> str:
        """See :class:`~llm_lightning.backbone.tokenizer.Tokenizer`."""
        text: str = self._ordinary.decode(list(ids), skip_special_tokens=True)
        return text

    def special_id(self, text: str) -> int | None:
        """See :class:`~llm_lightning.backbone.tokenizer.Tokenizer`."""
        return self._special.get(text)

    def render_chat(self, messages: Sequence[Mapping[str, str]]) -> str:
        """See :class:`~llm_lightning.backbone.tokenizer.Tokenizer`.

        Templates that write today's date get a fixed one: prompts must not depend on the day.
        """
        if not self.has_chat_template:
            raise ValueError(f"{self._tokenizer.name_or_path}: the tokenizer has no chat template")
        try:
            text: str = self._tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                tokenize=False,
                chat_template=_NO_CLOCK + self._tokenizer.get_chat_template(),
            )
        except Exception as error:  # of the template itself, which is a program, or for its type
            raise ValueError(f"the chat template refuses the conversation: {error}") from error
        return text

    def save(self, folder: Path) -> None:
        """See :class:`~llm_lightning.backbone.tokenizer.Tokenizer`."""
        self._tokenizer.save_pretrained(folder)

    @cached_property
    def _ordinary(self) -> Any:
        backend = self._copy()
        backend.encode_special_tokens = True  # as the ordinary text that they are in a message
        return backend

    @cached_property
    def _with_special(self) -> Any:
        backend = self._copy()
        backend.encode_special_tokens = False
        return backend

    def _copy(self) -> Any:
        """The tokenizer without what a model's files may make it do to every text."""
        backend = copy.deepcopy(self._tokenizer.backend_tokenizer)
        backend.no_padding()
        backend.no_truncation()
        # It would add special tokens, and leave white space out of the offsets.
        backend.post_processor = None
        return backend


def load_tokenizer(folder: Path) -> FastTokenizer:
    """Loads a model's tokenizer from disk; never from the network, never with code of its own.

    Args:
        folder: with a ``tokenizer.json``, or with files that transformers can make one from.

    Raises:
        ValueError: if transformers is missing, or there is no tokenizer, it is damaged, or not a
            fast one; names the folder.
    """
    require("a model of the Hub", {"transformers": "transformers"}, "hub")
    from transformers import AutoTokenizer

    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder with a tokenizer: it does not exist")
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # transformers raises anything from OSError to KeyError
        raise _unusable(folder, error) from error
    try:
        return FastTokenizer(tokenizer)
    except ValueError:
        raise
    except Exception as error:  # settings of another type, which are only met in use
        raise _unusable(folder, error) from error


def _unusable(folder: Path, error: Exception) -> ValueError:
    reason = " ".join(str(error).split())
    return ValueError(
        f"{folder} holds no tokenizer that transformers can load "
        f"({type(error).__name__}: {reason:.200})"
    )


def _around_a_text(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The special tokens that the tokenizer puts before and after a text."""
    whole: list[int] = tokenizer(_PROBE)["input_ids"]
    plain: list[int] = tokenizer(_PROBE, add_special_tokens=False)["input_ids"]
    for start in range(len(whole) - len(plain) + 1):
        end = start + len(plain)
        if whole[start:end] == plain:
            return tuple(whole[:start]), tuple(whole[end:])
    raise ValueError(
        f"{tokenizer.name_or_path}: the tokenizer changes a text to which it adds special tokens"
    )
