"""How many threads a run computes with, and how they wait."""

from pathlib import Path

import pytest

from llm_lightning.distributed import cores


@pytest.mark.parametrize(
    ("usable", "used_by_others", "threads"),
    [
        (2, 0.0, 2),
        (2, 0.2, 2),
        (2, 0.67, 1),  # one busy program beside two threads of this one
        (2, 1.33, 1),  # two
        (2, 2.0, 1),
        (16, 3.9, 12),
        (1.5, 0.0, 1),
    ],
)
def test_a_core_that_others_use_is_left_to_them(
    usable: float, used_by_others: float, threads: int
) -> None:
    assert cores.threads_for(usable, used_by_others) == threads


def pressure(folder: Path, monkeypatch: pytest.MonkeyPatch, percent: float) -> None:
    file = folder / "cpu"
    file.write_text(f"some avg10={percent:.2f} avg60=0.00 avg300=0.00 total=1\n")
    monkeypatch.setattr(cores, "_PRESSURE", file)


def test_threads_spin_less_only_where_programs_wait_for_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment: dict[str, str] = {}
    pressure(tmp_path, monkeypatch, 0.5)
    cores.limit_waiting(environment)
    assert environment == {}
    pressure(tmp_path, monkeypatch, 60.0)
    cores.limit_waiting(environment)
    assert environment == {"GOMP_SPINCOUNT": "1000"}


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_what_the_user_has_set_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    environment = {name: "as set"}
    pressure(tmp_path, monkeypatch, 60.0)
    cores.limit_waiting(environment)
    assert environment == {name: "as set"}


def test_the_quota_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(cores, "_QUOTA", quota)
    monkeypatch.setattr(cores, "_own_cores", lambda: set(range(8)))
    assert cores.usable() == 8, "no quota"
    quota.write_text("150000 100000\n")
    assert cores.usable() == 1.5
    quota.write_text("max 100000\n")
    assert cores.usable() == 8


def test_other_work_is_what_this_process_did_not_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = tmp_path / "stat"
    monkeypatch.setattr(cores, "_STAT", stat)
    monkeypatch.setattr(cores, "_own_cores", lambda: {0, 1})
    monkeypatch.setattr(cores.os, "sysconf", lambda name: 100)
    clocks = iter([(10.0, 1.0), (12.0, 2.5), (12.1, 2.5)])  # the clock, and this process's seconds
    now = [0.0, 0.0]
    monkeypatch.setattr(cores.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(cores.time, "process_time", lambda: now[1])

    def read(*lines: str) -> None:
        stat.write_text("\n".join(["cpu  9 9 9 9 9 9 9 9 9 9", *lines, "intr 5"]))
        now[:] = next(clocks)

    # user nice system idle iowait irq softirq steal; the third core is not ours
    read("cpu0 100 0 0 50 5 0 0 0 7 0", "cpu1 0 0 0 150 0 0 0 0 0 0", "cpu2 0 0 0 0 0 0 0 0 0 0")
    watch = cores.OtherWork()
    read("cpu0 200 0 0 50 9 0 0 0 7 0", "cpu1 90 30 30 150 0 0 0 0 0 0", "cpu2 999 0 0 0 0 0 0 0")
    assert watch.cores() == pytest.approx((2.5 - 1.5) / 2)
    read("cpu0 200 0 0 50 9 0 0 0 7 0", "cpu1 90 30 30 150 0 0 0 0 0 0")
    assert watch.cores() is None, "too short a time to say anything"
