"""Signals stop a run at the next step where it can save, and at once elsewhere."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llm_lightning.training import stop_signals


@pytest.mark.parametrize(
    ("number", "status"),
    [("SIGTERM", 143), ("SIGINT", 130), ("SIGHUP", 129), ("SIGUSR1", 138)],
)
def test_a_signal_waits_while_it_is_deferred(number: str, status: int) -> None:
    sent = getattr(signal, number)
    before = signal.getsignal(sent)
    with stop_signals.handled():
        assert stop_signals.received() is None
        stop_signals.defer(True)
        os.kill(os.getpid(), sent)
        assert stop_signals.received() == sent
        with pytest.raises(KeyboardInterrupt):
            stop_signals.check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), sent)  # the second does not wait
        assert stop_signals.exit_status() == status
    assert signal.getsignal(sent) == before
    with stop_signals.handled(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), sent)  # nor does one that nobody waits for


def test_handlers_of_others_and_ignored_signals_stay() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with stop_signals.handled():
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop_signals.received() is None
            with stop_signals.handled():  # a run within a command: the outer handlers stay
                handlers = stop_signals.current()
            signal.signal(signal.SIGTERM, lambda *_: None)  # as Lightning does
            stop_signals.restore(handlers)
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("number", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_command_ends_with_the_signals_status(number: str, status: int) -> None:
    script = (
        "import os, signal\n"
        "from llm_lightning.commands.startup import run_and_exit\n"
        f"run_and_exit(lambda: os.kill(os.getpid(), signal.{number}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == status
    assert "interrupted" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_slurm_job_is_queued_again_after_its_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda words, **_: asked.append(words))
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    with stop_signals.handled():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop_signals.requeue_if_asked() is None
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGUSR1)
        assert stop_signals.requeue_if_asked() == "SLURM job 12 is queued again"
        monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
        stop_signals.requeue_if_asked()
        monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7; rm")
        assert stop_signals.requeue_if_asked() is None
    assert asked == [["scontrol", "requeue", "12"], ["scontrol", "requeue", "7_3"]]


def test_a_signal_within_an_import_ends_the_process(tmp_path: Path) -> None:
    (tmp_path / "slow_module.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nfor _ in range(10**6): pass\n"
    )
    code = (
        "from llm_lightning.training import stop_signals\n"
        "with stop_signals.handled():\n    import slow_module\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, check=False, text=True,
    )  # fmt: skip
    assert ended.returncode == 128 + signal.SIGTERM
    assert ended.stderr == ""
