from types import SimpleNamespace
from typing import Any

import pytest

from llm_lightning.callbacks.timing import StageTimer

NOBODY: Any = None


def at(monkeypatch: pytest.MonkeyPatch, second: float) -> None:
    clock = SimpleNamespace(monotonic=lambda: second)
    monkeypatch.setattr("lightning.pytorch.callbacks.timer.time", clock)


def run(timer: StageTimer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains for ten seconds, one of which is the first validation and two the second."""
    for second, hook in (
        (100, "on_train_start"),
        (103, "on_validation_start"),
        (104, "on_validation_end"),
        (108, "on_validation_start"),
        (110, "on_validation_end"),
        (110, "on_train_end"),
    ):
        at(monkeypatch, second)
        getattr(timer, hook)(NOBODY, NOBODY)


def test_all_validations_count(monkeypatch: pytest.MonkeyPatch) -> None:
    timer = StageTimer()
    run(timer, monkeypatch)
    assert (timer.time_elapsed(), timer.time_elapsed("validate")) == (10, 3)


def test_a_resumed_run_goes_on_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = StageTimer(), StageTimer()
    run(before, monkeypatch)
    after.load_state_dict(before.state_dict())
    run(after, monkeypatch)
    assert (after.time_elapsed(), after.time_elapsed("validate")) == (20, 6)


def test_the_time_is_over_when_it_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    short, long = StageTimer("00:00:00:10"), StageTimer({"seconds": 11})
    for timer in (short, long):
        run(timer, monkeypatch)
    assert (short.is_over, long.is_over, StageTimer().is_over) == (True, False, False)


@pytest.mark.parametrize("wrong", ["ten", "1:30", {"minute": 1}])
def test_a_time_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"trainer\.max_time must be DD:HH:MM:SS"):
        StageTimer(wrong)
