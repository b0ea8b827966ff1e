"""Weights that anybody may have written: one line each, before the model changes."""

import io
import json
import pickle
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from llm_lightning.backbone import memory
from llm_lightning.backbone.checkpoint import load_weights, save_weights
from llm_lightning.backbone.families import architecture, build, locate
from llm_lightning.backbone.gpt2 import GPT2
from llm_lightning.backbone.gpt_config import GPTConfig
from llm_lightning.backbone.huggingface.configuration import own_context_length
from llm_lightning.backbone.huggingface.gguf_header import check_header
from llm_lightning.backbone.huggingface.model import TransformersBackbone
from llm_lightning.backbone.huggingface.settings import HubModel
from llm_lightning.backbone.weights import ModelConfig, Weights

SIZES = {"n_layer": 1, "n_head": 1, "n_embd": 2, "n_positions": 4, "vocab_size": 5}
GIB = 2**30


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    folder = tmp_path_factory.mktemp("good")
    save_weights(GPT2(GPTConfig(**SIZES)), folder)
    return load_file(folder / "model.safetensors")


def pickled(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def compressed(value: Any) -> bytes:
    """The same archive with deflated parts, of which one could be a terabyte of zeros."""
    out = io.BytesIO()
    source = zipfile.ZipFile(io.BytesIO(pickled(value)))
    with source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for part in source.infolist():
            target.writestr(part.filename, source.read(part))
    return out.getvalue()


def two_disks() -> bytes:
    """The end of an archive with the locator of another disk before it."""
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 1, 0, 2)
    return locator + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 46, 0, 0)


def safetensors(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(shape: list[int], offsets: list[int], kind: str = "F32") -> dict[str, Any]:
    return {"w": {"dtype": kind, "shape": shape, "data_offsets": offsets}}


class Payload:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, ("raise SystemExit('this code must not run')",)


W = torch.zeros(2)
BIN: list[tuple[str, bytes, str]] = [
    ("numbers as keys", pickled({0: W, 1: W}), "no name: the key 0 is of type int"),
    ("a tuple as key", pickled({(1, 2): W}), r"no name: the key \(1, 2\) is of type tuple"),
    ("a meta tensor", pickled({"wte.weight": torch.empty(5, 2, device="meta")}),
     "no values: wte.weight is a meta tensor, which has only a shape"),
    ("a sparse tensor", pickled({"wte.weight": torch.eye(3).to_sparse()}),
     "not dense: wte.weight is stored as sparse_coo"),
    ("a table in a table", pickled({"state_dict": {"wte.weight": W}, "epoch": 3}),
     r"its weights seem to be under 'state_dict': save these alone; 2 problems:"),
    ("a list", pickled([W, W]), "it holds a list, and not tensors by their names"),
    ("a single tensor", pickled(W), "it holds a Tensor, and not tensors by their names"),
    ("a text", pickled({"wte.weight": "abc"}), "no tensor: wte.weight is of type str"),
    ("code", pickled({"a": Payload()}), "contains objects other than tensors$"),
    ("code without an archive", pickle.dumps(Payload(), 2), "contains objects other than tensors$"),
    ("a compressed archive", compressed({"a": W}), "archive, which torch.save does not"),
    ("a torn archive", pickled({"a": W})[:200], "is not a readable checkpoint|other than tensors"),
    ("an archive over two disks", pickled({"a": W})[:-22] + two_disks(), "not a readable"),
    ("an empty file", b"", "is not a readable checkpoint"),
    ("a page of HTML", b"<!DOCTYPE html><html>Sign in</html>", "readable checkpoint|other than"),
    ("zeros", bytes(4096), "is not a readable checkpoint|contains objects other"),
]  # fmt: skip
SAFETENSORS: list[tuple[str, bytes, str]] = [
    ("an empty file", b"", "is not a readable checkpoint"),
    ("a header of 2^60 bytes", struct.pack("<Q", 2**60) + b"{}", "is not a readable checkpoint"),
    ("a header of no JSON", safetensors(b"{]"), "is not a readable checkpoint"),
    ("a shape of 10^18", safetensors(tensor([10**9, 10**9], [0, 8]), bytes(8)), "not a readable"),
    ("values beyond the end", safetensors(tensor([2], [0, 2**50]), bytes(8)), "not a readable"),
    ("a torn file", safetensors(tensor([4], [0, 16]), bytes(7)), "is not a readable checkpoint"),
    ("an unknown type", safetensors(tensor([2], [0, 8], "F31"), bytes(8)), "is not a readable"),
    ("a pickle", pickle.dumps(Payload()), "is not a readable checkpoint"),
    ("whole numbers", safetensors(tensor([2], [0, 8], "I32"), bytes(8)), "unexpected: w"),
]


def refused(path: Path) -> str:
    model = GPT2(GPTConfig(**SIZES))
    before = model.wte.weight.clone()
    with pytest.raises(ValueError, match=r"^model\.weights: ") as caught:
        load_weights(model, path)
    assert torch.equal(model.wte.weight, before)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("content", "message"), [row[1:] for row in BIN], ids=[r[0] for r in BIN])
