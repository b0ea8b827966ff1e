"""Texts that a language model writes, several at a time, handed over token by token."""

import asyncio
import logging
from collections.abc import AsyncIterator, Hashable
from dataclasses import replace
from typing import Literal

from llm_lightning.backbone.generation import stream_tokens
from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.serving.batcher import Batcher
from llm_lightning.serving.refusals import Failed
from llm_lightning.tasks.language_model import LanguageModel

logger = logging.getLogger(__name__)

LARGEST_BATCH = 32
"""Texts that are written together."""

Finish = Literal["stop", "length"]


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
        self._items: asyncio.Queue[int | Failed | None] = asyncio.Queue()

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
            if item is None:
                return
            if isinstance(item, Failed):
                raise item
            self.num_tokens += 1
            yield item

    def hand_over(self, item: int | Failed | None) -> None:
        """Adds a token, the end, or what went wrong; called in the thread of the model."""
        self._loop.call_soon_threadsafe(self._items.put_nowait, item)


class Writer:
    """A language model in a thread of its own.

    Greedy texts share a batch. A sampled one is written alone, so that a seed always means the same
    text.

    Args:
        model: in evaluation mode.
        stop_id: the token that ends a text.
        most_waiting: texts that may wait.
    """

    def __init__(self, model: LanguageModel, stop_id: int, most_waiting: int) -> None:
        self._model = model
        self._stop_id = stop_id
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
            self._write_together(texts)
        except BaseException as error:  # a panic in a library written in Rust is no Exception
            logger.error("writing failed", exc_info=error)
            for text in texts:
                text.hand_over(Failed(error))
        return [None] * len(texts)

    def _write_together(self, texts: list[WrittenText]) -> None:
        backbone = self._model.backbone
        room = [
            min(text.options.max_new_tokens, backbone.context_length - len(text.prompt))
            for text in texts
        ]
        done = [0] * len(texts)
        unfinished = set(range(len(texts)))

        def end(row: int) -> None:
            unfinished.discard(row)
            texts[row].hand_over(None)

        tokens = stream_tokens(
            backbone,
            self._model.head,
            [text.prompt for text in texts],
            replace(texts[0].options, max_new_tokens=max(room), batch_size=len(texts)),
            stop_id=self._stop_id,
        )
        for row, token in tokens:
            for other in [other for other in unfinished if texts[other].is_cancelled]:
                end(other)
            if row in unfinished:
                done[row] += 1
                texts[row].hand_over(token)
                if done[row] == room[row]:
                    end(row)
            if not unfinished:
                tokens.close()  # type: ignore[attr-defined]  # a generator
                return
        for row in list(unfinished):
            texts[row].finish = "stop"
            end(row)


def _kind(text: WrittenText) -> Hashable:
    """Texts of the same kind are written together."""
    is_greedy = text.options.temperature == 0
    return text.options.repetition_penalty if is_greedy else object()
