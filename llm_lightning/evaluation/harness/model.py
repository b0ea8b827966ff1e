"""A model of this package as lm-evaluation-harness sees it.

Encoding, truncation and windows are those of the harness's own ``hf`` model, so that both give the
same numbers (lm_eval/models/huggingface.py, version 0.4.13).
"""

from collections.abc import Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from torch import nn

from llm_lightning.backbone.protocol import Backbone
from llm_lightning.backbone.tokenizer import Tokenizer
from llm_lightning.data.prompts import Prompts
from llm_lightning.evaluation.harness.chat import rendered
from llm_lightning.evaluation.harness.generating import generate_until
from llm_lightning.evaluation.harness.prefix_cache import prefix_cache
from llm_lightning.evaluation.harness.scoring import ContinuationScorer, Pair
from llm_lightning.presentation.progress import progress_bar


class HarnessModel(TemplateLM):  # type: ignore[misc]  # the harness has no types
    """A language model under the harness's protocol.

    Args:
        backbone: a causal model in eval mode, on the device where it computes.
        head: hidden states to logits.
        tokenizer: the model's.
        prompts: how the model was taught to read conversations; ``None``: it was not.
        tokens_per_batch: tokens that are computed at a time, padding included.
        batch_size: prompts that are continued at a time.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: nn.Module,
        tokenizer: Tokenizer,
        prompts: Prompts | None,
        *,
        tokens_per_batch: int,
        batch_size: int,
    ) -> None:
        super().__init__()
        self._backbone = backbone
        self._head = head
        self._text = tokenizer
        self._prompts = prompts
        self._tokens_per_batch = tokens_per_batch
        self._batch_size = batch_size
        self._is_chat = False
        self._encoded: dict[str, list[int]] = {}
        prefixes, self.why_not_shared = prefix_cache(backbone)
        """Why contexts are computed anew for every choice; ``None`` if they are not."""
        self._prefixes = prefixes
        self.num_cut = 0
        """Texts that lost tokens at their beginning because they exceed the context."""
        self.num_capped = 0
        """Prompts whose task wants longer responses than half the model's context."""

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return self._text.end_id

    @property
    def prefix_token_id(self) -> int:
        """The token before a text that has no context."""
        return self._text.start_id

    @property
    def max_length(self) -> int:
        """The model's context, in tokens."""
        return self._backbone.context_length

    @property
    def tokenizer_name(self) -> str:
        """What tells cached requests of this tokenizer and prompt style from others."""
        style = self._prompts.name if self._prompts else "plain text"
        return f"{type(self._text).__name__} of {self._text.vocab_size} tokens, {style}"

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        """Encodes a text, with what the model expects before it unless that is turned off."""
        if (known := self._encoded.get(string)) is not None and add_special_tokens is None:
            return known
        # In a conversation the special tokens around messages are meant; elsewhere they are text.
        if self._is_chat:
            ids = self._text.encode_with_offsets(string, special=True)[0]
        else:
            ids = self._text.encode(string)
        if add_special_tokens is False or tuple(ids[:1]) == self._text.prefix[:1] != ():
            return ids
        return [*self._text.prefix, *ids]

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Writes a conversation in the prompt style that the model was trained with.

        Raises:
            ValueError: if it was trained on plain text.
        """
        if self._prompts is None:
            raise ValueError("--chat: this run was trained on plain text, it knows no conversation")
        self._is_chat = True
        return rendered(chat_history, self._prompts, open_ended=add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Returns the name of the prompt style, for the harness's records."""
        return self._prompts.name if chat_template and self._prompts else None

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        # The choices of a question arrive one after another and share their context.
        stripped = context.rstrip()
        if stripped not in self._encoded:
            self._encoded = {stripped: self.tok_encode(stripped)}
        encoded: tuple[list[int], list[int]] = super()._encode_pair(context, continuation)
        return encoded

    def _loglikelihood_tokens(
        self,
        requests: Sequence[tuple[Any, list[int], list[int]]],
        disable_tqdm: bool = False,
        **kwargs: Any,
    ) -> list[tuple[float, bool]]:
        pairs = [self._fitting(context, continuation) for _, context, continuation in requests]
        with progress_bar() as progress:
            bar = progress.add_task("log-likelihoods", total=len(pairs))
            score = ContinuationScorer(
                self._backbone,
                self._head,
                self._prefixes,
                self._tokens_per_batch,
                lambda count: progress.advance(bar, count),
            )
            scores = [(one.log_likelihood, one.is_greedy) for one in score(pairs)]
        for (text, _, _), found in zip(requests, scores, strict=True):
            if text is not None:
                self.cache_hook.add_partial("loglikelihood", text, found)
        return scores

    def loglikelihood_rolling(
        self, requests: Sequence[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Returns the log-likelihood of whole texts, in windows as long as the model's context."""
        windows, owners = [], []
        for index, request in enumerate(requests):
            (text,) = request.args
            for window in get_rolling_token_windows(
                token_list=self.tok_encode(text),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            ):
                windows.append((None, *make_disjoint_window(window)))
                owners.append(index)
        totals = [0.0] * len(requests)
        for owner, (value, _) in zip(owners, self._loglikelihood_tokens(windows), strict=True):
            totals[owner] += value
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """Returns responses to prompts, up to a task's stop texts."""
        made = generate_until(
            self._backbone,
            self._head,
            self._text,
            [(self.tok_encode(request.args[0]), request.args[1]) for request in requests],
            stop_id=self._prompts.stop_id if self._prompts and self._is_chat else None,
            batch_size=self._batch_size,
        )
        self.num_cut += made.num_cut
        self.num_capped += made.num_capped
        for request, text in zip(requests, made.texts, strict=True):
            self.cache_hook.add_partial("generate_until", request.args, text)
        return made.texts

    def _fitting(self, context: list[int], continuation: list[int]) -> Pair:
        """Cuts the beginning of what is longer than the context and the token after it."""
        excess = len(context) + len(continuation) - (self.max_length + 1)
        if excess > 0:
            self.num_cut += 1
            if excess >= len(context):
                raise ValueError(
                    f"a continuation of {len(continuation)} tokens does not fit into the model's "
                    f"context of {self.max_length}: leave that task out"
                )
            context = context[excess:]
        return Pair(tuple(context), tuple(continuation))
