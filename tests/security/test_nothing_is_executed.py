"""Opening a file executes nothing from it: a payload at every door, and the doors in the source."""

import ast
import json
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import small_tokenizers
import torch
import yaml
from bad_input.tiny_runs import CHECKPOINT, write_classifier_run
from safetensors.torch import save_file

import llm_lightning
from llm_lightning.backbone.families import architecture, build, load_weights, locate
from llm_lightning.backbone.huggingface.settings import HubModel
from llm_lightning.backbone.huggingface.tokenizer import load_tokenizer
from llm_lightning.backbone.weights import ModelConfig
from llm_lightning.config.experiments import conf_dir
from llm_lightning.config.secrets import check_no_secrets
from llm_lightning.data.labelled_files import read_labelled
from llm_lightning.data.records import read_records
from llm_lightning.evaluation.judging.items import read_items
from llm_lightning.network import check_secure
from llm_lightning.reporting.read.run_folders import read_run
from llm_lightning.run_format.configuration import read_configuration
from llm_lightning.runs.load import load_task

PACKAGE = Path(llm_lightning.__file__).parent
MARKER = "payload-has-run"


class Payload:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, (f"open({MARKER!r}, 'w').close()",)


CODE = f"open({MARKER!r}, 'w').close()\n"
DOORS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "weights.bin": ("pytorch_model.bin", lambda file: weights_of(ModelConfig(weights=str(file)))),
    "weights.pt": ("model.pt", lambda file: weights_of(ModelConfig(weights=str(file)))),
    "weights.safetensors": (
        "model.safetensors",
        lambda file: weights_of(ModelConfig(weights=str(file.parent))),
    ),
    "weights of transformers": (
        "pytorch_model.bin",
        lambda file: weights_of(HubModel(weights=str(file))),
    ),
    "GGUF": ("model.gguf", lambda file: locate(HubModel(weights=str(file)))),
    "table.csv": ("a.csv", lambda file: read_labelled(file, text_column="t", label_column="l")),
    "table.parquet": (
        "a.parquet",
        lambda file: read_labelled(file, text_column="t", label_column="l"),
    ),
    "records.json": ("a.json", read_records),
    "records.parquet": ("b.parquet", read_records),
    "responses": ("instruction-data-with-response.json", read_items),
    "config.yaml": ("config.yaml", lambda file: read_configuration(file.parent)),
    "tokenizer.json": ("tokenizer.json", lambda file: load_tokenizer(file.parent)),
}


def weights_of(model: ModelConfig | HubModel) -> None:
    if isinstance(model, HubModel):
        (Path(model.weights).parent / "config.json").write_text(json.dumps(LLAMA))
    else:
        model.n_layer, model.n_embd, model.n_head = 1, 2, 1
    found = locate(model)
    assert found.path is not None
    load_weights(build(architecture(model, found)), found.path)


LLAMA = {
    "model_type": "llama", "vocab_size": 20, "hidden_size": 8, "intermediate_size": 8,
    "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 16,
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_is_no_such_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, door: str, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    name, read = DOORS[door]
    (tmp_path / name).write_bytes(pickle.dumps(Payload(), protocol))
    with pytest.raises(ValueError, match=re.escape(str(tmp_path))):
        read(tmp_path / name)
    assert not Path(MARKER).exists()


def test_the_payload_would_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Payload()))
    assert Path(MARKER).exists()


def test_no_file_of_a_run_folder_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = write_classifier_run(tmp_path / "runs")
    load_task(run)
    names = ("summary.json", "status.json", "metrics.csv", "predictions_test.csv", CHECKPOINT)
    for name in names:
        for content in (pickle.dumps(Payload(), 2), torch_payload(tmp_path), CODE.encode()):
            copy = tmp_path / "copy"
            shutil.copytree(run, copy)
            (copy / name).write_bytes(content)
            if name in ("summary.json", CHECKPOINT):
                with pytest.raises(ValueError, match=re.escape(name)):
                    load_task(copy)
            read_run(copy, "copy")
            shutil.rmtree(copy)
    assert not Path(MARKER).exists()


def torch_payload(folder: Path) -> bytes:
    torch.save({"state_dict": {"a": Payload()}, "hyper_parameters": Payload()}, folder / "x")
    return (folder / "x").read_bytes()


def test_code_beside_a_transformers_model_is_never_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "model"
    folder.mkdir()
    for module in ("modeling_evil", "configuration_evil", "tokenization_evil"):
        (folder / f"{module}.py").write_text(CODE)
    auto_map = {
        "AutoConfig": "configuration_evil.C", "AutoModel": "modeling_evil.M",
        "AutoTokenizer": ["tokenization_evil.T", "tokenization_evil.T"],
    }  # fmt: skip
    kernels = {"attn_implementation": "evil/kernel", "_attn_implementation": "evil/kernel"}
    fields = LLAMA | {"auto_map": auto_map, "transformers_weights": "other.bin"} | kernels
    model = HubModel(weights=str(folder))
    (folder / "config.json").write_text(json.dumps(fields))
    (folder / "model.safetensors").touch()
    made = build(architecture(model, locate(model)))
    state = {name: torch.zeros_like(value) for name, value in made.model.state_dict().items()}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    torch.save({"a": Payload()}, folder / "other.bin")
    found = locate(model)
    load_weights(build(architecture(model, found)), found.path)

    small_tokenizers.byte_level()._tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"auto_map": auto_map}))
    load_tokenizer(folder)
    assert not Path(MARKER).exists()

    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "evil/base"}')
    with pytest.raises(ValueError, match=r"adapter_config\.json is that of an adapter"):
        load_weights(build(architecture(model, found)), found.path)


