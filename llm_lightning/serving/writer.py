"""Texts that a language model writes, several at a time, handed over token by token."""

import asyncio
import logging
from collections.abc import AsyncIterator, Hashable

from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.serving.batcher import Batcher
from llm_lightning.serving.model_process import Compute
from llm_lightning.serving.refusals import Failed
from llm_lightning.serving.writing_batch import Asked, Finish, Written

logger = logging.getLogger(__name__)

LARGEST_BATCH = 32
"""Texts that are written together."""


class WrittenText:
    """A text that is being written; its methods belong to the event loop, unless they say so.

    Args:
        prompt: token ids, at least one and fewer than the context has.
        options: how tokens are chosen.
    """

    def __init__(self, prompt: list[int], options: GenerationOptions) -> None:
        self.prompt, self.options = prompt, options
        self.num_tokens = 0
        """Read so far."""
        self.finish: Finish = "length"
        """Why it ended; right once there are no more tokens."""
        self.is_cancelled = False
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[Written | Failed] = asyncio.Queue()

    def cancel(self) -> None:
        """Ends it: nobody reads on."""
        self.is_cancelled = True

    async def tokens(self) -> AsyncIterator[int]:
        """Yields the tokens as they are chosen.

        Raises:
            Failed: if the model does.
        """
        while True:
            item = await self._items.get()
            if isinstance(item, Failed):
                raise item
            if item.token is None:
                self.finish = item.finish
                return
            self.num_tokens += 1
            yield item.token

    def hand_over(self, item: Written | Failed) -> None:
        """Adds a token, the end, or what went wrong; called in the thread of the model."""
        self._loop.call_soon_threadsafe(self._items.put_nowait, item)


class Writer:
    """What has texts written in batches.

    Greedy texts share a batch. A sampled one is written alone, so that a seed always means the same
    text.

    Args:
        compute: of :func:`~llm_lightning.serving.writing_batch.writes`, here or elsewhere.
        most_waiting: texts that may wait.
    """

    def __init__(self, compute: Compute, most_waiting: int) -> None:
        self._compute = compute
        self._batcher: Batcher[WrittenText, None] = Batcher(
            self._write, lambda _: 1, LARGEST_BATCH, most_waiting, _kind
        )

    def start(self) -> None:
        """See :class:`~llm_lightning.serving.application.Worker`."""
        self._batcher.start()

    async def stop(self) -> None:
        """See :class:`~llm_lightning.serving.application.Worker`."""
        await self._batcher.stop()

    async def write(self, text: WrittenText) -> None:
        """Returns when a text is written, or was cancelled.

        Raises:
            Overloaded: if too many wait already.
        """
        await self._batcher.answer(text)

    def _write(self, texts: list[WrittenText]) -> list[None]:
        try:
            self._compute(
                [Asked(text.prompt, text.options) for text in texts],
                lambda item: texts[item.row].hand_over(item),
                lambda: [row for row, text in enumerate(texts) if text.is_cancelled],
            )
        except BaseException as error:  # a panic in a library written in Rust is no Exception
            logger.error("writing failed", exc_info=error)
            for text in texts:
                text.hand_over(Failed(error))
        return [None] * len(texts)


def _kind(text: WrittenText) -> Hashable:
    """Texts of the same kind are written together."""
    is_greedy = text.options.temperature == 0
    return text.options.repetition_penalty if is_greedy else object()
