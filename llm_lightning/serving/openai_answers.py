"""Answers in the form of OpenAI's, whole or as a stream of events."""

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from llm_lightning.serving.writer import WrittenText
from llm_lightning.serving.writing_batch import Finish

DONE = "data: [DONE]\n\n"


class Answers:
    """Makes the JSON of one request's answer.

    Args:
        model: name of the model.
        version: of the server.
        is_chat: whether it answers a conversation, not a prompt.
    """

    def __init__(self, model: str, version: str, *, is_chat: bool) -> None:
        self._is_chat = is_chat
        self._common = {
            "id": f"{'chatcmpl' if is_chat else 'cmpl'}-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": version,
        }

    def whole(self, texts: Sequence[str], written: Sequence[WrittenText]) -> dict[str, Any]:
        """Returns the answer.

        Args:
            texts: of each choice.
            written: how each was written.
        """
        choices = []
        for index, (text, one) in enumerate(zip(texts, written, strict=True)):
            message = {"role": "assistant", "content": text, "refusal": None}
            own = {"message": message} if self._is_chat else {"text": text}
            choices.append(_choice(index, own, one.finish))
        kind = "chat.completion" if self._is_chat else "text_completion"
        return self._common | {"object": kind, "choices": choices, "usage": usage(written)}

    def first(self) -> str:
        """Returns the event that opens a stream; none of a prompt's."""
        if not self._is_chat:
            return ""
        return self._event([_choice(0, {"delta": {"role": "assistant", "content": ""}}, None)])

    def piece(self, text: str) -> str:
        """Returns the event of a piece."""
        own = {"delta": {"content": text}} if self._is_chat else {"text": text}
        return self._event([_choice(0, own, None)])

    def last(self, finish: Finish) -> str:
        """Returns the event that says why an answer ended."""
        own: dict[str, Any] = {"delta": {}} if self._is_chat else {"text": ""}
        return self._event([_choice(0, own, finish)])

    def usage(self, written: Sequence[WrittenText]) -> str:
        """Returns the event with the number of tokens."""
        return self._event([], {"usage": usage(written)})

    def _event(self, choices: list[dict[str, Any]], more: Mapping[str, Any] | None = None) -> str:
        kind = "chat.completion.chunk" if self._is_chat else "text_completion"
        return event(self._common | {"object": kind, "choices": choices} | dict(more or {}))


def event(content: Mapping[str, Any]) -> str:
    """Returns JSON as a server-sent event."""
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


def usage(written: Sequence[WrittenText]) -> dict[str, int]:
    """Counts the tokens of prompts and answers."""
    prompt = sum(len(one.prompt) for one in written)
    completion = sum(one.num_tokens for one in written)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _choice(index: int, own: dict[str, Any], finish: Finish | None) -> dict[str, Any]:
    return {"index": index, **own, "logprobs": None, "finish_reason": finish}
