"""Presets of launchers and sweepers, each of them really run."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from program import SMOKE, command

from llm_lightning.commands import main as cli

pytestmark = pytest.mark.usefixtures("own_folder")

LONG = (
    "+experiment=lora", *SMOKE, "trainer.max_epochs=40", "model.n_layer=2", "model.n_embd=32",
    "model.n_head=2",
)  # fmt: skip
WAIT_S = 800  # on a machine with other work


def needs(package: str, extra: str) -> pytest.MarkDecorator:
    is_missing = find_spec(package) is None
    return pytest.mark.skipif(is_missing, reason=f"{package}, of the extra {extra}, is missing")


SUBMITIT = needs("submitit", "slurm")
OPTUNA = needs("optuna", "search")
RAY = needs("ray", "ray")


@pytest.fixture(autouse=True)
def _package_of_new_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(cli.__file__).parents[2]))


def start(*arguments: str) -> "subprocess.Popen[str]":
    """Runs in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "llm_lightning", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(what: str, found: Callable[[], Any]) -> Any:
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        if result := found():
            return result
        time.sleep(0.05)
    raise TimeoutError(what)


def flat(framed: str) -> str:
    return " ".join(framed.replace("│", " ").split())


def summaries() -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(Path("runs").glob("*/*/summary.json"))]


# --- what is not installed ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "plugin", "extra"),
    [
        ("hydra/launcher=slurm", "submitit", "slurm"),
        ("hydra/launcher=slurm_local", "submitit", "slurm"),
        ("hydra/launcher=ray", "ray", "ray"),
        ("+sweep=lora_search", "optuna", "search"),
    ],
)
def test_a_missing_plugin_names_its_extra(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    choice: str,
    plugin: str,
    extra: str,
) -> None:
    monkeypatch.setattr("llm_lightning.presentation.extras.find_spec", lambda name: None)
    assert command(monkeypatch, "-m", "+experiment=lora", *SMOKE, choice) == 2
    told = capsys.readouterr().err
    assert f"needs {plugin}: pip install 'llm-lightning[{extra}]'" in flat(told)
    assert not list(Path().rglob("status.json"))


@OPTUNA
def test_a_search_in_the_wrong_direction_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    search = (
        "-m", "+experiment=lora", *SMOKE, "hydra/sweeper=search", "objective=accuracy",
        "finetune.rank=2,4", "hydra.sweeper.direction=minimize",
    )  # fmt: skip
    assert command(monkeypatch, *search) == 2
    told = capsys.readouterr().err
    assert (
        "hydra.sweeper.direction must be maximize with objective=accuracy, got 'minimize'" in told
    )


def test_the_objective_must_be_a_validation_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "+experiment=lora", *SMOKE, "objective=perplexity") == 2
    told = capsys.readouterr().err
    assert "objective must be one of loss, accuracy" in told
    assert "got 'perplexity'" in told
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


