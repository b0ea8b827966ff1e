"""Sweeps: what failed, what is done, how many runs there are."""

import json
import os
import pickle
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf
from program import SMOKE, command

from llm_lightning.commands.sweep import BASIC_LAUNCHER, SweepWatcher, count_jobs
from llm_lightning.config.experiments import list_experiments
from llm_lightning.reporting.analyse.study import read_study
from llm_lightning.run_format import status
from llm_lightning.run_format.folder_lock import Holder

pytestmark = pytest.mark.usefixtures("own_folder")


def states() -> dict[str, str]:
    found = Path("runs").glob("*/*/status.json")
    return {f.parent.parent.name.split("-")[0]: json.loads(f.read_text())["state"] for f in found}


@pytest.mark.slow
def test_a_sweep_goes_on_after_a_failure_and_lists_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = ("-m", "+experiment=baseline_length,last_block,last_layer", "finetune.num_blocks=9")
    arguments = (*sweep, *SMOKE)
    assert command(monkeypatch, *arguments) == 1
    output = capsys.readouterr()
    assert states() == {
        "baseline_length": "finished",
        "last_block": "failed",
        "last_layer": "failed",
    }
    assert "sweep: 1 done, 2 failed" in output.out
    reason = "finetune.num_blocks must be at most the model's 6 blocks, got 9"
    assert output.err.count(reason) == 4  # a frame each, and a line each in the list
    failed = json.loads(next(Path("runs").glob("last_block*/*/status.json")).read_text())
    error = failed["error"].splitlines()
    assert error[:2] == [reason, "This is with a fallback:"]
    assert error[2].endswith("replaced the SMS Spam Collection, which could not be downloaded")

    assert command(monkeypatch, *arguments) == 1  # what failed is tried again, the rest is not
    assert capsys.readouterr().out.count("finished before with the same settings") == 1


