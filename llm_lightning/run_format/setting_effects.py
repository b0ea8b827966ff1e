"""Which settings change what a run computes."""

WITHOUT_EFFECT = frozenset(
    {
        "baselines", "dry_run", "objective", "offline_fallback", "rerun", "run_dir", "runs_dir",
        "untrained_responses",
    }
)  # fmt: skip
"""Where a run is kept, whether it starts, and what is computed beside it or from its results."""

_IDENTITY = frozenset({"experiment", "seed", "sweep"})  # a sweep's settings are listed one by one


def is_change(key: str) -> bool:
    """Whether an override tells a run from others of its experiment and seed.

    Args:
        key: of the override, such as ``optim.lr``, ``data`` or ``hydra/launcher``.
    """
    top = key.replace("/", ".").partition(".")[0]
    return top not in WITHOUT_EFFECT | _IDENTITY | {"hydra"}
