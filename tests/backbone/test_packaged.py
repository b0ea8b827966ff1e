"""The weights that ``model=nano`` means."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch.nn import functional as F
from transformers import GPT2LMHeadModel

from llm_lightning.backbone.checkpoint import load_weights, save_weights
from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.backbone.tokenizer import encode
from llm_lightning.backbone.weights import ModelConfig, locate
from llm_lightning.config.experiments import conf_dir

# Written for this test: a model of books should find it likelier than chance does.
TEXT = (
    "The old man looked at the door for a long time before he spoke. “I do not know what you want "
    "of me,” he said at last, and he sat down by the fire with his hands upon his knees. “It is "
    "very late, and my daughter has gone to bed.”"
)


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    fields = OmegaConf.to_container(OmegaConf.load(conf_dir() / "model" / "nano.yaml"))
    assert isinstance(fields, dict)
    fields.pop("defaults")
    return ModelConfig(**fields)


@pytest.fixture(scope="module")
def packaged(config: ModelConfig) -> GPT2:
    weights = locate(config)
    assert weights.path is not None
    model = GPT2(GPTConfig(**config.architecture() | {"init": "empty"}))
    load_weights(model, weights.path)
    return model.eval()


def loss(model: GPT2, text: str) -> float:
    ids = torch.tensor(encode(text))
    with torch.inference_mode():
        logits = model(ids[None, :-1])[0] @ model.wte.weight.T
    return float(F.cross_entropy(logits, ids[1:]))


def test_it_was_trained_on_books(packaged: GPT2, config: ModelConfig) -> None:
    torch.manual_seed(0)
    random = GPT2(GPTConfig(**config.architecture()))
    assert loss(random, TEXT) > 10
    assert loss(packaged, TEXT) < 5.5


def test_the_file_is_small_and_has_its_card(config: ModelConfig) -> None:
    folder = Path(str(locate(config).path)).parent
    assert (folder / "model.safetensors").stat().st_size < 16_000_000
    card = (folder / "README.md").read_text(encoding="utf-8")
    for heading in ("Data", "Recipe", "Results"):
        assert f"## {heading}" in card


def test_transformers_loads_the_folder_and_computes_the_same(
    packaged: GPT2, config: ModelConfig
) -> None:
    theirs = GPT2LMHeadModel.from_pretrained(Path(str(locate(config).path)).parent).eval().float()
    ids = torch.tensor(encode(TEXT))[None]
    with torch.inference_mode():
        ours = packaged(ids) @ packaged.wte.weight.T
        torch.testing.assert_close(ours, theirs(ids).logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_saved_weights_come_back(tmp_path: Path, dtype: torch.dtype) -> None:
    tiny = GPTConfig(n_layer=2, n_head=2, n_embd=8, n_positions=16)
    torch.manual_seed(0)
    model, again = GPT2(tiny), GPT2(tiny)
    save_weights(model, tmp_path, dtype)
    load_weights(again, tmp_path / "model.safetensors")
    for ours, theirs in zip(again.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs.to(dtype).float())
