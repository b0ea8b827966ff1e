"""Checkpoints contain what trains; the base is loaded before them, by whoever can locate it."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from quiet_trainer import quiet_trainer

from llm_lightning.backbone.checkpoint import save_weights
from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.backbone.weights import ModelConfig, locate
from llm_lightning.data.batching import Example, Padder
from llm_lightning.tasks.classifier import Classifier

TINY = {"n_layer": 2, "n_head": 2, "n_embd": 8, "n_positions": 32, "vocab_size": 50257}


@pytest.fixture
def weights(tmp_path: Path) -> ModelConfig:
    """A file with random weights."""
    save_weights(GPT2(GPTConfig(**TINY)), tmp_path / "base")
    return ModelConfig(**TINY, weights=str(tmp_path / "base"))


def classifier(target: str, **fields: Any) -> Classifier:
    return Classifier(
        task={}, model=TINY,
        finetune={"_target_": f"llm_lightning.finetuning.strategies.{target}"} | fields,
        optim={}, class_names=["ham", "spam"], class_weights=None,
        text={"max_length": 32, "padding": "batch"}, seed=1,
    )  # fmt: skip


def last_block(weights: ModelConfig | None = None) -> Classifier:
    model = classifier("TopBlocks", num_blocks=1)
    if weights is not None:
        model.load_base(weights, locate(weights))
    return model


def saved(model: Classifier) -> dict[str, Any]:
    checkpoint: dict[str, Any] = {"state_dict": model.state_dict()}
    model.on_save_checkpoint(checkpoint)
    return checkpoint


def logits(model: Classifier) -> torch.Tensor:
    return model(torch.arange(18).reshape(2, 9), torch.tensor([9, 5]))


def test_a_checkpoint_comes_back_over_its_base(weights: ModelConfig) -> None:
    model = last_block(weights)
    torch.nn.init.normal_(model.head.weight)
    checkpoint = saved(model)
    assert not any(name.startswith("backbone.wte") for name in checkpoint["state_dict"])
    again = last_block(weights)
    again.load_trained(checkpoint)
    assert torch.equal(logits(again), logits(model))


def test_without_its_base_a_checkpoint_is_refused(weights: ModelConfig) -> None:
    checkpoint = saved(last_block(weights))
    with pytest.raises(ValueError, match=r"load that base with load_base\(\) first"):
        last_block().load_trained(checkpoint)


def test_another_base_is_refused(weights: ModelConfig, tmp_path: Path) -> None:
    checkpoint = saved(last_block(weights))
    save_weights(GPT2(GPTConfig(**TINY)), tmp_path / "base")  # in the same place
    with pytest.raises(ValueError, match="the weights there have changed"):
        last_block(weights).load_trained(checkpoint)


def test_where_everything_trains_no_base_is_needed(weights: ModelConfig) -> None:
    model = classifier("AllLayers")
    model.load_base(weights, locate(weights))
    checkpoint = saved(model)
    assert checkpoint["base"] is None
    again = classifier("AllLayers")
    again.load_trained(checkpoint)
    assert torch.equal(logits(again), logits(model))


@pytest.mark.filterwarnings("ignore:.*`logger=False`")
@pytest.mark.filterwarnings("ignore:You defined a `validation_step`")
def test_lightning_resumes_over_a_loaded_base(weights: ModelConfig, tmp_path: Path) -> None:
    def fit(epochs: int, ckpt_path: Path | None) -> tuple[L.Trainer, Classifier]:
        model = last_block(weights)
        trainer = quiet_trainer(max_epochs=epochs)
        rows: Any = [Example([5, 6, 7], 0), Example([8, 9], 1)]
        loader = torch.utils.data.DataLoader(rows, 1, collate_fn=Padder(max_length=8).collate)
        trainer.fit(model, loader, ckpt_path=ckpt_path, weights_only=True)
        return trainer, model

    trainer, _ = fit(1, None)
    trainer.save_checkpoint(tmp_path / "resume.ckpt")
    _, resumed = fit(2, tmp_path / "resume.ckpt")
    _, whole = fit(2, None)
    assert torch.equal(logits(resumed), logits(whole))