def test_a_pickled_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(content)
    assert re.search(message, refused(path))


@pytest.mark.parametrize(
    ("content", "message"), [row[1:] for row in SAFETENSORS], ids=[row[0] for row in SAFETENSORS]
)
def test_a_safetensors_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert message in refused(path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), r"NaN or infinite, or too large for float32; 1 problem:\n  not finite: wte"),
        (float("-inf"), r"not finite: wte.weight, 3 of 10 values"),
    ],
)
@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_values_that_are_not_finite_are_refused(
    tmp_path: Path, state: dict[str, Tensor], value: float, message: str, suffix: str
) -> None:
    embedding = state["wte.weight"].clone()
    embedding.view(-1)[1:4] = value
    path = tmp_path / f"model.{suffix}"
    write = save_file if suffix == "safetensors" else torch.save
    write(state | {"wte.weight": embedding}, path)
    with pytest.raises(ValueError, match=message):
        load_weights(GPT2(GPTConfig(**SIZES)), path)


def test_large_finite_values_are_no_fault(tmp_path: Path, state: dict[str, Tensor]) -> None:
    """Their sum overflows, they do not."""
    model = GPT2(GPTConfig(**SIZES))
    large = torch.full((5, 2), 3e38)
    save_file(state | {"wte.weight": large}, tmp_path / "model.safetensors")
    load_weights(model, tmp_path / "model.safetensors")
    assert torch.equal(model.wte.weight, large)
    torch.save(state | {"wte.weight": large.double() * 10}, tmp_path / "model.bin")
    with pytest.raises(ValueError, match=r"too large for float32.*\n.*wte.weight, 10 of 10"):
        load_weights(model, tmp_path / "model.bin")


