"""GGUF files: tensors, facts and tokenizer as gguf's own reader sees them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch

from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID
from llm_lightning.exporting.dense import Dense
from llm_lightning.exporting.gpt2 import gguf_files
from llm_lightning.exporting.gpt2.gguf_files import read_back, write_gguf
from llm_lightning.exporting.gpt2.tokenizer_files import merges, vocabulary

CONFIG = GPTConfig(n_layer=2, n_head=2, n_embd=32, n_positions=16, vocab_size=96)
KEPT_WHOLE = ("wpe.weight",)  # and everything with one dimension


def random_model(config: GPTConfig = CONFIG, *, is_tied: bool = False) -> Dense:
    state = {name: torch.randn_like(value) for name, value in GPT2(config).state_dict().items()}
    own = torch.randn(config.vocab_size, config.n_embd)
    return Dense(config, state, state["wte.weight"] if is_tied else own, None, is_tied)


@pytest.fixture
def _without_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader takes seconds for 100,257 strings, which tests of tensors do not need."""
    monkeypatch.setattr(gguf_files, "_add_tokenizer", lambda *_: None)


@pytest.mark.usefixtures("_without_tokenizer")
@pytest.mark.parametrize("is_tied", [True, False])
def test_half_precision_files_hold_the_very_halves(tmp_path: Path, is_tied: bool) -> None:
    model = random_model(is_tied=is_tied)
    file = tmp_path / "m.gguf"
    write_gguf(model, file, "tiny", "f16")
    again = read_back(file, model)
    assert set(again.backbone) == set(model.backbone)
    for name, value in model.backbone.items():
        is_whole = value.ndim == 1 or name in KEPT_WHOLE
        expected = value if is_whole else value.half().float()
        assert torch.equal(again.backbone[name], expected), name
    assert torch.equal(again.head, model.head.half().float())


@pytest.mark.usefixtures("_without_tokenizer")
def test_tensors_have_the_names_and_shapes_of_the_architecture(tmp_path: Path) -> None:
    """llama.cpp's; the reader gives the innermost dimension first."""
    model = random_model()
    write_gguf(model, tmp_path / "m.gguf", "tiny", "f16")
    found = {t.name: t for t in gguf.GGUFReader(tmp_path / "m.gguf").tensors}
    shapes = {
        "token_embd.weight": [32, 96],
        "position_embd.weight": [32, 16],
        "output_norm.weight": [32],
        "output.weight": [32, 96],
        "blk.1.attn_qkv.weight": [32, 96],
        "blk.1.attn_qkv.bias": [96],
        "blk.1.attn_output.weight": [32, 32],
        "blk.1.ffn_up.weight": [32, 128],
        "blk.1.ffn_down.weight": [128, 32],
        "blk.0.attn_norm.weight": [32],
        "blk.0.ffn_norm.bias": [32],
    }
    assert {name: found[name].shape.tolist() for name in shapes} == shapes
    assert len(found) == 5 + 2 * 12
    up = torch.from_numpy(found["blk.1.ffn_up.weight"].data.copy())
    assert torch.equal(up, model.backbone["h.1.mlp.c_fc.weight"].half())


@pytest.mark.usefixtures("_without_tokenizer")
def test_eight_bits_are_within_half_a_step_of_their_block(tmp_path: Path) -> None:
    model = random_model()
    write_gguf(model, tmp_path / "m.gguf", "tiny", "q8_0")
    again = read_back(tmp_path / "m.gguf", model)
    pairs = {name: (value, again.backbone[name]) for name, value in model.backbone.items()}
    for name, (value, got) in (pairs | {"head": (model.head, again.head)}).items():
        if value.ndim == 1 or name in KEPT_WHOLE:
            assert torch.equal(got, value), name
            continue
        steps = value.reshape(-1, 32).abs().amax(dim=1, keepdim=True) / 127
        # The scale of a block is itself stored in 16 bits.
        worst = ((got - value).reshape(-1, 32).abs() / steps).max()
        assert 0.4 < worst < 0.6, name


@pytest.mark.usefixtures("_without_tokenizer")
def test_rows_that_are_no_multiple_of_a_block_stay_in_sixteen_bits(tmp_path: Path) -> None:
    model = random_model(replace(CONFIG, n_embd=8))
    write_gguf(model, tmp_path / "m.gguf", "tiny", "q8_0")
    types = {t.name: t.tensor_type.name for t in gguf.GGUFReader(tmp_path / "m.gguf").tensors}
    assert types["output.weight"] == types["token_embd.weight"] == "F16"
    assert types["blk.0.ffn_down.weight"] == "Q8_0"  # 32 wide
    assert types["blk.0.attn_norm.weight"] == types["position_embd.weight"] == "F32"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> gguf.GGUFReader:
    """A file with everything in it, and a vocabulary that is rounded up."""
    file = tmp_path_factory.mktemp("gguf") / "m.gguf"
    write_gguf(random_model(replace(CONFIG, n_embd=8, vocab_size=50304)), file, "tiny", "f16")
    return gguf.GGUFReader(file)


def field(reader: gguf.GGUFReader, key: str) -> Any:
    found = reader.get_field(key)
    assert found is not None, key
    return found.contents()


def test_the_file_describes_the_model(whole: gguf.GGUFReader) -> None:
    expected = {
        "general.architecture": "gpt2",
        "general.name": "tiny",
        "general.file_type": int(gguf.LlamaFileType.MOSTLY_F16),
        "gpt2.context_length": 16,
        "gpt2.embedding_length": 8,
        "gpt2.block_count": 2,
        "gpt2.feed_forward_length": 32,
        "gpt2.attention.head_count": 2,
        "gpt2.vocab_size": 50304,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.bos_token_id": END_OF_TEXT_ID,
        "tokenizer.ggml.eos_token_id": END_OF_TEXT_ID,
        "tokenizer.ggml.padding_token_id": END_OF_TEXT_ID,
        "tokenizer.ggml.add_bos_token": False,
    }
    assert {key: field(whole, key) for key in expected} == expected
    assert field(whole, "gpt2.attention.layer_norm_epsilon") == pytest.approx(1e-5)


def test_every_token_is_in_the_file(whole: gguf.GGUFReader) -> None:
    tokens, kinds = (field(whole, f"tokenizer.ggml.{key}") for key in ("tokens", "token_type"))
    assert len(tokens) == len(kinds) == len(set(tokens)) == 50304
    assert {token: index for index, token in enumerate(tokens[:50257])} == vocabulary()
    assert set(kinds[:END_OF_TEXT_ID]) == {gguf.TokenType.NORMAL}
    assert kinds[END_OF_TEXT_ID] == gguf.TokenType.CONTROL
    assert set(kinds[50257:]) == {gguf.TokenType.UNUSED}


def test_every_merge_is_in_the_file(whole: gguf.GGUFReader) -> None:
    found = field(whole, "tokenizer.ggml.merges")
    assert [tuple(pair.split(" ")) for pair in found] == merges()
