"""Where jobs of a sweep run: GPUs round-robin, threads by cores, limits, and jobs that die."""

import os

import pytest
from fake_jobs import FakeJobs
from omegaconf import OmegaConf

from llm_lightning.sweeping import parallel, places
from llm_lightning.sweeping.places import share_machine, visible_gpus


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "usable", lambda: 8.0)
    monkeypatch.delenv("OMP_NUM_THREADS")


@pytest.mark.parametrize(
    ("n_jobs", "gpus", "devices", "threads", "visible", "limited"),
    [
        (2, 0, 1, "4", [None, None], None),
        (3, 0, 1, "2", [None] * 3, None),
        (12, 0, 1, "1", [None] * 8, "8 jobs at a time and not 12: there are 8 cores"),
        (6, 0, 2, "2", [None] * 4,
         "4 jobs at a time and not 6: there are 8 cores, and each has 2 processes"),
        (2, 4, 1, "4", ["0", "1"], None),
        (6, 4, 1, "2", ["0", "1", "2", "3"], "4 jobs at a time and not 6: there are 4 GPUs"),
        (4, 4, 2, "4", ["0,1", "2,3"],
         "2 jobs at a time and not 4: there are 4 GPUs, and each takes 2"),
    ],
)  # fmt: skip
def test_a_machine_is_shared(
    n_jobs: int,
    gpus: int,
    devices: int,
    threads: str,
    visible: list[str | None],
    limited: str | None,
) -> None:
    cfg = OmegaConf.create({"trainer": {"devices": devices, "accelerator": "auto"}})
    shared = share_machine(n_jobs, cfg, lambda: [str(number) for number in range(gpus)])
    found = [place.environment for place in shared.places]
    assert [one["OMP_NUM_THREADS"] for one in found] == [threads] * len(visible)
    assert [one.get("CUDA_VISIBLE_DEVICES") for one in found] == visible
    assert shared.limited == limited


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = OmegaConf.create({"trainer": {"devices": 1, "accelerator": "cpu"}})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, 3")
    assert visible_gpus() == ["5", "3"]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    (place,) = share_machine(1, cfg).places
    assert place.environment == {}  # not even GPUs, with trainer.accelerator=cpu
    cfg.trainer.accelerator = "gpu"
    assert [p.environment for p in share_machine(2, cfg).places] == [
        {"CUDA_VISIBLE_DEVICES": "5"}, {"CUDA_VISIBLE_DEVICES": "3"}
    ]  # fmt: skip


def test_what_is_out_of_range_is_named() -> None:
    cfg = OmegaConf.create({"trainer": {"devices": 3, "accelerator": "auto"}})
    with pytest.raises(ValueError, match="n_jobs must be a whole number, at least 1, got 0"):
        share_machine(0, cfg)
    with pytest.raises(ValueError, match="needs 3 GPUs for each job, and there are 2"):
        share_machine(1, cfg, lambda: ["0", "1"])


def test_jobs_have_their_gpu_and_a_dead_one_takes_no_other_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    jobs: list[list[str]] = [[], [], ["die"], [], []]
    told = parallel.launch(FakeJobs(), jobs, 10, n_jobs=2)  # type: ignore[arg-type]
    assert [one["number"] for one in told] == [10, 11, 12, 13, 14]
    assert "its process died" in told[2]["lost"]
    done = [one for one in told if "pid" in one]
    assert os.getpid() not in {one["pid"] for one in done}
    assert {one["CUDA_VISIBLE_DEVICES"] for one in done} <= {"0", "1"}
    assert {one["OMP_NUM_THREADS"] for one in done} == {"4"}
    by_process = {(one["pid"], one["CUDA_VISIBLE_DEVICES"]) for one in done}
    assert len(by_process) == len({pid for pid, _ in by_process})
