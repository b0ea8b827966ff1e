"""Conversations become records; what would silently be left out is refused."""

from typing import Any

import pytest

from llm_lightning.data.prompts import Record, Turn
from llm_lightning.serving.openai_bodies import ChatBody
from llm_lightning.serving.refusals import Refused


def body(*messages: tuple[str, Any]) -> ChatBody:
    content = [{"role": role, "content": text} for role, text in messages]
    return ChatBody.model_validate({"model": "m", "messages": content})


def test_a_conversation_is_an_instruction_with_what_was_said_before() -> None:
    found = body(
        ("system", "Be brief."),
        ("developer", "Be kind."),
        ("user", "One?"),
        ("assistant", "1"),
        ("user", [{"type": "text", "text": "Two"}, {"type": "text", "text": "?"}]),
    ).record()
    assert found == Record(
        instruction="Two?", system="Be brief.\n\nBe kind.", history=(Turn("One?", "1"),)
    )


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([("system", "a")], "the last one must be the user's"),
        ([("assistant", "a")], "messages.0.role is assistant: .* the user first"),
        ([("user", "a"), ("assistant", "b")], "the last one must be the user's"),
        ([("user", "a"), ("user", "b")], "messages.1.role is user"),
        ([("system", "s"), ("user", "a"), ("system", "b")], "messages.2.role is system"),
        ([("system", "s"), ("user", " ")], "messages.1.content is empty"),
    ],
)
def test_other_conversations_are_refused(messages: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(Refused, match=message):
        body(*messages).record()
