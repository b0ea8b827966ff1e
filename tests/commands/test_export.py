"""The command: finished runs become folders that others read."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from exporting.tasks_to_export import code_of
from llm_lightning.runs.folder import load_classifier, load_language_model
from safetensors.torch import load_file, save_file

from llm_lightning.backbone.tokenizer import encode
from llm_lightning.commands import export
from llm_lightning.commands import main as cli
from llm_lightning.exporting import formats, transformers_folder

TEXTS = ["ok", "You won a prize!", "see you at 7? " * 4]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Finished runs by name, each made when it is first asked for."""
    return Runs(tmp_path_factory.mktemp("runs"))


SHORT = ("task.generation.max_new_tokens=1",)


class Runs(dict[str, Path]):
    commands: ClassVar = {
        "last_block": ("+experiment=last_block", "data.max_length=24"),
        "mean": ("+experiment=last_block", "task.position=mean_real"),
        "lora": ("+experiment=lora", "optim.lr=1e-2"),
        "qlora": ("+experiment=qlora", "optim.lr=1e-2"),
        "instruct": ("+experiment=instruct_nano", *SHORT),
        "instruct_lora": ("+experiment=instruct_lora", "optim.lr=1e-2", *SHORT),
        "baseline": ("+experiment=baseline_majority",),
    }

    def __init__(self, parent: Path) -> None:
        super().__init__()
        self.parent = parent

    def __missing__(self, name: str) -> Path:
        small = () if name == "baseline" else ("model=nano", "trainer=smoke")
        arguments = (*self.commands[name], *small, f"runs_dir={self.parent / name}")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.parent)
            patch.setattr(sys, "argv", ["llm_lightning", *arguments])
            cli.main()
        self[name] = next((self.parent / name).glob("*/seed_123"))
        return self[name]


