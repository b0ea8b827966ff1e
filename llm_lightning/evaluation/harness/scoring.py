"""Log-likelihoods of continuations: of many at once, with each shared context computed once.

Logits are computed only where a continuation's token is predicted, which for a small model with a
large vocabulary is most of the work saved.

Shapes: B rows of a batch, T positions, N scored positions, M scored tokens, C width, V vocabulary.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llm_lightning.backbone.protocol import Backbone
from llm_lightning.evaluation.harness.prefix_cache import PrefixCache, padded

Tokens = tuple[int, ...]

_LOGITS_AT_A_TIME = 2**24
"""Numbers in the logits of one step, 64 MiB of float32."""
_ROWS_TO_CONTEXTS = 8
"""Tokens that continuations may repeat of their contexts, relative to a batch's tokens."""


class Pair(NamedTuple):
    """A context and its continuation, as token ids; neither is empty."""

    context: Tokens
    continuation: Tokens


class Score(NamedTuple):
    """How likely a continuation is."""

    log_likelihood: float
    """Sum over its tokens, in nats."""
    is_greedy: bool
    """Whether each of its tokens is the most likely one."""


@dataclass(frozen=True)
class _Family:
    """A context with everything that follows it: requests by the tokens that must be run."""

    context: Tokens
    bodies: dict[Tokens, list[int]]
    """Continuations without their last token, which is only predicted; with their requests."""

    @property
    def is_whole(self) -> bool:
        return len(self.bodies) == 1

    @property
    def longest_body(self) -> int:
        return max(map(len, self.bodies))

    def length(self) -> int:
        """Positions of the longest text."""
        return len(self.context) + self.longest_body


class _Scored(NamedTuple):
    hidden: Tensor  # (N, C)
    at: list[int]  # (M,) ascending positions in hidden
    targets: list[int]  # (M,)
    requests: list[int]  # (M,) the request that each target belongs to


