"""Checkpoints of runs that anybody may have written: one line, and nothing is made of them."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bad_input.tiny_runs import (
    CHECKPOINT,
    LORA,
    edit_checkpoint,
    put,
    write_classifier_run,
    write_instruction_run,
)

from llm_lightning.backbone import memory
from llm_lightning.runs.load import load_classifier, load_language_model, load_task

Change = Callable[[dict[str, Any]], None]
HYPER = "hyper_parameters"
ROOM = "llm_lightning.finetuning"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classifier_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def names(*given: Any) -> Change:
    return put(f"{HYPER}/class_names", list(given))


CHANGES: list[tuple[str, Change, str]] = [
    ("no hyper-parameters", put(HYPER, ...), "has no hyper_parameters, so it is not one of this"),
    ("a list of them", put(HYPER, [1]), "has no hyper_parameters"),
    ("an empty table of them", put(HYPER, {}), "lacks the hyper-parameters class_names, class_we"),
    ("one is missing", put(f"{HYPER}/optim", ...), "lacks the hyper-parameters optim"),
    ("one is unknown", put(f"{HYPER}/colour", 1), r"has unknown hyper-parameters \(colour\)"),
    ("no weights", put("state_dict", ...), "has no state_dict"),
    ("weights that are numbers", put("state_dict/head.weight", 3.0), "'head.weight' in its state"),
    ("a meta tensor", put("state_dict/head.bias", torch.empty(2, device="meta")), "no tensor with"),
    ("an unknown weight", put("state_dict/tail.weight", torch.ones(2)), "unexpected: tail.weight"),
    ("a missing weight", put("state_dict/head.bias", ...), "missing: head.bias"),
    ("another shape", put("state_dict/head.bias", torch.ones(7)),
     r"wrong shape: head.bias is \(7,\), the model needs \(2,\)"),
    ("NaN", put("state_dict/head.bias", torch.tensor([1.0, float("nan")])),
     "NaN or infinite, so its training diverged .*\n  not finite: head.bias, 1 of 2 values"),
    ("infinity", put("state_dict/head.bias", torch.tensor([1.0, float("inf")])), "not finite: h"),
    ("three names for two classes", names("a", "b", "c"),
     "has names for 3 classes and a head for 2"),
    ("one name", names("a"), "two or more different class names, got"),
    ("the same name twice", names("a", "a"), "two or more different class names"),
    ("numbers as names", names(1, 2), "has class_names that are no list of texts"),
    ("other names", names("spam", "ham"), "its checkpoint name other classes"),
    ("no head", put("state_dict/head.weight", ...), "has no head.weight of classes by width"),
    ("an unknown strategy", put(f"{HYPER}/finetune", {"_target_": "os.system"}),
     "finetune._target_ must name a strategy of llm_lightning.finetuning, got 'os.system'"),
    ("a strategy of this package that is none",
     put(f"{HYPER}/finetune/_target_", f"{ROOM}.strategies.Model"),
     "must name a strategy of"),
    ("a module that is not there", put(f"{HYPER}/finetune/_target_", f"{ROOM}.x.Y"),
     "ModuleNotFoundError"),
    ("no strategy", put(f"{HYPER}/finetune", {}), "KeyError: '_target_'"),
    ("an unknown field of it", put(f"{HYPER}/finetune/speed", 9), "TypeError: .*'speed'"),
    ("minus one block", put(f"{HYPER}/finetune/num_blocks", -1), "num_blocks must be at least 0"),
    ("a negative length", put(f"{HYPER}/text/max_length", -5),
     "text.max_length must lie between 1 and the context 32: -5"),
    ("a length of 10^12", put(f"{HYPER}/text/max_length", 10**12), "and the context 32: 10000000"),
    ("an unknown padding", put(f"{HYPER}/text/padding", "left"), "data.padding must be one of"),
    ("a text as width", put(f"{HYPER}/model/n_embd", "wide"), "describes no model .*: Type"),
    ("a negative width", put(f"{HYPER}/model/n_embd", -8), "n_embd must be at least 1, got -8"),
    ("a million blocks", put(f"{HYPER}/model/n_layer", 10**6), "n_layer must be at most 2,000"),
    ("10^7 wide", put(f"{HYPER}/model/n_embd", 10**7), "GiB in float32, and this machine has"),
    ("10^12 tokens", put(f"{HYPER}/model/vocab_size", 10**12), "GiB in float32"),
    ("10^13 positions", put(f"{HYPER}/model/n_positions", 10**13), "GiB in float32"),
    ("a model that is a list", put(f"{HYPER}/model", [1]), "in which model is no table"),
    ("an unknown pooling", put(f"{HYPER}/task/pooling", "best"), "task.pooling must be one of"),
    ("a seed that is a text", put(f"{HYPER}/seed", "x"), "describes no model"),
    ("an unknown base", put("base", {}), "does not say which base it belongs to"),
    ("a base without a source", put("base/source", ...), "source or fingerprint is no text"),
    ("a base with other fields", put("base/model/colour", 1), "TypeError: .*'colour'"),
    ("a base outside", put("base/model/packaged", "../../x"), "model.packaged is not possible"),
    ("a base that is no Hub id", put("base/model/hub_id", 'x"; import os; "'), "model.hub_id is n"),
    ("another base", put("base/fingerprint", "0" * 64), r"fingerprint 000000000000\), but the we"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES]
)
def test_a_changed_checkpoint_is_refused(
    run: Path, monkeypatch: pytest.MonkeyPatch, change: Change, message: str
) -> None:
    monkeypatch.setattr(memory, "memory_bytes", lambda: 64 * 2**30)
    file = edit_checkpoint(run, change)
    with pytest.raises(ValueError, match=message) as caught:
        load_task(run)
    named = run / "summary.json" if "name other classes" in message else file
    assert str(named) in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        put("pytorch-lightning_version", "99.0.0"),
        put("pytorch-lightning_version", "what?"),
        put("a_later_version", {"x": 1}),
    ],
)
def test_what_loading_does_not_need_does_not_matter(run: Path, change: Change) -> None:
    edit_checkpoint(run, change)
    model, _ = load_classifier(run)
    assert model.hparams["class_names"] == ["ham", "spam"]


class Payload:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, ("raise SystemExit('this code must not run')",)


CONTENTS: list[tuple[str, bytes, str]] = [
    ("empty", b"", "is not a readable checkpoint"),
    ("text", b"not a checkpoint", "contains objects other than|is not a readable checkpoint"),
    ("code", pickle.dumps(Payload()), "contains objects other than tensors"),
    ("a number", pickle.dumps(7, 2), "contains objects other|is not a readable|holds a int"),
]


@pytest.mark.parametrize(
    ("content", "message"), [row[1:] for row in CONTENTS], ids=[row[0] for row in CONTENTS]
)
def test_another_file_is_refused(run: Path, content: bytes, message: str) -> None:
    (run / CHECKPOINT).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_task(run)
    assert str(run / CHECKPOINT) in str(caught.value)


def test_a_torn_checkpoint_is_refused(run: Path) -> None:
    file = run / CHECKPOINT
    whole = file.read_bytes()
    for size in (1, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"last\.ckpt (is not a readable|contains objects)"):
            load_task(run)
    file.unlink()
    with pytest.raises(ValueError, match=r"last\.ckpt is missing: train the run again"):
        load_task(run)
    file.mkdir()
    with pytest.raises(ValueError, match=r"last\.ckpt is missing"):
        load_task(run)


def test_an_adapter_of_impossible_rank_is_refused(tmp_path: Path) -> None:
    folder = write_classifier_run(tmp_path, finetune=LORA)
    load_classifier(folder)
    edit_checkpoint(folder, put(f"{HYPER}/finetune/rank", 10**9))
    with pytest.raises(ValueError, match=r"has finetune.rank=1,000,000,000, and no adapter"):
        load_classifier(folder)


def test_instructions_are_checked_too(tmp_path: Path) -> None:
    folder = write_instruction_run(tmp_path)
    load_language_model(folder)
    for path, value, message in (
        ("text/prompt_style", "haiku", "text.prompt_style is unknown: 'haiku'"),
        ("task/generation", {"temperature": -1.0}, "task.generation.temperature must be at least"),
        ("task/generation", {"speed": 1}, "TypeError: .*'speed'"),
    ):
        edit_checkpoint(folder, put(f"{HYPER}/{path}", value))
        with pytest.raises(ValueError, match=message):
            load_language_model(folder)
    with pytest.raises(ValueError, match=r"holds a run of kind instructions: use .* generate"):
        load_classifier(folder)