# --- parallel -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_parallel_runs_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    sweep_of_four = (
        "-m", "+experiment=lora,baseline_length", "seed=1,2", *LONG[1:], "hydra/launcher=parallel",
        "hydra.launcher.n_jobs=2",
    )  # fmt: skip
    ended = start(*sweep_of_four)
    told = ended.communicate(timeout=WAIT_S)[0]
    assert ended.returncode == 0, told
    assert "sweep: 4 done, 0 failed" in told
    assert "epoch 1/40" not in told  # it stands in the runs' own files
    assert len(summaries()) == 4
    outputs = [file.read_text() for file in Path("runs").glob("lora*/*/output.txt")]
    threads = max(1, (os.cpu_count() or 1) // 2)
    for output in outputs:
        assert "epoch 40/40" in output
        assert f"({threads} thread{'s' * (threads > 1)})" in output
    begun = [
        (json.loads(file.read_text())["started_at"], json.loads(file.read_text())["updated_at"])
        for file in Path("runs").glob("lora*/*/status.json")
    ]
    (a_start, a_end), (b_start, b_end) = begun
    assert a_start < b_end
    assert b_start < a_end  # at the same time

    failing = start(  # a failure does not end the others
        "-m", "+experiment=last_block,baseline_length", *SMOKE, "finetune.num_blocks=9",
        "hydra/launcher=parallel",
    )  # fmt: skip
    told = failing.communicate(timeout=WAIT_S)[0]
    assert failing.returncode == 1
    assert "sweep: 1 done, 1 failed" in told
    reason = "finetune.num_blocks must be at most the model's 6 blocks, got 9"
    assert told.count(reason) == 1  # in the list of what failed
    (output,) = Path("runs").glob("last_block*/*/output.txt")
    assert reason in output.read_text()


# --- slurm ----------------------------------------------------------------------------------------


@pytest.fixture
def tasks() -> Iterator[Callable[[], list[int]]]:
    """Finds the processes of jobs that submitit started here; none of them outlives the test."""

    def find() -> list[int]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                is_ours = os.readlink(folder / "cwd") == str(Path.cwd())
            except OSError:
                continue
            if is_ours and b"submitit.core._submit" in words:
                found.append(int(folder.name))
        return found

    yield find
    for pid in find():
        os.kill(pid, signal.SIGKILL)


def is_part_of_the_way() -> bool:
    return bool(list(Path("runs").glob("*/*/checkpoints/resume.ckpt")))


needs_proc = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")


@SUBMITIT
@needs_proc
@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_a_killed_job_goes_on_when_it_is_submitted_again(tasks: Callable[[], list[int]]) -> None:
    sweep_of_one = ("-m", *LONG, "hydra/launcher=slurm_local")
    first = start(*sweep_of_one)
    wait_for("a checkpoint", is_part_of_the_way)
    (pid,) = tasks()
    os.kill(pid, signal.SIGKILL)
    told = first.communicate(timeout=WAIT_S)[0]
    assert first.returncode != 0, told
    assert not summaries()

    second = start(*sweep_of_one)
    told = second.communicate(timeout=WAIT_S)[0]
    assert second.returncode == 0, told
    assert "sweep: 1 done, 0 failed" in told
    (summary,) = summaries()
    assert (summary["epochs"], summary["optimizer_steps"]) == (40, 160)
    (output,) = Path("runs").glob("*/*/output.txt")
    assert output.read_text().count("resuming after ") == 1


@SUBMITIT
@needs_proc
@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_a_job_that_is_preempted_is_queued_again_and_goes_on(
    tasks: Callable[[], list[int]],
) -> None:
    running = start("-m", *LONG, "hydra/launcher=slurm_local")
    wait_for("a checkpoint", is_part_of_the_way)
    (pid,) = tasks()
    os.kill(pid, signal.SIGUSR2)  # what SLURM is asked to send
    told = running.communicate(timeout=WAIT_S)[0]
    assert running.returncode == 0, told
    assert "sweep: 1 done, 0 failed" in told
    (summary,) = summaries()
    assert summary["epochs"] == 40
    (output,) = Path("runs").glob("*/*/output.txt")
    assert output.read_text().count("resuming after ") == 1


# A cluster of one node: what SLURM's commands do, as far as submitit and a job look at it.
COMMANDS = {
    "sbatch": """
        cp "$1" submitted.sh
        for task in 0 1; do
            SLURM_JOB_ID=70$task SLURM_ARRAY_JOB_ID=77 SLURM_ARRAY_TASK_ID=$task SLURM_NTASKS=1 \\
            SLURM_JOB_NAME=llm_lightning SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 \\
            SLURM_JOB_NUM_NODES=1 SLURM_JOB_NODELIST=localhost \\
            bash "$1" > job_$task.txt 2>&1 < /dev/null &
        done
        echo Submitted batch job 77
    """,
    "srun": """
        while [[ "$1" == --* ]]; do
            if [[ "$1" == --output ]]; then shift; fi
            shift
        done
        exec "$@"
    """,
    "sacct": """
        echo 'JobID|State|NodeList'
        for task in 0 1; do echo "77_$task|RUNNING|localhost"; done
    """,
}


@SUBMITIT
@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_slurm_runs_jobs_of_an_array(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, script in COMMANDS.items():
        (commands / name).write_text(f"#!/usr/bin/env bash\n{script}")
        (commands / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    ended = start(
        "-m", "+experiment=lora", "seed=1,2", *SMOKE, "hydra/launcher=slurm",
        "hydra.launcher.partition=gpu", "hydra.launcher.timeout_min=30",
        "hydra.launcher.setup=['export SET_UP=1']",
    )  # fmt: skip
    told = ended.communicate(timeout=WAIT_S)[0]
    assert ended.returncode == 0, told
    assert "sweep: 2 done, 0 failed" in told
    assert [summary["seed"] for summary in summaries()] == [1, 2]
    submitted = Path("submitted.sh").read_text()
    for line in (
        "#SBATCH --array=0-1%2", "#SBATCH --partition=gpu", "#SBATCH --time=30",
        "#SBATCH --signal=USR2@120", "#SBATCH --gpus-per-node=1", "#SBATCH --cpus-per-task=4",
        "#SBATCH --mem=16GB", "#SBATCH --job-name=llm_lightning", "export SET_UP=1",
    ):  # fmt: skip
        assert line in submitted.splitlines()
    (srun,) = (line for line in submitted.splitlines() if line.startswith("srun"))
    assert " --cpus-per-task=4 " in srun, "a step of a job does not have the job's cores by itself"


# --- search ---------------------------------------------------------------------------------------


@pytest.mark.slow
@OPTUNA
def test_a_search_finds_prints_and_keeps_the_best(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    search = (
        "-m", "+experiment=lora", "+sweep=lora_search", *SMOKE, "hydra.sweeper.n_trials=3",
        "trainer.limit_test_batches=4", "model.n_layer=2",
    )  # fmt: skip
    assert command(monkeypatch, *search) == 0
    told = capsys.readouterr().out
    found: Any = OmegaConf.load("runs/optimization_results.yaml")
    accuracies = [summary["metrics"]["val"]["accuracy"] for summary in summaries()]
    assert len(accuracies) == 3
    assert found.best_value == max(accuracies)
    assert set(found.best_params) == {
        "finetune.rank", "finetune.alpha", "finetune.targets", "optim.lr",
    }  # fmt: skip
    best = next(s for s in summaries() if s["metrics"]["val"]["accuracy"] == max(accuracies))
    assert best["finetune"]["rank"] in (2, 4, 8, 16, 32)
    assert f"best: validation accuracy {100 * max(accuracies):.2f} with" in told
    assert f"finetune.rank={found.best_params['finetune.rank']}" in told
    assert "runs/optimization_results.yaml" in told

    # The same command has nothing left to do; a dry run changes nothing.
    before = Path("runs/optimization_results.yaml").read_bytes()
    assert command(monkeypatch, *search, "dry_run=true") == 0
    assert Path("runs/optimization_results.yaml").read_bytes() == before
    capsys.readouterr()
    assert command(monkeypatch, *search) == 0
    told = " ".join(capsys.readouterr().out.split())  # wherever lines were broken
    assert "search goes on: 3 trials finished before" in told
    assert "sweep: 0 done, 0 failed" in told
    assert f"best: validation accuracy {100 * max(accuracies):.2f} with" in told


@OPTUNA
@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_a_bad_trial_stops_early_and_is_trained_in_full_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = ("+experiment=last_layer", *SMOKE, "trainer.max_epochs=3", "model.n_layer=1")
    search = (
        "-m", *row, "optim.lr=choice(1e-9,1)", "trial=true", "hydra/sweeper=search",
        "hydra.sweeper.n_trials=4", "hydra.sweeper.prune=true",
        "hydra.sweeper.prune_startup_trials=1", "hydra.sweeper.prune_warmup_epochs=0",
        "hydra.sweeper.seed=3",
    )  # fmt: skip
    assert command(monkeypatch, *search) == 0
    found: Any = OmegaConf.load("runs/optimization_results.yaml")
    assert found.best_params["optim.lr"] == "1e-09"
    assert found.trials_stopped_early >= 1
    (stopped,) = (one for one in summaries() if one["trial"]["stopped_after"] is not None)
    assert stopped["trial"]["stopped_after"] == stopped["epochs"] < 3
    assert "optim.lr=1" in stopped["overrides"]

    capsys.readouterr()
    assert command(monkeypatch, *row, "optim.lr=1", "trial=true") == 0
    assert "that a search stopped after" in " ".join(capsys.readouterr().err.split())
    assert {one["epochs"] for one in summaries()} == {3}


# --- ray ------------------------------------------------------------------------------------------


@RAY
@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_ray_runs_two_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    ended = start(
        "-m", "+experiment=last_layer", "seed=1,2", *SMOKE, "hydra/launcher=ray",
        "hydra.launcher.num_cpus=1",
    )  # fmt: skip
    told = ended.communicate(timeout=WAIT_S)[0]
    assert ended.returncode == 0, told
    assert "sweep: 2 done, 0 failed" in told
    assert {summary["device"] for summary in summaries()} == {"cpu (1 thread)"}
