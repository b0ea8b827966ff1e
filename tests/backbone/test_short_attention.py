"""Attention of short texts in half precision: it and its gradient are as exact as the kernel's."""

from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from llm_lightning.backbone import short_attention
from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig

REAL = torch.arange(20) < torch.tensor([[20], [7], [1]])  # (B, S)


def masks() -> dict[str, Tensor | None]:
    to_real = REAL[:, None, None, :].expand(3, 1, 20, 20)
    return {"none": None, "causal": None, "padding": to_real, "padded causal": to_real.tril()}


def with_gradients(attention: object, inputs: tuple[Tensor, ...], towards: Tensor) -> list[Tensor]:
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    found = attention(*leaves)  # type: ignore[operator]
    found.backward(towards.to(found.dtype))
    return [found.detach().float(), *(x.grad.float() for x in leaves)]


@pytest.mark.parametrize("rule", masks())
@pytest.mark.parametrize("is_autocast", [False, True])
def test_it_is_as_near_to_float32_as_the_fused_kernel(rule: str, is_autocast: bool) -> None:
    torch.manual_seed(0)
    inputs = tuple((2 * torch.randn(3, 4, 20, 16)).bfloat16() for _ in range(3))
    towards = torch.randn(3, 4, 20, 16).bfloat16()
    mask, is_causal = masks()[rule], rule == "causal"

    def fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal)

    def products(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        assert short_attention.is_better(q, k)
        with torch.autocast("cpu", torch.bfloat16, enabled=is_autocast):
            return short_attention.attend(q, k, v, mask, is_causal=is_causal)

    exact = with_gradients(fused, tuple(x.float() for x in inputs), towards)
    of_kernel = with_gradients(fused, inputs, towards)
    of_products = with_gradients(products, inputs, towards)
    for right, kernel, own in zip(exact, of_kernel, of_products, strict=True):
        error, bound = ((x - right).abs().mean() for x in (own, kernel))
        assert error <= 2 * bound + 1e-6  # scores in bf16 would be three times as far off
        torch.testing.assert_close(own, right, atol=0.05, rtol=0.05)


def test_its_gradient_is_exact_in_double_precision() -> None:
    torch.manual_seed(0)
    mask = masks()["padded causal"][:, :, :5, :5]  # type: ignore[index]
    inputs = [torch.randn(3, 2, 5, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    with patch.object(Tensor, "float", Tensor.double):  # scores would be in float32
        assert torch.autograd.gradcheck(
            lambda q, k, v: short_attention.attend(q, k, v, mask, is_causal=False), inputs
        )


def test_half_precision_takes_it_and_nothing_else_does() -> None:
    model = GPT2(GPTConfig(n_layer=2, n_head=2, n_embd=16, n_positions=300, attn_pdrop=0.0))
    ids = torch.randint(50257, (2, 12))
    with patch.object(short_attention, "attend", wraps=short_attention.attend) as attend:

        def calls(input_ids: Tensor, precision: torch.dtype | None) -> int:
            attend.reset_mock()
            with torch.autocast("cpu", precision, enabled=precision is not None):
                model(input_ids)
            return int(attend.call_count)

        assert calls(ids, torch.bfloat16) == 2
        assert calls(ids, None) == 0  # float32, where the fused kernel is faster
        assert calls(torch.randint(50257, (1, 257)), torch.bfloat16) == 0  # too long
        model.h[0].attn.attn_pdrop = 0.1
        assert calls(ids, torch.bfloat16) == 1  # dropout on the weights


def test_widths_return_and_change_nothing_but_the_last_bits() -> None:
    assert [short_attention.returning(n) for n in (1, 16, 17, 250)] == [16, 16, 32, 256]
    torch.manual_seed(0)
    shapes: set[torch.Size] = set()
    product = Tensor.__matmul__

    def watched(left: Tensor, right: Tensor) -> Tensor:
        shapes.update((left.shape, right.shape))
        return product(left, right)

    with patch.object(Tensor, "__matmul__", watched):
        for width in range(17, 33):
            q, k, v = (torch.randn(2, 2, width, 8).bfloat16().requires_grad_() for _ in range(3))
            found = short_attention.attend(q, k, v, None, is_causal=True)
            found.sum().backward()
            assert found.shape == k.grad.shape == (2, 2, width, 8)  # type: ignore[union-attr]
    assert {length for shape in shapes for length in shape} == {4, 8, 32}
