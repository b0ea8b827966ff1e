import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from llm_lightning.backbone.checkpoint import load_weights
from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.backbone.weights import _promised_sha256

SIZES = {"n_layer": 2, "n_head": 2, "n_embd": 8, "n_positions": 16, "vocab_size": 40}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A language model as transformers saves it: prefixed keys, ``lm_head`` tied to ``wte``."""
    GPT2LMHeadModel(GPT2Config(**SIZES)).save_pretrained(tmp_path / "hub")
    return tmp_path / "hub"


@pytest.fixture
def state(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.fixture
def model() -> GPT2:
    return GPT2(GPTConfig(**SIZES))


def weights_of(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights in our orientation and under our names."""
    conv1d = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    return {
        key.removeprefix("transformer."): value.T if key.endswith(conv1d) else value
        for key, value in state.items()
    }


def assert_loaded(model: GPT2, state: dict[str, Tensor]) -> None:
    expected = weights_of(state)
    assert set(model.state_dict()) == set(expected)
    for name, parameter in model.state_dict().items():
        assert torch.equal(parameter, expected[name]), name


def test_keys_load_with_and_without_prefix(
    model: GPT2, folder: Path, state: dict[str, Tensor], tmp_path: Path
) -> None:
    load_weights(model, folder / "model.safetensors")
    assert_loaded(model, state)
    bare = {key.removeprefix("transformer."): value for key, value in state.items()}
    save_file(bare, tmp_path / "bare.safetensors")
    other = GPT2(GPTConfig(**SIZES))
    load_weights(other, tmp_path / "bare.safetensors")
    assert_loaded(other, state)


def test_mask_buffers_and_a_tied_head_are_ignored(
    model: GPT2, state: dict[str, Tensor], tmp_path: Path
) -> None:
    extra = {
        "transformer.h.0.attn.bias": torch.ones(1, 1, 16, 16),
        "transformer.h.1.attn.masked_bias": torch.tensor(-1e4),
        "lm_head.weight": state["transformer.wte.weight"].clone(),
    }
    save_file(state | extra, tmp_path / "old.safetensors")
    load_weights(model, tmp_path / "old.safetensors")
    assert_loaded(model, state)


def test_a_head_of_the_files_own_is_loaded_on_request(
    model: GPT2, state: dict[str, Tensor], tmp_path: Path
) -> None:
    state["lm_head.weight"] = torch.randn(40, 8)  # not the embedding's
    path = tmp_path / "untied.safetensors"
    save_file(state, path)
    assert load_weights(model, path).heads == {"lm_head.weight": (40, 8)}
    fits, narrower = torch.zeros(40, 8), torch.zeros(39, 8)
    load_weights(model, path, heads={"lm_head.weight": fits, "score.weight": torch.zeros(2, 8)})
    assert torch.equal(fits, state["lm_head.weight"])
    load_weights(model, path, heads={"lm_head.weight": narrower})
    assert torch.equal(narrower, torch.zeros(39, 8))


def test_every_wrong_key_is_listed_at_once(
    model: GPT2, state: dict[str, Tensor], tmp_path: Path
) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    del state["transformer.h.0.ln_1.weight"], state["transformer.ln_f.bias"]
    state["transformer.h.1.mlp.c_fc.weight"] = torch.zeros(32, 8)  # not transposed
    state["transformer.h.7.ln_1.bias"] = torch.zeros(8)
    path = tmp_path / "wrong.safetensors"
    save_file(state, path)
    with pytest.raises(ValueError, match="4 problems") as caught:
        load_weights(model, path)
    assert str(path) in str(caught.value)
    assert set(str(caught.value).splitlines()[1:]) == {
        "  missing: h.0.ln_1.weight",
        "  missing: ln_f.bias",
        "  unexpected: transformer.h.7.ln_1.bias",
        "  wrong shape: transformer.h.1.mlp.c_fc.weight is (32, 8), the model needs (8, 32)",
    }
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), "a refused checkpoint must change nothing"


def test_a_key_given_twice_is_listed(model: GPT2, state: dict[str, Tensor], tmp_path: Path) -> None:
    state["wte.weight"] = state["transformer.wte.weight"].clone()
    save_file(state, tmp_path / "twice.safetensors")
    with pytest.raises(ValueError, match=r"duplicate: (transformer\.)?wte\.weight and"):
        load_weights(model, tmp_path / "twice.safetensors")


