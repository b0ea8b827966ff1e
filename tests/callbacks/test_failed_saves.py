"""A disk that refuses a checkpoint costs the checkpoint, not the run."""

import errno
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from small_runs import messages, task_for, trainer_with

from llm_lightning.callbacks.best_checkpoint import BestCheckpoint
from llm_lightning.callbacks.resume import Resume
from llm_lightning.callbacks.saving import reason
from llm_lightning.training.checkpoint_files import CheckpointFiles, save

pytestmark = [
    pytest.mark.usefixtures("own_folder"),
    pytest.mark.filterwarnings("ignore:.*dataloader is not resumable"),
    pytest.mark.filterwarnings("ignore:.*exists and is not empty"),
]

SMALL = 4096
"""Bytes: more than anything else that a test writes, less than a checkpoint."""


@contextmanager
def full_disk() -> Iterator[None]:
    """Lets no file grow beyond a few kB, as a disk that is full does: writing fails half-way."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class FullBetween(L.Callback):
    """Fills the disk during some steps."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.found: dict[int, int] = {}  # the saved step, by the step at which it was looked at

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        step = trainer.global_step
        limit = SMALL if self.first <= step < self.last else self.before[0]
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, self.before[1]))
        if Path("run/resume.ckpt").is_file():
            state = torch.load("run/resume.ckpt", weights_only=True)
            self.found[step] = state["global_step"]

    def teardown(self, *args: Any, **kwargs: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)


class ValLoss(L.Callback):
    """Logs a validation loss that is given for each epoch, and fills the disk in some."""

    def __init__(self, losses: list[float], full: set[int]) -> None:
        self.losses, self.full = losses, full
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def on_validation_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        epoch = trainer.current_epoch
        module.log("given", torch.tensor(self.losses[epoch]))
        limit = SMALL if epoch in self.full else self.before[0]
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, self.before[1]))

    def on_train_epoch_start(self, *args: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)

    def teardown(self, *args: Any, **kwargs: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)


def test_a_full_disk_is_an_oserror_and_leaves_the_previous_file() -> None:
    file = Path("a.ckpt")
    CheckpointFiles().save_checkpoint({"w": torch.zeros(3)}, file)
    with full_disk(), pytest.raises(OSError) as caught:  # noqa: PT011
        CheckpointFiles().save_checkpoint({"w": torch.zeros(100_000)}, file)
    assert caught.value.errno == errno.EFBIG
    assert torch.load(file, weights_only=True)["w"].tolist() == [0, 0, 0]
    assert [path.name for path in Path().iterdir()] == ["a.ckpt"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root mounts")
def test_a_file_system_without_space(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        file, files = tmp_path / "a.ckpt", CheckpointFiles()
        files.save_checkpoint({"w": torch.zeros(150_000)}, file)  # 600 kB: there is no second
        with pytest.raises(OSError, match="No space left on device") as caught:
            files.save_checkpoint({"w": torch.ones(150_000)}, file)
        assert reason(caught.value, file).startswith("No space left on device (0.4 MiB free)")
        assert not torch.load(file, weights_only=True)["w"].any()
        assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_training_goes_on_and_the_next_save_tries_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = messages()
    full = FullBetween(2, 5)
    files = CheckpointFiles()
    trainer = trainer_with([full, Resume("run", 1)], max_epochs=1, plugins=[files])
    trainer.fit(task_for(data), datamodule=data)
    assert trainer.global_step == 7
    # Looked at before the save of the same step, so one step behind where all is well.
    assert full.found == {2: 1, 3: 1, 4: 1, 5: 1, 6: 5, 7: 6}
    assert torch.load("run/resume.ckpt", weights_only=True)["global_step"] == 7
    assert files.failures == {"resume.ckpt": 3}
    assert files.seconds > 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[0].startswith(
        "warning run/resume.ckpt was not saved after optimizer step 2: File too large ("
    )
    assert said[0].endswith(
        " MiB free); the one before is kept, training goes on, and the next save tries again"
    )
    assert said[1] == "warning run/resume.ckpt is saved again, after 3 attempts that failed"
    assert sorted(path.name for path in Path("run").iterdir()) == ["resume.ckpt"]


def test_weights_that_could_not_be_saved_are_not_the_best(
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = messages()
    best = BestCheckpoint("run", "best", monitor="given", mode="min", save_weights_only=True)
    assert best.state_key.startswith("ModelCheckpoint{'monitor': 'given'")
    losses = ValLoss([4.0, 1.0, 3.0, 3.5], full={1})
    trainer = trainer_with(
        [losses, best], max_epochs=4, plugins=[CheckpointFiles()], enable_checkpointing=True
    )
    trainer.fit(task_for(data), datamodule=data)
    # That of 1.0 is on no disk; 3.0 is better than the 4.0 that was there.
    assert torch.load("run/best.ckpt", weights_only=True)["epoch"] == 2
    assert best.best_model_score == 3.0
    assert list(map(float, best.best_k_models.values())) == [3.0]
    said = capsys.readouterr().err
    assert "run/best.ckpt was not saved after optimizer step 14: File too large" in said
    assert "best.ckpt is saved again, after 1 attempt that failed" in said


def test_saving_counts_on_where_a_run_was_interrupted() -> None:
    data = messages()
    files = CheckpointFiles()
    files.failures["best.ckpt"], files.seconds = 2, 100.0
    trainer = trainer_with([Resume("run", 3)], max_epochs=1, plugins=[files])
    trainer.fit(task_for(data), datamodule=data)
    again = CheckpointFiles()
    trainer = trainer_with([Resume("run", 3)], max_epochs=2, plugins=[again])
    trainer.fit(task_for(data), datamodule=data, ckpt_path="run/resume.ckpt", weights_only=True)
    assert again.failures == {"best.ckpt": 2}
    assert 100 < again.seconds < 110


def test_a_trainer_with_other_files_fails_as_it_did() -> None:
    data = messages()
    trainer = trainer_with([], max_epochs=1, limit_train_batches=1)
    trainer.fit(task_for(data), datamodule=data)
    with full_disk(), pytest.raises((OSError, RuntimeError)):
        save(trainer, Path("a.ckpt"))
