"""The command: finished runs become folders for other libraries."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from exporting.tasks_to_export import code_of
from safetensors.torch import load_file, save_file

import llm_lightning
from llm_lightning.backbone.tokenizer import encode
from llm_lightning.commands import export
from llm_lightning.commands import main as cli
from llm_lightning.exporting import formats
from llm_lightning.exporting.gpt2 import transformers_folder
from llm_lightning.runs.load import load_classifier, load_language_model

TEXTS = ["ok", "You won a prize!", "see you at 7? " * 4]

COMMANDS = {
    "last_block": ("+experiment=last_block", "data.max_length=24"),
    "mean": ("+experiment=last_block", "task.pooling=mean_real"),
    "lora": ("+experiment=lora", "optim.lr=1e-2"),
    "qlora": ("+experiment=qlora", "optim.lr=1e-2"),
    "instruct": ("+experiment=instruct_nano",),
    "instruct_lora": ("+experiment=instruct_lora", "optim.lr=1e-3"),
    "baseline": ("+experiment=baseline_majority",),
}

Runs = Callable[[str], Path]


class Export(NamedTuple):
    """A folder that the command wrote, and what it printed."""

    folder: Path
    out: str
    err: str


Exports = Callable[[str, str], Export]


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The folder of a finished run, by a name in ``COMMANDS``; each is trained when first used."""
    parent = tmp_path_factory.mktemp("runs")
    records = [
        {"instruction": f"Count to {number}.", "input": "", "output": "Here: " + "1 " * number}
        for number in range(1, 31)
    ]
    (parent / "records.json").write_text(json.dumps(records))

    @cache
    def folder_of(name: str) -> Path:
        arguments = [*COMMANDS[name], f"runs_dir={parent / name}"]
        if name != "baseline":
            arguments += ["model=nano", "trainer=smoke", "model_task=none", "baselines=[]"]
        if name.startswith("instruct"):
            arguments += [
                f"data.path={parent / 'records.json'}", "data.batch_size=2",
                "trainer.max_epochs=1", "task.generation.max_new_tokens=1",
                "untrained_responses=false",
            ]  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(parent)
            patch.setattr(sys, "argv", ["llm_lightning"])
            assert cli.main(arguments) == 0
        return next((parent / name).glob("*/seed_123"))

    return folder_of


