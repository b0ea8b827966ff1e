"""Run folders in any state are read or listed, and never stop a report."""

from pathlib import Path
from typing import Any

import pytest
from reporting import run_folders

from llm_lightning.reporting.read.run_folders import find_folders, read_run, split_of_run
from llm_lightning.reporting.read.run_record import Problem, RunRecord


def read(folder: Path) -> tuple[RunRecord | None, list[Problem]]:
    return read_run(folder, "runs/x/seed_1")


def test_a_finished_run_is_read_whole(tmp_path: Path) -> None:
    run, problems = read(run_folders.write_classifier(tmp_path, missed=[1]))
    assert problems == []
    assert run is not None
    assert run.curves is not None
    assert run.predictions is not None
    assert run.predictions.right.tolist() == [True, False, *[True] * 8]
    split = split_of_run(run, "train")
    assert split is not None
    assert split["Label"].tolist() == [0, 0, 0, 1, 1]


def test_folders_are_found_at_any_depth_and_once(tmp_path: Path) -> None:
    run_folders.write_classifier(tmp_path / "runs" / "deep", "row_01")
    run_folders.write_classifier(tmp_path / "runs", "row_02")
    (tmp_path / "runs" / "notes").mkdir()
    found = find_folders([tmp_path / "runs", tmp_path / "runs" / "deep"])
    assert list(found.values()) == ["runs/deep/row_01/seed_1", "runs/row_02/seed_1"]


@pytest.mark.parametrize(
    ("state", "facts", "reason"),
    [
        ("failed", {"error": "ValueError: lr must be > 0"}, "ValueError: lr must be > 0"),
        ("failed", {}, "no reason was recorded"),
        ("running", {"epoch": 2}, "2 epochs done"),
        ("running", {}, "before the end of the first epoch"),
        (
            "interrupted",
            {"epoch": 1, "updated_at": "noon"},
            "1 epoch done; the same command continues; last update noon",
        ),
        ("finished", {}, "there is no summary.json"),
    ],
)
def test_runs_without_results_say_why(
    tmp_path: Path, state: str, facts: dict[str, Any], reason: str
) -> None:
    run, problems = read(run_folders.write_status(tmp_path / "x", state, **facts))
    assert run is None
    expected = "unfinished" if state == "finished" else state
    assert [(problem.state, problem.reason) for problem in problems] == [(expected, reason)]


def test_a_folder_with_a_configuration_alone_is_unfinished(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    run, (problem,) = read(tmp_path)
    assert run is None
    assert problem.state == "unfinished"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "incomplete or damaged JSON (line 1)"),
        ('{"name": "x",\n', "incomplete or damaged JSON (line 2)"),
        ("[]", "summary.json: Input should be a valid dictionary"),
        ("{}", "summary.json: name is missing"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_damaged_summary_is_named(tmp_path: Path, text: str, words: str) -> None:
    folder = run_folders.write_classifier(tmp_path)
    (folder / "summary.json").write_text(text)
    run, (problem,) = read(folder)
    assert run is None
    assert problem.state == "damaged"
    assert words in problem.reason


def test_bytes_that_are_no_text_are_damage(tmp_path: Path) -> None:
    folder = run_folders.write_classifier(tmp_path)
    (folder / "summary.json").write_bytes(b'{"name": "\xff\xfe"}')
    run, (problem,) = read(folder)
    assert run is None
    assert "summary.json" in problem.reason


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": "one"}, "seed: Input should be a valid integer"),
        (
            {"kind": "regression"},
            "kind: Input should be 'classification', 'instructions' or 'text'",
        ),
        ({"fallbacks": None}, "fallbacks: Input should be a valid list"),
        ({"class_names": ["spam", "spam"]}, "class_names must be two or more different"),
        ({"published": {"test": 950}}, "published.test must lie in [0, 100], got 950"),
        (
            {"evaluated_examples": {"test": 0}},
            "evaluated_examples.test: Input should be greater than or equal to 1, got '0'",
        ),
        ({"peak_memory_mib": float("nan")}, "peak_memory_mib: Input should be a finite number"),
    ],
)
def test_wrong_values_name_key_rule_and_value(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    folder = run_folders.write_classifier(tmp_path)
    run_folders.edit_summary(folder, **changes)
    run, (problem,) = read(folder)
    assert run is None
    assert words in problem.reason


@pytest.mark.parametrize("name", ["metrics.csv", "predictions_test.csv"])
@pytest.mark.parametrize("content", [None, "", "a,b\n1,2\n", "text,label\nhi", b"\xff\xfe\x00"])
def test_without_a_file_the_rest_of_a_run_is_used(
    tmp_path: Path, name: str, content: str | bytes | None
) -> None:
    folder = run_folders.write_classifier(tmp_path)
    (folder / name).unlink()
    if isinstance(content, bytes):
        (folder / name).write_bytes(content)
    elif content is not None:
        (folder / name).write_text(content)
    run, (problem,) = read(folder)
    assert run is not None
    assert (run.curves is None) == (name == "metrics.csv")
    assert (run.predictions is None) == (name == "predictions_test.csv")
    assert problem.state == "used"
    assert name in problem.reason
    assert str(tmp_path) not in problem.reason


def test_predictions_cut_off_in_the_middle_are_left_out(tmp_path: Path) -> None:
    folder = run_folders.write_classifier(tmp_path)
    file = folder / "predictions_test.csv"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:5]))
    run, (problem,) = read(folder)
    assert run is not None
    assert run.predictions is None
    assert problem.reason == "predictions_test.csv: 4 predictions for 10 evaluated examples"


