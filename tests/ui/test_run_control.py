"""Runs are started as processes of their own, and stopped by the signal that saves."""

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_lightning.config.run_name import run_name
from llm_lightning.run_format import folder_lock, status
from llm_lightning.ui import run_control
from llm_lightning.ui.found_runs import find_runs
from llm_lightning.ui.run_control import earlier_launch, last_output, launch_of, start, stop

HOLD = """
import sys, time
from pathlib import Path
from llm_lightning.run_format.folder_lock import holding
with holding(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def waited(condition: Callable[[], object]) -> bool:
    end = time.monotonic() + 20
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_a_launch_is_the_command_and_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "my runs"
    found = launch_of("last_block", "optim.lr=1e-4 seed=2", root, lambda arguments: None)
    assert found.folder == root / run_name(["+experiment=last_block", "optim.lr=1e-4"]) / "seed_2"
    words = shlex.split(found.command)
    assert words[:3] == ["python", "-m", "llm_lightning"]
    assert words[3:] == ["+experiment=last_block", "optim.lr=1e-4", "seed=2", f"runs_dir='{root}'"]


@pytest.mark.parametrize(
    ("experiment", "settings", "said"),
    [
        ("", "", "choose an experiment"),
        ("last_block", "data.path='x", "quotes come in pairs"),
        ("last_block", "--multirun", "no options"),
        ("last_block", "runs_dir=/tmp", "the page sets this"),
        ("last_block", "optim.lr", "wrong"),
    ],
)
def test_what_cannot_be_started(experiment: str, settings: str, said: str) -> None:
    def problem(arguments: object) -> str | None:
        return "wrong" if "optim.lr" in str(arguments) else None

    with pytest.raises(ValueError, match=said):
        launch_of(experiment, settings, Path("runs"), problem)


def test_a_process_that_ends_at_once_is_a_failed_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\necho "$@"\necho "the reason"\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setattr(run_control.sys, "executable", str(program))
    launch = launch_of("last_block", "data.path='a b.csv'", tmp_path / "runs", lambda _: None)
    start(launch)
    assert waited(lambda: status.read(launch.folder))
    (run,) = find_runs([tmp_path / "runs"])
    assert (run.state, run.note) == ("failed", "the reason")
    output = last_output(launch.folder)
    assert output.startswith(f"$ {launch.command}\n-m llm_lightning +experiment=last_block")
    again = earlier_launch(launch.folder)
    assert again == launch


def test_stopping_asks_the_process_that_holds_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "row" / "seed_1"
    with pytest.raises(ValueError, match="is not running"):
        stop(folder)
    status.write(folder, "running")
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        (run,) = find_runs([tmp_path])
        assert run.is_running
        assert run.holder is not None
        assert run.holder.pid == process.pid
        launch = run_control.Launch(("+experiment=row",), folder)
        with pytest.raises(ValueError, match=f"running already, as process {process.pid}"):
            start(launch)
        assert stop(folder).pid == process.pid
        assert process.wait(20) == -signal.SIGTERM
    (run,) = find_runs([tmp_path])
    assert (run.state, run.note) == ("stopped", "its process ended; the same command continues it")


def test_a_run_on_another_machine_is_stopped_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = folder_lock.Holder(1, "elsewhere", "2026-01-01")
    monkeypatch.setattr(run_control, "holder_of", lambda folder: holder)
    with pytest.raises(ValueError, match="running on elsewhere, as process 1: stop it there"):
        stop(tmp_path)
