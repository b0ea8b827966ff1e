"""A search: what it asks for, what it remembers, and how it goes on. Its runs are made up."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf, open_dict
from optuna.trial import TrialState

from llm_lightning.config.composition import composed
from llm_lightning.config.overrides import parse
from llm_lightning.run_format.folder_lock import Held, holding
from llm_lightning.sweeping.search import search
from llm_lightning.sweeping.search_space import read_space
from llm_lightning.sweeping.study import RESULTS, finished_trials, open_study, read_plan

pytestmark = pytest.mark.usefixtures("own_folder")

RANGES = ("+experiment=lora", "model=nano", "optim.lr=tag(log,interval(1e-5,1e-2))")


class FakeRuns(Launcher):
    """Returns the result of a function in place of running anything."""

    def __init__(self, result: Callable[[dict[str, str]], float | None]) -> None:
        self.result = result
        self.seen: list[dict[str, str]] = []

    def setup(self, **kwargs: Any) -> None: ...

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        returned = []
        for overrides in job_overrides:
            settings = {one.key_or_group: str(one.get_value_string()) for one in parse(overrides)}
            self.seen.append(settings)
            value = self.result(settings)
            returned.append(JobReturn(status=JobStatus.COMPLETED, _return_value=value))
        return returned


def searched(runs: FakeRuns, *settings: str, n_trials: int = 6) -> Any:
    """Searches, and returns what the results' file holds."""
    command = ["hydra/sweeper=search", f"hydra.sweeper.n_trials={n_trials}", *settings]
    cfg = composed(command)
    with open_dict(cfg.hydra):
        cfg.hydra.sweep.dir = "runs"
    search(cfg, [one for one in settings if not one.startswith("hydra")], runs)
    file = Path("runs") / RESULTS
    return OmegaConf.load(file) if file.is_file() else None


def rate(settings: dict[str, str]) -> float:
    return float(settings["optim.lr"])


def test_an_interrupted_search_makes_the_trials_that_it_would_have_made() -> None:
    whole = FakeRuns(rate)
    found = searched(whole, *RANGES, "hydra.sweeper.study=whole")
    assert found.best_value == min(map(rate, whole.seen)) == found.best_params["optim.lr"]
    assert len({rate(settings) for settings in whole.seen}) == 6
    assert all(1e-5 <= rate(settings) <= 1e-2 for settings in whole.seen)
    assert all(settings["experiment"] == "lora" for settings in whole.seen)

    first, then, again = FakeRuns(rate), FakeRuns(rate), FakeRuns(rate)
    searched(first, *RANGES, "hydra.sweeper.study=parts", n_trials=2)
    searched(then, *RANGES, "hydra.sweeper.study=parts")
    assert [*first.seen, *then.seen] == whole.seen
    searched(again, *RANGES, "hydra.sweeper.study=parts")
    assert again.seen == []  # all are finished
    searched(again, *RANGES, "hydra.sweeper.study=parts", "rerun=true")
    assert [rate(settings) for settings in again.seen] == [rate(one) for one in whole.seen]


def test_what_failed_or_was_interrupted_is_made_again_first() -> None:
    def fails(settings: dict[str, str]) -> float | None:
        if len(broken.seen) == 3:
            raise KeyboardInterrupt
        return None if len(broken.seen) == 2 else rate(settings)

    broken, then = FakeRuns(fails), FakeRuns(rate)
    with pytest.raises(KeyboardInterrupt):
        searched(broken, *RANGES)
    found = searched(then, *RANGES)
    assert then.seen[:2] == broken.seen[1:]
    assert len(broken.seen[:1] + then.seen) == 6
    assert (found.finished_trials, found.failed_trials) == (6, 2)


def test_equal_trials_side_by_side_are_one_run() -> None:
    runs = FakeRuns(lambda settings: float(settings["finetune.rank"]))
    settings = ("+experiment=lora", "model=nano", "finetune.rank=2,4", "hydra.sweeper.n_jobs=6")
    found = searched(runs, *settings, "objective=accuracy")
    assert 1 <= len(runs.seen) <= 2
    assert (found.finished_trials, found.best_value) == (6, 4.0)
    assert found.best_params["finetune.rank"] == "4"