def test_predictions_of_other_classes_or_beyond_one_are_left_out(tmp_path: Path) -> None:
    file = run_folders.write_classifier(tmp_path) / "predictions_test.csv"
    good = file.read_text()
    for bad, words in (
        (good.replace(",spam,", ",eggs,"), "label must be one of ['ham', 'spam'], got 'eggs'"),
        (good.replace("0.9", "9.0"), "a probability is not in [0, 1]"),
        (good.replace("0.9", "much"), "much"),
    ):
        file.write_text(bad)
        run, (problem,) = read(file.parent)
        assert run is not None
        assert run.predictions is None
        assert words in problem.reason


def test_probabilities_of_a_diverged_run_are_kept_and_known(tmp_path: Path) -> None:
    file = run_folders.write_classifier(tmp_path) / "predictions_test.csv"
    file.write_text(file.read_text().replace("0.9", "nan"))
    run, problems = read(file.parent)
    assert problems == []
    assert run is not None
    assert run.predictions is not None
    assert not run.predictions.is_finite


@pytest.mark.parametrize("state", ["failed", "interrupted", "running"])
def test_a_run_with_a_summary_that_did_not_end_well_is_used_and_listed(
    tmp_path: Path, state: str
) -> None:
    folder = run_folders.write_classifier(tmp_path)
    run_folders.write_status(folder, state, error="no space" if state == "failed" else None)
    run, (problem,) = read(folder)
    assert run is not None
    assert problem.state == "used"
    if state == "failed":
        assert problem.reason == "it failed after writing its summary: no space"


def test_an_unreadable_status_does_not_matter(tmp_path: Path) -> None:
    folder = run_folders.write_classifier(tmp_path)
    for text in ("", "[1]", '{"state": 3}', '{"state": []}'):
        (folder / "status.json").write_text(text)
        run, problems = read(folder)
        assert run is not None
        assert problems == []


def test_responses_scores_and_judges_are_read_or_named(tmp_path: Path) -> None:
    folder = run_folders.write_responses(tmp_path, judged=50.0)
    run, problems = read(folder)
    assert problems == []
    assert run is not None
    assert run.responses is not None
    (judged,) = run.judge_scores
    assert (judged.model, judged.rubric, judged.mean) == ("llama3", "book", 50.0)
    (folder / "judge-llama3-book.json").write_text('{"mean": 3}')
    (folder / "response_scores.csv").write_text("index,rouge_l\n0,0.5\n")
    (folder / "instruction-data-with-response.json").write_text('[{"instruction": "x"}]')
    run, problems = read(folder)
    assert run is not None
    assert {problem.reason.split(":")[0] for problem in problems} == {
        "judge-*.json",
        "response_scores.csv",
        "instruction-data-with-response.json",
    }