def test_whole_numbers_are_no_weights(
    model: GPT2, state: dict[str, Tensor], tmp_path: Path
) -> None:
    state["transformer.wpe.weight"] = state["transformer.wpe.weight"].long()
    save_file(state, tmp_path / "integers.safetensors")
    torch.save(state, tmp_path / "integers.bin")
    for name in ("integers.safetensors", "integers.bin"):
        with pytest.raises(ValueError, match=r"wrong type: transformer\.wpe\.weight"):
            load_weights(model, tmp_path / name)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_head": 4}, "n_head is 4, the model has 2"),
        ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon is 1e-06, the model has 1e-05"),
        ({"activation_function": "relu"}, "activation_function is relu, the model has gelu_new"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
    ],
)
def test_another_architecture_of_the_same_shapes_is_refused(
    model: GPT2, tmp_path: Path, fields: dict, message: str
) -> None:
    GPT2LMHeadModel(GPT2Config(**SIZES | fields)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"config.json: {message}"):
        load_weights(model, tmp_path / "model.safetensors")


def test_bin_file_loads_and_half_precision_is_converted(
    model: GPT2, state: dict[str, Tensor], tmp_path: Path
) -> None:
    half = {key: value.half() for key, value in state.items()}
    torch.save(half, tmp_path / "pytorch_model.bin")
    load_weights(model, tmp_path / "pytorch_model.bin")
    assert model.wte.weight.dtype == torch.float32
    assert_loaded(model, {key: value.float() for key, value in half.items()})


class Exploit:
    def __reduce__(self) -> tuple:
        return (os.mkdir, ("exploited",))


def test_pickles_are_never_run(
    model: GPT2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"wte.weight": Exploit()}, "model.pt")
    Path("plain.pt").write_bytes(pickle.dumps(Exploit(), protocol=2))
    for name in ("model.pt", "plain.pt"):
        with pytest.raises(ValueError, match=f"{name} contains objects other than tensors"):
            load_weights(model, Path(name))
    assert not Path("exploited").exists()


def test_damaged_file_is_named(model: GPT2, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00rubbish!")
    with pytest.raises(ValueError, match=r"model\.safetensors is not a readable checkpoint"):
        load_weights(model, path)


def test_fingerprint_is_the_files_sha256(model: GPT2, folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    loaded = load_weights(model, folder / "model.safetensors")
    assert loaded.sha256 == hashlib.sha256(data).hexdigest()


def test_file_that_is_not_what_the_hub_promised_is_refused(
    model: GPT2, folder: Path, tmp_path: Path
) -> None:
    # The Hub's cache: a link whose target is named after the checksum.
    data = (folder / "model.safetensors").read_bytes()
    promised = hashlib.sha256(data).hexdigest()
    blob, link = tmp_path / promised, tmp_path / "model.safetensors"
    link.symlink_to(blob)
    blob.write_bytes(data)
    assert load_weights(model, link, expected_sha256=_promised_sha256(link)).sha256 == promised
    blob.write_bytes(data[:-1] + b"?")
    with pytest.raises(ValueError, match=r"is damaged: its sha256 is \w+, expected \w+; delete it"):
        load_weights(model, link, expected_sha256=_promised_sha256(link))
    assert _promised_sha256(folder / "model.safetensors") is None


MEASURE = """
import sys
from pathlib import Path
import torch
from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.backbone.checkpoint import load_weights
from llm_lightning.training.peak_memory import peak_memory_mib, reset_peak_memory
cpu = torch.device('cpu')
reset_peak_memory(cpu)
before = peak_memory_mib(cpu)
model = GPT2(GPTConfig(n_layer=12, n_head=12, n_embd=768, init="empty"))
load_weights(model, Path(sys.argv[1]))
print(peak_memory_mib(cpu) - before)
"""


@pytest.mark.slow
def test_loading_124m_takes_little_more_than_the_weights(tmp_path: Path) -> None:
    model = GPT2(GPTConfig(n_layer=12, n_head=12, n_embd=768))
    state = {
        f"transformer.{name}": value.T.contiguous() if "c_" in name and value.ndim == 2 else value
        for name, value in model.state_dict().items()
    }
    path = tmp_path / "model.safetensors"
    save_file(state, path)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    ratio = float(done.stdout) * 2**20 / path.stat().st_size
    print(f"peak memory for construction and loading: {ratio:.2f} of the file's size")
    assert ratio < 1.3
