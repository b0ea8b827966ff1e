"""What a run would take: kept as a file while a sweep is looked through, and shown to people."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llm_lightning.presentation.console import facts_grid

_PLAN = "plan.json"
_MIB = 2**20

_console = Console(highlight=False)


@dataclass
class Plan:
    """What is left to do of a run, and what that takes on this device."""

    name: str
    seed: int
    device: str
    """The device that was measured, for people."""
    before: str = "nothing"
    """What the run's folder holds: ``nothing``, ``interrupted``, ``unanswered``, ``finished``."""
    trainable: int = 0
    """Parameters that train."""
    total: int = 0
    """Parameters in all."""
    steps: int = 0
    """Optimizer steps left to do."""
    steps_done: int = 0
    """Optimizer steps of an interrupted run, which goes on after them."""
    memory: dict[str, int] = field(default_factory=dict)
    """Bytes of weights, gradients, optimizer state and activations at the widest batch."""
    widest_batch: list[int] = field(default_factory=list)
    """Rows and tokens of that batch."""
    frozen_mib: float = 0.0
    """What is kept of frozen blocks, which run once for every example."""
    peak_mib: float = 0.0
    """Highest memory while this was measured: of the GPU, or of the whole process."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Expected time of each part of the run."""
    stand_ins: int = 0
    """How many things stand in for data or weights that cannot be had."""
    longest_answers_s: float | None = None
    """Time of answering the test split if every answer were as long as it may be."""

    @property
    def total_seconds(self) -> float:
        """Expected time in all."""
        return sum(self.seconds.values())

    def write(self, folder: Path) -> None:
        """Writes the plan into a folder."""
        (folder / _PLAN).write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")


def read_plans(folder: Path) -> list[Plan]:
    """Reads the plans of all runs of a sweep."""
    files = sorted(folder.glob(f"*/*/{_PLAN}"))
    return [Plan(**json.loads(file.read_text(encoding="utf-8"))) for file in files]


def print_plan(plan: Plan, folder: Path) -> None:
    """Prints what one run would take.

    Args:
        plan: of the run.
        folder: where the run would write; for the reader.
    """
    _console.print(f"\n[bold]{escape(plan.name)}[/bold], seed {plan.seed}: dry run\n")
    if plan.memory:
        table = Table(box=SIMPLE_HEAD, show_footer=True, pad_edge=False)
        table.add_column("memory", footer="together")
        table.add_column("MiB", justify="right", footer=_mib(sum(plan.memory.values())))
        for part, size in plan.memory.items():
            table.add_row(part, _mib(size))
        _console.print(table)
    facts = facts_grid()
    facts.add_row("trainable", f"{plan.trainable:,} of {plan.total:,} parameters")
    facts.add_row("steps", f"{plan.steps:,} optimizer steps{_rest(plan)}")
    if plan.widest_batch:
        rows, width = plan.widest_batch
        facts.add_row("batch", f"{rows} x {width} tokens at the widest, which memory is given for")
    if plan.peak_mib:
        facts.add_row("peak", f"{plan.peak_mib:,.0f} MiB while this was measured, {_whose(plan)}")
    if plan.frozen_mib:
        facts.add_row("frozen", f"{plan.frozen_mib:,.0f} MiB of states that are computed once")
    parts = ", ".join(f"{part} {duration(time)}" for part, time in plan.seconds.items() if time)
    facts.add_row("time", f"about {duration(plan.total_seconds)}" + (f": {parts}" if parts else ""))
    if plan.longest_answers_s is not None:
        facts.add_row(
            "", f"answers as long as the references; {duration(plan.longest_answers_s)} at most"
        )
    facts.add_row("device", escape(plan.device))
    facts.add_row("folder", escape(f"{folder} (not touched)"))
    _console.print(facts)


def print_line(plan: Plan) -> None:
    """Prints one run of a sweep."""
    took = (
        "finished before" if plan.before == "finished" else f"about {duration(plan.total_seconds)}"
    )
    _console.print(
        f"{plan.trainable:>13,} trainable {_mib(sum(plan.memory.values())):>8} MiB "
        f"{plan.steps:>7,} steps  {took:<15}  {escape(plan.name)}, seed {plan.seed}"
        + (" (stand-ins)" if plan.stand_ins else ""),
        soft_wrap=True,
    )


def print_total(plans: Sequence[Plan], num_refused: int) -> None:
    """Prints what a sweep would take if its runs followed each other."""
    largest = max((sum(plan.memory.values()) for plan in plans), default=0)
    finished = sum(plan.before == "finished" for plan in plans)
    parts = [f"{len(plans) + num_refused} runs"]
    parts += [f"{finished} finished before"] if finished else []
    parts += [f"{num_refused} refused"] if num_refused else []
    steps = sum(plan.steps for plan in plans)
    seconds = sum(plan.total_seconds for plan in plans)
    _console.print(
        f"\n{', '.join(parts)}: {steps:,} steps, about {duration(seconds)} one after another, "
        f"{_mib(largest)} MiB for the largest",
        style="bold",
    )


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _mib(size: int) -> str:
    return f"{size / _MIB:,.1f}"


def _rest(plan: Plan) -> str:
    if plan.before == "interrupted":
        return f", after {plan.steps_done:,} of the interrupted run"
    return {"finished": ": finished before", "unanswered": ": only answers are left"}.get(
        plan.before, ""
    )


def _whose(plan: Plan) -> str:
    return "the whole process" if plan.device.startswith("cpu") else "of the device"
