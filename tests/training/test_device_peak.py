"""The rate of a GPU is known by the name that its driver reports."""

import pytest
import torch

from llm_lightning.training.device_peak import peak_flops


@pytest.mark.parametrize("name", ["NVIDIA H200", "NVIDIA H100 80GB HBM3"])
def test_both_of_one_processor_have_its_dense_rate(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: name)
    found = peak_flops(torch.device("cuda"), torch.bfloat16)
    assert found == pytest.approx(989.4e12, rel=1e-3)


def test_an_unknown_card_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "a card")
    with pytest.warns(UserWarning, match="FLOPs not found"):
        assert peak_flops(torch.device("cuda"), torch.bfloat16) is None
