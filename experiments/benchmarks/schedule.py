"""What is measured, and in which order.

A round holds every case once, those that are compared side by side; rounds follow one another, so
that a machine that grows slower with time does so for all cases alike.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

LAYERS = ("n_layer", "n_head", "n_embd", "n_positions")
MODELS = {
    "gpt2_small": (12, 12, 768, 1024),
    "gpt2_medium": (24, 16, 1024, 1024),
    "nano": (6, 4, 128, 512),
    "tiny": (3, 2, 32, 512),
}
STRATEGIES = ("last_layer", "last_block", "last_two_blocks", "all", "lora")
KEEPS_STATES = ("last_layer", "last_block", "last_two_blocks")


@dataclass(frozen=True)
class Case:
    """One thing that is measured, in a process of its own."""

    group: str
    """Cases of a group are compared with each other; the first is what the others are set
    against."""
    name: str
    call: str = ""
    """``module.function``, or nothing for a program."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Of the function."""
    program: tuple[str, ...] = ()
    """Arguments of ``python``."""
    guess_s: float = 8.0
    """Seconds that it may take, for the first forecast of the time left."""
    is_long: bool = False
    """Whether it can be estimated from some of its steps."""
    base: str = ""
    """The first case of its group."""
    order: int = 0
    """Its place in a round."""


@dataclass(frozen=True)
class Settings:
    """What all cases share; results of different settings never share a table."""

    model: str = "gpt2_small"
    epochs: int = 5
    strategies: tuple[str, ...] = STRATEGIES
    end_to_end: tuple[str, ...] = ("last_block", "last_layer")
    warmup: int = 3
    steps: int = 16
    overhead_steps: int = 120
    growth_models: tuple[str, ...] = ("nano", "gpt2_small", "gpt2_medium")
    growth_examples: tuple[int, ...] = (250, 500, 1000)
    growth_lengths: tuple[int, ...] = (32, 64, 128, 256, 512)
    growth_steps: int = 4
    sweep: tuple[int, int] = (20, 5)
    """Rows and seeds."""
    prompts: int = 110
    new_tokens: int = 64
    data: str | None = None
    instructions: str | None = None


QUICK = {
    "model": "tiny",
    "epochs": 1,
    "strategies": ("last_block", "lora"),
    "end_to_end": ("last_block",),
    "warmup": 1,
    "steps": 4,
    "overhead_steps": 12,
    "growth_models": ("tiny", "nano"),
    "growth_examples": (40, 80),
    "growth_lengths": (16, 32),
    "growth_steps": 2,
    "sweep": (2, 1),
    "prompts": 6,
    "new_tokens": 4,
}
"""Settings that try everything out in minutes and measure nothing of interest."""


def placed(cases: Iterable[Case]) -> list[Case]:
    """Tells each case its place and the first of its group."""
    bases: dict[str, str] = {}
    return [
        replace(case, base=bases.setdefault(case.group, case.name), order=order)
        for order, case in enumerate(cases)
    ]


def in_rounds(cases: Iterable[Case], rounds: int) -> Iterator[tuple[int, Case]]:
    """All cases once, then all once more: A B C A B C."""
    each = list(cases)
    for number in range(1, rounds + 1):
        yield from ((number, case) for case in each)


def chosen(cases: Iterable[Case], names: list[str]) -> list[Case]:
    """The cases whose ``group/name`` begins with one of the names; all without names.

    Raises:
        ValueError: if a name fits nothing.
    """
    every = list(cases)
    for name in names:
        if not any(f"{case.group}/{case.name}".startswith(name) for case in every):
            groups = ", ".join(dict.fromkeys(case.group for case in every))
            raise ValueError(f"--only {name}: nothing begins so; there are {groups}")
    return [c for c in every if not names or f"{c.group}/{c.name}".startswith(tuple(names))]


def sizes(model: str) -> dict[str, int]:
    """Fields of ``GPTConfig``."""
    return dict(zip(LAYERS, MODELS[model], strict=True))
