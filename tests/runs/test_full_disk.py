"""Whole commands on a disk that refuses checkpoints."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from program import SMOKE, command

from llm_lightning.run_format import files
from llm_lightning.training import checkpoint_files

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_folder")]

RUN = ("+experiment=last_layer", *SMOKE, "data=table", "data.path=data.csv", "data.batch_size=4")


@pytest.fixture(autouse=True)
def _data(tmp_path: Path) -> None:
    rows = [f"word{i % 7} word{i % 5} {i},{'ab'[i % 2]}" for i in range(60)]
    (tmp_path / "data.csv").write_text("text,label\n" + "\n".join(rows) + "\n")


def refuse(patch: pytest.MonkeyPatch, *names: str, times: int = 10**6) -> None:
    """Fills the disk for files of some names, a number of times."""
    write, left = checkpoint_files._write, dict.fromkeys(names, times)

    def full(checkpoint: dict[str, Any], file: Path) -> None:
        if left.get(file.name, 0):
            left[file.name] -= 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        write(checkpoint, file)

    patch.setattr(checkpoint_files, "_write", full)


def folder() -> Path:
    (found,) = Path("runs").glob("*/seed_123")
    return found


def words(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def test_a_run_without_some_checkpoints_is_finished_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        refuse(patch, "resume.ckpt", "best.ckpt", times=2)
        arguments = (*RUN, "trainer.max_epochs=3", "checkpoint_every=1")
        assert command(monkeypatch, *arguments) == 0
    said = capsys.readouterr()
    assert said.err.count("was not saved after optimizer step") == 2
    assert "resume.ckpt is saved again, after 2 attempts that failed" in said.err
    assert "resume.ckpt, 2 times" in words(said.out)
    summary = json.loads((folder() / files.SUMMARY).read_text())
    assert summary["failed_saves"] == {"resume.ckpt": 2, "best.ckpt": 2}
    assert 0 < summary["seconds"]["saving"] < summary["seconds"]["total"]
    assert sorted(file.name for file in (folder() / "checkpoints").iterdir()) == [
        "best.ckpt", "last.ckpt",
    ]  # fmt: skip


def test_a_run_whose_last_weights_are_refused_goes_on_from_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        refuse(patch, "last.ckpt")
        assert command(monkeypatch, *RUN) == 2
    said = words(capsys.readouterr().err)
    assert "last.ckpt was not saved after training: No space left on device (" in said
    assert "MiB free); free some space: the same command goes on from there" in said
    assert json.loads((folder() / files.STATUS).read_text())["state"] == "failed"
    assert command(monkeypatch, *RUN) == 0
    assert "resuming after epoch 1 of the interrupted run" in capsys.readouterr().out
    assert (folder() / "checkpoints" / "last.ckpt").is_file()


def test_the_best_weights_are_not_evaluated_where_none_could_be_saved(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        refuse(patch, "best.ckpt")
        assert command(monkeypatch, *RUN, "evaluate=best") == 2
    said = words(capsys.readouterr().err)
    assert "best.ckpt is missing, as where the disk was full at each validation" in said
