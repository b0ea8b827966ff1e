"""A SLURM job that is asked to stop: queued again if its time is over or others need its place."""

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("submitit")

from fake_jobs import FakeJobs

from llm_lightning.sweeping import places, slurm
from llm_lightning.sweeping.slurm import Resumable
from llm_lightning.training import stop_signals

NUMBERS = (signal.SIGUSR2, signal.SIGTERM)


class Asked:
    """Jobs that get a signal while they run."""

    def __init__(self, number: int) -> None:
        self.number = number

    def run(self, overrides: Sequence[str], number: int) -> None:
        os.kill(os.getpid(), self.number)


@pytest.fixture
def requeued(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The signals by which submitit was asked to queue a job again."""
    found: list[int] = []
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    before = [signal.getsignal(number) for number in NUMBERS]
    signal.signal(signal.SIGUSR2, lambda number, frame: found.append(number))
    with stop_signals.handled():  # at its end, what was received is forgotten
        yield found
    for number, handler in zip(NUMBERS, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "is_preempted", "expected"),
    [
        (signal.SIGUSR2, False, [signal.SIGUSR2]),
        (signal.SIGTERM, True, [signal.SIGUSR2]),
        (signal.SIGTERM, False, []),  # scancel: the user wants it to end
    ],
)
def test_who_asks_decides_whether_a_job_is_queued_again(
    monkeypatch: pytest.MonkeyPatch,
    requeued: list[int],
    number: int,
    is_preempted: bool,
    expected: list[int],
) -> None:
    monkeypatch.setattr(slurm, "_is_preempted", lambda job: is_preempted and job == "7")
    job: Any = Resumable(Asked(number))  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        job([], 0)
    assert requeued == expected


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("JobId=5 PreemptEligibleTime=2026-11-26T16:54:11 PreemptTime=2026-11-26T16:54:53", True),
        ("JobId=5 PreemptEligibleTime=2026-11-26T16:54:11 PreemptTime=None", False),
    ],
)
def test_slurm_says_whether_a_job_is_preempted(
    monkeypatch: pytest.MonkeyPatch, shown: str, expected: bool
) -> None:
    class Done:
        stdout = shown

    monkeypatch.setattr(slurm.subprocess, "run", lambda *arguments, **options: Done)
    assert slurm._is_preempted("5") is expected


def test_without_slurm_no_job_is_preempted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert not slurm._is_preempted("5")


@pytest.mark.slow
def test_jobs_on_this_machine_are_limited_and_a_dead_one_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folders = (Path(__file__).parents[1], Path(slurm.__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, folders)))
    monkeypatch.setattr(places, "usable", lambda: 8.0)
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    told: Any = slurm.launch_here(
        FakeJobs(),  # type: ignore[arg-type]
        [[], [], ["die"], []],
        10,
        n_jobs=3,
        submitit_folder=str(tmp_path / "%j"),
        max_num_timeout=1,
        signal_delay_s=30,
        timeout_min=5,
        name="test",
        stderr_to_stdout=True,
    )
    assert [one["number"] for one in told] == [10, 11, 12, 13]
    assert "ended without a result" in told[2]["lost"]
    done = [one for one in told if "pid" in one]
    assert {one["CUDA_VISIBLE_DEVICES"] for one in done} <= {"4", "6"}
    assert {one["OMP_NUM_THREADS"] for one in done} == {"4"}
    assert "OMP_NUM_THREADS" not in os.environ
