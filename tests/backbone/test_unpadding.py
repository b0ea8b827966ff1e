"""Unpadded rows: the same states and gradients as padded ones, for less work."""

import jaxtyping
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from llm_lightning.backbone import short_attention
from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.backbone.unpadding import BUCKET, Unpadding

LENGTHS = torch.tensor([40, 3, 17, 1, 25])


def test_positions_that_matter_come_row_by_row_and_padding_rounds_up() -> None:
    unpadding = Unpadding.of(LENGTHS, 40)
    assert unpadding is not None
    real = [row * 40 + at for row, width in enumerate(LENGTHS.tolist()) for at in range(width)]
    assert unpadding.indices[:86].tolist() == real
    assert len(unpadding.indices) == 96 == 3 * BUCKET
    assert unpadding.indices[86:].tolist() == list(range(43, 53))  # the padding of the second row
    assert unpadding.starts.tolist() == [0, 40, 43, 60, 61]


@pytest.mark.parametrize("lengths", [[40, 40], [40, 39], [40, 9]])
def test_nothing_is_unpadded_where_nothing_is_saved(lengths: list[int]) -> None:
    assert (Unpadding.of(torch.tensor(lengths), 40) is None) == (sum(lengths) > 64)


def test_pad_and_unpad_undo_each_other_and_are_each_others_gradient() -> None:
    unpadding = Unpadding.of(LENGTHS, 40)
    assert unpadding is not None
    x = torch.randn(len(unpadding.indices), 3, dtype=torch.double, requires_grad=True)
    assert torch.equal(unpadding.unpad(unpadding.pad(x)), x)
    assert torch.autograd.gradcheck(unpadding.pad, x)
    padded = torch.randn(5, 40, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(unpadding.unpad, padded)


def test_takes_positions_of_rows_and_the_last_one_behind_their_end() -> None:
    unpadding = Unpadding.of(LENGTHS, 40)
    assert unpadding is not None
    x = torch.arange(len(unpadding.indices)).float()[:, None]
    taken = unpadding.select(x, torch.tensor([[0, 39], [2, 3], [16, 39], [0, 1], [24, 25]]))
    assert taken[:, :, 0].tolist() == [[0, 39], [42, 42], [59, 59], [60, 60], [85, 85]]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("is_selected", [True, False])
def test_states_and_gradients_are_those_of_padded_rows(causal: bool, is_selected: bool) -> None:
    torch.manual_seed(0)
    backbone = GPT2(GPTConfig(n_layer=3, n_head=2, n_embd=16, n_positions=64, causal=causal))
    input_ids = torch.randint(0, 50257, (5, 40))
    matters = torch.arange(40) < LENGTHS[:, None]
    mask = None if causal else matters
    positions = LENGTHS[:, None] - 1 if is_selected else None
    found = []
    for lengths in (None, LENGTHS):
        states = backbone(input_ids, mask, positions=positions, lengths=lengths)
        states = states if is_selected else states[matters]
        backbone.zero_grad()
        states.pow(2).sum().backward()
        found.append((states, [parameter.grad.clone() for parameter in backbone.parameters()]))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


def test_an_unpadded_network_computes_no_padding() -> None:
    backbone = GPT2(GPTConfig(n_layer=2, n_head=2, n_embd=16, n_positions=64))
    seen = []
    for block in backbone.h:
        block.mlp.register_forward_hook(lambda module, args, out: seen.append(args[0].shape))
    backbone(torch.zeros(5, 40, dtype=torch.long), lengths=LENGTHS)
    assert seen == [(96, 16), (96, 16)]


class Products(TorchDispatchMode):
    """Keeps the shapes that products over positions are computed for."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: set[tuple[object, ...]] = set()

    def __torch_dispatch__(
        self, func: object, types: object, args: tuple[object, ...] = (), kwargs: object = None
    ) -> object:
        if any(name in str(func) for name in ("bmm", "attention")):
            self.shapes.add((str(func), *(a.shape for a in args if isinstance(a, torch.Tensor))))
        return func(*args, **(kwargs or {}))  # type: ignore[operator]


def test_one_position_of_batches_of_many_widths_shares_products_in_half_precision() -> None:
    backbone = GPT2(GPTConfig(n_layer=1, n_head=2, n_embd=16, n_positions=64))
    for dtype in (torch.bfloat16, torch.float32):
        products, numbers = Products(), []
        for width in (33, 40, 48):
            lengths = torch.cat([torch.tensor([width]), LENGTHS[1:]])
            input_ids = torch.zeros(5, width, dtype=torch.long)
            is_half = dtype is torch.bfloat16
            with products, torch.autocast("cpu", torch.bfloat16, enabled=is_half):
                backbone(
                    input_ids, positions=lengths[:, None] - 1, lengths=lengths
                ).sum().backward()
            numbers.append(len(products.shapes))
        assert (numbers[0] == numbers[1] == numbers[2]) == is_half


@pytest.mark.parametrize("lengths", [LENGTHS.clamp(max=37), torch.full((5,), 37)])
def test_filled_up_widths_change_no_bit(
    lengths: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    backbone = GPT2(GPTConfig(n_layer=1, n_head=2, n_embd=32, n_positions=64))
    input_ids = torch.randint(0, 50257, (5, 37))
    found = []
    for multiple in (1, 16):
        monkeypatch.setattr(short_attention, "WIDTHS", multiple)
        with torch.autocast("cpu", torch.bfloat16):
            states = backbone(input_ids, positions=lengths[:, None] - 1, lengths=lengths)
        backbone.zero_grad()
        states.float().pow(2).sum().backward()
        found.append([states, *(parameter.grad.clone() for parameter in backbone.parameters())])
    assert all(map(torch.equal, *found))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # both are the compiler looking around
@pytest.mark.filterwarnings("ignore:.*should not be instantiated")
def test_compiled_blocks_compute_the_same_without_a_break(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # cannot be compiled
    torch.manual_seed(0)
    config = GPTConfig(n_layer=2, n_head=2, n_embd=16, n_positions=64)
    backbone = GPT2(config)
    inputs = [(torch.randint(0, 50257, (5, n)), LENGTHS.clamp(max=n)) for n in (40, 30, 37)]
    expected = [backbone(ids, lengths=lengths) for ids, lengths in inputs]
    torch._dynamo.reset()
    for block in backbone.h:
        block.compile(dynamic=True, backend="aot_eager", fullgraph=True)
    for (ids, lengths), eager in zip(inputs, expected, strict=True):
        found = backbone(ids, lengths=lengths)
        matters = torch.arange(ids.shape[1]) < lengths[:, None]
        torch.testing.assert_close(found[matters], eager[matters])
        found[matters].sum().backward()
