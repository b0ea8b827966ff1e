"""What makes a row, what it is called, and what the published value says of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reporting import run_folders

from llm_lightning.reporting.analyse import verdicts
from llm_lightning.reporting.analyse.comparability import default_reference
from llm_lightning.reporting.analyse.rows import (
    Row,
    find_row,
    make_rows,
    name_rows,
    without_folders,
)
from llm_lightning.reporting.analyse.study import read_study
from llm_lightning.reporting.read.run_folders import find_folders, read_run
from llm_lightning.reporting.render.number_formats import verdict_reason
from llm_lightning.statistics.crossed import crossed_mean
from llm_lightning.statistics.intervals import wilson_interval


def rows_in(root: Path) -> list[Row]:
    runs = [read_run(folder, shown)[0] for folder, shown in find_folders([root]).items()]
    rows = make_rows([run for run in runs if run is not None])
    name_rows(rows)
    return rows


def test_runs_that_differ_by_their_seed_alone_form_a_row(tmp_path: Path) -> None:
    for seed, missed in ((3, [0]), (1, [0, 1]), (2, [])):
        run_folders.write_classifier(tmp_path, seed=seed, missed=missed)
    run_folders.write_classifier(tmp_path, overrides=["optim.lr=0.1"])
    plain, changed = sorted(rows_in(tmp_path), key=lambda row: row.label)
    assert (plain.label, changed.label) == ("last_block", "last_block optim.lr=0.1")
    assert changed.short == f"{changed.number} last_block lr=0.1"
    assert plain.seeds == ["1", "2", "3"]
    assert plain.mean("test", "accuracy") == pytest.approx(0.9)
    right = np.ones((3, 10))
    right[0, :2] = right[2, :1] = 0
    assert plain.interval == crossed_mean(right).interval
    assert (plain.has_one_seed, changed.has_one_seed) == (False, True)
    assert changed.interval == crossed_mean(np.ones((1, 10))).interval


def test_without_predictions_seeds_are_taken_to_agree_as_much_as_they_can(tmp_path: Path) -> None:
    for seed in range(5):
        missed = range(20 * seed, 20 * seed + 15 + seed % 3)
        run_folders.write_classifier(tmp_path, seed=seed, missed=missed, test=MESSAGES)
    (known,) = rows_in(tmp_path)
    for file in tmp_path.rglob("predictions_test.csv"):
        file.unlink()
    (unknown,) = rows_in(tmp_path)
    assert known.interval is not None
    assert unknown.interval is not None
    assert unknown.interval.low < known.interval.low
    assert known.interval.high < unknown.interval.high


def test_the_same_row_on_other_test_messages_is_another_row(tmp_path: Path) -> None:
    run_folders.write_classifier(tmp_path, seed=1)
    run_folders.write_classifier(tmp_path, seed=2, test=run_folders.TEST[:8])
    rows = rows_in(tmp_path)
    assert len(rows) == 2
    assert len({row.label for row in rows}) == 2


def test_what_all_rows_share_is_not_in_their_names(tmp_path: Path) -> None:
    for rank in (1, 4):
        overrides = ["data.path=/home/me/sms.zip", f"finetune.rank={rank}", "runs_dir=x"]
        run_folders.write_classifier(tmp_path, "lora", overrides=overrides)
    run_folders.write_classifier(tmp_path, "baseline_majority")
    rows = rows_in(tmp_path)
    assert {row.label for row in rows} == {
        "lora finetune.rank=1",
        "lora finetune.rank=4",
        "baseline_majority",
    }
    assert name_rows(rows) == {"data.path": "sms.zip"}


def test_what_changes_no_result_is_not_in_a_name(tmp_path: Path) -> None:
    for experiment, overrides in (
        ("last_block", ["baselines=[]", "+sweep=data_size", "hydra/launcher=joblib"]),
        ("lora", ["callbacks.frozen_activations.memory_mib=0", "rerun=true"]),
    ):
        run_folders.write_classifier(tmp_path, experiment, overrides=overrides)
    assert {row.label for row in rows_in(tmp_path)} == {"last_block", "lora"}


def test_a_baseline_is_what_has_no_weights_whatever_its_name(tmp_path: Path) -> None:
    run_folders.write_classifier(tmp_path, "words_alone", weights=None)
    run_folders.write_classifier(tmp_path, "baseline_of_mine", weights=run_folders.GPT2)
    found = {row.experiment: row.is_baseline for row in rows_in(tmp_path)}
    assert found == {"words_alone": True, "baseline_of_mine": False}


def test_what_one_test_set_shares_tells_its_rows_from_those_of_another(tmp_path: Path) -> None:
    for experiment in ("last_block", "lora"):
        run_folders.write_classifier(tmp_path, experiment, overrides=["model=nano"])
        run_folders.write_classifier(
            tmp_path,
            experiment,
            overrides=["model=nano", "trainer=smoke"],
            test=run_folders.TEST[:8],
        )
    full, smoke = read_study([tmp_path]).classifiers
    assert {row.label for row in full.rows} == {"last_block", "lora"}
    assert {row.label for row in smoke.rows} == {"last_block trainer=smoke", "lora trainer=smoke"}
    assert full.shared == smoke.shared == {"model": "nano"}


def test_rows_of_the_same_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    run_folders.write_classifier(tmp_path / "monday")
    run_folders.write_classifier(tmp_path / "tuesday")
    root = tmp_path.name
    assert {row.label for row in rows_in(tmp_path)} == {
        f"last_block ({root}/monday/last_block)",
        f"last_block ({root}/tuesday/last_block)",
    }


def test_a_row_is_found_by_label_folder_or_experiment(tmp_path: Path) -> None:
    run_folders.write_classifier(tmp_path, "row_02", overrides=["optim.lr=1"])
    run_folders.write_classifier(tmp_path, "row_01")
    run_folders.write_classifier(tmp_path, "baseline_majority")
    rows = rows_in(tmp_path)
    for name in ("row_02 optim.lr=1", "row_02-optim.lr=1", "row_02"):
        found = find_row(rows, name)
        assert found is not None
        assert found.experiment == "row_02"
    assert find_row(rows, "row_03") is None


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["last_block", "row_01", "all"], "row_01"),
        (["last_block", "all"], "last_block"),
        (["baseline_length", "all"], "all"),
        (["baseline_length"], "baseline_length"),
    ],
)
def test_the_reference_is_the_best_known_row(
    tmp_path: Path, names: list[str], expected: str
) -> None:
    for name in names:
        run_folders.write_classifier(tmp_path, name)
    reference = default_reference(rows_in(tmp_path))
    assert reference is not None
    assert reference.experiment == expected


def test_a_row_with_replaced_weights_is_not_the_reference_of_rows_without(tmp_path: Path) -> None:
    run_folders.write_classifier(tmp_path, "row_01", fallbacks=["The model nano replaced it:\n  x"])
    run_folders.write_classifier(tmp_path, "row_02")
    rows = rows_in(tmp_path)
    reference = default_reference(rows)
    assert reference is not None
    assert reference.experiment == "row_02"
    replaced = find_row(rows, "row_01")
    assert replaced is not None
    assert replaced.fallback == "The model nano replaced it"


def test_paths_of_this_machine_are_not_shown() -> None:
    text = "gpt2: weights in /home/me/models/gpt2 and ~/data/sms.zip (x/y)"
    assert without_folders(text) == "gpt2: weights in gpt2 and sms.zip (x/y)"


MESSAGES = [(index % 2, f"message number {index}") for index in range(300)]
PUBLISHED = {"row": 1, "test": 95.0}


def verdict_of(root: Path) -> verdicts.Verdict | None:
    (row,) = rows_in(root)
    return verdicts.verdict(row)


@pytest.fixture
def _published_split(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run_folders.write_classifier(tmp_path / "x", test=MESSAGES)
    ((*_, row),) = [rows_in(tmp_path / "x")]
    monkeypatch.setattr(verdicts, "PUBLISHED_TEST_SETS", (row.first.test_set[0],))


@pytest.mark.usefixtures("_published_split")
@pytest.mark.parametrize(
    ("num_missed", "word", "reason"),
    [
        (15, "within interval", "+0.00 points"),
        (24, "within interval", "\N{MINUS SIGN}3.00 points"),
        (45, "differs", "\N{MINUS SIGN}10.00 points"),
        (0, "differs", "+5.00 points"),
    ],
)
def test_a_comparable_row_is_within_the_interval_or_differs(
    tmp_path: Path, num_missed: int, word: str, reason: str
) -> None:
    folder = tmp_path / "runs"
    missed = range(num_missed)
    run_folders.write_classifier(folder, missed=missed, test=MESSAGES, published=PUBLISHED)
    found = verdict_of(folder)
    assert found is not None
    assert found.word == word
    assert verdict_reason(found).startswith(reason)
    assert found.published == 0.95


@pytest.mark.usefixtures("_published_split")
@pytest.mark.parametrize(
    ("overrides", "changes", "reason"),
    [
        (["model=nano"], {}, "another model: nano"),
        (["model.weights=random"], {}, "random weights instead of the published ones"),
        (["model.weights=/data/mine"], {}, "weights from mine"),
        (["optim.lr=0.1", "finetune=all"], {}, "other settings: optim.lr=0.1, finetune=all"),
        (["trainer=smoke"], {"evaluated_examples": {"test": 64}}, "only 64 of the 300"),
        (
            [],
            {
                "weights": {
                    "model": "gpt2_small",
                    "source": "gpt2_small: random (gpt2 initialisation)",
                }
            },
            "random weights instead of the published ones: gpt2_small: random",
        ),
        ([], {"fallbacks": ["The model nano replaced gpt2"]}, "fallback: The model nano"),
    ],
)
def test_what_is_something_else_is_not_comparable(
    tmp_path: Path, overrides: list[str], changes: dict[str, Any], reason: str
) -> None:
    folder = tmp_path / "runs"
    run_folders.write_classifier(
        folder, overrides=overrides, test=MESSAGES, published=PUBLISHED, **changes
    )
    found = verdict_of(folder)
    assert found is not None
    assert found.word == "not comparable"
    assert verdict_reason(found).startswith(reason)


def test_another_test_split_is_not_comparable(tmp_path: Path) -> None:
    run_folders.write_classifier(tmp_path, published=PUBLISHED)
    found = verdict_of(tmp_path)
    assert found is not None
    assert (found.word, found.obstacle) == ("not comparable", "another test split")


@pytest.mark.usefixtures("_published_split")
def test_the_row_with_random_weights_by_design_is_comparable_with_them(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    run_folders.write_classifier(
        folder,
        "row_10",
        overrides=["model.weights=random", "model.init=torch", "trainer.accelerator=cpu"],
        missed=range(19),
        test=MESSAGES,
        published={"row": 10, "test": 93.67},
        weights={"model": "gpt2_small", "source": "gpt2_small: random (torch initialisation)"},
    )
    found = verdict_of(folder)
    assert found is not None
    assert found.word == "within interval"


@pytest.mark.parametrize("published", [None, {}, {"test": None, "judge_score": 49.45}])
def test_without_a_published_accuracy_there_is_no_verdict(tmp_path: Path, published: Any) -> None:
    run_folders.write_classifier(tmp_path, published=published)
    assert verdict_of(tmp_path) is None


@pytest.mark.usefixtures("_published_split")
def test_seeds_that_scatter_widen_the_verdict(tmp_path: Path) -> None:
    """A mean of two seeds that lie far apart is no proof of a difference."""
    for seed, num_missed in ((1, 5), (2, 80)):
        run_folders.write_classifier(
            tmp_path / "runs",
            seed=seed,
            missed=range(num_missed),
            test=MESSAGES,
            published=PUBLISHED,
        )
    (row,) = rows_in(tmp_path / "runs")
    right = 300 - (5 + 80) / 2
    assert not wilson_interval(right, 300).holds(0.95)  # as if both were one run
    found = verdicts.verdict(row)
    assert found is not None
    assert found.word == "within interval"