@pytest.mark.slow
def test_a_defect_in_one_run_does_not_stop_the_sweep(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by accident")

    with monkeypatch.context() as patch:
        patch.setattr("llm_lightning.callbacks.throughput.Throughput.on_train_batch_end", broken)
        assert command(monkeypatch, "-m", "+experiment=last_layer,baseline_majority", *SMOKE) == 1
    assert states() == {"baseline_majority": "finished", "last_layer": "failed"}
    assert "ZeroDivisionError: by accident" in capsys.readouterr().err
    assert command(monkeypatch, "-m", "+experiment=last_layer,baseline_majority", *SMOKE) == 0
    assert set(states().values()) == {"finished"}


@pytest.mark.parametrize(
    ("overrides", "params", "expected"),
    [
        (["+experiment=last_block", "seed=1,2,3"], {}, 3),
        (["+experiment=last_block,all", "seed=1,2,3", "optim.lr=1e-4,1e-5"], {}, 12),
        (["+experiment=last_block", "seed=range(1,6)"], {}, 5),
        (["+experiment=last_block", "seed=7"], {"seed": "1,2,3", "finetune.rank": "1,4"}, 2),
        (["+experiment=last_block", "finetune.targets=[q,v],[fc1]"], {}, 2),
        (["+experiment=last_block", "optim.lr=interval(0,1)"], {}, None),
    ],
)
def test_jobs_are_counted_before_they_run(
    overrides: list[str], params: dict[str, str], expected: int | None
) -> None:
    assert count_jobs(overrides, params) == expected


def test_patterns_of_experiments_are_counted() -> None:
    rows = [name for name in list_experiments() if name.startswith("row_")]
    assert len(rows) == 19
    assert count_jobs(["+experiment=glob(row_*)", "seed=1,2"], {}) == 38


def test_progress_counts_what_has_been_said_since_the_start(tmp_path: Path) -> None:
    status.write(tmp_path / "old" / "seed_1", "finished")
    since = datetime.now(UTC)
    status.write(tmp_path / "a" / "seed_1", "finished")
    status.write(tmp_path / "b" / "seed_1", "running", epoch=2)
    status.write(tmp_path / "c" / "seed_1", "failed", error="out of paper")
    progress = status.read_progress(tmp_path, since, total=7)
    assert (progress.done, progress.running, progress.left, progress.ended) == (1, 1, 4, 2)
    assert progress.failed == [tmp_path / "c" / "seed_1"]
    assert progress.eta_seconds == pytest.approx(progress.seconds / 2 * 5)
    assert status.read_progress(tmp_path, since, total=None).left is None
    beside_another = status.read_progress(tmp_path, since, total=1)
    assert (beside_another.left, beside_another.eta_seconds) == (0, 0)
    assert beside_another.of_others == beside_another.ended + beside_another.running - 1 > 0


def test_progress_leaves_out_another_sweep_in_the_same_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    since = datetime.now(UTC)
    monkeypatch.setenv(status.SWEEP, "another")
    status.write(tmp_path / "a" / "seed_1", "finished")
    monkeypatch.setenv(status.SWEEP, "ours")
    status.write(tmp_path / "b" / "seed_1", "running")
    progress = status.read_progress(tmp_path, since, total=3)
    assert (progress.done, progress.running, progress.left) == (0, 1, 2)
    status.write(tmp_path / "a" / "seed_1", "finished")  # which ours wanted too
    assert status.read_progress(tmp_path, since, total=3).done == 1


def test_what_was_cut_off_or_cannot_be_read_is_no_success(tmp_path: Path) -> None:
    old = tmp_path / "old" / "seed_1"
    old.mkdir(parents=True)
    (old / "status.json").write_text("{")
    os.utime(old / "status.json", (0, 0))  # of another sweep
    since = datetime.now(UTC)
    with pytest.raises(KeyboardInterrupt), status.recorded(tmp_path / "a" / "seed_1"):
        raise KeyboardInterrupt
    for name, content in {"b": "", "c": "[1]", "d": '{"state": 3, "updated_at": 4}'}.items():
        folder = tmp_path / name / "seed_1"
        folder.mkdir(parents=True)
        (folder / "status.json").write_text(content)
        os.utime(folder / "status.json", (since.timestamp() + 1,) * 2)
    failed = status.read_progress(tmp_path, since, total=5).failed
    assert [folder.parent.name for folder in failed] == ["a", "b", "c", "d"]
    assert status.reason(failed[0]) == "it was interrupted"
    assert status.reason(failed[1]) == "its status.json is damaged, so how it ended is unknown"


@pytest.mark.parametrize(
    ("others", "is_held", "expected"),
    [({}, False, 0), ({"a": "running"}, True, 75), ({"a": "running"}, False, 1),
     ({"a": "interrupted"}, False, 1), ({"a": "failed", "b": "running"}, True, 1)],
)  # fmt: skip
def test_the_end_of_a_sweep_has_the_status_of_its_worst_run(
    monkeypatch: pytest.MonkeyPatch, others: dict[str, str], is_held: bool, expected: int
) -> None:
    holder = Holder(1, "here", "2026-01-01") if is_held else None
    monkeypatch.setattr("llm_lightning.commands.sweep.holder_of", lambda folder: holder)
    runs = Path("runs").absolute()
    basic = {"_target_": "hydra._internal.core_plugins.basic_sweeper.BasicSweeper", "params": {}}
    launcher = {"_target_": BASIC_LAUNCHER}
    overrides = {"task": ["+experiment=lora"]}
    hydra = {"sweep": {"dir": str(runs)}, "sweeper": basic, "launcher": launcher}
    config = {"objective": "loss", "dry_run": False, "hydra": hydra | {"overrides": overrides}}
    watcher = SweepWatcher()
    watcher.on_multirun_start(OmegaConf.create(config))
    for name, state in others.items():
        status.write(runs / name / "seed_1", state)
    code = 0
    try:
        watcher.on_multirun_end(OmegaConf.create(config))
    except SystemExit as ended:
        code = int(str(ended.code))
    assert code == expected


@pytest.mark.slow
def test_a_defect_at_the_end_of_a_sweep_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("llm_lightning.commands.sweep._print_results", broken)
    assert command(monkeypatch, "-m", "+experiment=baseline_length", *SMOKE) == 1


def test_a_sweep_does_not_keep_the_configurations_of_its_jobs() -> None:
    """Hydra keeps the results of all jobs to the end: 0.3 MiB each, were it not for this."""
    config = OmegaConf.create(
        {
            "hydra": {"runtime": {"output_dir": "/runs/lora/seed_1"}},
            "model": {f"setting_{number}": number for number in range(100)},
        }
    )
    result = JobReturn(["a=1"], config, config, status=JobStatus.COMPLETED, _return_value=0.5)
    SweepWatcher().on_job_end(config, result)
    assert len(pickle.dumps(result)) < 5_000 < len(pickle.dumps(config))
    assert result.return_value == 0.5
    assert result.hydra_cfg is not None
    assert result.hydra_cfg.hydra.runtime.output_dir == "/runs/lora/seed_1"


def test_a_status_says_how_a_run_ended(tmp_path: Path) -> None:
    with status.recorded(tmp_path):
        begun = status.read(tmp_path)
        assert begun is not None
        assert begun["state"] == "running"
    ended = status.read(tmp_path)
    assert ended is not None
    assert (ended["state"], ended["started_at"]) == ("finished", begun["started_at"])
    with pytest.raises(KeyboardInterrupt), status.recorded(tmp_path):
        raise KeyboardInterrupt
    assert status.read(tmp_path) is not None
    assert (status.read(tmp_path) or {})["state"] == "interrupted"


@pytest.mark.slow
def test_cross_validation_tests_every_message_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = ("-m", "+experiment=baseline_majority", "+sweep=cross_validation", "data.split=clean")
    assert command(monkeypatch, *sweep, "data.folds=3") == 0
    folders = [path.parent for path in Path("runs").glob("*/seed_123/summary.json")]
    assert sorted(folder.parent.name for folder in folders) == [
        f"baseline_majority-data.folds@3-data.split@clean-data.fold@{fold}" for fold in range(3)
    ]
    study = read_study([Path("runs")])
    (row,) = study.rows
    (run,) = row.runs
    assert [part.summary.data.fold for part in run.parts] == [0, 1, 2]
    counts = [part.num_evaluated for part in run.parts]
    sizes = {name: split.examples for name, split in run.parts[0].summary.data.splits.items()}
    assert row.first.num_evaluated == sum(counts) == sum(sizes.values())
