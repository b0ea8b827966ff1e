"""Every run is listed in the state that it is in."""

import os
from pathlib import Path

import pytest
import yaml
from reporting import run_folders

from llm_lightning.run_format.folder_lock import holding
from llm_lightning.ui.config_difference import config_difference
from llm_lightning.ui.found_runs import find_runs, short_names
from llm_lightning.ui.live_curves import live_curves


def test_states_and_notes(tmp_path: Path) -> None:
    done = run_folders.write_classifier(tmp_path)
    folders = {name: tmp_path / name / "seed_1" for name in ("a", "b", "c", "d", "e")}
    now = "2026-01-02T03:04:05+00:00"
    run_folders.write_status(folders["a"], "failed", error="no such file\ntrace", updated_at=now)
    run_folders.write_status(folders["b"], "interrupted", epoch=3, updated_at=now)
    run_folders.write_status(folders["c"], "running", epoch=1, updated_at=now)
    run_folders.write_status(folders["d"], "running", updated_at=now)
    damaged = run_folders.write_classifier(tmp_path, "e")
    (damaged / "summary.json").write_text("{")
    for folder in (done, damaged):
        run_folders.write_status(folder, "finished", updated_at=now)
    with holding(folders["c"]):
        found = {run.folder.parent.name: run for run in find_runs([tmp_path])}
    assert {name: run.state for name, run in found.items()} == {
        "last_block": "finished",
        "a": "failed",
        "b": "interrupted",
        "c": "running",
        "d": "stopped",
        "e": "damaged",
    }
    assert found["a"].note == "no such file"
    assert (found["b"].note, found["b"].epoch) == ("the same command continues it", 3)
    assert found["c"].holder is not None
    assert found["c"].holder.pid == os.getpid()
    assert "summary.json" in found["e"].note
    assert found["last_block"].kind == "classification"
    assert not found["last_block"].has_model, "it kept no checkpoint"


def test_a_run_that_is_trained_again_is_read_again(tmp_path: Path) -> None:
    folder = run_folders.write_classifier(tmp_path)
    now = "2026-01-02T03:04:05+00:00"
    run_folders.write_status(folder, "finished", updated_at=now)
    (before,) = find_runs([tmp_path])
    run_folders.edit_summary(folder, checkpoint="checkpoints/best.ckpt")
    (after,) = find_runs([tmp_path])
    assert (before.has_model, after.has_model) == (False, True)


def test_differences_between_configurations(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, lr, extra in ((one, 1e-4, {"compile": True}), (other, 2e-4, {"names": ["a", "b"]})):
        folder.mkdir()
        config = {"optim": {"lr": lr, "steps": None}, "callbacks": {}, **extra}
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
    differing, equal = config_difference(one, other)
    assert equal == 2
    assert {tuple(row) for row in differing} == {
        ("optim.lr", "0.0001", "0.0002"),
        ("compile", "true", ""),
        ("names", "", "[a, b]"),
    }
    (other / "config.yaml").unlink()
    with pytest.raises(ValueError, match=r"has no readable config\.yaml"):
        config_difference(one, other)


def test_curves_are_drawn_as_far_as_there_are_any(tmp_path: Path) -> None:
    folder = run_folders.write_classifier(tmp_path)
    (drawn,) = live_curves(folder, "one")
    assert "validation 75.0%" in drawn
    assert "optimizer steps" in drawn
    (folder / "metrics.csv").write_text("epoch,step,train/loss,val/loss\n0,0,2.5,\n0,1,1.5,\n")
    (drawn,) = live_curves(folder, "one")
    assert "single steps 1.500" in drawn
    for content in ("", "epoch,st", "epoch,step\n", "epoch,step,train/loss\n0,0,nan\n"):
        (folder / "metrics.csv").write_text(content)
        assert live_curves(folder, "one") == []


def test_long_paths_lose_their_middle_unless_they_would_look_alike() -> None:
    middles = ["-optim.lr@0.001" * 3, "-optim.lr@0.002" * 3]
    one, other = (f"runs/last_block{middle}-trainer.max_epochs@3/seed_1" for middle in middles)
    assert short_names(["runs/lora/seed_1", one]) == [
        "runs/lora/seed_1",
        "runs/last_block-…r.max_epochs@3/seed_1",
    ]
    assert short_names([one, other]) == [one, other]
