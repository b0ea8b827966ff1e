"""A loss is logged where a logger or somebody at a terminal sees it."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from llm_lightning.tasks import task
from llm_lightning.training.log_steps import is_logged


def trainer(every: int) -> Any:
    return SimpleNamespace(log_every_n_steps=every, global_step=0)


@pytest.mark.parametrize(
    ("every", "expected"), [(1, [1, 2, 3, 4, 5, 6]), (3, [3, 6]), (10, []), (0, [])]
)
def test_loggers_hear_of_steps_at_equal_distances(every: int, expected: list[int]) -> None:
    assert [step for step in range(1, 7) if is_logged(trainer(every), step)] == expected


def test_a_loss_is_logged_for_loggers_and_twice_a_second_for_the_eye(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logged = []
    module: Any = SimpleNamespace(
        trainer=trainer(4),
        log=lambda name, loss, **options: logged.append((name, loss.item())),
        _loss_logged_at=0.0,
    )
    seconds = [100.0, 100.1, 100.2, 100.3, 100.4, 100.9, 101.0, 101.1, 109.0]
    for step, now in enumerate(seconds):
        monkeypatch.setattr(task.time, "monotonic", lambda now=now: now)
        module.trainer.global_step = step
        task.Task.log_batch_loss(module, torch.tensor(step + 1.0))
    assert logged == [("train/loss", step) for step in (1, 4, 6, 8, 9)]
