"""Log-likelihoods equal those of whole texts, one at a time, however contexts are shared."""

from typing import Any

import pytest
import torch
from exporting.huggingface import transformers_tasks
from exporting.tasks_to_export import TINY, language_model
from torch import nn

from llm_lightning.evaluation.harness.prefix_cache import prefix_cache
from llm_lightning.evaluation.harness.scoring import ContinuationScorer, Pair, target_scores
from llm_lightning.tasks.language_model import LanguageModel

A, B, C = tuple(range(5, 25)), tuple(range(40, 43)), tuple(range(60, 75))
PAIRS = [
    Pair(A, (1, 2, 3)),  # four choices of a question, of different lengths
    Pair(A, (1, 9)),
    Pair(A, (7,)),
    Pair(A, (1, 2, 4)),
    Pair(B, (8,)),  # four letters
    Pair(B, (9,)),
    Pair(B, (10,)),
    Pair(C, (11, 12, 13, 14, 15)),  # alone
    Pair(A[:1], tuple(range(20, 45))),  # a window of a long text
    Pair(C[:9], (3, 3, 3)),
    Pair(C[:9], (3, 3, 3)),  # the same again
    Pair(C[:9], (4, 3)),
]


def model(kind: str) -> LanguageModel:
    if kind == "gpt2":
        return language_model(model=TINY | {"vocab_size": 100}, tie_weights=False)
    return transformers_tasks.language_model(kind)


@torch.no_grad()
def one_by_one(task: LanguageModel, pairs: list[Pair]) -> list[tuple[float, bool]]:
    found = []
    for context, continuation in pairs:
        logits = task(torch.tensor([context + continuation]))[0].log_softmax(dim=-1)
        rows = logits[len(context) - 1 : -1]
        targets = torch.tensor(continuation)
        value = rows.gather(1, targets[:, None]).sum()
        found.append((float(value), bool((rows.argmax(dim=1) == targets).all())))
    return found


@pytest.mark.parametrize("tokens_per_batch", [10_000, 60, 1])
@pytest.mark.parametrize("kind", ["gpt2", "llama", "gemma3", "qwen3", "gpt_neox"])
def test_scores_are_those_of_whole_texts(kind: str, tokens_per_batch: int) -> None:
    task = model(kind)
    prefixes, reason = prefix_cache(task.backbone)
    assert (prefixes is None, reason) == (False, None)
    counted: list[int] = []
    score = ContinuationScorer(task.backbone, task.head, prefixes, tokens_per_batch, counted.append)
    expected = one_by_one(task, PAIRS)
    for found in (score(PAIRS), ContinuationScorer(
        task.backbone, task.head, None, tokens_per_batch
    )(PAIRS)):  # fmt: skip
        assert [one.log_likelihood for one in found] == pytest.approx(
            [value for value, _ in expected], abs=1e-4
        )
        assert [one.is_greedy for one in found] == [flag for _, flag in expected]
    assert sum(counted) == len(PAIRS)


def test_the_greedy_continuation_is_recognised() -> None:
    task = model("gpt2")
    with torch.no_grad():
        best = int(task(torch.tensor([A]))[0, -1].argmax())
    prefixes, _ = prefix_cache(task.backbone)
    found = ContinuationScorer(task.backbone, task.head, prefixes, 100)(
        [Pair(A, (best,)), Pair(A, ((best + 1) % 100,))]
    )
    assert [one.is_greedy for one in found] == [True, False]


def test_a_shared_context_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    task = model("gpt2")
    computed: list[int] = []
    embed: Any = task.backbone._embed  # type: ignore[attr-defined]

    def counting(ids: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        computed.append(ids.numel())
        return embed(ids, at)  # type: ignore[no-any-return]

    monkeypatch.setattr(task.backbone, "_embed", counting)
    prefixes, _ = prefix_cache(task.backbone)
    ContinuationScorer(task.backbone, task.head, prefixes, 1000)(
        [Pair(A, (1, 2, 3)), Pair(A, (4, 5, 6)), Pair(A, (7, 8, 9))]
    )
    assert computed == [len(A), 3 * 2]


def test_contexts_that_differ_in_length_do_not_exceed_the_model_together() -> None:
    task = model("gpt2")  # of 32 positions
    long, short = tuple(range(29)), tuple(range(50, 55))
    pairs = [
        Pair(long, (1, 2)), Pair(long, (1, 3, 4)),
        Pair(short, tuple(range(20))), Pair(short, tuple(range(1, 25))),
    ]  # fmt: skip
    prefixes, _ = prefix_cache(task.backbone)
    found = ContinuationScorer(task.backbone, task.head, prefixes, 10_000)(pairs)
    values = [value for value, _ in one_by_one(task, pairs)]
    assert [one.log_likelihood for one in found] == pytest.approx(values, abs=1e-4)


def test_a_cache_that_changes_states_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    task = model("llama")
    inner: Any = task.backbone.model  # type: ignore[attr-defined]
    forward = inner.forward

    def forgetful(**given: Any) -> Any:
        if given.get("past_key_values") is not None:
            given["position_ids"] = given["position_ids"] * 0
        return forward(**given)

    monkeypatch.setattr(inner, "forward", forgetful)
    prefixes, reason = prefix_cache(task.backbone)
    assert prefixes is None
    assert reason == "with a cache this model gives other hidden states"


def test_target_scores_over_several_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_lightning.evaluation.harness.scoring._LOGITS_AT_A_TIME", 25)
    torch.manual_seed(1)
    head, hidden = nn.Linear(4, 10), torch.randn(7, 4)
    at, targets = [0, 0, 2, 3, 6, 6], [1, 2, 3, 4, 5, 9]
    with torch.no_grad():
        log_p, best = target_scores(head, hidden, at, targets)
        whole = head(hidden).log_softmax(dim=1)
    assert log_p.tolist() == pytest.approx(
        [float(whole[a, t]) for a, t in zip(at, targets, strict=True)]
    )
    assert best.tolist() == [int(whole[a].argmax()) == t for a, t in zip(at, targets, strict=True)]