@pytest.fixture(scope="module")
def export_of(run_of: Runs, tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """The export of a run in a format; each is written when first used, and must stay as it is."""

    @cache
    def exported(name: str, kind: str) -> Export:
        run, folder = run_of(name), tmp_path_factory.mktemp("export") / "out"
        with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
            status = export.main([str(run), "--format", kind, "--out", str(folder)])
        assert status == 0, err.getvalue()
        return Export(folder, out.getvalue(), err.getvalue())

    return exported


def words(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The error of a command that fails."""
    assert export.main([*map(str, arguments)]) == 2
    return words(capsys.readouterr().err)


def differences(shown: str) -> dict[str, float]:
    """What was compared, and the difference, as the command prints them."""
    lines = shown.partition("largest difference of logits from the run's:")[2].splitlines()
    # After a semicolon, how many top choices are the same.
    pairs = [line.split(";")[0].strip().rsplit(": ", 1) for line in lines if line.strip()]
    return {what: float(number) for what, number in pairs}


@pytest.mark.parametrize(
    ("run", "kind", "compared"),
    [
        ("last_block", "hf", ["transformers", "model.weights=<this folder>"]),
        ("lora", "hf", ["transformers", "model.weights=<this folder>"]),
        ("lora", "peft", ["PEFT, on the base"]),
        ("mean", "merged", ["model.weights=<this folder>"]),
        pytest.param(
            "instruct_lora",
            "hf",
            ["transformers", "model.weights=<this folder>"],
            marks=pytest.mark.slow,
        ),
        pytest.param("instruct_lora", "peft", ["PEFT, on the base"], marks=pytest.mark.slow),
        pytest.param(
            "instruct_lora", "merged", ["model.weights=<this folder>"], marks=pytest.mark.slow
        ),
    ],
)
def test_every_format_reports_its_difference_from_the_run(
    run_of: Runs, export_of: Exports, run: str, kind: str, compared: list[str]
) -> None:
    folder, out, err = export_of(run, kind)
    assert err == ""
    found = differences(out)
    assert list(found) == compared
    assert max(found.values()) <= 1e-4
    for file in folder.rglob("*.*"):
        assert str(file.relative_to(folder)) in out
    for file in [*folder.rglob("*.json"), folder / "README.md"]:
        runs_dir = run_of(run).parent.parent
        assert str(runs_dir) not in file.read_text(), "paths of this machine stay here"
    assert [path.name for path in folder.parent.iterdir()] == ["out"]
    modes = {file.stat().st_mode for file in folder.rglob("*") if file.is_file()}
    assert len(modes) == 1, "weights can be read by whoever can read their configuration"


@pytest.mark.slow
def test_a_gguf_export_has_both_files_and_the_prompt(
    export_of: Exports,
) -> None:
    folder, out, _ = export_of("instruct", "gguf")
    found = differences(out)
    assert list(found) == ["model-f16.gguf, dequantized", "model-q8_0.gguf, dequantized"]
    f16, q8 = found.values()
    assert 0 < f16 < q8 < 1
    lines = (folder / "Modelfile").read_text().splitlines()
    assert lines[0] == "FROM ./model-f16.gguf"
    assert "PARAMETER num_predict 1" in lines
    assert "### Instruction:" in lines


@pytest.mark.slow
def test_qlora_is_merged_into_the_dequantized_base_and_reports_what_that_changes(
    export_of: Exports,
) -> None:
    folder, out, err = export_of("qlora", "merged")
    assert err == ""
    found = differences(out)
    merged, again = found.values()
    assert "merged into the dequantized base (the run's is in four bits)" in found
    assert 1e-4 < merged < 0.5, "bf16 shows"
    assert again < 1e-4
    weights = load_file(folder / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float32}


def card_code(out: Path) -> dict[str, Any]:
    """What the code on the card makes when a reader runs it."""
    names: dict[str, Any] = {}
    exec(code_of(out), names)
    return names


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing")  # PEFT's use of an old name
@pytest.mark.parametrize(
    "run", ["lora", pytest.param("qlora", marks=pytest.mark.slow), "instruct_lora"]
)
@torch.no_grad()
def test_the_code_on_an_adapters_card_gives_the_runs_logits(
    run_of: Runs, export_of: Exports, run: str
) -> None:
    made = card_code(export_of(run, "peft").folder)
    model, tokenizer = made["model"], made["tokenizer"]
    batch = tokenizer(TEXTS, return_tensors="pt", padding=True)
    lengths = batch["attention_mask"].sum(dim=1)
    assert len(set(lengths.tolist())) == 3
    theirs = model(**batch).logits
    if run == "instruct_lora":
        ours = load_language_model(run_of(run))[0](batch["input_ids"])
        is_real = batch["attention_mask"].bool()
        torch.testing.assert_close(theirs[is_real], ours[is_real], atol=1e-4, rtol=1e-4)
        return
    task = load_classifier(run_of(run))[0]
    tolerance = 1e-4 if run == "lora" else 0.1  # the run computes in bf16
    torch.testing.assert_close(
        theirs, task(batch["input_ids"], lengths), atol=tolerance, rtol=tolerance
    )
    assert model.config.id2label == {0: "ham", 1: "spam"}


def test_the_pipeline_on_a_card_classifies_as_predict_does(
    run_of: Runs, export_of: Exports
) -> None:
    from llm_lightning.runs.prediction import predict

    found = card_code(export_of("last_block", "hf").folder)["classify"](
        [*TEXTS, "word " * 40], truncation=True
    )
    expected = predict(load_classifier(run_of("last_block"))[0], [*TEXTS, "word " * 40])
    assert expected[-1].truncated
    assert [row["label"] for row in found] == [row.label for row in expected]
    assert [row["score"] for row in found] == pytest.approx(
        [row.probability for row in expected], abs=1e-5
    )


@pytest.mark.slow
def test_the_pipeline_on_a_card_writes_as_generate_does(run_of: Runs, export_of: Exports) -> None:
    from llm_lightning.backbone.generation import generate
    from llm_lightning.backbone.sampling import GenerationOptions

    write = card_code(export_of("instruct", "hf").folder)["write"]
    prompt = "Once upon a time"
    text = write(prompt, max_new_tokens=8, max_length=None, do_sample=False)[0]["generated_text"]
    task = load_language_model(run_of("instruct"))[0]
    options = GenerationOptions(max_new_tokens=8)
    ours = generate(task.backbone, task.head, [encode(prompt)], options)[0]
    assert encode(text)[: len(encode(prompt)) + len(ours)] == encode(prompt) + ours


@pytest.mark.slow
def test_a_run_starts_from_an_export(
    run_of: Runs, export_of: Exports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With steps of next to nothing, the loss of ``model.weights=<folder>`` is the run's."""
    out = export_of("lora", "merged").folder
    monkeypatch.chdir(tmp_path)
    arguments = (
        "+experiment=last_block", "model=nano", "trainer=smoke", f"model.weights={out}",
        "model_task=none", "baselines=[]",
        "optim.lr=1e-12", "runs_dir=again",
    )  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["llm_lightning"])
    assert cli.main(arguments) == 0
    metrics = [
        json.loads((folder / "summary.json").read_text())["metrics"]["test"]["loss"]
        for folder in (run_of("lora"), next((tmp_path / "again").glob("*/seed_123")))
    ]
    assert metrics[0] == pytest.approx(metrics[1], abs=1e-4)


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "kind", "message"),
    [
        ("last_block", "gguf", "this run is a classifier: use --format hf or --format merged"),
        ("last_block", "peft", "finetune=TopBlocks and has none there: use --format hf or"),
        ("mean", "peft", "finetune=TopBlocks and has none there: use --format merged"),
        ("mean", "hf", "this run has task.pooling=mean_real: train with task.pooling=last_real"),
        ("baseline", "hf", "is a baseline: it has no network"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(
    run_of: Runs, run: str, kind: str, message: str,
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    shown = refusal(capsys, run_of(run), "--format", kind, "--out", tmp_path / "out")
    assert message in shown
    assert not any(tmp_path.iterdir())


def test_an_unfinished_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    shown = refusal(capsys, tmp_path / "run", "--format", "hf", "--out", tmp_path / "out")
    assert "is not the folder of a finished run" in shown


def test_a_foreign_folder_is_refused_before_anything_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "project"
    out.mkdir()
    (out / "precious.txt").write_text("work")
    shown = refusal(capsys, tmp_path / "no run", "--format", "hf", "--out", out)
    assert "is not empty and contains no export; name another folder" in shown
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
    shown = refusal(capsys, tmp_path, "--format", kind, "--out", tmp_path / "out")
    assert f"needs {' and '.join(missing)}: pip install 'llm-lightning[export]'" in shown


# --- what differs ---------------------------------------------------------------------------------


@pytest.fixture
def tampered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports with a mistake in their file: one bias is another."""
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
    run_of: Runs, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    shown = refusal(capsys, run_of("lora"), "--format", kind, "--out", out)
    assert f"{out.name} was not written" in shown
    assert "does not compute the same as the run" in shown
    assert "it must be a number, at most 0.001" in shown
    assert not any(tmp_path.iterdir())


def test_an_earlier_export_outlives_one_that_fails(
    run_of: Runs, export_of: Exports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    arguments = [str(run_of("lora")), "--format", "merged", "--out", str(tmp_path)]
    shutil.copytree(export_of("lora", "merged").folder, tmp_path, dirs_exist_ok=True)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    nan = [torch.tensor([float("nan")] * 2)] * 5
    monkeypatch.setattr(formats, "write", lambda *_: {"this": nan})
    assert "the largest difference of logits is nan" in refusal(capsys, *arguments)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.slow
def test_the_command_works_from_another_folder_and_prints_nothing_else(
    run_of: Runs, tmp_path: Path
) -> None:
    """Libraries that are imported on the way print no advice."""
    root = str(Path(llm_lightning.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "llm_lightning", "export", run_of("lora"), "--format", "peft",
         "--out", "out"],
        env=os.environ | {"PYTHONPATH": root},
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    first, *_, last = [line for line in done.stdout.splitlines() if line.strip()]
    assert first.split() == ["out", "MiB"]
    assert last.startswith("  PEFT, on the base: ")
