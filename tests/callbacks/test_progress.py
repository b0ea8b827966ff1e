import re

import lightning as L
import pytest
import torch
from lightning.pytorch.demos.boring_classes import BoringModel

from llm_lightning.callbacks.progress import FitProgress
from llm_lightning.run_format.curves import EPOCH_LOSS, STEP_LOSS, VALIDATION_LOSS


class Counting(BoringModel):
    """Logs what the classifier logs, with values that show when they were logged."""

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> dict:
        self.log(STEP_LOSS, 0.25)
        self.log(EPOCH_LOSS, float(self.current_epoch), on_step=False, on_epoch=True)
        return super().training_step(batch, batch_idx)

    def on_train_epoch_end(self) -> None:
        self.log("train/accuracy", self.current_epoch / 10)

    def on_validation_epoch_end(self) -> None:
        self.log_dict({VALIDATION_LOSS: 0.5, "val/accuracy": 0.75})


def fit(**options: object) -> None:
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_train_batches=3,
        limit_val_batches=2,
        **options,  # type: ignore[arg-type]
    )
    trainer.fit(Counting())


def test_each_epoch_ends_with_a_line_of_its_own_results(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    fit(max_epochs=2, callbacks=[FitProgress()])
    lines = [re.sub(r" +[\d.]+ s$", "", line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "epoch 1/2   train 0.000   0.0 %   val 0.500  75.0 %",
        "epoch 2/2   train 1.000  10.0 %   val 0.500  75.0 %",
    ]


def test_terminals_get_a_bar_over_all_epochs_with_loss_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("FORCE_COLOR", "1")
    seen: list[str] = []

    class Look(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *args: object) -> None:
            progress = trainer.progress_bar_callback._progress
            progress.refresh()
            task = progress.tasks[0]
            seen.append(f"{task.completed:.0f}/{task.total:.0f} {task.fields['loss']}")

    fit(max_epochs=2, callbacks=[FitProgress(), Look()])
    assert seen == [f"{done}/6 loss 0.250" for done in range(1, 7)]
    assert "ETA" in capsys.readouterr().out


def test_an_interruption_closes_the_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupt(L.Callback):
        def on_train_batch_start(self, trainer: L.Trainer, *args: object) -> None:
            if trainer.current_epoch == 1:
                raise KeyboardInterrupt

    monkeypatch.setattr("signal.signal", lambda *_: None)  # pytest keeps its own Ctrl-C
    progress = FitProgress()
    with pytest.raises(SystemExit):
        fit(max_epochs=3, callbacks=[progress, Interrupt()])
    assert progress._progress is None
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["1/3"]
