"""Linear layers by oneDNN: the same numbers, and only where they are asked for."""

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from llm_lightning.backbone import faster_products
from llm_lightning.backbone.faster_products import _OneDNN

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN"
)
OPERATOR = "mkldnn::_linear_pointwise"


def computed(layer: nn.Linear, x: Tensor) -> tuple[Tensor, bool]:
    """The layer's output under the mode, and whether oneDNN computed it."""
    with profile(activities=[ProfilerActivity.CPU]) as found, _OneDNN():
        output = layer(x)
    return output, any(event.key == OPERATOR for event in found.key_averages())


@pytest.mark.parametrize("has_bias", [True, False])
def test_large_products_are_onednns_and_equal(has_bias: bool) -> None:
    torch.manual_seed(1)
    layer, x = nn.Linear(64, 48, bias=has_bias), torch.randn(3, 100, 64)
    with torch.inference_mode():
        found, is_onednn = computed(layer, x)
        torch.testing.assert_close(found, layer(x), atol=1e-5, rtol=1e-5)
    assert is_onednn


def test_others_are_left_alone() -> None:
    layer = nn.Linear(64, 48)
    with torch.inference_mode():
        assert not computed(layer, torch.randn(255, 64))[1]
        assert not computed(layer.bfloat16(), torch.randn(300, 64, dtype=torch.bfloat16))[1]
    layer = layer.float()
    output, is_onednn = computed(layer, torch.randn(300, 64))  # with gradients, which it has not
    output.sum().backward()
    assert (is_onednn, layer.weight.grad is not None) == (False, True)


def test_other_processors_and_single_texts_keep_what_they_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(faster_products, "is_amd_with_avx512", lambda: True)
    assert isinstance(faster_products.faster_products(256), _OneDNN)
    assert isinstance(faster_products.faster_products(255), nullcontext)
    monkeypatch.setattr(faster_products, "is_amd_with_avx512", lambda: False)
    assert isinstance(faster_products.faster_products(256), nullcontext)