def test_of_thousands_of_problems_twenty_are_listed(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    path = tmp_path / "many.safetensors"
    extra = {f"other.{number}": torch.zeros(1) for number in range(20_000)}
    save_file(state | extra | {"wpe.weight": torch.zeros(9, 9)}, path)
    with pytest.raises(ValueError, match="20,001 problems:") as caught:
        load_weights(GPT2(GPTConfig(**SIZES)), path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 22
    assert lines[1] == "  unexpected: other.0"
    assert lines[-1] == "  and 19,981 more (19,980 unexpected, 1 wrong shape)"


@pytest.mark.parametrize("name", ["model.safetensors", "model.bin"])
def test_what_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / name
    path.mkdir()
    assert refused(path) == f"model.weights: {path} cannot be read: Is a directory"
    path.rmdir()
    assert refused(path).endswith("cannot be read: No such file or directory")

    def denied(*_: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    path.write_bytes(b"x")
    monkeypatch.setattr(Path, "open", denied)
    assert refused(path).endswith(f"{path} cannot be read: Permission denied")


CONFIGS = [
    ("[]", "config.json is damaged: it must hold a JSON object, got list"),
    ("7", "got int"),
    ("", "config.json is damaged: it is empty"),
    ("\0\0\0", "config.json is damaged: it is empty"),
    ('{"n_head": ', "config.json is damaged: no JSON from line 1, column"),
    ("[" * 100_000, "config.json is damaged: it is nested too deeply"),
    ('{"n_head": ' + "9" * 5000 + "}", "config.json is damaged: Exceeds the limit"),
    ('{"n_head": [1]}', r"config.json: n_head is \[1\], the model has 1"),
]


@pytest.mark.parametrize(("text", "message"), CONFIGS, ids=[str(i) for i in range(len(CONFIGS))])
def test_a_configuration_beside_weights_is_checked(
    tmp_path: Path, state: dict[str, Tensor], text: str, message: str
) -> None:
    path = tmp_path / "model.safetensors"
    save_file(state, path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_weights(GPT2(GPTConfig(**SIZES)), path)
    if not text.startswith('{"n_head": ['):
        with pytest.raises(ValueError, match=r"^model\.weights: .*config.json"):
            architecture(HubModel(), Weights("", path, folder=tmp_path))


def test_a_configuration_that_is_no_utf8_or_no_file_is_named(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    path = tmp_path / "model.safetensors"
    save_file(state, path)
    (tmp_path / "config.json").write_bytes(b'{\n"caf\xe9": 1}')
    with pytest.raises(ValueError, match=r"config.json is damaged: line 2 is not UTF-8 text"):
        load_weights(GPT2(GPTConfig(**SIZES)), path)
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").mkdir()
    with pytest.raises(ValueError, match=r"config.json is not a file"):
        load_weights(GPT2(GPTConfig(**SIZES)), path)


INDEXES = [
    ({}, "has no weight_map from keys to names of files"),
    ({"weight_map": {}}, "has no weight_map"),
    ({"weight_map": {"a": 5}}, "has no weight_map"),
    ({"weight_map": ["a"]}, "has no weight_map"),
    ({"weight_map": {"a": "../../secret.bin"}}, r"lists parts outside its own folder: '\.\./"),
    ({"weight_map": {"a": "x" * 300}}, "lists parts outside its own folder"),
    ({"weight_map": {"a": "/etc/passwd"}}, "lists parts outside its own folder: '/etc/passwd'"),
    ({"weight_map": {f"{i}": f"{i:03}.bin" for i in range(30)}},
     r"parts that are missing: 000.bin, .*, 019.bin and 10 more$"),
]  # fmt: skip


@pytest.mark.parametrize(("found", "message"), INDEXES, ids=[row[1][:40] for row in INDEXES])
def test_an_index_of_parts_is_checked(tmp_path: Path, found: Any, message: str) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps(found))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=message):
        locate(HubModel(weights=str(tmp_path))).fingerprint()


LLAMA = {
    "model_type": "llama", "vocab_size": 20, "hidden_size": 8, "intermediate_size": 8,
    "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 16,
}  # fmt: skip
TOO_LARGE: list[tuple[str, dict[str, Any], str]] = [
    ("a million blocks", {"num_hidden_layers": 10**6}, "num_hidden_layers=1,000,000, and no model"),
    ("10^7 wide", {"hidden_size": 10**7}, r"has [\d,]+ parameters or more, [\d,.]+ GiB in float32"),
    ("a vocabulary of 10^12", {"vocab_size": 10**12}, "choose a smaller model"),
    ("10^12 hidden units", {"intermediate_size": 10**12}, "choose a smaller model"),
    ("10^30 hidden units", {"intermediate_size": 10**30}, "cannot be made: "),
    ("10^400 words", {"vocab_size": 10**400}, "1,000,000,000,000,000,000 parameters or more"),
    ("a negative width", {"hidden_size": -8}, "cannot be made: "),
    ("no heads", {"num_attention_heads": 0}, "cannot be made: |is not valid for llama"),
]


@pytest.mark.parametrize(
    ("fields", "message"), [row[1:] for row in TOO_LARGE], ids=[row[0] for row in TOO_LARGE]
)
def test_a_transformers_model_is_refused_before_memory_is_taken(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(memory, "memory_bytes", lambda: 64 * GIB)
    with pytest.raises(ValueError, match=message) as caught:
        TransformersBackbone(LLAMA | fields)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=message):
        own_context_length(LLAMA | fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_layer": 10**6}, "model.n_layer must be at most 2,000, got 1,000,000"),
        ({"n_embd": 10**7}, r"this GPT-2 has 1,20\d,\d+,\d+,\d+,\d+ parameters or more"),
        ({"vocab_size": 10**12}, "choose a smaller model"),
        ({"n_positions": 10**12}, "choose a smaller model"),
        ({"n_layer": -1}, "model.n_layer must be at least 1, got -1"),
    ],
)
def test_a_gpt2_is_refused_before_memory_is_taken(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(memory, "memory_bytes", lambda: 64 * GIB)
    with pytest.raises(ValueError, match=message):
        build(SIZES | fields)


def test_the_memory_is_known_and_the_count_exact() -> None:
    assert GIB // 4 < memory.memory_bytes() < 2**60
    config = GPTConfig(**SIZES | {"n_layer": 3, "n_embd": 4})
    counted = sum(parameter.numel() for parameter in GPT2(config).parameters())
    assert counted == config.num_parameters


def gguf(*, tensors: int = 0, fields: bytes = b"", number: int = 0, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, number) + fields + rest


def field(key: str, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + value


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def info(shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    sizes = struct.pack(f"<{len(shape)}Q", *shape)
    return text("w") + struct.pack("<I", len(shape)) + sizes + struct.pack("<IQ", kind, offset)


LLAMA_FIELD = field("general.architecture", 8, text("llama"))
HEADERS: list[tuple[str, bytes, str]] = [
    ("empty", b"", "announces 4 bytes and has 0 left"),
    ("no magic", b"ELF\x7f" + bytes(60), "does not begin with GGUF"),
    ("version 0", b"GGUF" + bytes(60), "version 0 of the format is not known"),
    ("2^60 fields", gguf(number=2**60), "announces 8 bytes and has 0 left"),
    ("2^60 tensors", gguf(tensors=2**60), "announces 8 bytes and has 0 left"),
    ("an array of 2^60 values", gguf(number=1, fields=field("a", 9, struct.pack("<IQ", 0, 2**60))),
     "announces 1,152,921,504,606,846,976 bytes"),
    ("an array of 2^60 texts", gguf(number=1, fields=field("a", 9, struct.pack("<IQ", 8, 2**60))),
     "announces 8 bytes and has 0 left"),
    ("an array of arrays", gguf(number=1, fields=field("a", 9, struct.pack("<IQIQ", 9, 1, 9, 1))),
     "a value is of the unknown kind 9"),
    ("an unknown kind", gguf(number=1, fields=field("a", 77, b"")), "of the unknown kind 77"),
    ("a text of 2^50", gguf(number=1, fields=struct.pack("<Q", 2**50)), "announces 1,125,899,906"),
    ("2^31 dimensions", gguf(tensors=1, rest=text("w") + struct.pack("<I", 2**31)),
     "a tensor has 2,147,483,648 dimensions"),
    ("a tensor of 2^40", gguf(tensors=1, rest=info((2**40,))), r"would end at byte 4,398,046,51"),
    ("an unknown type", gguf(tensors=1, rest=info((1,), 99)), "of the unknown type 99"),
    ("no alignment", gguf(number=1, fields=field("general.alignment", 8, text("x"))),
     "its alignment is 'x'"),
    ("a million blocks",
     gguf(number=2, fields=LLAMA_FIELD + field("llama.block_count", 4, struct.pack("<I", 10**6))),
     "block_count is 1,000,000, which its tensors have no place for"),
    ("10^9 wide", gguf(
        number=2, fields=LLAMA_FIELD + field("llama.embedding_length", 4, struct.pack("<I", 10**9))
     ), "embedding_length is 1,000,000,000"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"), [row[1:] for row in HEADERS], ids=[row[0] for row in HEADERS]
)
def test_a_gguf_header_is_checked(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        check_header(file)
    assert str(caught.value).startswith(f"model.weights: {file} is damaged: ")
    with pytest.raises(ValueError, match=message):
        locate(HubModel(weights=str(file)))


def test_a_good_gguf_header_passes(tmp_path: Path) -> None:
    values = field("a", 9, struct.pack("<IQ", 8, 2) + text("x") + text("y")) + LLAMA_FIELD
    values += field("llama.block_count", 4, struct.pack("<I", 1))
    content = gguf(tensors=1, number=3, fields=values, rest=info((4, 2)))
    (tmp_path / "m.gguf").write_bytes(content + bytes(-len(content) % 32 + 32))
    check_header(tmp_path / "m.gguf")


def test_settings_that_name_folders_outside_are_refused() -> None:
    for package in ("os.path/x", "../evil/x", "numpy/../../x", "numpy//etc/passwd"):
        with pytest.raises(
            ValueError, match=r"model\.package must be a top-level package and a fi"
        ):
            locate(HubModel(weights="package", package=package))
    for weights, message in (
        ("\0", "pretrained, random, an existing file or folder"),
        ("x" * 5000, r"^model\.weights=x{100} cannot be used: File name too long$"),
    ):
        with pytest.raises(ValueError, match=message):
            locate(ModelConfig(weights=weights))
