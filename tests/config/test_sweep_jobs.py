"""A sweep starts no job if one of them cannot run, and says which."""

import pytest
from omegaconf import OmegaConf

from llm_lightning.commands.before_runs import check_settings
from llm_lightning.config import sweep_jobs
from llm_lightning.config.composition import Composer, composed
from llm_lightning.config.sweep_jobs import check_jobs

T = "+experiment=last_layer"


def told(*overrides: str) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        check_settings(overrides, is_sweep=True)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_every_value_counts_not_only_the_first() -> None:
    assert told(T, "optim.lr=1e-3,-1,1e-4", "seed=1,2") == (
        "the sweep was not started; optim.lr=-1: optim.lr must be above 0, got -1.0"
    )


@pytest.mark.slow
def test_jobs_that_share_no_value_are_named_one_by_one() -> None:
    shown = told("+experiment=lora,last_layer", "finetune.rank=4,8")
    assert shown.startswith("the sweep was not started; +experiment=last_layer: there is no")
    shown = told(T, "optim.lr=1e-3,-1", "trainer.max_epochs=1,-2")
    assert "optim.lr=-1 trainer.max_epochs=1" in shown or "optim.lr=-1: " in shown
    assert "trainer.max_epochs=-2" in shown


def test_a_sweep_file_counts_and_what_is_wrong_everywhere_is_said_as_for_one_run() -> None:
    assert told("+experiment=lora", "+sweep=tuned_lora", "optim.lr=1e-3,-3") == (
        "the sweep was not started; optim.lr=-3: optim.lr must be above 0, got -3.0"
    )
    assert told(T, "seed=1,2", "threads=0") == "threads must be null or a whole number >= 1, got 0"


def test_of_a_large_sweep_each_value_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(sweep_jobs, "MOST_JOBS", 4)
    monkeypatch.setattr(sweep_jobs, "check", lambda cfg: seen.append(f"{cfg.seed} {cfg.optim.lr}"))
    check_jobs([T, "seed=1,2", "optim.lr=1e-3,1e-4"])
    assert seen == ["1 0.001", "1 0.0001", "2 0.001", "2 0.0001"]
    seen.clear()
    check_jobs([T, "seed=range(1,4)", "optim.lr=1e-3,1e-4"])
    assert seen == ["1 0.001", "2 0.001", "3 0.001", "1 0.0001"]


def test_configurations_composed_at_once_are_those_composed_one_by_one() -> None:
    composer = Composer()
    for settings in (
        ["data.batch_size=3", "callbacks=ema", "~loggers.csv"],
        ["+experiment=lora", "finetune.rank=2", "trainer=smoke", "++trainer.max_steps=3"],
        ["+experiment=lora", "finetune.rank=3", "trainer=smoke", "hydra.job.chdir=true"],
    ):
        found, expected = composer.composed(settings), composed(settings)
        plain = [OmegaConf.to_container(cfg) for cfg in (found, expected)]
        for one in plain:
            assert isinstance(one, dict)
            del one["hydra"]  # lists the settings
        assert plain[0] == plain[1]
