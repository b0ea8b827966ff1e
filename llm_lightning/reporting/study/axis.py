"""From numbers to places along a side of a picture, with round ticks."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass
class Axis:
    """From data to pixels, along one side."""

    low: float
    high: float
    label: str = ""
    is_log: bool = False
    write: Callable[[float], str] = lambda value: f"{value:g}"
    """A tick's label."""
    ticks: Sequence[float] | None = None
    """None chooses round ones."""
    is_whole: bool = False
    """Whether there is nothing between whole numbers, as between epochs."""

    def __post_init__(self) -> None:
        """Makes room where there is a single value."""
        if self.high <= self.low:
            self.low, self.high = (
                (self.low / 2, self.low * 2) if self.is_log else (self.low - 0.5, self.low + 0.5)
            )

    def share(self, value: float) -> float:
        """How far along the axis a value lies: 0 at the start, 1 at the end."""
        if self.is_log:
            low, high = math.log10(self.low), math.log10(self.high)
            return (math.log10(value) - low) / (high - low)
        return (value - self.low) / (self.high - self.low)

    def marks(self, wanted: int) -> list[float]:
        """Where the ticks are: about as many as wanted."""
        if self.ticks is not None:
            return [tick for tick in self.ticks if self.low <= tick <= self.high]
        if self.is_log:
            return _log_marks(self.low, self.high, wanted)
        least = 1.0 if self.is_whole else 0.0
        return _round_marks(self.low, self.high, wanted, least)


def _round_marks(low: float, high: float, wanted: int, least: float) -> list[float]:
    rough = max(least, (high - low) / max(1, wanted))
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _log_marks(low: float, high: float, wanted: int) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    if last - first >= 1:
        step = max(1, round((last - first) / wanted))
        return [10.0**power for power in range(first, last + 1, step)]
    powers = range(first - 1, last + 1)
    finer = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    return [mark for mark in finer if low <= mark <= high]
