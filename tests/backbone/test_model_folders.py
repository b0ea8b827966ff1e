"""A folder of transformers loads in every format of its weights, whole or not at all."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from contract import backbone, batch, language_model, save
from contract_families import FAMILIES
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from llm_lightning.backbone.families import architecture, build, load_weights, locate
from llm_lightning.backbone.huggingface.settings import HubModel
from llm_lightning.backbone.protocol import Backbone
from llm_lightning.backbone.weights import Weights

Folders = Callable[[str], Path]
LLAMA = FAMILIES["llama"]


@pytest.fixture
def tensors(folder_of: Folders) -> dict[str, Tensor]:
    return load_file(folder_of("llama") / "model.safetensors")


@pytest.fixture
def folder(folder_of: Folders, tmp_path: Path) -> Path:
    """With a configuration and no weights."""
    (tmp_path / "own").mkdir()
    shutil.copy(folder_of("llama") / "config.json", tmp_path / "own")
    return tmp_path / "own"


def states(made: Backbone) -> Tensor:
    with torch.no_grad():
        return made(batch().input_ids)


def load(weights: Path) -> Backbone:
    return backbone(LLAMA, weights)


def test_every_format_gives_the_same_states(
    folder_of: Folders, folder: Path, tensors: dict[str, Tensor]
) -> None:
    wanted = states(load(folder_of("llama")))
    files = [folder / name for name in ("own.safetensors", "own.bin", "own.pt")]
    save_file(tensors, files[0])
    for file in files[1:]:
        torch.save(tensors, file)
    torch.save(tensors, folder / "pytorch_model.bin")
    for source in (*files, folder):
        assert torch.equal(states(load(source)), wanted), source.name


def test_the_named_file_is_loaded_and_not_another_beside_it(
    folder_of: Folders, folder: Path, tensors: dict[str, Tensor]
) -> None:
    zeros = {name: torch.zeros_like(value) for name, value in tensors.items()}
    save_file(zeros, folder / "model.safetensors")
    torch.save(tensors, folder / "pytorch_model.bin")
    assert locate(LLAMA.model(folder)).path == folder / "model.safetensors"
    found = states(load(folder / "pytorch_model.bin"))
    assert torch.equal(found, states(load(folder_of("llama"))))


def in_parts(folder_of: Folders, folder: Path) -> list[Path]:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder_of("llama"))
    model.save_pretrained(folder, max_shard_size="20KB")
    return sorted(folder.glob("model-*.safetensors"))


def test_weights_in_parts_are_one_checkpoint(folder_of: Folders, folder: Path) -> None:
    parts = in_parts(folder_of, folder)
    assert len(parts) > 3
    assert torch.equal(states(load(folder)), states(load(folder_of("llama"))))
    whole = language_model(LLAMA, folder_of("llama"))
    again = language_model(LLAMA, folder)
    assert again.head_is_loaded
    assert torch.equal(again.head.weight, whole.head.weight)

    found = locate(LLAMA.model(folder))
    before = found.fingerprint()
    values = load_file(parts[1])
    save_file({name: value + 1 for name, value in values.items()}, parts[1], {"format": "pt"})
    assert found.fingerprint() != before, "every part counts"
    parts[2].unlink()
    with pytest.raises(ValueError, match=f"lists parts that are missing: {parts[2].name}$"):
        load(folder)


def test_half_precision_becomes_float32(folder: Path, tensors: dict[str, Tensor]) -> None:
    halves = {name: value.bfloat16() for name, value in tensors.items()}
    save_file(halves, folder / "model.safetensors", {"format": "pt"})
    made = load(folder)
    assert isinstance(made, nn.Module)
    assert {parameter.dtype for parameter in made.parameters()} == {torch.float32}
    name = "layers.1.mlp.up_proj.weight"
    assert torch.equal(made.get_parameter(f"model.{name}"), halves[f"model.{name}"].float())


@pytest.mark.parametrize("name", ["model.safetensors", "own.safetensors"])
def test_all_that_does_not_fit_is_listed(
    folder: Path, tensors: dict[str, Tensor], name: str
) -> None:
    del tensors["model.norm.weight"]
    tensors["model.layers.1.mlp.up_proj.weight"] = torch.zeros(3, 4)
    tensors["model.layers.0.self_attn.q_proj.bias"] = torch.zeros(32)
    tensors["model.layers.3.mlp.up_proj.weight"] = torch.zeros(48, 32)
    tensors["score.weight"] = torch.zeros(5, 32)  # a head, which fits or is not used
    save_file(tensors, folder / name, {"format": "pt"})
    with pytest.raises(ValueError, match="does not fit this LlamaModel; 4 problems:") as caught:
        load(folder if name == "model.safetensors" else folder / name)
    assert str(caught.value).splitlines()[1:] == [
        "  missing: norm.weight",
        "  wrong shape: layers.1.mlp.up_proj.weight is (3, 4), the model needs (48, 32)",
        "  unexpected: model.layers.0.self_attn.q_proj.bias",
        "  unexpected: model.layers.3.mlp.up_proj.weight",
    ]


class Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('this code must not run')",)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "own.bin"])
def test_pickled_code_is_refused(folder: Path, tensors: dict[str, Tensor], name: str) -> None:
    torch.save({**tensors, "code": Code()}, folder / name)
    with pytest.raises(ValueError, match=f"{name} contains objects other than tensors$"):
        load(folder / name)


@pytest.mark.parametrize("name", ["model.safetensors", "own.safetensors", "pytorch_model.bin"])
def test_a_damaged_file_is_refused(folder_of: Folders, folder: Path, name: str) -> None:
    content = (folder_of("llama") / "model.safetensors").read_bytes()
    (folder / name).write_bytes(content[:5000])
    with pytest.raises(ValueError, match=rf"^model\.weights: .*{name} (is not a read|contains)"):
        load(folder / name)


def test_a_configuration_is_needed(folder: Path, tensors: dict[str, Tensor]) -> None:
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    file = folder / "config.json"
    fields = json.loads(file.read_text())
    model = HubModel(weights=str(folder))
    for text, message in (
        ("{", "config.json is damaged: no JSON from line 1, column 2"),
        ("[]", "config.json is damaged: it must hold a JSON object, got list"),
        ("{}", "names no model_type"),
        (json.dumps(fields | {"quantization_config": {"quant_method": "gptq", "bits": 4}}), ""),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=message or "the weights are quantized in a format"):
            build(architecture(model, locate(model)))
    file.unlink()
    with pytest.raises(ValueError, match=r"own contains no config\.json$"):
        locate(model)


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    with pytest.raises(
        ValueError, match=r"contains no model\.safetensors, .*, and 0 \.gguf files$"
    ):
        locate(HubModel(weights=str(folder)))
    for name in ("a.gguf", "b.gguf"):
        (folder / name).touch()
    with pytest.raises(ValueError, match=r"and 2 \.gguf files$"):
        locate(HubModel(weights=str(folder)))


def test_a_tied_head_may_be_stored_twice(tmp_path: Path) -> None:
    family = FAMILIES["qwen3"]
    save(family, transformers.AutoModelForCausalLM, tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    embedding = tensors["model.embed_tokens.weight"]
    save_file(tensors | {"lm_head.weight": embedding.clone()}, file, {"format": "pt"})
    assert not language_model(family, tmp_path).head_is_loaded
    save_file(tensors | {"lm_head.weight": embedding + 1}, file, {"format": "pt"})
    with pytest.raises(ValueError, match="contains an output embedding that differs"):
        language_model(family, tmp_path)
    assert language_model(family, tmp_path, tied=False).head_is_loaded


def test_random_weights_follow_the_seed_and_the_familys_rule(folder: Path) -> None:
    model = architecture(LLAMA.model(folder), Weights("random", None, folder=folder))
    torch.manual_seed(4)
    first = build(model)
    torch.manual_seed(4)
    again, other = build(model), build(model)
    assert torch.equal(states(first), states(again))
    assert not torch.equal(states(first), states(other))
    deviation = first.input_embedding.weight.std().item()
    assert deviation == pytest.approx(0.02, rel=0.1)


def test_the_promised_content_is_checked(folder_of: Folders) -> None:
    found = locate(LLAMA.model(folder_of("llama")))
    made = build(architecture(LLAMA.model(folder_of("llama")), found))
    assert found.path is not None
    sha256 = found.fingerprint()
    assert load_weights(made, found.path, expected_sha256=sha256).sha256 == sha256
    with pytest.raises(ValueError, match=r"is damaged: its sha256 is \w+, expected 00; delete"):
        load_weights(made, found.path, expected_sha256="00")
