"""What is asked of a judge and what comes back, whatever server it runs on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

MAX_TOKENS = 512
"""Longest reply by default, in tokens, thinking included: a model that does not stop would hold up
all later requests."""
_CHARACTERS_PER_TOKEN = 2
"""A lower bound for usual text in any language, counting each UTF-8 byte as a character."""
_SMALLEST_CONTEXT = 2048


@dataclass(frozen=True)
class Identity:
    """Which model of which server gave a reply."""

    api: str
    """``ollama`` or ``openai``."""
    url: str
    model: str
    digest: str | None
    """Hash of the model's weights and settings; None where the protocol has none."""
    version: str | None
    """Of the server; None where the protocol has none."""

    def question(
        self, prompt: str, schema: dict[str, Any], seed: int, max_tokens: int = MAX_TOKENS
    ) -> dict[str, Any]:
        """Returns everything that a reply depends on, as plain JSON: the key of the reply cache.

        The server's version is left out on purpose: each reply is stored with the one it came
        from. So is the size of the context, which only has to be large enough.

        Args:
            prompt: what to ask.
            schema: JSON schema of the reply.
            seed: of the judge's sampling.
            max_tokens: longest reply.
        """
        # Two servers may call different models by one name; only a digest tells them apart.
        source = self.digest or self.url
        return {
            "api": self.api,
            "model": self.model,
            "source": source,
            "prompt": prompt,
            "schema": schema,
            "options": {"seed": seed, "temperature": 0, "max_tokens": max_tokens},
        }


class Reply(NamedTuple):
    """A judge's reply."""

    text: str
    version: str | None
    """Of the server, or the fingerprint of its configuration."""
    enforced: str
    """How the form of the reply was enforced: ``json_schema``, ``json_object`` or ``none``."""
    cut_off: bool = False
    """Whether it ends because the token budget was used up."""
    left_out: tuple[str, ...] = ()
    """Parameters that the server refused, and that were not sent, or under another name."""


class Server(Protocol):
    """A server with one of the protocols, and the model there that judges."""

    @property
    def identity(self) -> Identity:
        """Which model of which server answers."""

    def ask(self, question: dict[str, Any], num_ctx: int, patience: float = 1.0) -> Reply:
        """Returns the model's reply to a question.

        Args:
            question: from ``Identity.question``.
            num_ctx: size of the context in tokens, where the client sets it.
            patience: how many times the usual time the reply may take.

        Raises:
            ServerFailed: if no attempt gets a reply.
            RequestRefused: if the server rejects the question.
            Stopped: once :meth:`stop` was called.
        """

    def stop(self) -> None:
        """Ends every :meth:`ask` that is under way."""


def context_size(prompts: Sequence[str], max_tokens: int = MAX_TOKENS) -> int:
    """Returns a context size, in tokens, with room for the longest prompt and a reply.

    Ollama silently drops the beginning of a prompt that does not fit.
    """
    longest = max(len(prompt.encode(errors="replace")) for prompt in prompts)
    needed = longest // _CHARACTERS_PER_TOKEN + max_tokens
    size = _SMALLEST_CONTEXT
    while size < needed:
        size *= 2
    return size


def listed(names: Iterable[str]) -> str:
    """Returns which models a server has, for a message."""
    return f"it has {', '.join(sorted(names)) or 'none'}"
