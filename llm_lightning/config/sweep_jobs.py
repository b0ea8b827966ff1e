"""Every job of a sweep, checked before the first one starts."""

import math
from collections.abc import Iterator, Sequence
from itertools import product

from hydra.core.override_parser.types import Override

from llm_lightning.config.checks import check
from llm_lightning.config.composition import Composer
from llm_lightning.config.overrides import parse, varies, with_values

MOST_JOBS = 100
"""Jobs of a sweep that are all checked. Of a larger one, each value is, beside the first values of
the other settings."""

_REASONS_SHOWN = 3
_JOBS_SHOWN = 3

Job = tuple[str, ...]
"""Settings of a job, in the order of the command line."""


def check_jobs(overrides: Sequence[str]) -> None:
    """Checks the configuration of every job of a sweep.

    Args:
        overrides: as on the command line, with those that a sweep file varies.

    Raises:
        ValueError: naming the jobs that cannot run, and why.
    """
    parsed = parse(overrides)
    jobs, composer = list(_jobs(parsed)), Composer()
    refused: dict[str, list[Job]] = {}
    for job in jobs:
        try:
            check(composer.composed(job))
        except ValueError as error:
            refused.setdefault(str(error), []).append(job)
    if not refused:
        return
    if len(refused) == 1 and len(jobs) == len(next(iter(refused.values()))):
        raise ValueError(next(iter(refused)))  # whatever is varied
    is_varied = [varies(one) for one in parsed]
    named = [
        f"{_named(of_reason, jobs, is_varied)}: {reason.splitlines()[0]}"
        for reason, of_reason in refused.items()
    ]
    more = f"; and {len(named) - _REASONS_SHOWN} more" if named[_REASONS_SHOWN:] else ""
    raise ValueError(f"the sweep was not started; {'; '.join(named[:_REASONS_SHOWN])}{more}")


def _jobs(overrides: Sequence[Override]) -> Iterator[Job]:
    """Settings of the jobs; those of a large sweep that have at most one value beside the first."""
    options = [with_values(one) for one in overrides]
    if math.prod(map(len, options)) <= MOST_JOBS:
        yield from product(*options)
        return
    first = tuple(values[0] for values in options)
    yield first
    for index, values in enumerate(options):
        for value in values[1:]:
            yield (*first[:index], value, *first[index + 1 :])


def _named(refused: Sequence[Job], jobs: Sequence[Job], is_varied: Sequence[bool]) -> str:
    """Names jobs by what only they have in common, or else the first of them one by one."""
    shared = [
        values[0]
        for values, varied in zip(zip(*refused, strict=True), is_varied, strict=True)
        if varied and len(set(values)) == 1
    ]
    if shared and sum(set(shared) <= set(job) for job in jobs) == len(refused):
        return " ".join(shared)
    shown = [
        " ".join(text for text, varied in zip(job, is_varied, strict=True) if varied)
        for job in refused[:_JOBS_SHOWN]
    ]
    more = f" and {len(refused) - _JOBS_SHOWN} more jobs" if refused[_JOBS_SHOWN:] else ""
    return ", ".join(shown) + more
