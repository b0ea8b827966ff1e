"""Batches, labels and pooling: what holds for all texts, not only for those of an example."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from properties.few_cases import quick
from torch import Tensor
from torch.nn import functional as F

from llm_lightning.backbone.tokenizer import GPT2Tokenizer
from llm_lightning.data.batching import LengthGroupedBatches, Padder, longest_first
from llm_lightning.data.prompts import MASKS, Prompts, Record, Turn
from llm_lightning.data.sequences import NO_LABEL, TokenSequence, collate
from llm_lightning.tasks.pooling import POOLINGS, mean, pooled_positions, pooling_inputs
from llm_lightning.tasks.token_losses import token_losses
from llm_lightning.training.gradient_mean import GradientMean

ids = st.lists(st.integers(0, 96), max_size=12)
words = st.text(st.characters(codec="utf-8"), max_size=30)


@quick
@given(
    st.lists(ids, min_size=1, max_size=6), st.integers(3, 10),
    st.sampled_from(["max_length", "batch"]), st.sampled_from(["end", "start", "middle"]),
    st.lists(st.integers(0, 9), max_size=1), st.lists(st.integers(0, 9), max_size=1),
)  # fmt: skip
def test_a_batch_holds_every_text_as_far_as_it_fits(
    texts: list[list[int]], longest: int, padding: str, truncate: str, before: list, after: list
) -> None:
    padder = Padder(longest, padding, truncate, before, after, pad_id=99, end_id=98)
    batch = padder.collate(padder.examples(texts, list(range(len(texts)))))
    assert batch.input_ids.shape[0] == len(texts)
    width = longest if padding == "max_length" else int(batch.lengths.max())
    assert batch.input_ids.shape[1] == width <= longest
    assert batch.labels.tolist() == batch.indices.tolist() == list(range(len(texts)))
    room = longest - len(before) - len(after)
    for row, length, text in zip(batch.input_ids.tolist(), batch.lengths, texts, strict=True):
        kept = text
        if len(text) > room:
            last = {"end": 0, "start": room, "middle": room // 2}[truncate]
            kept = text[: room - last] + text[len(text) - last :]
        whole = [*before, *kept, *after] or [98]
        assert row == whole + [99] * (width - len(whole))
        assert length == len(whole)


@quick
@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 7), st.booleans())
def test_every_example_is_in_one_batch(lengths: list[int], size: int, drop_last: bool) -> None:
    order = torch.Generator().manual_seed(1)
    batches = LengthGroupedBatches(lengths, size, drop_last=drop_last, generator=order)
    found = list(batches)
    assert len(found) == len(batches)
    seen = sorted(index for batch in found for index in batch)
    assert len(set(seen)) == len(seen)
    assert len(seen) == (len(lengths) // size * size if drop_last else len(lengths))
    by_tokens = longest_first(lengths, 50)
    assert sorted(index for batch in by_tokens for index in batch) == list(range(len(lengths)))
    for batch in by_tokens:
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= 50


@quick
@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=8), min_size=1, max_size=5))
def test_padding_of_sequences_has_no_label(texts: list[list[int]]) -> None:
    sequences = [
        TokenSequence(
            torch.tensor(text), torch.tensor([*text[1:], 7]),
            torch.tensor([value % 2 == 0 for value in text]), index,
        )
        for index, text in enumerate(texts)
    ]  # fmt: skip
    batch = collate(sequences, pad_id=5)
    for row, text in enumerate(texts):
        n = len(text)
        assert batch.lengths[row] == n
        assert batch.input_ids[row].tolist() == text + [5] * (batch.input_ids.shape[1] - n)
        assert batch.labels[row, :n].tolist() == [*text[1:], 7]
        assert (batch.labels[row, n:] == NO_LABEL).all()
        assert not batch.in_response[row, n:].any()


# Not st.builds: the checks of types draw random elements, which a strategy must not.
fields = st.tuples(words.map("a{}".format), words, words, words)
turns = st.lists(st.tuples(words, words), max_size=2)


def record_of(given: tuple[str, ...], history: list[tuple[str, str]]) -> Record:
    return Record(*given, history=tuple(Turn(*turn) for turn in history))


@quick
@given(fields, turns, st.sampled_from(["alpaca", "phi3", "plain"]), st.integers(90, 400))
def test_masks_only_take_labels_away(
    texts: tuple[str, ...], history: list, style: str, longest: int
) -> None:
    record = record_of(texts, history)
    prompts = Prompts(style, GPT2Tokenizer())
    found = {mask: prompts.encode(record, mask, longest).sequence for mask in MASKS}
    whole = found["none"]
    assert len(whole) <= longest
    following = [*whole.ids[1:].tolist(), prompts.stop_id]
    for sequence in found.values():
        assert torch.equal(sequence.ids, whole.ids)
        assert torch.equal(sequence.in_response, whole.in_response)
        assert sequence.labels[-1] == prompts.stop_id, "the end of a response is always learnt"
        for label, token in zip(sequence.labels.tolist(), following, strict=True):
            assert label in (token, NO_LABEL)
    has_label = {mask: sequence.labels != NO_LABEL for mask, sequence in found.items()}
    assert has_label["none"].all()
    assert (has_label["prompt"] | ~has_label["prompt_and_header"]).all()
    assert torch.equal(has_label["prompt_and_header"], whole.in_response)


@quick
@given(fields, turns, st.sampled_from(["alpaca", "phi3", "plain"]))
def test_a_prompt_is_the_beginning_of_what_was_trained(
    texts: tuple[str, ...], history: list, style: str
) -> None:
    record = record_of(texts, history)
    prompts = Prompts(style, GPT2Tokenizer())
    prompt = prompts.prompt_ids(record, 4000)
    sequence = prompts.encode(record, "none", 4000).sequence
    assert sequence.ids[: len(prompt)].tolist() == prompt
    assert not sequence.in_response[: len(prompt) - 1].any() or record.history


@quick
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 3),
    st.sampled_from([one for one in POOLINGS if one not in ("auto", "cls")]),
    st.booleans(), st.booleans(),
)  # fmt: skip
def test_the_pooled_position_is_that_of_its_name(
    lengths: list[int], more: int, pooling: str, causal: bool, masked: bool
) -> None:
    sizes, width = torch.tensor(lengths), max(lengths) + more
    batch = torch.arange(len(lengths) * width).view(len(lengths), width)
    inputs = pooling_inputs(batch, sizes, pooling, is_causal=causal, is_masked=masked)
    kept = inputs.input_ids.shape[1]
    wanted = {"last_real": sizes - 1, "first": sizes * 0, "last": sizes * 0 + kept - 1}
    if pooling in wanted:
        assert inputs.positions is not None
        assert torch.equal(inputs.positions[:, 0], wanted[pooling])
        assert pooled_positions(sizes, kept, pooling) is not None
    else:
        assert inputs.positions is None
        states = torch.randn(len(lengths), kept, 3)
        rows = [kept if pooling == "mean" else length for length in lengths]
        expected = torch.stack([row[:n].mean(dim=0) for row, n in zip(states, rows, strict=True)])
        assert torch.allclose(mean(states, sizes, pooling), expected, atol=1e-6)
    if pooling in ("last", "mean"):
        assert kept == width, "padding is part of what they are about"
    assert (inputs.lengths <= kept).all()
    assert (kept >= sizes.max()) or (pooling == "first" and causal)


@quick
@given(st.integers(1, 400), st.integers(2, 9), st.integers(0, 99))
def test_losses_in_pieces_are_those_of_the_whole(count: int, tokens: int, seed: int) -> None:
    torch.manual_seed(seed)
    head = torch.nn.Linear(4, tokens, bias=False)
    hidden = torch.randn(count, 4, requires_grad=True)
    labels = torch.randint(tokens, (count,))
    found = token_losses(head, hidden, labels)
    expected = F.cross_entropy(head(hidden), labels, reduction="none")
    assert torch.allclose(found, expected, atol=1e-6)
    gradients = [
        torch.autograd.grad(losses.sum(), (hidden, head.weight), retain_graph=True)
        for losses in (found, expected)
    ]
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


@quick
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 99))
def test_a_step_of_several_batches_has_the_gradient_of_one(sizes: list[int], seed: int) -> None:
    """The mean over all examples, however they are dealt into batches."""
    torch.manual_seed(seed)
    weight = torch.nn.Parameter(torch.randn(3))
    rows = [torch.randn(size, 3) for size in sizes]

    def losses(batch: Tensor) -> Tensor:
        return (batch @ weight).square()

    step, number = GradientMean(), len(sizes)
    for batch in rows:
        loss = step.loss(losses(batch).sum(), float(len(batch)), number)
        (loss / number).backward()  # Lightning divides by the number of batches
    step.finish_step([weight], number)
    (whole,) = torch.autograd.grad(losses(torch.cat(rows)).mean(), weight)
    assert weight.grad is not None
    assert torch.allclose(weight.grad, whole, rtol=1e-4, atol=1e-5)
