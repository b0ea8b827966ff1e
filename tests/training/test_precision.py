import pytest
import torch

from llm_lightning.training.precision import resolve


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        ({"avx512_bf16": True}, "bf16-mixed"),
        ({"amx_bf16": True, "avx512_bf16": False}, "bf16-mixed"),
        ({"avx2": True, "avx512_bf16": False}, "32-true"),
        ({"architecture": "aarch64"}, "32-true"),
    ],
)
def test_auto_is_bf16_where_a_cpu_computes_in_it(
    monkeypatch: pytest.MonkeyPatch, instructions: dict[str, object], expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    assert resolve("auto", "cpu") == expected
    assert resolve("32-true", "cpu") == "32-true"


@pytest.mark.parametrize("native", [True, False])
def test_auto_is_bf16_where_a_gpu_computes_in_it(
    monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    for accelerator in ("auto", "gpu", "cuda"):
        assert resolve("auto", accelerator) == ("bf16-mixed" if native else "32-true")