class ContinuationScorer:
    """Scores continuations with a model.

    Args:
        backbone: a causal model in eval mode.
        head: maps hidden states (N, C) to logits (N, V).
        prefixes: shares contexts; ``None``: every text is computed as a whole.
        tokens_per_batch: padding included; a longer text is a batch of its own.
        advance: called with the number of requests that were scored.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: nn.Module,
        prefixes: PrefixCache | None,
        tokens_per_batch: int,
        advance: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._backbone = backbone
        self._head = head
        self._prefixes = prefixes
        self._tokens_per_batch = tokens_per_batch
        self._advance = advance

    @torch.inference_mode()
    def __call__(self, pairs: Sequence[Pair]) -> list[Score]:
        """Scores every pair, in their order.

        Args:
            pairs: context and continuation without the latter's last token fit into the model's
                context.
        """
        sums = [0.0] * len(pairs)
        greedy = [True] * len(pairs)
        for scored in self._batches(pairs):
            log_p, best = target_scores(self._head, scored.hidden, scored.at, scored.targets)
            for request, value, is_best in zip(
                scored.requests, log_p.tolist(), best.tolist(), strict=True
            ):
                sums[request] += value
                greedy[request] &= is_best
            self._advance(len(set(scored.requests)))
        return [Score(total, flag) for total, flag in zip(sums, greedy, strict=True)]

    def _batches(self, pairs: Sequence[Pair]) -> Iterator[_Scored]:
        families = _families(pairs)
        if self._prefixes is None:
            families = [
                _Family(family.context, {body: requests})
                for family in families
                for body, requests in family.bodies.items()
            ]
        families.sort(key=_Family.length, reverse=True)
        for batch in self._batched([family for family in families if family.is_whole]):
            yield self._run_whole(batch, pairs)
        for batch in self._batched([family for family in families if not family.is_whole]):
            yield self._run_shared(batch, pairs)

    def _batched(self, families: Iterable[_Family]) -> Iterator[list[_Family]]:
        """Splits families, the longest first, by the number of tokens with padding."""
        batch: list[_Family] = []
        for family in families:
            wider = [*batch, family]
            context = max(len(one.context) for one in wider)
            body = max(one.longest_body for one in wider)
            rows = sum(len(one.bodies) for one in wider)
            tokens = len(wider) * context + rows * body
            if batch and (
                tokens > self._tokens_per_batch
                or rows * context > _ROWS_TO_CONTEXTS * self._tokens_per_batch
                or context + body > self._backbone.context_length
            ):
                yield batch
                batch = []
            batch.append(family)
        if batch:
            yield batch

    def _run_whole(self, families: Sequence[_Family], pairs: Sequence[Pair]) -> _Scored:
        """Runs each context with the one body that follows it, as one text."""
        device = self._backbone.input_embedding.weight.device
        bodies = [next(iter(family.bodies)) for family in families]
        ids, mask = padded(
            [family.context + body for family, body in zip(families, bodies, strict=True)], device
        )
        lengths = mask.sum(dim=1)
        counts = torch.tensor([len(body) + 1 for body in bodies], device=device)
        most = int(counts.max())
        # (B, Q): the last positions of each row; rows with fewer repeat their last one.
        last = torch.arange(most, device=device)
        positions = torch.minimum((lengths - counts)[:, None] + last, (lengths - 1)[:, None])
        if 2 * most > ids.shape[1]:  # most positions are wanted: compute them all
            hidden = self._backbone(ids, None, lengths=lengths)
            hidden = hidden.gather(1, positions[..., None].expand(-1, -1, hidden.shape[-1]))
        else:
            hidden = self._backbone(ids, None, positions=positions, lengths=lengths)
        kept = hidden[last < counts[:, None]]  # (N, C)
        at: list[int] = []
        targets: list[int] = []
        requests: list[int] = []
        start = 0
        for family, body in zip(families, bodies, strict=True):
            for request in family.bodies[body]:
                continuation = pairs[request].continuation
                at += range(start, start + len(continuation))
                targets += continuation
                requests += [request] * len(continuation)
            start += len(body) + 1
        return _Scored(kept, at, targets, requests)

    def _run_shared(self, families: Sequence[_Family], pairs: Sequence[Pair]) -> _Scored:
        """Runs each context once, and what follows it on top of its keys and values."""
        assert self._prefixes is not None
        followed = [
            (row, body) for row, family in enumerate(families) for body in family.bodies if body
        ]
        at_end, states = self._prefixes(
            [family.context for family in families],
            [row for row, _ in followed],
            [body for _, body in followed],
        )
        lengths = torch.tensor([len(body) for _, body in followed], device=states.device)
        of_tails = states[torch.arange(states.shape[1], device=states.device) < lengths[:, None]]
        starts = dict(zip(followed, _starts(len(families), lengths.tolist()), strict=True))
        at: list[int] = []
        targets: list[int] = []
        requests: list[int] = []
        for row, family in enumerate(families):
            for body, of_body in family.bodies.items():
                start = starts.get((row, body), 0)
                for request in of_body:
                    continuation = pairs[request].continuation
                    at += [row, *range(start, start + len(body))]
                    targets += continuation
                    requests += [request] * len(continuation)
        return _Scored(torch.cat([at_end, of_tails]), at, targets, requests)


def target_scores(
    head: nn.Module, hidden: Float[Tensor, "N C"], at: Sequence[int], targets: Sequence[int]
) -> tuple[Float[Tensor, " M"], Bool[Tensor, " M"]]:
    """Returns the log-probability of tokens, and whether each is the most likely one.

    Args:
        head: maps hidden states (N, C) to logits (N, V).
        hidden: states.
        at: the state that predicts each of the M tokens.
        targets: the tokens' ids.
    """
    places: Int[Tensor, " M"] = torch.tensor(at, device=hidden.device)
    wanted: Int[Tensor, " M"] = torch.tensor(targets, device=hidden.device)
    log_p = torch.empty(len(at), dtype=torch.float32, device=hidden.device)
    best = torch.empty(len(at), dtype=torch.bool, device=hidden.device)
    start, step = 0, 1  # the first state alone says how wide the logits are
    while start < len(hidden):
        logits = head(hidden[start : start + step]).float()  # (n, V)
        inside = ((places >= start) & (places < start + step)).nonzero()[:, 0]
        rows, tokens = places[inside] - start, wanted[inside]
        log_p[inside] = logits[rows, tokens] - logits.logsumexp(dim=1)[rows]
        best[inside] = logits.argmax(dim=1)[rows] == tokens
        start, step = start + step, max(1, _LOGITS_AT_A_TIME // logits.shape[1])
    return log_p, best


def _families(pairs: Sequence[Pair]) -> list[_Family]:
    """Groups requests by context, and then by the tokens that must be run after it."""
    by_context: dict[Tokens, dict[Tokens, list[int]]] = {}
    for request, (context, continuation) in enumerate(pairs):
        bodies = by_context.setdefault(context, {})
        bodies.setdefault(continuation[:-1], []).append(request)
    return [_Family(context, bodies) for context, bodies in by_context.items()]


def _starts(first: int, lengths: Sequence[int]) -> list[int]:
    """Where consecutive stretches start, the first of them at ``first``."""
    starts = []
    for length in lengths:
        starts.append(first)
        first += length
    return starts
