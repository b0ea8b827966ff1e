"""A model in a process of its own: answers, parts, failures, and its end."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from llm_lightning.serving.model_process import Cancelled, Compute, Emit, ModelProcess
from llm_lightning.serving.refusals import ModelFailed


def compute(batch: Any, emit: Emit, cancelled: Cancelled) -> Any:
    if batch == "fail":
        raise ValueError("no such thing")
    if batch == "count":
        for number in range(1000):
            emit(number)
            time.sleep(0.001)
            if 0 in cancelled():
                return number
        return None
    if batch == "die":
        os._exit(3)
    return batch * 2


def make(problem: str | None) -> tuple[Compute, int]:
    if problem is not None:
        raise ValueError(problem)
    return compute, os.getpid()


def nobody() -> tuple[()]:
    return ()


@pytest.fixture
def died() -> threading.Event:
    return threading.Event()


@pytest.fixture
def process(died: threading.Event) -> Iterator[ModelProcess[int]]:
    found = ModelProcess(partial(make, None), died.set)
    yield found
    found.close()
    assert not found.is_alive()


def ask(process: ModelProcess[int], batch: Any) -> Any:
    return process.compute(batch, lambda _: None, nobody)


@pytest.mark.slow
def test_batches_are_answered_one_by_one_until_it_dies(
    process: ModelProcess[int], died: threading.Event
) -> None:
    assert process.description != os.getpid()
    assert ask(process, [1, 2]) == [1, 2, 1, 2]
    with pytest.raises(ModelFailed, match=r"^ValueError: no such thing$"):
        ask(process, "fail")
    parts: list[int] = []
    last = process.compute("count", parts.append, lambda: [0] if len(parts) >= 5 else [])
    assert parts == list(range(last + 1))
    assert 4 <= last < 500
    assert ask(process, "a") == "aa"
    # As a terminal does to all of its processes: the batch that it has is finished.
    for one in (signal.SIGINT, signal.SIGTERM):
        os.kill(process.description, one)
    assert ask(process, "a") == "aa"
    assert not died.is_set()
    with pytest.raises(ModelFailed, match="its process has ended"):
        ask(process, "die")
    assert died.wait(10)
    with pytest.raises(ModelFailed, match="its process has ended"):
        ask(process, "a")


@pytest.mark.slow
def test_what_is_wrong_with_a_model_is_raised_here(died: threading.Event) -> None:
    with pytest.raises(ValueError, match="no such run"):
        ModelProcess(partial(make, "no such run"), died.set)
    assert not died.is_set()
