"""What takes the time in an optimizer step of ours, by ``torch.profiler``."""

from pathlib import Path
from typing import Any

import lightning as L
import workloads
from torch.profiler import ProfilerActivity, profile, schedule

_ROWS = 25  # of the profile


class _StepProfile(L.Callback):
    """Profiles some steps after the first ones."""

    def __init__(self, activities: list[ProfilerActivity]) -> None:
        self.profiler = profile(
            activities=activities, schedule=schedule(wait=2, warmup=1, active=2, repeat=1)
        )

    def on_train_start(self, *args: Any) -> None:
        self.profiler.start()

    def on_train_batch_end(self, *args: Any) -> None:
        self.profiler.step()

    def on_train_end(self, *args: Any) -> None:
        self.profiler.stop()


def step_profile(
    *, table: str, max_length: int, strategy: str, overrides: list[str], file: str
) -> dict[str, Any]:
    """Profiles two optimizer steps of ours with ``torch.profiler``.

    Args:
        table: CSV of at least five batches.
        max_length: texts are cut there.
        strategy: an experiment of ours.
        overrides: further settings.
        file: where the table of operations by time goes.

    Returns:
        ``seconds_by_operation``, of the operations that took most.
    """
    run, _ = workloads.built(table, max_length, strategy, [*overrides, "trainer.max_epochs=1"])
    is_cuda = run.trainer.strategy.root_device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if is_cuda else [])]
    watcher = _StepProfile(activities)
    run.trainer.callbacks.append(watcher)
    run.trainer.fit(run.task, datamodule=run.data)
    key = "self_device_time_total" if is_cuda else "self_cpu_time_total"
    averages = watcher.profiler.key_averages()
    Path(file).write_text(averages.table(sort_by=key, row_limit=_ROWS), encoding="utf-8")
    found = sorted(averages, key=lambda one: getattr(one, key), reverse=True)[:_ROWS]
    seconds = {one.key: getattr(one, key) / 1e6 for one in found if getattr(one, key)}
    return {"seconds_by_operation": seconds}