KNOWN = {
    # Asks SLURM to put this job into its queue again.
    "stop_signals.py": {"subprocess.run"},
    # Asks SLURM whether this job is preempted.
    "slurm.py": {"subprocess.run"},
    # Of texts of its own, which it also writes on model cards.
    "pooled_head.py": {"eval"},
    # A run that the page starts: this program.
    "run_control.py": {"subprocess.Popen"},
    # The other processes of a run are this program, and get their job from it through a pipe.
    "together.py": {"subprocess.Popen", "pickle.load"},
}
"""What the files of the package may call, and why."""


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


FORBIDDEN = re.compile(
    r"^(builtins\.)?(eval|exec|compile|__import__)$|pickle\.(load|loads|Unpickler)|marshal\.|shelve\."
    r"|yaml\.(load|full_load|unsafe_load|load_all)$|joblib\.load|read_pickle|os\.(system|popen)"
    r"|^subprocess\."
)


@cache
def parsed() -> dict[Path, ast.Module]:
    """Every file of the package."""
    return {file: ast.parse(file.read_text(encoding="utf-8")) for file in PACKAGE.rglob("*.py")}


def problems(tree: ast.Module) -> list[str]:
    found = []
    for name, call in calls(tree):
        options = {word.arg: ast.unparse(word.value) for word in call.keywords}
        if FORBIDDEN.search(name):
            found.append(f"line {call.lineno}: {name}")
        if name == "torch.load" and options.get("weights_only") != "True":
            found.append(f"line {call.lineno}: torch.load without weights_only=True")
        if options.get("trust_remote_code", "False") != "False":
            found.append(f"line {call.lineno}: trust_remote_code")
        if options.get("allow_pickle", "False") != "False":
            found.append(f"line {call.lineno}: allow_pickle")
    return found


def test_the_source_has_no_door_for_code() -> None:
    assert problems(ast.parse("torch.load(x)\neval(y)\nnp.load(z, allow_pickle=True)")) == [
        "line 1: torch.load without weights_only=True", "line 2: eval", "line 3: allow_pickle",
    ]  # fmt: skip
    for file, tree in parsed().items():
        found = problems(tree)
        known = KNOWN.get(file.name, set())
        assert [one for one in found if one.partition(": ")[2] not in known] == [], file


HOSTS = {
    "archive.ics.uci.edu", "f001.backblazeb2.com", "ai.stanford.edu", "raw.githubusercontent.com",
}  # fmt: skip
_ADDRESS = re.compile(r"\b(https?)://([\w.-]+)")


def addresses() -> Iterator[tuple[str, str, str]]:
    """File, scheme and host of every address that is a value, and not in a comment or docstring."""
    for file, tree in parsed().items():
        texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and id(node) not in texts
            ):
                yield from ((file.name, *found) for found in _ADDRESS.findall(node.value))
    for file in conf_dir().rglob("*.yaml"):
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
        yield from ((file.name, *found) for found in _ADDRESS.findall(str(values)))


def test_downloads_come_from_named_hosts_over_https() -> None:
    found = {
        (scheme, host)
        for name, scheme, host in addresses()
        if host not in ("www.w3.org", "localhost", "127.0.0.1") and name != "card.py"
    }
    assert found == {("https", host) for host in HOSTS}, "SECURITY.md names them"
    text = (Path(__file__).parents[2] / "SECURITY.md").read_text()
    assert all(host in text for host in [*HOSTS, "huggingface.co"])


def test_a_redirect_must_not_leave_https() -> None:
    check_secure("https://a.org/x", "https://b.org/y")
    check_secure("http://127.0.0.1/x", "http://localhost/y")
    with pytest.raises(ValueError, match=r"redirects to b\.org over plain HTTP"):
        check_secure("https://a.org/x", "http://me:secret@b.org/y")


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"data": {"url": "https://me:word@host/a.json"}}, "data.url"),
        ({"data": {"url": "https://host/a.json?token=0123456789"}}, "data.url"),
        ({"loggers": {"comet": {"api_key": "0123456789"}}}, "loggers.comet.api_key"),
        ({"callbacks": {"x": {"names": ["hf_0123456789abcdefghij"]}}}, "callbacks.x.names"),
        ({"model": {"hf_token": "anything"}}, "model.hf_token"),
    ],
)
def test_a_secret_is_no_setting(settings: dict[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=f"^{key} (is|contains) a ") as caught:
        check_no_secrets(settings)
    for secret in ("word", "0123456789", "anything"):
        assert secret not in str(caught.value).replace("password", "")


def test_ordinary_settings_are_no_secrets() -> None:
    check_no_secrets(
        {
            "data": {"url": "https://host/a.json?page=2", "class_names": ["token", "secret"]},
            "max_new_tokens": 7, "tokenizer": "x", "loggers": {"comet": {"api_key": None}},
            "path": "a@b/c", "pad_token": "<pad>",
        }
    )  # fmt: skip
