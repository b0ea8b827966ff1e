"""The command as a user types it: what it prints, and what it refuses in which words."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from program import SMOKE, start

pytestmark = pytest.mark.usefixtures("own_folder")


def test_the_configuration_can_be_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for asked in (("--cfg", "job"), ("--cfg=job",), ("-c", "job", "-p", "trainer")):
        start(monkeypatch, "+experiment=last_block", *asked)
        assert "max_epochs: 5" in capsys.readouterr().out
    assert not Path("runs").exists()


def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[object, str]:
    with pytest.raises(SystemExit) as caught:
        start(monkeypatch, *arguments)
    return caught.value.code, " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_without_fallback_the_same_is_an_error_with_the_same_advice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = refused(monkeypatch, capsys, "+experiment=last_block", "offline_fallback=false")
    assert status == 2
    assert "the SMS Spam Collection could not be downloaded" in told
    assert "data.path=<zip, file or folder>" in told
    status, told = refused(
        monkeypatch, capsys, "+experiment=last_block", "offline_fallback=false", "data=table",
        "data.path=table.csv",
    )  # fmt: skip
    assert "table.csv does not exist" in told


def test_explicit_paths_never_fall_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = refused(monkeypatch, capsys, "+experiment=last_block", "data.path=gone.zip")
    assert (status, "must be an existing file or folder, got gone.zip" in told) == (2, True)
    status, told = refused(monkeypatch, capsys, "+experiment=last_block", "model.weights=./gone")
    assert (status, "an existing file or folder, or a Hub id" in told) == (2, True)
    assert not list(Path("runs").glob("**/summary.json"))


@pytest.mark.parametrize(
    ("override", "told_part"),
    [
        (
            "finetune.num_blocks=9",
            "finetune.num_blocks must be at most the model's 6 blocks, got 9",
        ),
        ("optim.lr=-1", "optim.lr must be above 0, got -1.0"),
        ("data.padding=none", "data.padding=none needs data.batch_size=1, got 8"),
        ("task.pooling=middle", "task.pooling must be one of"),
        ("finetune=last_n_blocks", "finetune.num_blocks has no default: give it a value"),
        ("model.n_head=3", "model.n_embd must be a multiple of model.n_head"),
        ("model.init=empty", "model.init must be gpt2 or torch, got 'empty'"),
        ("model.vocab_size=100", "model.vocab_size must be at least the tokenizer's 50257"),
        ("seed=-1", "seed must be between 0 and 2**32 - 1, got -1"),
        ("trainer.max_epochs=abc", "trainer.max_epochs must be a whole number >= 0, got 'abc'"),
        ("trainer.accumulate_grad_batches=0", "must be a whole number >= 1, got 0"),
        ("trainer.devices=0", "trainer.devices must be a whole number >= 1, got 0"),
        ("trainer.limit_test_batches=0", "trainer.limit_test_batches must be above 0"),
        ("trainer.precision=17", "17"),
        ("~loggers", "loggers"),
        ("+optim.lrr=1", "there is no setting optim.lrr; did you mean optim.lr?"),
        ("+sead=1", "there is no setting sead; did you mean seed?"),
        ("baselines=[words]", "baselines must be among majority, length, naive_bayes, logreg"),
        ("callbacks.frozen_activations.disk_mib=-1", "disk_mib must be at least 0"),
    ],
)
def test_a_wrong_setting_is_one_framed_message(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    override: str,
    told_part: str,
) -> None:
    status, told = refused(monkeypatch, capsys, "+experiment=last_block", *SMOKE, override)
    assert status == 2
    assert told_part in told
    assert "Traceback" not in told
    assert not list(Path("runs").glob("*/*")), "a refused run leaves no folder"


@pytest.mark.parametrize(
    "arguments",
    [("evaluate=best", "~callbacks.checkpoint"), ("evaluate=best", "trainer.limit_val_batches=0")],
)
def test_best_checkpoint_that_cannot_be_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple
) -> None:
    status, told = refused(monkeypatch, capsys, "+experiment=last_layer", *SMOKE, *arguments)
    assert status == 2
    assert "evaluate=best needs" in told


def test_divergence_is_told_and_leaves_no_summary(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = refused(monkeypatch, capsys, "+experiment=all", *SMOKE, "optim.lr=1e30")
    assert status == 2
    assert "training diverged in epoch 1" in told
    assert not list(Path("runs").glob("**/summary.json"))


@pytest.mark.parametrize("arguments", [(), ("model=nano",)])
def test_without_an_experiment_the_response_is_a_list(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    status, shown = refused(monkeypatch, capsys, *arguments)
    assert status == 2
    heading = "Experiments: python -m llm_lightning +experiment=NAME all everything trains"
    assert shown.startswith(heading)
    assert "Commands: python -m llm_lightning NAME --help predict" in shown
    assert "Example: python -m llm_lightning +experiment=last_block" in shown
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            ("+experiment=last_blok",),
            "there is no experiment of this name; did you mean last_block?",
        ),
        (("-m", "+experiment=all,nil"), "+experiment: there is no experiment nil"),
        (("-m", "+experiment=glob(nil*)"), "+experiment=glob(nil*): no experiment matches"),
        (("experiment=all",), "write +experiment=all, with a plus sign"),
        (("last_block",), "last_block: write +experiment=last_block"),
        (("predikt", "runs"), "predikt: there is no such command; did you mean predict?"),
        (("+experiment=all", "fast"), "a setting is written as setting=value, without blanks"),
        (("+experiment=all,lora",), "several values make a sweep, which needs -m"),
        (("+experiment=all", "runs_dir="), "runs_dir is empty: name a folder"),
        (("+experiment=all", "run_dir=x"), "run_dir follows from runs_dir"),
    ],
)
def test_a_wrong_command_line_is_one_message(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    problem: str,
) -> None:
    status, shown = refused(monkeypatch, capsys, *arguments)
    assert status == 2
    assert problem in shown
    assert "`python -m llm_lightning --help` lists experiments and commands" in shown
    assert "everything trains" not in shown, "no list hides the message"
    assert not Path("runs").exists()


def test_help_lists_experiments_and_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start(monkeypatch, "--help")
    told = capsys.readouterr().out
    assert "row_01" in told
    for command in ("predict", "generate", "judge", "report", "export"):
        assert f"  {command}" in told


@pytest.mark.slow
def test_a_fallback_never_replaces_a_real_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start(monkeypatch, "+experiment=last_layer", *SMOKE)
    folder = next(Path("runs").glob("*/seed_123"))
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps(status | {"fallbacks": []}))  # a real run
    code, told = refused(monkeypatch, capsys, "+experiment=last_layer", *SMOKE)
    assert code == 2
    assert "holds a run on the real data and weights" in told
    assert (folder / "checkpoints" / "last.ckpt").is_file()


def test_a_project_with_a_config_of_its_own_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("config.yaml").write_text("mine: true\n")
    status, _ = refused(monkeypatch, capsys, "+experiment=last_layer", *SMOKE, "hydra.run.dir=.")
    assert (status, Path("config.yaml").read_text()) == (2, "mine: true\n")


def test_a_folder_that_is_no_run_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "last_layer-model.weights@random-model@nano-trainer@smoke"
    precious = Path("runs") / name / "seed_123" / "thesis.txt"
    precious.parent.mkdir(parents=True)
    precious.write_text("x")
    status, told = refused(monkeypatch, capsys, "+experiment=last_layer", *SMOKE)
    assert (status, precious.read_text()) == (2, "x")
    assert "is not empty and holds no run" in told


@pytest.mark.parametrize("command", ["predict", "generate", "judge", "report", "export"])
def test_every_command_documents_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        start(monkeypatch, command, "--help")
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m llm_lightning {command}")


def test_the_help_imports_nothing_heavy() -> None:
    """Which is why it takes well under a second."""
    script = (
        "import sys\n"
        "from llm_lightning.commands.main import main\n"
        "assert main(['--help']) == 0\n"
        "heavy = {'torch', 'lightning', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_every_setting_can_be_resolved_without_a_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start(monkeypatch, "+experiment=last_block", "--cfg", "job", "--resolve")
    assert "run_dir: runs/last_block/seed_123" in capsys.readouterr().out
    assert not Path("runs").exists()


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_a_line_on_how_to_continue() -> None:
    command = [sys.executable, "-m", "llm_lightning", "+experiment=last_layer", "model=nano"]
    process = subprocess.Popen(
        [*command, "trainer.max_epochs=1000"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    end = time.monotonic() + 200
    while not list(Path().glob("runs/*/*/checkpoints/resume.ckpt")):
        assert time.monotonic() < end
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    shown = process.communicate(timeout=60)[0]
    assert process.returncode == 130, shown
    assert "saved; the same command continues after optimizer step" in shown
    assert "Traceback" not in shown
    status = json.loads(next(Path("runs").glob("*/*/status.json")).read_text())
    assert status["state"] == "interrupted"
    assert status["epoch"] >= 1
