"""Trials of a search: apart from rows, with what they chose and what fewer would have found."""

from itertools import combinations
from pathlib import Path

import pytest
from reporting.run_folders import write_classifier

from llm_lightning.commands import report
from llm_lightning.reporting.analyse.searches import expected_best
from llm_lightning.reporting.analyse.study import read_study
from llm_lightning.reporting.render.report_folder import write_report

TRIAL = {"objective": "loss", "searched": ["optim.lr", "finetune.rank"]}
VALUES = [0.4, 0.1, 0.3, 0.2, 0.3]


def write_trial(root: Path, lr: str, loss: float, **changes: object) -> None:
    metrics = {split: {"accuracy": 0.5, "loss": loss} for split in ("train", "val", "test")}
    write_classifier(
        root,
        seed=0,
        overrides=[f"optim.lr={lr}", *changes.pop("more", ())],  # type: ignore[misc]
        metrics=metrics,
        trial=TRIAL | changes,
    )


@pytest.mark.parametrize(("less_is_better", "best"), [(False, max), (True, min)])
def test_the_expected_best_is_the_mean_over_all_choices(less_is_better: bool, best: type) -> None:
    means = [
        sum(map(best, chosen)) / len(chosen)
        for chosen in (list(combinations(VALUES, n)) for n in range(1, 6))
    ]
    assert expected_best(VALUES, less_is_better=less_is_better) == pytest.approx(means)


def test_trials_are_no_rows_and_lead_to_the_tuned_row(tmp_path: Path) -> None:
    for lr, loss in (("0.1", 0.5), ("0.01", 0.2), ("0.001", 0.3)):
        write_trial(tmp_path, lr, loss)
        write_trial(tmp_path, lr, 1 - loss, more=["model=nano"])
    for seed in (1, 2):
        write_classifier(tmp_path, seed=seed, overrides=["optim.lr=0.01"])
        write_classifier(tmp_path, seed=seed, missed=(0,))
    study = read_study([tmp_path])
    assert {row.label for row in study.rows} == {"last_block", "last_block optim.lr=0.01"}
    assert all(row.seeds == ["1", "2"] for row in study.rows)
    other, search = sorted(study.searches, key=lambda search: search.label, reverse=True)
    assert (search.label, other.label) == ("last_block", "last_block model=nano")
    assert search.best.settings == {"optim.lr": "0.01"}
    assert [trial.value for trial in search.trials] == [0.2, 0.3, 0.5]
    assert search.tuned is not None
    assert search.untuned is not None
    assert (search.tuned.label, search.untuned.label) == ("last_block optim.lr=0.01", "last_block")
    assert other.best.settings == {"optim.lr": "0.1"}
    assert other.tuned is None
    page = write_report(study, tmp_path / "report")[0].read_text()
    assert "Expected best of so many trials" in page
    assert (tmp_path / "report" / "figures" / "searches_1.svg").is_file()


def test_a_report_may_have_nothing_but_trials(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, accuracy in enumerate((0.7, 0.9)):
        write_trial(tmp_path, f"{number}", 1 - accuracy, searched=[])
    assert report.main([str(tmp_path), "--out", str(tmp_path / "report")]) == 0
    assert "search last_block: best of 2 trials is optim.lr=1" in capsys.readouterr().out
    page = (tmp_path / "report" / "index.html").read_text()
    assert "No run with other seeds has these settings" in page
