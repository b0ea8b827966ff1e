"""Bodies of OpenAI's requests: what is understood, and what would silently be left out.

https://platform.openai.com/docs/api-reference. A field that changes an answer and is not understood
is refused; those that only describe the client are accepted.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from llm_lightning.data.prompts import Record, Turn
from llm_lightning.serving.refusals import Refused

_STRICT = ConfigDict(extra="forbid", strict=True)
_Zero = Annotated[float, Field(ge=0, le=0)]
_Stop = Annotated[str, Field(min_length=1)]


class StreamOptions(BaseModel):
    """How answers are streamed."""

    model_config = _STRICT

    include_usage: bool = False


class ResponseFormat(BaseModel):
    """The form of an answer, which cannot be enforced."""

    model_config = _STRICT

    type: Literal["text"]


class WritingBody(BaseModel):
    """What both kinds of requests have in common."""

    model_config = _STRICT

    model: str
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=100)] | None = None
    seed: int | None = None
    stop: _Stop | Annotated[list[_Stop], Field(max_length=16)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    # Accepted with the value that changes nothing, which some clients always send.
    n: Literal[1] | None = None
    frequency_penalty: _Zero | None = None
    presence_penalty: _Zero | None = None
    response_format: ResponseFormat | None = None
    # About the client.
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None

    @property
    def stops(self) -> list[str]:
        """Texts that end an answer."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def has_usage(self) -> bool:
        """Whether a stream ends with the number of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage


class TextPart(BaseModel):
    """A part of a message."""

    model_config = _STRICT

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """A message of a conversation."""

    model_config = _STRICT

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = None
    # As they are in answers, which clients send back.
    refusal: None = None
    tool_calls: None = None

    @property
    def text(self) -> str:
        """The content as one text."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class ChatBody(WritingBody):
    """Of ``/v1/chat/completions``."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: Literal[False] | None = None

    def record(self) -> Record:
        """Returns the conversation as an instruction, with what was said before.

        Raises:
            Refused: if it does not alternate, or ends with something else than a question.
        """
        system, rest = [], list(self.messages)
        while rest and rest[0].role in ("system", "developer"):
            system.append(rest.pop(0).text)
        for index, message in enumerate(rest):
            expected = "assistant" if index % 2 else "user"
            if message.role != expected:
                place = len(system) + index
                raise Refused(
                    400,
                    f"messages.{place}.role is {message.role}: after system messages, user and "
                    f"assistant take turns, the user first",
                )
        if len(rest) % 2 == 0:
            raise Refused(400, "messages: the last one must be the user's")
        if not rest[-1].text.strip():
            raise Refused(400, f"messages.{len(self.messages) - 1}.content is empty")
        turns = zip(rest[:-1:2], rest[1::2], strict=True)
        return Record(
            instruction=rest[-1].text,
            system="\n\n".join(system),
            history=tuple(Turn(question.text, answer.text) for question, answer in turns),
        )


class CompletionBody(WritingBody):
    """Of ``/v1/completions``."""

    prompt: str | Annotated[list[str], Field(min_length=1)]
    best_of: Literal[1] | None = None
    echo: Literal[False] | None = None
    logprobs: None = None
    suffix: None = None

    @property
    def prompts(self) -> list[str]:
        """One text or several."""
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt
