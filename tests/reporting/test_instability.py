"""Failed runs by row, and accuracy that has not settled."""

from pathlib import Path

import pytest
from reporting.run_folders import write_classifier, write_status

from llm_lightning.reporting.analyse.instability import Instability, instabilities
from llm_lightning.reporting.analyse.study import read_study
from llm_lightning.reporting.render.report_folder import write_report

STEADY = (0.5, 0.7, 0.9, 0.9)


def found_in(root: Path) -> list[Instability]:
    study = read_study([root])
    return [
        found
        for chapter in study.classifiers
        for found in instabilities(chapter.rows, study.problems)
    ]


def test_failed_runs_are_counted_by_row_and_reason(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_classifier(tmp_path, seed=seed, val_accuracies=STEADY)
        write_classifier(tmp_path, "all", seed=seed, val_accuracies=STEADY)
    write_classifier(tmp_path, seed=3, missed=range(5), val_accuracies=STEADY)  # half are ham
    diverged = "Diverged: training diverged in epoch 1: weights are no longer finite"
    write_status(tmp_path / "last_block" / "seed_4", "failed", error=diverged)
    write_status(tmp_path / "last_block-init_seed=7" / "seed_5", "failed", error="OSError: full")
    write_status(tmp_path / "last_block" / "seed_6", "interrupted")
    write_status(tmp_path / "last_block-optim.lr=1" / "seed_1", "failed", error="of another row")
    (found,) = found_in(tmp_path)
    assert found.row.label == "last_block"
    assert (found.diverged, found.with_error, found.at_majority) == (1, 1, 1)
    assert (found.failed, found.runs) == (3, 5)
    page = write_report(read_study([tmp_path]), tmp_path / "report")[0].read_text()
    assert "Failed runs and unsettled accuracy" in page
    assert "3 of 5" in page


def test_accuracy_that_moves_at_the_end_is_named(tmp_path: Path) -> None:
    write_classifier(tmp_path, val_accuracies=(0.2, 0.9, 0.2, 1.0, 0.9, 0.1))
    write_classifier(tmp_path, "all", val_accuracies=(0.2, 0.3, 0.8, 0.8, 0.9, 0.9))
    (found,) = found_in(tmp_path)
    assert found.row.label == "last_block"
    assert found.unsettled == pytest.approx(0.8 / 2**0.5)  # the last two of six epochs
    assert found.failed == 0


def test_nothing_is_said_where_nothing_is_wrong(tmp_path: Path) -> None:
    write_classifier(tmp_path, val_accuracies=STEADY)
    write_classifier(tmp_path, "baseline_majority", missed=range(5))
    assert found_in(tmp_path) == []
    page = write_report(read_study([tmp_path]), tmp_path / "report")[0].read_text()
    assert "Failed runs" not in page
