"""Checkpoints to resume from: after epochs, within them, and when a signal asks to stop."""

import random
import re
import time
from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
import torch

from llm_lightning.callbacks import loop_position
from llm_lightning.callbacks.curve_files import Resumable
from llm_lightning.callbacks.saving import Saver, restore_saving_facts, saving_facts
from llm_lightning.data.module import DataModule
from llm_lightning.data.shuffled_loader import EpochPosition
from llm_lightning.distributed.collectives import group_rank, group_size, of_all, of_main
from llm_lightning.run_format import files
from llm_lightning.tasks.task import Task
from llm_lightning.training import stop_signals

KEY = "resume"
"""What this callback adds to a checkpoint."""

_UNITS = {"s": 1, "min": 60, "h": 3600}
_DEAREST = 50  # the inverse of the largest share of the time that goes into checkpoints


class Resume(L.Callback):
    """Saves everything that training goes on from, always between two optimizer steps.

    After each epoch, and within it as often as asked, but for less than 2 % of the time: where
    saving takes long, epochs are passed over. A number of steps is obeyed whatever it takes. What
    the disk refuses is tried again as late as if it had been saved.

    Args:
        dirpath: the folder of ``resume.ckpt``; ``None`` saves nothing.
        every: within an epoch, a number of optimizer steps, or a time: ``30s``, ``5min``, ``2h``.

    Raises:
        ValueError: if ``every`` is neither.
    """

    def __init__(self, dirpath: str | None, every: int | str = "5min") -> None:
        self._file = None if dirpath is None else Path(dirpath) / files.RESUME
        self._steps, self._seconds = read_interval(every)
        self._saver = Saver("the next save tries again")
        self._tried_at = time.monotonic()
        self._tried_step = self._saved_step = -1
        self._cost = 0.0  # seconds of the last attempt
        self._where: str | None = None  # the hook that is saving
        self._before_validation: tuple[Any, ...] | None = None
        self._loaded: dict[str, Any] | None = None
        self._handlers = stop_signals.current()
        self.stopped_at: int | None = None
        """The optimizer step that was saved when a signal asked to stop."""

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Remembers who handles signals before Lightning does."""
        self._handlers = stop_signals.current()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Restores what an interrupted epoch had gathered; from here on signals wait for a step."""
        stop_signals.restore(self._handlers)
        stop_signals.defer(True)
        self._tried_at = time.monotonic()
        self._tried_step = self._saved_step = trainer.global_step
        if self._loaded is not None:
            if (gathered := self._loaded["metrics"]) is not None:
                own = _of_this_process(gathered)
                cast(Task, pl_module).metrics["train"].restore(own, pl_module.device)
            _set_random_states(self._loaded["random"])
            self._loaded = None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Saves before a batch, if the one before it ended an optimizer step."""
        if not batch_idx or batch_idx % trainer.accumulate_grad_batches:
            return
        steps = trainer.global_step - self._tried_step
        since = time.monotonic() - self._tried_at
        is_due = steps >= self._steps if self._steps else since >= self._seconds
        self._save_if("batch", trainer, wanted=is_due and steps > 0)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Saves after an epoch, when its curves are complete."""
        self._save_if("epoch", trainer, wanted=trainer.global_step > self._saved_step)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Saves after the last epoch."""
        self._save_if("end", trainer, wanted=trainer.global_step > self._saved_step)
        stop_signals.defer(False)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remembers what a validation may change."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        done = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        is_whole = done >= trainer.num_training_batches
        if is_whole or done % trainer.accumulate_grad_batches == 0:  # no gradients are pending
            self._before_validation = (torch.get_rng_state(), _random_states(), _curves(trainer))

    def on_validation_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Saves within a validation if a signal asks to stop; the next run validates again."""
        is_stopped = stop_signals.received() is not None
        if is_stopped and self._before_validation is not None and group_size() == 1:
            torch.set_rng_state(self._before_validation[0])
            self._save_if("validation", trainer, wanted=False)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forgets what it remembered."""
        self._before_validation = None

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Signals end the final evaluation at once: there is nothing to save."""
        stop_signals.restore(self._handlers)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Signals no longer wait."""
        stop_signals.defer(False)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds what Lightning leaves out, and corrects what it counts ahead."""
        if self._where is None:
            return
        loops = checkpoint["loops"]["fit_loop"]
        done = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        random_states, curves = _random_states(), None
        match self._where:
            case "batch":
                every = trainer.val_check_batch
                is_validated = (
                    isinstance(every, int)
                    and done % every == 0
                    and trainer.check_val_every_n_epoch is not None
                    and trainer.fit_loop.epoch_loop._should_check_val_epoch()
                )
                loop_position.before_batch(loops, follows_validation=is_validated)
            case "epoch":
                loop_position.before_epoch(loops)
            case "validation" if self._before_validation is not None:
                loop_position.before_validation(loops)
                _, random_states, curves = self._before_validation
        is_within = self._where in ("batch", "validation")
        data = cast(DataModule, trainer.datamodule)  # type: ignore[attr-defined]
        position = None
        if is_within:
            position = data.position(done, is_whole=done >= trainer.num_training_batches)
        checkpoint[KEY] = {
            "position": None if position is None else vars(position),
            "metrics": of_all(cast(Task, pl_module).metrics["train"].state())
            if is_within
            else None,
            "random": random_states,
            "threads": torch.get_num_threads(),
            "curves": _curves(trainer) if curves is None else curves,
            "saving": saving_facts(trainer),
        }

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Tells the data where the interrupted epoch goes on, and computes as before."""
        found = checkpoint.get(KEY)
        if found is None:  # by the learning rate finder, which goes back to where it began
            return
        torch.set_num_threads(found["threads"])  # the order of sums depends on it
        if found["position"] is not None:
            data = cast(DataModule, trainer.datamodule)  # type: ignore[attr-defined]
            data.resume_within_epoch(EpochPosition(**found["position"]))
        self._loaded = found
        restore_saving_facts(trainer, *found.get("saving", (0.0, {})))

    def _save_if(self, where: str, trainer: L.Trainer, *, wanted: bool) -> None:
        """Saves if that is wanted and not too dear, or if a signal asks to stop.

        Of several processes the main one decides for all.

        Raises:
            KeyboardInterrupt: in the second case.
        """
        started = time.monotonic()
        is_dear = not self._steps and self._cost * _DEAREST > started - self._tried_at
        is_stopped = stop_signals.received() is not None
        is_stopped, is_due = of_main((is_stopped, wanted and not is_dear))
        is_saved = False
        if self._file is not None and (is_stopped or is_due):
            self._where = where
            try:
                is_saved = self._saver.save(trainer, self._file)
            finally:
                self._where = None
            self._tried_at, self._tried_step = time.monotonic(), trainer.global_step
            self._cost = self._tried_at - started
            if is_saved:
                self._saved_step = trainer.global_step
        if is_stopped:
            if is_saved:
                self.stopped_at = trainer.global_step
            stop_signals.check()
            raise KeyboardInterrupt  # in a process other than the main one


def read_interval(every: int | str) -> tuple[int | None, float]:
    """Reads an interval between checkpoints.

    Args:
        every: see :class:`Resume`.

    Returns:
        Optimizer steps, and seconds; the first is ``None`` or the second infinite.

    Raises:
        ValueError: if it is neither.
    """
    if isinstance(every, int) and not isinstance(every, bool) and every > 0:
        return every, float("inf")
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(s|min|h)?", str(every))
    if match and float(match[1]) > 0:
        if match[2]:
            return None, float(match[1]) * _UNITS[match[2]]
        if match[1].isdigit():
            return int(match[1]), float("inf")
    raise ValueError(
        f"checkpoint_every must be a number of optimizer steps, or a time as 30s, 5min or 2h, got "
        f"{every!r}"
    )


def _of_this_process(gathered: list[Any]) -> list[Any]:
    """Its own of what all processes had; if there were more or fewer, the main one takes all."""
    if len(gathered) == group_size():
        return [gathered[group_rank()]]
    return gathered if group_rank() == 0 else []


def _curves(trainer: L.Trainer) -> dict[str, Any]:
    """What the loggers wrote so far, by the loggers' names; only one process has written."""
    if not trainer.is_global_zero:
        return {}
    found = (logger for logger in trainer.loggers if isinstance(logger, Resumable))
    return {type(logger).__name__: logger.state() for logger in found}


def resume_curves(trainer: L.Trainer, checkpoint: dict[str, Any]) -> None:
    """Cuts the curves back to a checkpoint, before a trainer opens them."""
    for logger in trainer.loggers:
        state = checkpoint[KEY]["curves"].get(type(logger).__name__)
        if isinstance(logger, Resumable) and state is not None:
            logger.resume(state)


def _random_states() -> dict[str, Any]:
    """States of all generators but torch's on the CPU, which the model saves; as plain values."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": [kind, keys.tolist(), *rest],  # type: ignore[union-attr]
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _set_random_states(states: dict[str, Any]) -> None:
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, np.asarray(keys, dtype=np.uint32), *rest))
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
