"""Whole commands: signals end them with their own status, and two of the same do not meet."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from program import SMOKE

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_folder"), pytest.mark.timeout(900)]

LONG = (
    "+experiment=last_layer", *SMOKE, "trainer.max_epochs=400", "trainer.limit_train_batches=null",
)  # fmt: skip
WAIT_S = 400


def start(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "llm_lightning", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def wait_for(is_there: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_S
    while not is_there():
        assert time.monotonic() < end
        time.sleep(0.05)


def state() -> str:
    files = list(Path("runs").glob("*/*/status.json"))
    return str(json.loads(files[0].read_text())["state"]) if files else ""


def test_two_of_the_same_command_and_signals() -> None:
    first = start(*LONG)
    wait_for(lambda: list(Path("runs").glob("*/*/checkpoints/resume.ckpt")))
    second = start(*LONG)
    told = second.communicate(timeout=WAIT_S)[0]
    assert second.returncode == 75, told
    assert f"is held by process {first.pid} on" in " ".join(told.replace("│", " ").split())
    assert "Traceback" not in told
    assert state() == "running"

    for number, status in (("SIGTERM", 143), ("SIGUSR1", 138), ("SIGHUP", 129), ("SIGINT", 130)):
        if number != "SIGTERM":
            first = start(*LONG)
            wait_for(lambda: state() == "running")
            time.sleep(0.5)
        first.send_signal(getattr(signal, number))
        told = first.communicate(timeout=WAIT_S)[0]
        assert first.returncode == status, told
        assert "the same command continues" in told
        if number == "SIGTERM":  # it trained for sure
            assert "saved; the same command continues after optimizer step" in told
        assert state() == "interrupted"
        assert not list(Path("runs").rglob("*.lock"))


def test_a_signal_before_training_has_the_same_status() -> None:
    process = start(*LONG)
    time.sleep(1.0)  # it imports, most likely
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=WAIT_S)[0]
    assert process.returncode in (143, -signal.SIGTERM), told
    assert "Traceback" not in told


def test_the_same_sweep_twice_does_every_run_once() -> None:
    sweep = (
        "-m", "+experiment=last_layer", *SMOKE, "seed=1,2", "trainer.max_epochs=120",
        "trainer.limit_train_batches=null",
    )  # fmt: skip
    both = [start(*sweep)]
    wait_for(lambda: list(Path("runs").glob("*/*/status.json")))
    both.append(start(*sweep))
    told = [process.communicate(timeout=WAIT_S)[0] for process in both]
    assert {process.returncode for process in both} <= {0, 75}, told
    assert 0 in {process.returncode for process in both}, told
    for text in told:
        assert "Traceback" not in text
        assert "0 failed" in text
    summaries = list(Path("runs").glob("*/*/summary.json"))
    assert len(summaries) == 2
    assert "is held by process" in "".join(told).replace("│", " ")
