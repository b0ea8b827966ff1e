"""Requests that wait are answered together, each with its own answer."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Hashable
from typing import Any

import pytest

from llm_lightning.serving.batcher import Batcher
from llm_lightning.serving.refusals import Failed, Overloaded


class Panic(BaseException):
    """As a library written in Rust raises."""


class Model:
    """Doubles numbers, and waits before the first batch until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.may_go = threading.Event()

    def __call__(self, requests: list[int]) -> list[int]:
        self.batches.append(requests)
        self.threads.add(threading.get_ident())
        self.may_go.wait(10)
        if 13 in requests:
            raise Panic("13")
        return [2 * one for one in requests]


def served(
    use: Callable[[Batcher[int, int], Model], Coroutine[Any, Any, Any]],
    largest: int = 100,
    most_waiting: int = 100,
    kind: Callable[[int], Hashable] | None = None,
) -> Model:
    async def run() -> Model:
        model = Model()
        batcher = Batcher(model, lambda one: one, largest, most_waiting, kind)
        batcher.start()
        await asyncio.wait_for(use(batcher, model), 10)
        await batcher.stop()
        return model

    return asyncio.run(run())


async def together(batcher: Batcher[int, int], model: Model, *requests: int) -> list[Any]:
    """Answers to requests that come while the model has the first one."""
    works = [asyncio.ensure_future(batcher.answer(one)) for one in requests[:1]]
    await asyncio.sleep(0.02)
    works += [asyncio.ensure_future(batcher.answer(one)) for one in requests[1:]]
    await asyncio.sleep(0.02)
    model.may_go.set()
    return await asyncio.gather(*works, return_exceptions=True)


def test_who_comes_while_the_model_is_busy_shares_the_next_batch() -> None:
    async def use(batcher: Batcher[int, int], model: Model) -> None:
        assert await together(batcher, model, 1, 2, 3, 4) == [2, 4, 6, 8]

    model = served(use)
    assert model.batches == [[1], [2, 3, 4]]
    assert len(model.threads) == 1
    assert threading.get_ident() not in model.threads


def test_a_batch_is_not_larger_than_allowed_and_a_larger_request_is_one() -> None:
    async def use(batcher: Batcher[int, int], model: Model) -> None:
        assert await together(batcher, model, 1, 40, 5, 5, 3) == [2, 80, 10, 10, 6]

    assert served(use, largest=10).batches == [[1], [40], [5, 5], [3]]


def test_only_requests_of_one_kind_share_a_batch() -> None:
    async def use(batcher: Batcher[int, int], model: Model) -> None:
        assert await together(batcher, model, 1, 2, 3, 4, 5) == [2, 4, 6, 8, 10]

    assert served(use, kind=lambda one: one % 2).batches == [[1], [2, 4], [3, 5]]


def test_one_request_that_fails_does_not_fail_the_others() -> None:
    async def use(batcher: Batcher[int, int], model: Model) -> None:
        first, second, failed, third = await together(batcher, model, 1, 2, 13, 3)
        assert (first, second, third) == (2, 4, 6)
        assert isinstance(failed, Failed)
        assert str(failed) == "the model failed: Panic: 13"
        assert await batcher.answer(7) == 14

    assert served(use).batches == [[1], [2, 13, 3], [2], [13], [3], [7]]


def test_too_many_are_turned_away_at_once() -> None:
    async def use(batcher: Batcher[int, int], model: Model) -> None:
        answers = await together(batcher, model, 1, 2, 3, 4)
        assert answers[:3] == [2, 4, 6]
        with pytest.raises(Overloaded) as refused:
            raise answers[3]
        assert refused.value.response().headers["retry-after"] == "1"

    served(use, most_waiting=2)


def test_a_client_that_hung_up_is_not_computed() -> None:
    async def use(batcher: Batcher[int, int], model: Model) -> None:
        first = asyncio.ensure_future(batcher.answer(1))
        await asyncio.sleep(0.02)
        gone = asyncio.ensure_future(batcher.answer(2))
        await asyncio.sleep(0)
        gone.cancel()
        model.may_go.set()
        assert await first == 2
        assert await batcher.answer(3) == 6

    assert served(use).batches == [[1], [3]]
