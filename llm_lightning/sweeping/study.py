"""The study of a search: which trials there were, and what the same command has left to do."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from omegaconf import DictConfig

from llm_lightning.config.overrides import parse
from llm_lightning.config.run_name import run_name
from llm_lightning.config.trials import journal_file, quiet, storage_of
from llm_lightning.run_format.objectives import LESS_IS_BETTER
from llm_lightning.run_format.setting_effects import DRAWS, is_change
from llm_lightning.sweeping.search_space import Space, read_space

if TYPE_CHECKING:
    import optuna

RESULTS = "optimization_results.yaml"
"""What a search found, in its ``runs_dir``."""
_DIGITS = 8
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


Direction = Literal["minimize", "maximize"]


@dataclass(frozen=True)
class Plan:
    """What a command searches for, and where it keeps what it has found."""

    space: Space
    objective: str
    name: str
    """Of the study; the same command has the same."""
    journal: Path
    n_trials: int
    n_jobs: int
    seed: int
    n_startup_trials: int
    prunes: bool

    @property
    def held(self) -> Path:
        """What a search holds while it runs; the journal's own lock is beside the journal."""
        return self.journal.with_name(self.name)

    @property
    def direction(self) -> Direction:
        """``minimize`` or ``maximize``."""
        return direction(self.objective)


def direction(objective: str) -> Direction:
    """Returns which way a validation metric is better: ``minimize`` or ``maximize``."""
    return "minimize" if objective in LESS_IS_BETTER else "maximize"


def read_plan(cfg: DictConfig, overrides: Sequence[str]) -> Plan:
    """Reads a search.

    Args:
        cfg: composed, with Hydra's own part.
        overrides: of the command line.

    Raises:
        ValueError: naming the setting that is wrong.
    """
    sweeper = cfg.hydra.sweeper
    for key, least in (("n_trials", 1), ("n_jobs", 1), ("n_startup_trials", 0), ("seed", 0)):
        value = sweeper.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(
                f"hydra.sweeper.{key} must be a whole number, at least {least}, got {value!r}"
            )
    if sweeper.prune and not cfg.trial:
        raise ValueError(
            "hydra.sweeper.prune=true needs trial=true: what stops early is no row of a report"
        )
    expected = direction(cfg.objective)
    if sweeper.direction not in (None, expected):
        raise ValueError(
            f"hydra.sweeper.direction must be {expected} with objective={cfg.objective}, "
            f"got {sweeper.direction!r}"
        )
    own = [one for one in parse(overrides) if not is_hydras(one.key_or_group)]
    space = read_space(dict(sweeper.params or {}), [str(one.input_line) for one in own])
    space.distributions()
    name = _name(space, cfg.objective, sweeper)
    return Plan(
        space=space,
        objective=cfg.objective,
        name=name,
        journal=journal_file(Path(cfg.runs_dir), name),
        n_trials=sweeper.n_trials,
        n_jobs=sweeper.n_jobs,
        seed=sweeper.seed,
        n_startup_trials=sweeper.n_startup_trials,
        prunes=bool(sweeper.prune),
    )


def is_search(cfg: DictConfig) -> bool:
    """Whether a configuration, with Hydra's own part, chooses this sweeper."""
    return str(cfg.hydra.sweeper._target_) == "hydra_plugins.llm_lightning.Search"


def is_hydras(key: str) -> bool:
    """Whether an override is one of Hydra's own."""
    return key.replace("/", ".").startswith("hydra.")


def open_study(plan: Plan, *, in_memory: bool = False) -> "optuna.Study":
    """Opens the study of a search, or begins it.

    Args:
        plan: of the search.
        in_memory: whether to begin one that nobody will see, as in a dry run.
    """
    import optuna

    storage = optuna.storages.InMemoryStorage() if in_memory else storage_of(plan.journal)
    with quiet():
        return optuna.create_study(
            study_name=plan.name, storage=storage, direction=plan.direction, load_if_exists=True
        )


def finished_trials(plan: Plan) -> int:
    """Returns how many trials of a search need not be made again."""
    if not plan.journal.is_file():
        return 0
    return sum(is_finished(trial) for trial in open_study(plan).get_trials(deepcopy=False))


def is_finished(trial: Any) -> bool:
    """Whether a trial has a result, be it of a run that was stopped early."""
    from optuna.trial import TrialState

    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def _name(space: Space, objective: str, sweeper: DictConfig) -> str:
    """A name for a study: the row that is searched for, and a digest of all that matters."""
    if sweeper.study is not None:
        if not _NAME.fullmatch(str(sweeper.study)):
            raise ValueError(
                f"hydra.sweeper.study must be a plain name of letters, digits and ._-, got "
                f"{sweeper.study!r}"
            )
        return str(sweeper.study)
    of_runs = [
        str(one.input_line)
        for one in parse(space.fixed)
        if one.key_or_group == "seed" or one.key_or_group in DRAWS or is_change(one.key_or_group)
    ]
    ranges = [str(one.input_line).lstrip("+") for one in space.searched.values()]
    sampler = f"{objective} {sweeper.seed} {sweeper.n_startup_trials} {sweeper.prune}"
    text = "\n".join([*sorted(of_runs), "", *sorted(ranges), "", sampler])
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_DIGITS]
    return f"{run_name(space.fixed)}@{digest}"
