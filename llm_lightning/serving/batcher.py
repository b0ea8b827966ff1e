"""Requests that wait are answered together, in the one thread that has the model.

Nothing is delayed to make a batch larger: whoever comes while the model is busy is in the next one.
A single client thus waits for nobody, and the more clients there are the larger the batches.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, NamedTuple, TypeVar

from llm_lightning.serving.refusals import Failed, Overloaded

logger = logging.getLogger(__name__)

Q = TypeVar("Q")
A = TypeVar("A")


class _Waiting(NamedTuple, Generic[Q, A]):
    request: Q
    answer: "asyncio.Future[A]"


class Batcher(Generic[Q, A]):
    """Answers requests in batches.

    Args:
        run: answers some requests, in their order; called in one thread, never twice at a time.
        size: how much of a batch a request takes.
        largest: size of a batch; a larger request is a batch of its own.
        most_waiting: requests that may wait.
        kind: requests of one kind may share a batch; ``None``: all may.
    """

    def __init__(
        self,
        run: Callable[[list[Q]], Sequence[A]],
        size: Callable[[Q], int],
        largest: int,
        most_waiting: int,
        kind: Callable[[Q], Hashable] | None = None,
    ) -> None:
        self._run = run
        self._size = size
        self._largest = largest
        self._most_waiting = most_waiting
        self._kind = kind or (lambda _: None)
        self._waiting: deque[_Waiting[Q, A]] = deque()
        self._is_wanted = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._work: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts to answer, in the running event loop."""
        self._work = asyncio.create_task(self._answer_all())

    async def stop(self) -> None:
        """Ends; called once no request waits."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        self._thread.shutdown(wait=False)

    async def answer(self, request: Q) -> A:
        """Returns the answer to a request.

        Raises:
            Overloaded: if too many wait already.
            Failed: if the model fails at this request.
        """
        if len(self._waiting) >= self._most_waiting:
            raise Overloaded
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(request, future))
        self._is_wanted.set()
        return await future

    async def _answer_all(self) -> None:
        while True:
            await self._is_wanted.wait()
            batch = self._next_batch()
            if not self._waiting:
                self._is_wanted.clear()
            if batch:
                await self._answer_batch(batch)

    def _next_batch(self) -> list[_Waiting[Q, A]]:
        """The request that waits longest, and those behind it that may share its batch."""
        batch: list[_Waiting[Q, A]] = []
        others: deque[_Waiting[Q, A]] = deque()
        size, kind = 0, None
        for one in self._waiting:
            if one.answer.done():  # its client hung up
                continue
            own_size, own_kind = self._size(one.request), self._kind(one.request)
            if not batch or (size + own_size <= self._largest and own_kind == kind):
                batch.append(one)
                size, kind = size + own_size, own_kind
            else:
                others.append(one)
        self._waiting = others
        return batch

    async def _answer_batch(self, batch: list[_Waiting[Q, A]]) -> None:
        loop = asyncio.get_running_loop()
        requests = [one.request for one in batch]
        try:
            answers = await loop.run_in_executor(self._thread, self._run, requests)
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        # Not only Exception: a panic in a library written in Rust is none.
        except BaseException as error:
            if len(batch) == 1:
                logger.error("a request failed", exc_info=error)
                if not batch[0].answer.done():
                    batch[0].answer.set_exception(Failed(error))
                return
            for one in batch:  # the others are not to blame
                await self._answer_batch([one])
            return
        for one, answer in zip(batch, answers, strict=True):
            if not one.answer.done():
                one.answer.set_result(answer)
