"""A benchmark's conversation, written in the prompt style that a run was trained with."""

from collections.abc import Mapping, Sequence

from llm_lightning.data.prompts import Prompts, Record, Turn


def rendered(
    messages: Sequence[Mapping[str, str]], prompts: Prompts, *, open_ended: bool = True
) -> str:
    """Writes a conversation as text.

    Args:
        messages: each with ``role`` (system, user or assistant) and ``content``.
        prompts: the run's.
        open_ended: whether the response is to be written; otherwise the last message is the
            assistant's, as the beginning of its response.

    Raises:
        ValueError: if messages are not a system message, if any, and then users' and assistants'
            in turn.
    """
    texts = [(message["role"], message["content"]) for message in messages]
    system = texts.pop(0)[1] if texts and texts[0][0] == "system" else ""
    begun = "" if open_ended or not texts else texts.pop()[1]
    roles = [role for role, _ in texts]
    if len(roles) % 2 == 0 or roles != (["user", "assistant"] * len(roles))[: len(roles)]:
        raise ValueError(
            f"a conversation must alternate between user and assistant and end with the user, got "
            f"{', '.join(roles) or 'nothing'}"
        )
    contents = [content for _, content in texts]
    turns = tuple(Turn(*pair) for pair in zip(contents[0:-1:2], contents[1:-1:2], strict=True))
    record = Record(contents[-1], system=system, history=turns)
    return prompts.prompt_text(record) + begun
