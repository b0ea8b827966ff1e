"""A run that cannot fit is refused, with numbers, before anything is fetched."""

from typing import Any

import pytest
import torch

from llm_lightning.backbone.weights import ModelConfig
from llm_lightning.distributed.processes import Processes
from llm_lightning.finetuning.adaptation import LoRA
from llm_lightning.finetuning.strategies import AllLayers, Strategy, TopBlocks
from llm_lightning.runs.memory_forecast import check_memory
from llm_lightning.tasks.classifier import Classifier
from llm_lightning.tasks.options import ClassifierOptions
from llm_lightning.training.optim import AdamW

GIB = 2**30
XL = ModelConfig(name="gpt2_xl", n_layer=48, n_head=25, n_embd=1600)
"""1,557.6 million weights, 5.8 GiB in 32 bits."""


def check(monkeypatch: pytest.MonkeyPatch, free: float, finetune: Strategy, **options: Any) -> None:
    monkeypatch.setattr(
        "llm_lightning.runs.memory_forecast.free_memory_bytes", lambda: int(free * GIB)
    )
    given: dict[str, Any] = {
        "model": XL, "hub": None, "task_class": Classifier, "task": ClassifierOptions(),
        "optim": AdamW(), "device": torch.device("cpu"), "processes": Processes(),
        "num_measured": 1,
        "strategy": "auto", "precision": "32-true",
    }  # fmt: skip
    check_memory(**given | {"finetune": finetune} | options)


def test_what_cannot_fit_is_refused_with_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="does not fit") as refused:
        check(monkeypatch, 20, AllLayers())
    told = str(refused.value)
    assert "takes 23.2 GiB or more in each process" in told
    assert "weights 5.8, gradients 5.8, optimizer 11.6 GiB" in told
    assert "20.0 GiB are free in this machine" in told
    check(monkeypatch, 23.3, AllLayers())
    check(monkeypatch, 20, AllLayers(), optim=AdamW(state_bits=8))
    check(monkeypatch, 20, AllLayers(), precision="bf16-true")
    check(monkeypatch, 7, LoRA())
    check(monkeypatch, 7, TopBlocks(num_blocks=1))


def test_processes_of_one_machine_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    two: dict[str, Any] = {"processes": Processes(2), "num_measured": 2}
    with pytest.raises(ValueError, match=r"12\.0 GiB are free in this machine for each of 2 proc"):
        check(monkeypatch, 24, AllLayers(), strategy="ddp", **two)
    # Half of the blocks, a whole one, and the embeddings: 12.4 GiB.
    with pytest.raises(ValueError, match=r"takes 12\.\d GiB"):
        check(monkeypatch, 24, AllLayers(), strategy="fsdp2", **two)
    check(monkeypatch, 24, AllLayers(), strategy="fsdp2", precision="bf16-true", **two)


def test_a_dry_run_needs_the_whole_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (16 * GIB, 16 * GIB))
    four: dict[str, Any] = {
        "processes": Processes(4),
        "strategy": "fsdp2",
        "device": torch.device("cuda"),
    }
    check(monkeypatch, 1, AllLayers(), num_measured=4, **four)
    with pytest.raises(ValueError, match="a dry run measures one process with the whole model"):
        check(monkeypatch, 1, AllLayers(), num_measured=1, **four)
