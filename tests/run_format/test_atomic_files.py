"""Files are there whole or not at all."""

import os
from pathlib import Path

import pytest

from llm_lightning.run_format import atomic_files


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_file_is_on_the_disk_before_it_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "runs" / "summary.json"
    done: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda opened: (done.append("sync"), fsync(opened)))
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("replace"), replace(a, b)))
    atomic_files.write_text(file, "{}\r\n")
    assert done == ["sync", "replace", "sync"]  # the contents, the name, the folder
    assert file.read_bytes() == b"{}\r\n"
    assert names(tmp_path / "runs") == ["summary.json"]


def test_a_failure_keeps_the_previous_file_and_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    file.write_text("whole")

    def stop_half_way() -> None:
        with atomic_files.replacing(file) as new:
            new.write_text("ha")
            assert new.parent == tmp_path  # never another file system
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_half_way()
    assert file.read_text() == "whole"
    assert names(tmp_path) == ["metrics.csv"]


def test_files_take_their_places_in_a_folder_one_by_one(tmp_path: Path) -> None:
    folder = tmp_path / "splits"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    (folder / "test.csv").write_text("old")
    with atomic_files.replacing_inside(folder) as new:
        (new / "test.csv").write_text("new")
        (new / "sub").mkdir()
        (new / "sub" / "a.json").write_text("[]")
    assert names(tmp_path) == [
        "splits", "splits/notes.txt", "splits/sub", "splits/sub/a.json", "splits/test.csv",
    ]  # fmt: skip
    assert (folder / "test.csv").read_text() == "new"
    with atomic_files.replacing_inside(tmp_path / "tokenizer"):
        pass
    assert not (tmp_path / "tokenizer").exists()


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    atomic_files.write_text(tmp_path / "checkpoints" / "last.ckpt", "kept")
    (tmp_path / "checkpoints" / "last.ckpt.0a1b2c3d.new").write_text("half")
    (tmp_path / "splits.0a1b2c3d.new").mkdir()
    (tmp_path / "splits.0a1b2c3d.new" / "train.csv").write_text("half")
    atomic_files.remove_unfinished(tmp_path)
    assert names(tmp_path) == ["checkpoints", "checkpoints/last.ckpt"]
