"""Several splits or folds of a setting: one row, in which every message counts once."""

import json
from pathlib import Path

import pytest
from reporting import run_folders
from reporting.run_folders import TEST, edit_summary, write_classifier

from llm_lightning.reporting.analyse.study import Study, read_study
from llm_lightning.reporting.render.report_folder import write_report
from llm_lightning.run_format.files import SUMMARY
from llm_lightning.statistics.crossed import crossed_mean


def write_split(
    root: Path,
    test: run_folders.Messages,
    *,
    seed: int = 1,
    split_seed: int = 123,
    fold: int | None = None,
    folds: int | None = None,
    missed: tuple[int, ...] = (),
    experiment: str = "last_block",
) -> Path:
    overrides = [f"data.split_seed={split_seed}"] if fold is None else [f"data.fold={fold}"]
    folder = write_classifier(
        root, experiment, seed=seed, overrides=overrides, missed=missed, test=test
    )
    data = json.loads((folder / SUMMARY).read_text())["data"] | {"fold": fold, "folds": folds}
    edit_summary(folder, data=data, seeds={"init": seed, "order": seed, "split": split_seed})
    return folder


def write_folds(root: Path, experiment: str, missed: tuple[int, ...], seed: int = 1) -> None:
    for fold, test in enumerate((TEST[:4], TEST[4:7], TEST[7:])):
        own = missed if fold == 0 else ()
        write_split(root, test, seed=seed, fold=fold, folds=3, missed=own, experiment=experiment)


def study_of(root: Path) -> Study:
    return read_study([root])


def test_folds_of_a_seed_are_one_run_on_all_messages(tmp_path: Path) -> None:
    write_folds(tmp_path, "last_block", (0, 1))
    study = study_of(tmp_path)
    (row,) = study.rows
    assert (row.label, row.repeats) == ("last_block", "1 \N{MULTIPLICATION SIGN} 3 folds")
    assert row.first.num_evaluated == 10
    assert row.first.predictions is not None
    assert row.first.predictions.texts == [text for _, text in TEST]
    assert row.mean("test", "accuracy") == pytest.approx(0.8)  # not the mean of 0.5, 1 and 1
    assert row.interval == crossed_mean([[1.0] * 8 + [0.0] * 2]).interval
    assert row.first.summary.data.splits["test"].class_counts == {"ham": 5, "spam": 5}
    assert study.num_runs == 3
    assert study.problems == []


def test_rows_on_the_same_folds_are_compared_message_by_message(tmp_path: Path) -> None:
    write_folds(tmp_path, "last_block", (0, 1))
    write_folds(tmp_path, "all", ())
    (chapter,) = study_of(tmp_path).classifiers
    assert chapter.num_examples == 10
    (comparison,) = chapter.comparisons.found
    assert comparison.difference.mean == pytest.approx(0.2)
    assert (comparison.only_row, comparison.only_reference) == (2, 0)


def test_seeds_and_folds_are_crossed(tmp_path: Path) -> None:
    write_folds(tmp_path, "last_block", (0, 1), seed=1)
    write_folds(tmp_path, "last_block", (0,), seed=2)
    (row,) = study_of(tmp_path).rows
    assert row.values("test", "accuracy") == pytest.approx([0.8, 0.9])
    assert (row.repeats, len(row.trained)) == ("2 \N{MULTIPLICATION SIGN} 3 folds", 6)


def test_a_message_of_several_splits_counts_in_the_first(tmp_path: Path) -> None:
    write_split(tmp_path, TEST[:6], split_seed=1, missed=(0,))
    write_split(tmp_path, TEST[4:], split_seed=2, missed=(0, 5))  # the fifth message and the last
    (row,) = study_of(tmp_path).rows
    assert row.repeats == "1 \N{MULTIPLICATION SIGN} 2 splits"
    assert row.first.num_evaluated == 10
    assert row.mean("test", "accuracy") == pytest.approx(0.8)
    assert row.mean("test", "loss") == pytest.approx(0.3)


def test_the_book_s_split_is_no_draw(tmp_path: Path) -> None:
    write_classifier(tmp_path)
    write_split(tmp_path, TEST[:6], split_seed=1)
    write_split(tmp_path, TEST[4:], split_seed=2)
    assert sorted(len(row.trained) for row in study_of(tmp_path).rows) == [1, 2]


def test_missing_folds_are_reported(tmp_path: Path) -> None:
    write_split(tmp_path, TEST[:4], fold=0, folds=4)
    write_split(tmp_path, TEST[4:], fold=2, folds=4)
    (problem,) = study_of(tmp_path).problems
    assert problem.state == "used"
    assert problem.reason == "of 4 folds, 1, 3 have no results: their messages are not tested"


def test_what_other_folds_train_on_is_not_called_leakage(tmp_path: Path) -> None:
    write_folds(tmp_path, "last_block", (0, 1))
    (chapter,) = study_of(tmp_path).classifiers
    assert chapter.card.train is None
    assert all(mistake.neighbour is None for mistake in chapter.mistakes)
    page = write_report(study_of(tmp_path), tmp_path / "report")[0].read_text()
    assert "1 \N{MULTIPLICATION SIGN} 3 folds" in page
    assert "There are 3 splits, or folds, of each seed; this is the first." in page
    assert "in which every message counts once" in page
