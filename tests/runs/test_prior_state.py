"""What becomes of a folder that holds a run already."""

import json
from pathlib import Path
from typing import Any

import pytest

from llm_lightning.run_format import files
from llm_lightning.run_format.summary import Summary, write_summary
from llm_lightning.runs.prior_state import PriorState, prior_state, start
from llm_lightning.runs.settings import Found, RunSettings

SPLITS = {name: {"examples": 2, "sha256": name} for name in ("train", "val", "test")}


class Data:
    def facts(self) -> dict[str, Any]:
        return {"splits": SPLITS}


def found(sha256: str | None = "a" * 64, fallbacks: tuple[str, ...] = ()) -> Found:
    return Found(
        data=Data(),  # type: ignore[arg-type]
        weights_source="nano: weights.safetensors",
        weights_sha256=sha256,
        fallbacks=list(fallbacks),
    )


def settings(folder: Path, **changes: Any) -> RunSettings:
    rerun = changes.pop("rerun", False)
    configuration = {"seed": 1, "run_dir": ".", "runs_dir": "runs"} | changes
    return RunSettings(
        name="last_block", experiment="last_block", overrides=[], seed=1, init_seed=1, order_seed=1,
        run_dir=folder, home=folder, configuration=configuration, rerun=rerun,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished run on real data and weights."""
    folder = tmp_path / "run"
    assert start(settings(folder), PriorState.NOTHING, []) is None
    summary = {
        "name": "last_block", "seed": 1, "fallbacks": [], "kind": "text",
        "metrics": {name: {"loss": 1.0} for name in SPLITS},
        "evaluated_examples": {"test": 2}, "data": {"splits": SPLITS},
        "parameters": {"trainable": 1, "total": 1},
        "weights": {"model": "nano", "source": "nano: weights.safetensors", "sha256": "a" * 64},
        "seconds": {"total": 1, "training": 1, "validation": 0, "evaluation": 0},
        "device": "cpu", "precision": "32-true", "versions": {}, "finished_at": "now",
    }  # fmt: skip
    write_summary(folder, Summary.model_validate(summary))
    return folder


def test_the_same_run_is_finished(folder: Path) -> None:
    assert prior_state(folder, settings(folder), found()) is PriorState.FINISHED
    moved = settings(folder, runs_dir="elsewhere", objective="accuracy")
    assert prior_state(folder, moved, found()) is PriorState.FINISHED


def test_other_settings_data_or_weights_are_another_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert prior_state(folder, settings(folder, seed=2), found()) is PriorState.NOTHING
    # The file has the same name, but other contents.
    assert prior_state(folder, settings(folder), found(sha256="b" * 64)) is PriorState.NOTHING
    monkeypatch.setitem(SPLITS, "test", {"examples": 2, "sha256": "changed"})
    assert prior_state(folder, settings(folder), found()) is PriorState.NOTHING


def test_rerun_starts_over(folder: Path) -> None:
    assert prior_state(folder, settings(folder, rerun=True), found()) is PriorState.NOTHING


@pytest.mark.parametrize("rerun", [False, True])
@pytest.mark.parametrize("is_finished", [False, True])
def test_fallbacks_never_replace_real_results(folder: Path, rerun: bool, is_finished: bool) -> None:
    if not is_finished:
        (folder / files.SUMMARY).unlink()
    with pytest.raises(ValueError, match="holds a run on the real data and weights"):
        prior_state(folder, settings(folder, rerun=rerun), found(fallbacks=("nano replaced it",)))


def test_an_unfinished_run_is_resumed_where_it_has_a_checkpoint(folder: Path) -> None:
    (folder / files.SUMMARY).unlink()
    assert prior_state(folder, settings(folder), found()) is PriorState.NOTHING
    resume = folder / files.CHECKPOINTS / files.RESUME
    resume.parent.mkdir()
    resume.write_bytes(b"")
    assert prior_state(folder, settings(folder), found()) is PriorState.INTERRUPTED
    assert start(settings(folder), PriorState.INTERRUPTED, []) == resume


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty and holds no run"):
        prior_state(tmp_path, settings(tmp_path), found())


def test_starting_removes_what_a_run_writes_and_nothing_else(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    for name in (files.PREDICTIONS, f"{files.RESPONSES}.part", "judge-llama3-score100.json"):
        (folder / name).write_text("old")
    (folder / files.PLOTS).mkdir()
    start(settings(folder), PriorState.NOTHING, [])
    assert {path.name for path in folder.iterdir()} == {files.CONFIG, files.STATUS, "notes.txt"}


def test_a_run_with_fallbacks_may_be_replaced_by_another(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    start(settings(folder), PriorState.NOTHING, ["nano replaced it"])
    state = prior_state(folder, settings(folder), found(fallbacks=("nano replaced it",)))
    assert state is PriorState.NOTHING


def test_a_damaged_summary_is_named_and_the_run_starts_over(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / files.SUMMARY).write_text("{}")
    assert prior_state(folder, settings(folder), found()) is PriorState.NOTHING
    shown = " ".join(capsys.readouterr().err.split())
    assert "is damaged: name is missing; the run starts over" in shown


def test_responses_need_a_checkpoint_to_be_generated(folder: Path) -> None:
    summary = json.loads((folder / files.SUMMARY).read_text())
    for checkpoint, expected in (("checkpoints/last.ckpt", "no responses"), (None, "nothing")):
        changed = summary | {"kind": "instructions", "checkpoint": checkpoint}
        (folder / files.SUMMARY).write_text(json.dumps(changed))
        assert prior_state(folder, settings(folder), found()).value == expected
