"""What a search varies: settings in Hydra's own syntax become Optuna's distributions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from llm_lightning.config.overrides import parse, values

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_TAGS = {"log", "int"}


@dataclass(frozen=True)
class Space:
    """The settings of a search."""

    searched: dict[str, Override]
    """By key, those that vary."""
    fixed: list[str]
    """The others, as on a command line."""

    def distributions(self) -> "dict[str, BaseDistribution]":
        """Returns from where each searched setting is drawn.

        Choices are texts, as on a command line; intervals and ranges are numbers.

        Raises:
            ValueError: naming the setting whose range cannot be searched.
        """
        return {key: _distribution(one) for key, one in self.searched.items()}

    def overrides(self, chosen: Mapping[str, Any]) -> list[str]:
        """Returns the settings of one trial, as on a command line."""
        return [*self.fixed, *(f"{key}={value}" for key, value in chosen.items())]


def read_space(params: Mapping[str, Any], overrides: Sequence[str]) -> Space:
    """Reads what is searched.

    Args:
        params: of the sweep file; the command line replaces them.
        overrides: of the command line.

    Raises:
        ValueError: if a setting cannot be read, or nothing varies.
    """
    lines = [f"{key}={value}" for key, value in params.items()]
    settings = {one.get_key_element(): one for one in parse([*lines, *overrides])}
    searched = {key: one for key, one in settings.items() if one.is_sweep_override()}
    if not searched:
        raise ValueError(
            "nothing varies, so there is nothing to search: give a setting several values, as in "
            "'optim.lr=tag(log,interval(1e-5,1e-3))'"
        )
    fixed = [str(one.input_line) for one in settings.values() if not one.is_sweep_override()]
    return Space(searched, fixed)


def _distribution(override: Override) -> "BaseDistribution":
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    value: Any = override.value()
    tags = set(getattr(value, "tags", ()))
    line = override.input_line
    if unknown := tags - _TAGS:
        raise ValueError(f"{line}: a search knows the tags log and int, not {min(unknown)}")
    if isinstance(value, IntervalSweep):
        start, end = cast(float, value.start), cast(float, value.end)
        if not start < end:
            raise ValueError(f"{line}: the start of an interval must lie below its end")
        if "log" in tags and start <= 0:
            raise ValueError(f"{line}: an interval with the tag log must start above 0")
        if "int" in tags or isinstance(start, int):
            return IntDistribution(int(start), int(end), log="log" in tags)
        return FloatDistribution(start, end, log="log" in tags)
    if isinstance(value, RangeSweep) and not value.shuffle and "log" not in tags:
        numbers = [float(text) for text in values(override)]
        if len(numbers) > 1 and numbers[0] < numbers[-1]:
            if all(isinstance(one, int) for one in (value.start, value.step)):
                return IntDistribution(int(numbers[0]), int(numbers[-1]), step=int(value.step))
            return FloatDistribution(numbers[0], numbers[-1], step=float(value.step))
    if "log" in tags:
        raise ValueError(f"{line}: only an interval can have the tag log")
    choices = list(dict.fromkeys(values(override)))
    if not choices:
        raise ValueError(f"{line}: there is no value to choose")
    return CategoricalDistribution(choices)
