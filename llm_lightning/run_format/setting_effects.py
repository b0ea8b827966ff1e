"""Which settings change what a run computes, and which draw it once more."""

import re

WITHOUT_EFFECT = frozenset(
    {
        "baselines", "checkpoint_every", "dry_run", "objective", "offline_fallback", "rerun",
        "run_dir", "runs_dir", "threads", "trainer.strategy", "trial", "untrained_responses",
    }
)  # fmt: skip
"""Where a run is kept, whether it starts, how its processes share a model, and what is computed
beside it or from its results."""

OF_FILES = ("callbacks.resume", "callbacks.progress", "callbacks.checkpoint._target_", "loggers")
"""Parts that only say how a run is watched and kept safe; in its name, but no other run."""

DRAWS = ("init_seed", "order_seed", "data.split_seed", "data.fold")
"""Beside ``seed``, what tells apart runs that try the same setting again: with other initial
weights, in another order, on another split. They end a run's name."""

_IDENTITY = frozenset({"experiment", "seed", "sweep"})  # a sweep's settings are listed one by one


def is_change(key: str) -> bool:
    """Whether an override tells a run from others of its experiment and seed.

    Args:
        key: of the override, such as ``optim.lr``, ``data`` or ``hydra/launcher``.
    """
    top = key.replace("/", ".").partition(".")[0]
    return WITHOUT_EFFECT.isdisjoint({key, top}) and top not in _IDENTITY | {"hydra"}


def without_draws(name: str) -> str:
    """Returns a run's name without the draws at its end: that of all runs of the same setting."""
    return _DRAWS_AT_END.sub("", name)


# With "=" in the names that earlier versions gave.
_DRAWS_AT_END = re.compile(rf"(-({'|'.join(map(re.escape, DRAWS))})[@=]\d+)+$")