def words(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What the command says when it fails."""
    assert export.main([*map(str, arguments)]) == 1
    return words(capsys.readouterr().err)


def differences(said: str) -> dict[str, float]:
    """What was compared, and the difference, as the command prints them."""
    lines = said.partition("largest difference of logits from the run's:")[2].splitlines()
    pairs = [line.strip().rsplit(": ", 1) for line in lines if line.strip()]
    return {what: float(number) for what, number in pairs}


@pytest.mark.parametrize(
    ("run", "kind", "compared"),
    [
        ("last_block", "hf", ["transformers", "model.weights=<this folder>"]),
        ("lora", "hf", ["transformers", "model.weights=<this folder>"]),
        ("lora", "peft", ["PEFT, over the base"]),
        ("mean", "merged", ["model.weights=<this folder>"]),
        ("instruct_lora", "hf", ["transformers", "model.weights=<this folder>"]),
        ("instruct_lora", "peft", ["PEFT, over the base"]),
        ("instruct_lora", "merged", ["model.weights=<this folder>"]),
    ],
)
def test_every_format_says_how_far_it_is_from_the_run(
    runs: dict[str, Path], run: str, kind: str, compared: list[str],
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "out"
    folder = runs[run]
    capsys.readouterr()
    assert export.main([str(folder), "--format", kind, "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    found = differences(told.out)
    assert list(found) == compared
    assert max(found.values()) <= 1e-4
    for file in out.rglob("*.*"):
        assert str(file.relative_to(out)) in told.out
    for file in [*out.rglob("*.json"), out / "README.md"]:
        assert str(folder.parent.parent) not in file.read_text(), "paths of this machine stay here"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_gguf_export_has_both_files_and_the_prompt(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    folder = runs["instruct"]
    capsys.readouterr()
    assert export.main([str(folder), "--format", "gguf", "--out", str(out)]) == 0
    found = differences(capsys.readouterr().out)
    assert list(found) == ["model-f16.gguf, expanded", "model-q8_0.gguf, expanded"]
    f16, q8 = found.values()
    assert 0 < f16 < q8 < 1
    lines = (out / "Modelfile").read_text().splitlines()
    assert lines[0] == "FROM ./model-f16.gguf"
    assert "PARAMETER num_predict 1" in lines
    assert "### Instruction:" in lines


def test_qlora_is_merged_onto_the_expanded_base_and_says_what_that_changes(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = runs["qlora"]
    capsys.readouterr()
    assert export.main([str(folder), "--format", "merged", "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    found = differences(told.out)
    merged, again = found.values()
    assert "merged onto the expanded base (the run's is in four bits)" in found
    assert 1e-4 < merged < 0.5, "bf16 is seen"
    assert again < 1e-4
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float32}


def card_code(out: Path) -> dict[str, Any]:
    """What the code on the card makes when a reader runs it."""
    names: dict[str, Any] = {}
    exec(code_of(out), names)
    return names


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing")  # PEFT's use of an old name
@pytest.mark.parametrize("run", ["lora", "qlora", "instruct_lora"])
@torch.no_grad()
def test_the_code_on_an_adapters_card_gives_the_runs_logits(
    runs: dict[str, Path], run: str, tmp_path: Path
) -> None:
    assert export.main([str(runs[run]), "--format", "peft", "--out", str(tmp_path)]) == 0
    made = card_code(tmp_path)
    model, tokenizer = made["model"], made["tokenizer"]
    batch = tokenizer(TEXTS, return_tensors="pt", padding=True)
    lengths = batch["attention_mask"].sum(dim=1)
    assert len(set(lengths.tolist())) == 3
    theirs = model(**batch).logits
    if run == "instruct_lora":
        ours = load_language_model(runs[run])[0](batch["input_ids"])
        is_real = batch["attention_mask"].bool()
        torch.testing.assert_close(theirs[is_real], ours[is_real], atol=1e-4, rtol=1e-4)
        return
    task = load_classifier(runs[run])[0]
    tolerance = 1e-4 if run == "lora" else 0.1  # the run computes in bf16, four bits expanded
    torch.testing.assert_close(
        theirs, task(batch["input_ids"], lengths), atol=tolerance, rtol=tolerance
    )
    assert model.config.id2label == {0: "ham", 1: "spam"}


def test_the_pipeline_on_a_card_classifies_as_predict_does(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    from llm_lightning.commands.predict import predict

    folder = runs["last_block"]
    assert export.main([str(folder), "--format", "hf", "--out", str(tmp_path)]) == 0
    found = card_code(tmp_path)["classify"]([*TEXTS, "word " * 40], truncation=True)
    expected = predict(load_classifier(folder)[0], [*TEXTS, "word " * 40])
    assert expected[-1].truncated
    assert [row["label"] for row in found] == [row.label for row in expected]
    assert [row["score"] for row in found] == pytest.approx(
        [row.probability for row in expected], abs=1e-5
    )


def test_the_pipeline_on_a_card_writes_as_generate_does(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    from llm_lightning.backbone.generation import GenerationOptions, generate

    folder = runs["instruct"]
    assert export.main([str(folder), "--format", "hf", "--out", str(tmp_path)]) == 0
    write = card_code(tmp_path)["write"]
    prompt = "Once upon a time"
    text = write(prompt, max_new_tokens=8, max_length=None, do_sample=False)[0]["generated_text"]
    task = load_language_model(folder)[0]
    options = GenerationOptions(max_new_tokens=8)
    ours = generate(task.backbone, task.head, [encode(prompt)], options)[0]
    assert encode(text)[: len(encode(prompt)) + len(ours)] == encode(prompt) + ours


def test_an_export_is_trained_on(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """With steps of next to nothing, the loss of ``model.weights=<folder>`` is the run's."""
    out = tmp_path / "out"
    assert export.main([str(runs["lora"]), "--format", "merged", "--out", str(out)]) == 0
    monkeypatch.chdir(tmp_path)
    arguments = (
        "+experiment=last_block", "model=nano", "trainer=smoke", f"model.weights={out}",
        "optim.lr=1e-12", "runs_dir=again",
    )  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["llm_lightning", *arguments])
    cli.main()
    metrics = [
        json.loads((folder / "summary.json").read_text())["metrics"]["test"]["loss"]
        for folder in (runs["lora"], next((tmp_path / "again").glob("*/seed_123")))
    ]
    assert metrics[0] == pytest.approx(metrics[1], abs=1e-4)


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "kind", "told"),
    [
        ("last_block", "gguf", "--format gguf is for language models; this run is a classifier"),
        ("last_block", "peft", "this run trained with finetune=TopBlocks and has none there"),
        ("mean", "hf", "this run has task.position=mean_real: use --format merged"),
        ("baseline", "hf", "is a baseline: it has no network to export"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(
    runs: dict[str, Path], run: str, kind: str, told: str,
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    said = refusal(capsys, runs[run], "--format", kind, "--out", tmp_path / "out")
    assert told in said
    assert not any(tmp_path.iterdir())


def test_an_unfinished_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    said = refusal(capsys, tmp_path / "run", "--format", "hf", "--out", tmp_path / "out")
    assert "is not the folder of a finished run" in said


def test_a_foreign_folder_is_refused_before_anything_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "project"
    out.mkdir()
    (out / "precious.txt").write_text("work")
    said = refusal(capsys, tmp_path / "no run", "--format", "hf", "--out", out)
    assert "is not empty and holds no export; name another folder" in said
    assert [path.name for path in out.iterdir()] == ["precious.txt"]


@pytest.mark.parametrize(
    ("kind", "missing"),
    [("hf", ["transformers"]), ("peft", ["peft", "transformers"]), ("gguf", ["gguf"])],
)
def test_a_missing_extra_is_named_with_the_line_that_installs_it(
    kind: str, missing: list[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)  # what makes an import fail
    said = refusal(capsys, tmp_path, "--format", kind, "--out", tmp_path / "out")
    assert f"needs {' and '.join(missing)}: pip install 'llm-lightning[export]'" in said


# --- what differs ---------------------------------------------------------------------------------


@pytest.fixture
def tampered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports whose file is not what was to be written: one bias is another."""
    write = transformers_folder.write_merged

    def write_and_tamper(task: Any, model: Any, folder: Path) -> None:
        write(task, model, folder)
        file = folder / "model.safetensors"
        tensors = load_file(file)
        tensors["transformer.ln_f.bias"][0] += 1.0
        save_file(tensors, file, metadata={"format": "pt"})

    monkeypatch.setattr(transformers_folder, "write_merged", write_and_tamper)


@pytest.mark.usefixtures("tampered")
@pytest.mark.parametrize("kind", ["hf", "merged"])
def test_an_export_that_differs_fails_and_leaves_nothing(
    runs: dict[str, Path], kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    said = refusal(capsys, runs["lora"], "--format", kind, "--out", out)
    assert f"{out.name} was not written" in said
    assert "does not compute what the run computes" in said
    assert "it must be a number, at most 0.001" in said
    assert not any(tmp_path.iterdir())


def test_a_former_export_outlives_one_that_fails(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    arguments = [str(runs["lora"]), "--format", "merged", "--out", str(tmp_path)]
    assert export.main(arguments) == 0
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    nan = [torch.tensor([float("nan")] * 2)] * 5
    monkeypatch.setattr(formats, "write", lambda *_: {"this": nan})
    assert "the largest difference of logits is nan" in refusal(capsys, *arguments)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_the_command_works_from_another_folder_and_says_nothing_else(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    """Libraries that are imported on the way keep their advice to themselves."""
    command = [sys.executable, "-m", "llm_lightning.commands.export", str(runs["lora"])]
    done = subprocess.run(
        [*command, "--format", "peft", "--out", "out"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    first, *_, last = [line for line in done.stdout.splitlines() if line.strip()]
    assert first.split() == ["out", "MiB"]
    assert last.startswith("  PEFT, over the base: ")
