"""Conversations as other programs write them, as instruction records.

OpenAI's ``messages`` with ``role``, ``content`` and ``weight``; ShareGPT's ``conversations`` with
``from`` and ``value``.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from llm_lightning.data.prompts import Record, Turn

KEYS = ("messages", "conversations")
"""Fields that hold a conversation."""

_ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}


class _Message(NamedTuple):
    role: str
    text: str
    is_learnt: bool


def conversation(messages: Any, where: str, system: str = "") -> tuple[Record, int]:
    """Turns a conversation into a record.

    The last message of the assistant that is to be learnt is the output, the user's before it the
    instruction, and the messages before them are the history. Assistant messages of weight 0 are
    never in the loss.

    Args:
        messages: the list, each with a role and a content, or ``from`` and ``value``.
        where: file and record, for the error.
        system: the system message, if it is beside the list.

    Returns:
        The record, and the number of messages at the end that were left out because nothing after
        them is to be learnt.

    Raises:
        ValueError: if it does not alternate between user and assistant, or holds what is no text.
    """
    turns = [
        _message(message, f"{where}, message {number}")
        for number, message in enumerate(list_of(messages, f"{where}: messages"), start=1)
    ]
    if turns and turns[0].role == "system":
        if system and turns[0].text.strip():
            raise ValueError(f"{where} has two system messages, one of them beside the messages")
        system = turns.pop(0).text or system
    expected = ["user", "assistant"] * (len(turns) // 2)
    if not turns or [turn.role for turn in turns] != expected:
        raise ValueError(
            f"{where}: after an optional system message, messages must alternate between user and "
            f"assistant and end with the assistant's, got {', '.join(turn.role for turn in turns)}"
        )
    learnt = [at for at, turn in enumerate(turns) if turn.role == "assistant" and turn.is_learnt]
    if not learnt:
        raise ValueError(
            f"{where}: every assistant message has weight 0, so there is nothing to "
            f"learn; remove it"
        )
    num_left_out = len(turns) - learnt[-1] - 1
    turns = turns[: learnt[-1] + 1]
    pairs = list(zip(turns[:-2:2], turns[1:-2:2], strict=True))
    return Record(
        turns[-2].text,
        output=turns[-1].text,
        system=system,
        history=tuple(Turn(user.text, assistant.text) for user, assistant in pairs),
        not_learnt=tuple(at for at, (_, answer) in enumerate(pairs) if not answer.is_learnt),
    ), num_left_out


def is_missing(value: Any) -> bool:
    """Returns whether a value is null in JSON or a missing value in Parquet."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def text_of(value: Any, where: str) -> str:
    """Returns a text, empty if it is missing.

    Raises:
        ValueError: if it is something else; names ``where``.
    """
    if is_missing(value):
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{where} must be a string, got {value!r:.60}")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can escape one, as in "\ud800"
        raise ValueError(f"{where} contains an unpaired surrogate: {error}") from error
    return value


def list_of(value: Any, where: str) -> list[Any]:
    """Returns a list.

    Raises:
        ValueError: if it is something else; names ``where``.
    """
    if not isinstance(value, list | np.ndarray):  # pandas reads lists in Parquet as arrays
        raise ValueError(f"{where} must be a list, got {value!r:.60}")
    return list(value)


def _message(message: Any, where: str) -> _Message:
    if not isinstance(message, Mapping):
        raise ValueError(f"{where} must have a role and a content, got {message!r:.60}")
    role_key, text_key = ("from", "value") if "from" in message else ("role", "content")
    if not {role_key, text_key} <= set(message):
        raise ValueError(f"{where} must have a {role_key} and a {text_key}, got {message!r:.60}")
    role = str(message[role_key])
    for key in ("tool_calls", "function_call"):
        if not is_missing(message.get(key)):
            raise ValueError(f"{where} has {key}, which is not supported; remove such records")
    if is_missing(message[text_key]):
        raise ValueError(f"{where}: {text_key} must be a string, got null")
    text = text_of(_joined_parts(message[text_key], where), f"{where}: {text_key}")
    weight = message.get("weight")
    if not is_missing(weight) and weight not in (0, 1):
        raise ValueError(f"{where}: weight must be 0 or 1, got {weight!r:.60}")
    return _Message(_ROLES.get(role, role), text, is_missing(weight) or bool(weight))


def _joined_parts(content: Any, where: str) -> Any:
    """The text of OpenAI's lists of content parts; anything else as it is."""
    if not isinstance(content, list | np.ndarray):
        return content
    for part in content:
        if not isinstance(part, Mapping) or part.get("type") != "text":
            raise ValueError(f"{where}: only texts are supported, got {part!r:.60}")
    return "".join(str(part.get("text", "")) for part in content)