@pytest.mark.slow
def test_one_process_makes_a_search_and_a_dry_run_remembers_nothing() -> None:
    plan = read_plan(composed(["hydra/sweeper=search", *RANGES]), RANGES)
    with holding(plan.held), pytest.raises(Held):
        searched(FakeRuns(rate), *RANGES)
    runs = FakeRuns(rate)
    assert searched(runs, *RANGES, "dry_run=true") is None
    assert len(runs.seen) == 6
    assert finished_trials(plan) == 0
    assert not plan.journal.exists()


@pytest.mark.slow
def test_other_ranges_are_another_study_and_other_numbers_of_trials_are_not() -> None:
    def name(*settings: str) -> str:
        own = [one for one in settings if not one.startswith("hydra")]
        return read_plan(composed(["hydra/sweeper=search", *settings]), own).name

    same = name(*RANGES)
    assert same.startswith("lora-model@nano@")
    assert same == name(*RANGES, "hydra.sweeper.n_trials=3", "runs_dir=elsewhere", "threads=2")
    others = (
        (*RANGES[:2], "optim.lr=interval(1e-5,1e-2)"), (*RANGES, "seed=1"),
        (*RANGES, "objective=accuracy"), (*RANGES, "finetune.rank=2,4"),
        (*RANGES, "hydra.sweeper.seed=1"),
    )  # fmt: skip
    assert len({same, *(name(*one) for one in others)}) == 6


def test_settings_become_distributions() -> None:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    params = {"finetune.rank": "choice(2,4)", "optim.lr": "tag(log,interval(1e-4,1))"}
    settings = (
        "+experiment=lora", "optim.lr=interval(0,1)", "a=int(interval(1,8))", "b=range(1,9,2)",
        "c=range(0,1,0.25)", "d=tag(int,log,interval(1,64))", "e=[q,v],[q,k]", "f='x y',z",
    )  # fmt: skip
    space = read_space(params, settings)
    assert space.distributions() == {
        "finetune.rank": CategoricalDistribution(("2", "4")),
        "optim.lr": FloatDistribution(0, 1),
        "a": IntDistribution(1, 8),
        "b": IntDistribution(1, 7, step=2),
        "c": FloatDistribution(0, 0.75, step=0.25),
        "d": IntDistribution(1, 64, log=True),
        "e": CategoricalDistribution(("[q,v]", "[q,k]")),
        "f": CategoricalDistribution(("'x y'", "z")),
    }
    assert space.fixed == ["+experiment=lora"]
    assert space.overrides({"optim.lr": 0.5}) == ["+experiment=lora", "optim.lr=0.5"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["+experiment=lora"], "nothing varies"),
        (["optim.lr=tag(log,interval(0,1))"], "must start above 0"),
        (["optim.lr=interval(1,1)"], "start of an interval must lie below its end"),
        (["optim.lr=tag(cold,interval(0,1))"], "not cold"),
        ([*RANGES, "hydra.sweeper.n_trials=0"], "n_trials must be a whole number, at least 1"),
        ([*RANGES, "hydra.sweeper.n_jobs=1.5"], "n_jobs must be a whole number"),
        ([*RANGES, "hydra.sweeper.study=../up"], "study must be a plain name"),
        ([*RANGES, "hydra.sweeper.prune=true"], "prune=true needs trial=true"),
        ([*RANGES, "hydra.sweeper.direction=maximize"], "direction must be minimize with"),
    ],
)
def test_what_cannot_be_searched_is_named(settings: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_plan(composed(["hydra/sweeper=search", *settings]), settings)


def test_a_trial_is_told_apart_by_its_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_lightning.sweeping.search._folder", lambda result: Path("run"))
    stopped = iter([False, True, False])
    monkeypatch.setattr("llm_lightning.sweeping.search._is_stopped_early", lambda f: next(stopped))
    settings = (*RANGES, "trial=true", "hydra.sweeper.prune=true")
    runs = FakeRuns(lambda settings: 1.0)
    found = searched(runs, *settings, n_trials=3)
    assert (found.finished_trials, found.trials_stopped_early) == (2, 1)
    plan = read_plan(composed(["hydra/sweeper=search", *settings]), settings)
    states = [trial.state for trial in open_study(plan).trials]
    assert states == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.COMPLETE]
    told = [one["hydra.sweeper.trial"] for one in runs.seen]
    assert told == [f"{{study:'{plan.name}',id:{number}}}" for number in range(3)]
