"""One progress bar for a whole fit, with loss and remaining time, and a line for each epoch."""

import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from rich.progress import Progress, TaskID

from llm_lightning.presentation.durations import duration
from llm_lightning.presentation.progress import progress_bar
from llm_lightning.presentation.terminal import PlainConsole
from llm_lightning.run_format.curves import EPOCH_LOSS, STEP_LOSS, VALIDATION_LOSS

# Shown after the loss if they are logged: metric, format, factor.
SHOWN = (
    ("accuracy", " {:5.1f} %", 100),
    ("response_loss", ", responses {:.3f}", 1),
    ("perplexity", ", perplexity {:,.1f}", 1),
)


class FitProgress(ProgressBar):
    """Draws a bar on terminals; elsewhere only prints a line after each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self._console = PlainConsole(highlight=False)
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._title = ""
        self._epoch_start = 0.0

    def disable(self) -> None:
        """Shows nothing from now on: another process of the run does."""
        self._console = PlainConsole(quiet=True)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Opens a bar over all batches of all epochs."""
        epochs = (trainer.max_epochs or 0) - trainer.current_epoch
        done = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        is_within = trainer.fit_loop.restarted_mid_epoch
        batches = epochs * int(trainer.num_training_batches) - (done if is_within else 0)
        self._open("training", batches if batches > 0 else None)
        if is_within:
            self._start_epoch(trainer)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Prints the results of the previous epoch, which are complete only now."""
        self._report(trainer)
        self._start_epoch(trainer)

    def _start_epoch(self, trainer: L.Trainer) -> None:
        self._epoch_start = time.monotonic()
        self._title = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        self._describe(self._title)

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        """Advances by a batch and shows its loss."""
        if not self._console.is_terminal:
            return  # reading the loss takes time
        loss = trainer.callback_metrics.get(STEP_LOSS)
        self._advance("" if loss is None else f"loss {float(loss):.3f}")

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Shows that validation is running."""
        self._describe(f"{self._title} validating")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Prints the last epoch's results and closes the bar."""
        self._report(trainer)
        self._close()

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Opens a bar over the final evaluation."""
        self._open("evaluating", int(sum(trainer.num_test_batches)))

    def on_test_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        """Advances by a batch."""
        self._advance("")

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Closes the bar."""
        self._close()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Closes the bar, so that what is printed next stands below it."""
        self._close()

    def _report(self, trainer: L.Trainer) -> None:
        if not self._title:
            return
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        columns = []
        for split, loss in (("train", EPOCH_LOSS), ("val", VALIDATION_LOSS)):
            if loss in values:
                columns.append(f"{split} {values[loss]:.3f}")
            for name, form, factor in SHOWN:
                if f"{split}/{name}" in values:
                    columns[-1] += form.format(factor * values[f"{split}/{name}"])
        took = duration(time.monotonic() - self._epoch_start)
        line = "   ".join([self._title, *columns, took])
        (self._progress.console if self._progress else self._console).print(line)
        self._title = ""

    def _open(self, description: str, total: int | None) -> None:
        self._progress = progress_bar(console=self._console, detail="loss")
        self._progress.start()
        self._task = self._progress.add_task(description, total=total, loss="")

    def _describe(self, description: str) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=description)

    def _advance(self, loss: str) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, advance=1, loss=loss)

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
