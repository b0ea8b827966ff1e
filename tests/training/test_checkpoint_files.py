from pathlib import Path

import pytest
import torch

from llm_lightning.training.checkpoint_files import CheckpointFiles


def test_what_is_saved_is_loaded_and_nothing_else_is_left(tmp_path: Path) -> None:
    file = tmp_path / "checkpoints" / "last.ckpt"
    CheckpointFiles().save_checkpoint({"state_dict": {"w": torch.arange(3)}, "epoch": 2}, file)
    found = torch.load(file, weights_only=True)
    assert found["epoch"] == 2
    assert found["state_dict"]["w"].tolist() == [0, 1, 2]
    assert [path.name for path in file.parent.iterdir()] == ["last.ckpt"]


def test_a_failure_keeps_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "last.ckpt"
    files = CheckpointFiles()
    files.save_checkpoint({"epoch": 1}, file)

    def fails_half_way(checkpoint: object, out: object) -> None:
        out.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fails_half_way)
    with pytest.raises(OSError, match="No space left"):
        files.save_checkpoint({"epoch": 2}, file)
    monkeypatch.undo()
    assert torch.load(file, weights_only=True) == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_storage_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="storage options"):
        CheckpointFiles().save_checkpoint({}, tmp_path / "last.ckpt", {"key": "value"})
