"""OpenAI's ``/v1/chat/completions`` and ``/v1/completions``."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.backbone.tokenizer import Tokenizer
from llm_lightning.data.prompts import Prompts
from llm_lightning.serving.answer_text import AnswerText
from llm_lightning.serving.application import Path
from llm_lightning.serving.limits import Limits
from llm_lightning.serving.model_process import Compute
from llm_lightning.serving.openai_answers import DONE, Answers, event
from llm_lightning.serving.openai_bodies import ChatBody, CompletionBody, WritingBody
from llm_lightning.serving.refusals import Refused
from llm_lightning.serving.writer import Writer, WrittenText

_WHOLE = 2**31
"""More tokens than any prompt has: nothing of it is cut."""
_TOKENS_BETWEEN_LOOKS = 16
"""After so many it is asked whether the client still waits."""


@dataclass
class ServedModel:
    """A run's language model, as it is served."""

    name: str
    compute: Compute
    """Writes, here or in another process."""
    tokenizer: Tokenizer
    context_length: int
    generation: GenerationOptions
    """As the run was configured."""
    prompts: Prompts | None
    """Of a run that follows instructions."""
    version: str
    """Of the server, in every answer."""
    limits: Limits

    @property
    def most_tokens(self) -> int:
        """Of an answer."""
        return min(self.limits.tokens or self.context_length, self.context_length)

    @property
    def listed(self) -> dict[str, Any]:
        """What ``/v1/models`` tells."""
        entry = {"id": self.name, "object": "model", "created": 0, "owned_by": "llm_lightning"}
        return {"object": "list", "data": [entry]}

    def options(self, body: WritingBody, max_tokens: int | None) -> GenerationOptions:
        """Returns how tokens are chosen: as the run was configured, unless a request says else.

        Raises:
            Refused: if it asks for more tokens than are allowed.
        """
        default = self.generation
        limit = self.limits.tokens
        if max_tokens is not None and limit is not None and max_tokens > limit:
            raise Refused(400, f"max_tokens is {max_tokens}; at most {limit} is allowed")
        names = ("temperature", "top_p", "top_k", "repetition_penalty")
        given = {name: getattr(body, name) for name in names if getattr(body, name) is not None}
        seed = random.randrange(2**32) if body.seed is None else body.seed % 2**32
        most = min(max_tokens or default.max_new_tokens, self.most_tokens)
        return replace(default, **given, seed=seed, max_new_tokens=most)

    def check_name(self, name: str) -> None:
        """Refuses another model's name.

        Raises:
            Refused: naming the one that there is.
        """
        if name != self.name:
            message = f"there is no model {name}: this server has {self.name}"
            raise Refused(404, message, code="model_not_found")

    def text(self, prompt: list[int], options: GenerationOptions) -> WrittenText:
        """Returns a text to be written.

        Raises:
            Refused: if the prompt leaves no room in the context.
        """
        context = self.context_length
        if len(prompt) >= context:
            raise Refused(
                400,
                f"the prompt is {len(prompt):,} tokens long and the model's context is "
                f"{context:,}: shorten it to at most {context - 1:,} tokens",
                code="context_length_exceeded",
            )
        return WrittenText(prompt, options)


def writing(served: ServedModel) -> tuple[list[Path], Writer]:
    """Returns the paths, and what computes their answers."""
    writer = Writer(served.compute, served.limits.waiting)
    tokenizer = served.tokenizer

    async def chat(body: ChatBody, request: Request) -> Response:
        served.check_name(body.model)
        if served.prompts is None:
            raise Refused(400, "this run was trained on plain text: use /v1/completions")
        options = served.options(body, body.max_completion_tokens or body.max_tokens)
        ids = await asyncio.to_thread(served.prompts.prompt_ids, body.record(), _WHOLE)
        return await respond(body, request, [served.text(ids, options)], is_chat=True)

    async def completions(body: CompletionBody, request: Request) -> Response:
        served.check_name(body.model)
        prompts = body.prompts
        if len(prompts) > served.limits.texts:
            most = served.limits.texts
            raise Refused(413, f"{len(prompts):,} prompts; at most {most:,} are allowed")
        if body.stream and len(prompts) > 1:
            raise Refused(400, "stream: send one prompt, or stream=false")
        options = served.options(body, body.max_tokens)
        encoded = await asyncio.to_thread(lambda: [tokenizer.encode(text) for text in prompts])
        rows = [[*tokenizer.prefix, *ids] or [tokenizer.end_id] for ids in encoded]
        texts = [served.text(row, options) for row in rows]
        return await respond(body, request, texts, is_chat=False)

    async def respond(
        body: WritingBody, request: Request, texts: Sequence[WrittenText], *, is_chat: bool
    ) -> Response:
        answers = Answers(served.name, served.version, is_chat=is_chat)
        looks = [AnswerText(tokenizer, body.stops, is_stripped=is_chat) for _ in texts]
        # Refused now if too many wait, and not in the middle of a stream.
        works = [asyncio.ensure_future(writer.write(text)) for text in texts]
        await asyncio.sleep(0)
        for work in works:
            if work.done():
                _cancel(texts)
                work.result()
        if body.stream:
            events = _events(texts[0], looks[0], answers, has_usage=body.has_usage)
            return StreamingResponse(events, media_type="text/event-stream")
        try:
            whole = [
                "".join([piece async for piece in _pieces(text, look, request)])
                for text, look in zip(texts, looks, strict=True)
            ]
        finally:
            _cancel(texts)
        return JSONResponse(answers.whole(whole, texts))

    paths = [
        Path("/v1/chat/completions", ChatBody, chat),
        Path("/v1/completions", CompletionBody, completions),
    ]
    return paths, writer


def _cancel(texts: Sequence[WrittenText]) -> None:
    for text in texts:
        text.cancel()


async def _events(
    text: WrittenText, look: AnswerText, answers: Answers, *, has_usage: bool
) -> AsyncIterator[str]:
    """The events of a stream; closed early where the client hangs up."""
    try:
        if first := answers.first():
            yield first
        async for piece in _pieces(text, look):
            yield answers.piece(piece)
        yield answers.last(text.finish)
        if has_usage:
            yield answers.usage([text])
        yield DONE
    except Refused as error:
        yield event(error.body())
    finally:
        text.cancel()


async def _pieces(
    text: WrittenText, look: AnswerText, request: Request | None = None
) -> AsyncIterator[str]:
    """What can be sent of a text, as it is written."""
    async for token in text.tokens():
        if piece := look.add(token):
            yield piece
        if look.has_stopped:
            text.finish = "stop"
            text.cancel()
            return
        is_due = request is not None and text.num_tokens % _TOKENS_BETWEEN_LOOKS == 0
        if is_due and request is not None and await request.is_disconnected():
            text.cancel()
            return
    if rest := look.rest():
        yield rest
    if look.has_stopped:
        text.finish = "stop"
