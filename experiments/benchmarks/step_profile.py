"""What takes the time in an optimizer step of ours, by ``torch.profiler``.

    python experiments/benchmarks/step_profile.py --strategy all lora

prints milliseconds of processor time a step by kind of operation, of gpt2_small on batches of eight
packaged messages, one thread. While PyTorch profiles, large blocks may be new to the process at
every step, and the kernel's work for them is counted where they are filled with zeros; so the time
of as many steps before is printed too. On a GPU it is a part of ``gpu.py``.
"""

import argparse
import contextlib
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning as L
import prepare
import torch
import workloads
from torch.profiler import DeviceType, ProfilerActivity, profile, schedule

_ROWS = 40  # of the profile
_WAIT = 20  # steps before: kernels are prepared for new widths
_STEPS = 10
_KINDS = {
    "attention": ("sdpa", "flash", "fmha", "_attention", "softmax", "aten::bmm"),
    "matrix products": ("gemm", "nvjet", "cutlass", "::mm", "::addmm", "mkldnn", "extern"),
    "AdamW": ("multi_tensor", "multi_tens", "adam"),
    "fused by the compiler": ("triton", "graph_", "cpp_fused"),
    "GELU": ("gelu",),
    "LayerNorm": ("layer_norm", "gammabeta"),
    "zeros": ("fill_", "zero"),
    "copies and conversions": ("copy", "memcpy", "unrolled_elementwise"),
}
"""Parts of the names of operations and kernels, in lower case; what has none is the rest."""


class _StepProfile(L.Callback):
    """Profiles some steps after the first ones."""

    def __init__(self, activities: list[ProfilerActivity], wait: int, active: int) -> None:
        self.profiler = profile(
            activities=activities,
            schedule=schedule(wait=wait, warmup=1, active=active, repeat=1),
            acc_events=True,
        )
        self._ends: list[float] = []  # of the steps before, in processor time
        self._wait, self._active = wait, active

    def on_train_start(self, *args: Any) -> None:
        self.profiler.start()

    def on_train_batch_end(self, *args: Any) -> None:
        self._ends.append(time.process_time())
        self.profiler.step()

    def seconds_before(self) -> float:
        """Processor time of a step before the profile, a mean over as many steps."""
        ends = self._ends[: self._wait]
        steps = min(self._active, len(ends) - 1)
        return (ends[-1] - ends[-1 - steps]) / steps

    def on_train_end(self, *args: Any) -> None:
        self.profiler.stop()


def step_profile(
    *,
    table: str,
    max_length: int,
    strategy: str,
    overrides: list[str],
    file: str,
    wait: int = 2,
    active: int = 2,
) -> dict[str, Any]:
    """Profiles optimizer steps of ours with ``torch.profiler``.

    Args:
        table: CSV of more batches than ``wait`` and ``active``.
        max_length: texts are cut there.
        strategy: an experiment of ours.
        overrides: further settings.
        file: where the table of operations by time goes.
        wait: steps before.
        active: steps that are profiled.

    Returns:
        ``seconds_by_kind``: of a step's kernels on a GPU, or of its operations on a CPU; and
        ``seconds_before``, of a step before that, in processor time.
    """
    run, _ = workloads.built(table, max_length, strategy, [*overrides, "trainer.max_epochs=1"])
    is_cuda = run.trainer.strategy.root_device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if is_cuda else [])]
    watcher = _StepProfile(activities, wait, active)
    run.trainer.callbacks.append(watcher)
    run.trainer.fit(run.task, datamodule=run.data)
    key = "self_device_time_total" if is_cuda else "self_cpu_time_total"
    averages = watcher.profiler.key_averages()
    Path(file).write_text(averages.table(sort_by=key, row_limit=_ROWS), encoding="utf-8")
    device = DeviceType.CUDA if is_cuda else DeviceType.CPU
    seconds: dict[str, float] = {}
    for one in averages:
        # An operation of the CPU has the time of its kernels too, and a named part of a step all.
        if one.device_type == device and not one.is_user_annotation:
            kind = kind_of(one.key)
            seconds[kind] = seconds.get(kind, 0.0) + getattr(one, key) / 1e6 / active
    return {
        "seconds_by_kind": dict(sorted(seconds.items(), key=lambda item: -item[1])),
        "seconds_before": watcher.seconds_before(),
    }


def kind_of(name: str) -> str:
    """What a kernel or an operation is for."""
    for kind, parts in _KINDS.items():
        if any(part in name.lower() for part in parts):
            return kind
    return "everything else"


def main() -> None:
    """Prints a table of a step on this processor."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strategy", nargs="+", default=["all", "lora"])
    parser.add_argument("--model", choices=("gpt2_small", "nano"), default="gpt2_small")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, float]] = {}
    before: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        texts = {"examples": 8 * (_WAIT + _STEPS + 2), "overhead_examples": 8}
        none = {"lengths": [], "examples_of_length": 0, "prompts": 1}
        settings: dict[str, Any] = texts | none | {"context": 512, "max_new_tokens": 8}
        facts = prepare.prepare(folder=folder, data_path=None, instructions_path=None, **settings)
        for strategy in args.strategy:
            own = Path(folder) / strategy
            own.mkdir()
            overrides = [f"model={args.model}", "model.weights=random", "model.init=gpt2"]
            with contextlib.chdir(own):  # the run folder goes there
                profiled = step_profile(
                    table=f"{folder}/steps.csv",
                    max_length=facts["max_length"],
                    strategy=strategy,
                    overrides=[*overrides, "trainer.accelerator=cpu"],
                    file=str(own / "profile.txt"),
                    wait=_WAIT,
                    active=_STEPS,
                )
            found[strategy] = profiled["seconds_by_kind"]
            before.append(profiled["seconds_before"])
    print("| operations, ms a step | " + " | ".join(found) + " |")
    print("| --- |" + " ---: |" * len(found))
    for kind in dict.fromkeys(kind for seconds in found.values() for kind in seconds):
        cells = [f"{1e3 * seconds.get(kind, 0.0):.0f}" for seconds in found.values()]
        print(f"| {kind} | " + " | ".join(cells) + " |")
    totals = [f"{1e3 * sum(seconds.values()):.0f}" for seconds in found.values()]
    print("| together | " + " | ".join(totals) + " |")
    print("| without the profiler | " + " | ".join(f"{1e3 * s:.0f}" for s in before) + " |")


if __name__ == "__main__":
    main()
