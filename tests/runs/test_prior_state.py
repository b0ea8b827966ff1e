"""What becomes of a folder that holds a run already."""

import contextlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from llm_lightning.run_format import files
from llm_lightning.run_format.summary import Summary, write_summary
from llm_lightning.runs import prior_state as prior_state_module
from llm_lightning.runs.prior_state import PriorState, prior_state, start, tidy
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


def checkpoint(folder: Path, name: str = files.RESUME) -> Path:
    """Something that looks like a checkpoint from outside."""
    file = folder / files.CHECKPOINTS / name
    file.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(file, "w") as opened:
        opened.writestr("data.pkl", b"")
    return file


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
    resume = checkpoint(folder)
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


def test_responses_need_a_checkpoint_to_be_generated(folder: Path) -> None:
    summary = json.loads((folder / files.SUMMARY).read_text())
    checkpoint(folder, files.LAST)
    for name, expected in (("checkpoints/last.ckpt", "no responses"), (None, "nothing")):
        changed = summary | {"kind": "instructions", "checkpoint": name}
        (folder / files.SUMMARY).write_text(json.dumps(changed))
        assert prior_state(folder, settings(folder), found()).value == expected
    checkpoint(folder)  # interrupted while it responded: everything after the responses is left too
    assert prior_state(folder, settings(folder), found()) is PriorState.INTERRUPTED


def test_a_finished_run_without_its_checkpoint_is_made_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = json.loads((folder / files.SUMMARY).read_text())
    changed = summary | {"checkpoint": "checkpoints/last.ckpt"}
    (folder / files.SUMMARY).write_text(json.dumps(changed))
    assert prior_state(folder, settings(folder), found()) is PriorState.NOTHING
    last = checkpoint(folder, files.LAST)
    assert prior_state(folder, settings(folder), found()) is PriorState.FINISHED
    last.write_bytes(last.read_bytes()[:-10])
    assert prior_state(folder, settings(folder), found()) is PriorState.NOTHING
    told = " ".join(capsys.readouterr().err.split())
    assert "was finished, but checkpoints/last.ckpt is missing: it is made again" in told
    assert "was finished, but checkpoints/last.ckpt is damaged: it is made again" in told


def test_settings_that_an_earlier_version_lacked_are_no_difference(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newer = settings(folder, decide={"kind": "none", "costs": None}, new=3)
    assert prior_state(folder, newer, found()) is PriorState.FINISHED
    told = " ".join(capsys.readouterr().err.split())
    assert "earlier version, which had no decide.kind, decide.costs, new: kept" in told


def test_how_a_run_is_watched_is_no_difference(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for target in ("Old", "New"):
        watched = settings(
            folder, loggers={"csv": {"_target_": target}}, callbacks={"resume": {"every": target}},
            checkpoint_every=target,
        )  # fmt: skip
        assert prior_state(folder, watched, found()) is PriorState.FINISHED
    assert not capsys.readouterr().err


def test_replacing_a_finished_run_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prior_state(folder, settings(folder, seed=2), found()) is PriorState.NOTHING
    assert prior_state(folder, settings(folder), found(sha256="b" * 64)) is PriorState.NOTHING
    told = " ".join(capsys.readouterr().err.split())
    assert "holds a run of other settings (seed), which is replaced" in told
    assert "holds a run on other data or weights, which is replaced" in told


def test_without_a_status_the_summary_knows_the_fallbacks(folder: Path) -> None:
    """Where there is a checkpoint only, its own record of data and base decides."""
    summary = json.loads((folder / files.SUMMARY).read_text()) | {"fallbacks": ["nano took over"]}
    (folder / files.SUMMARY).write_text(json.dumps(summary))
    same = found(fallbacks=("nano took over:\n  no route",))
    (folder / files.STATUS).unlink()
    assert prior_state(folder, settings(folder), same) is PriorState.FINISHED
    with pytest.raises(ValueError, match="more of the real data"):
        prior_state(folder, settings(folder), found(fallbacks=("The data, too",)))
    (folder / files.SUMMARY).unlink()
    checkpoint(folder)
    assert prior_state(folder, settings(folder), same) is PriorState.INTERRUPTED
    start(settings(folder), PriorState.INTERRUPTED, list(same.fallbacks))
    assert prior_state(folder, settings(folder), same) is PriorState.INTERRUPTED


def test_more_fallbacks_than_before_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    start(settings(folder), PriorState.NOTHING, ["nano replaced it:\n  no route"])
    both = found(fallbacks=("nano replaced it:\n  timed out", "The data replaced them:"))
    with pytest.raises(ValueError, match=r"more of the real data and weights.*The data repl"):
        prior_state(folder, settings(folder), both)


@pytest.mark.parametrize("left", range(8))
def test_a_folder_killed_while_it_is_cleared_is_this_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    """Stops at every step of the clearing, also where all that is left is a part."""
    (folder / files.SPLITS_FOLDER).mkdir()
    (folder / files.SPLITS_FOLDER / "test.csv").write_text("old")
    (folder / files.PREDICTIONS).write_text("old")
    checkpoint(folder)

    class Killed(BaseException):
        pass

    unlink, write = Path.unlink, prior_state_module.write_text
    num = 0

    def dying(act: Any) -> Any:
        def step(*arguments: Any, **options: Any) -> Any:
            nonlocal num
            num += 1
            if num > left:
                raise Killed
            return act(*arguments, **options)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", dying(unlink))
        patch.setattr(prior_state_module, "write_text", dying(write))
        patch.setattr(prior_state_module.shutil, "rmtree", dying(prior_state_module.shutil.rmtree))
        with contextlib.suppress(Killed):
            start(settings(folder, rerun=True), PriorState.NOTHING, [])
    assert prior_state(folder, settings(folder, rerun=True), found()) is PriorState.NOTHING
    start(settings(folder, rerun=True), PriorState.NOTHING, [])
    assert {path.name for path in folder.iterdir()} == {files.CONFIG, files.STATUS}


def test_a_finished_runs_left_overs_are_removed(folder: Path) -> None:
    resume = checkpoint(folder)
    (folder / "summary.json.0a1b2c3d.new").write_text("half")
    tidy(folder)
    assert not resume.exists()
    assert {path.name for path in folder.iterdir()} == {
        files.CHECKPOINTS, files.CONFIG, files.STATUS, files.SUMMARY,
    }  # fmt: skip
