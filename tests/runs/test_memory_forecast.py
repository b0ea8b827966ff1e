"""A run that cannot fit is refused, with numbers, before anything is fetched."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from llm_lightning.backbone.huggingface.location import known_config
from llm_lightning.backbone.huggingface.settings import HubModel
from llm_lightning.backbone.memory import free_memory_bytes, memory_bytes
from llm_lightning.backbone.weights import ModelConfig
from llm_lightning.distributed.processes import Processes
from llm_lightning.finetuning.adaptation import LoRA
from llm_lightning.finetuning.strategies import AllLayers, Strategy
from llm_lightning.runs.memory_forecast import check_memory
from llm_lightning.tasks.classifier import Classifier
from llm_lightning.tasks.options import ClassifierOptions
from llm_lightning.training.optim import AdamW

GIB = 2**30
WIDE = ModelConfig(name="gpt2_wide", n_layer=4, n_head=25, n_embd=4000, vocab_size=50257)
"""In millions, 201 weights of tokens, 4 of positions, and 192 in each of four blocks: 973."""


def check(monkeypatch: pytest.MonkeyPatch, free: float, finetune: Strategy, **options: Any) -> None:
    monkeypatch.setattr(
        "llm_lightning.runs.memory_forecast.free_memory_bytes", lambda: int(free * GIB)
    )
    given: dict[str, Any] = {
        "model": WIDE, "hub": None, "task_class": Classifier, "task": ClassifierOptions(),
        "optim": AdamW(), "device": torch.device("cpu"), "processes": Processes(),
        "num_measured": 1,
        "strategy": "auto", "precision": "32-true",
    }  # fmt: skip
    check_memory(**given | {"finetune": finetune} | options)


def test_what_cannot_fit_is_refused_with_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="does not fit") as refused:
        check(monkeypatch, 12, AllLayers())
    told = str(refused.value)
    assert "takes 14.5 GiB or more in each process" in told
    assert "weights 3.6, gradients 3.6, optimizer 7.3 GiB" in told
    assert "12.0 GiB are free in this machine" in told
    check(monkeypatch, 14.6, AllLayers())
    check(monkeypatch, 12, AllLayers(), optim=AdamW(state_bits=8))
    check(monkeypatch, 12, AllLayers(), precision="bf16-true")
    check(monkeypatch, 4, LoRA())


def test_processes_of_one_machine_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    two: dict[str, Any] = {"processes": Processes(2), "num_measured": 2}
    with pytest.raises(ValueError, match=r"12\.0 GiB are free in this machine for each of 2 proc"):
        check(monkeypatch, 24, AllLayers(), strategy="ddp", **two)
    # In GiB, embeddings and half of the blocks with all that trains them, 8.8; a whole block, 0.7.
    check(monkeypatch, 24, AllLayers(), strategy="fsdp2", **two)
    with pytest.raises(ValueError, match=r"takes 9\.5 GiB"):
        check(monkeypatch, 16, AllLayers(), strategy="fsdp2", **two)


def test_a_dry_run_needs_the_whole_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (12 * GIB, 16 * GIB))
    four: dict[str, Any] = {
        "processes": Processes(4),
        "strategy": "fsdp2",
        "device": torch.device("cuda"),
    }
    check(monkeypatch, 1, AllLayers(), num_measured=4, **four)
    with pytest.raises(ValueError, match="a dry run measures one process with the whole model"):
        check(monkeypatch, 1, AllLayers(), num_measured=1, **four)


def test_a_configuration_is_known_before_the_weights(tmp_path: Path) -> None:
    fields = {"model_type": "llama", "hidden_size": 8}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    assert known_config(HubModel(weights=str(tmp_path)), None) == fields
    assert known_config(HubModel(hub_id="nobody/nothing"), None) is None, "no network, not cached"


def test_free_memory_is_part_of_the_memory() -> None:
    assert 0 < free_memory_bytes() <= memory_bytes()
