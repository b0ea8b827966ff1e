"""The two protocols of model servers: Ollama's own and OpenAI's.

Ollama: https://github.com/ollama/ollama/blob/main/docs/api.md. OpenAI's ``/v1`` is also implemented
by vLLM, llama.cpp, LM Studio and many others, each omitting something else.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from llm_lightning.evaluation.judging.exchange import (
    Exchange,
    NoServer,
    RequestRefused,
    ServerFailed,
)

APIS = ("auto", "ollama", "openai")

MAX_TOKENS = 512
"""Longest reply, in tokens: a model that does not stop would hold up all later requests."""
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

    def question(self, prompt: str, schema: dict[str, Any], seed: int) -> dict[str, Any]:
        """Returns everything that a reply depends on, as plain JSON: the key of the reply cache.

        The server's version is left out on purpose: each reply is stored with the one it came
        from. So is the size of the context, which only has to be large enough.

        Args:
            prompt: what to ask.
            schema: JSON schema of the reply.
            seed: of the judge's sampling.
        """
        # Two servers may call different models by one name; only a digest tells them apart.
        source = self.digest or self.url
        return {
            "api": self.api,
            "model": self.model,
            "source": source,
            "prompt": prompt,
            "schema": schema,
            "options": {"seed": seed, "temperature": 0, "max_tokens": MAX_TOKENS},
        }


class Reply(NamedTuple):
    """A judge's reply."""

    text: str
    version: str | None
    """Of the server, or the fingerprint of its configuration."""
    enforced: str
    """How the form of the reply was enforced: ``json_schema``, ``json_object`` or ``none``."""


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


def context_size(prompts: Sequence[str]) -> int:
    """Returns a context size, in tokens, with room for the longest prompt and a reply.

    Ollama silently drops the beginning of a prompt that does not fit.
    """
    longest = max(len(prompt.encode(errors="replace")) for prompt in prompts)
    needed = longest // _CHARACTERS_PER_TOKEN + MAX_TOKENS
    size = _SMALLEST_CONTEXT
    while size < needed:
        size *= 2
    return size


class Ollama:
    """Ollama's ``/api``.

    Args:
        exchange: connection to the server.
        model: a name from ``ollama list``; without a tag ``latest`` is meant.

    Raises:
        NoServer: if nothing answers.
        ServerFailed: if what answers is not Ollama.
        ValueError: if the server does not have the model; lists those that it has.
    """

    def __init__(self, exchange: Exchange, model: str) -> None:
        self._exchange = exchange
        version = exchange.get("/api/version")
        tags = exchange.get("/api/tags")
        try:
            digests = {entry["name"]: entry["digest"] for entry in tags["models"] or []}
            digest = digests.get(model) or digests.get(f"{model}:latest")
            self.identity = Identity("ollama", exchange.url, model, digest, version["version"])
        except (KeyError, TypeError) as error:
            raise ServerFailed(f"{exchange.url} does not answer like Ollama") from error
        if digest is None:
            raise ValueError(
                f"Ollama at {exchange.url} has no model {model}; {_listed(digests)}.\n"
                f"Get it with: ollama pull {model}"
            )

    def ask(self, question: dict[str, Any], num_ctx: int, patience: float = 1.0) -> Reply:
        """See :class:`Server`."""
        body = {
            "model": question["model"],
            "messages": [{"role": "user", "content": question["prompt"]}],
            "stream": False,
            "format": question["schema"],
            # Outside "options" they are ignored (ollama/ollama#4990).
            "options": {
                "seed": question["options"]["seed"],
                "temperature": question["options"]["temperature"],
                "num_predict": question["options"]["max_tokens"],
                "num_ctx": num_ctx,
            },
        }
        answer = self._exchange.post("/api/chat", body, patience)
        try:
            text = str(answer["message"]["content"])
        except (KeyError, TypeError) as error:
            raise ServerFailed(f"{self._exchange.url} answers without a message") from error
        return Reply(text, self.identity.version, "json_schema")

    def stop(self) -> None:
        """See :class:`Server`."""
        self._exchange.stop()


class OpenAI:
    """OpenAI's ``/v1``.

    Args:
        exchange: connection to the server, with the key where one is required.
        model: a name from ``/v1/models``, where the server has such a list.
        certain: whether the server is known to use this protocol; otherwise it must have the list.

    Raises:
        NoServer: if nothing answers.
        RequestRefused: if the key is missing or wrong.
        ValueError: if the server lists models without this one, or may be something else.
    """

    def __init__(self, exchange: Exchange, model: str, certain: bool) -> None:
        self._exchange = exchange
        self._forms = ["json_schema", "json_object", "none"]
        names = _listed_models(exchange)
        if names is None and not certain:
            raise ValueError(
                f"{exchange.url} has neither /api/version, as Ollama has, nor /v1/models: if it is "
                f"a model server, name its protocol with --api"
            )
        if names and model not in names:
            raise ValueError(f"{exchange.url} has no model {model}; {_listed(names)}")
        self.identity = Identity("openai", exchange.url, model, digest=None, version=None)

    def ask(self, question: dict[str, Any], num_ctx: int, patience: float = 1.0) -> Reply:
        """See :class:`Server`. Enforces the form in the strictest way that the server accepts."""
        body = {
            "model": question["model"],
            "messages": [{"role": "user", "content": question["prompt"]}],
            "stream": False,
            **question["options"],
        }
        while True:
            form = self._forms[0]
            try:
                wanted = _response_format(form, question["schema"])
                answer = self._exchange.post("/v1/chat/completions", body | wanted, patience)
                break
            except RequestRefused as error:
                if error.status not in (400, 422) or len(self._forms) == 1:
                    raise
                self._forms = self._forms[1:]
        self._forms = [form]  # from now on a refusal concerns the question
        try:
            text = answer["choices"][0]["message"]["content"]
            # Without content the model refused, which is a reply without a score.
            return Reply(str(text or ""), answer.get("system_fingerprint"), form)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise ServerFailed(f"{self._exchange.url} answers without a message") from error

    def stop(self) -> None:
        """See :class:`Server`."""
        self._exchange.stop()


def connect(url: str, api: str, model: str, timeout_s: float, retries: int) -> Server:
    """Finds a server and its model.

    Args:
        url: address, e.g. http://localhost:11434; a final ``/v1`` is dropped.
        api: one of ``APIS``; ``auto`` asks the server.
        model: the model's name there.
        timeout_s: time for one reply, in seconds.
        retries: further attempts after a dropped connection, a time-out, HTTP 429 or 5xx.

    Raises:
        NoServer: if nothing answers.
        ServerFailed: if something else answers.
        RequestRefused: if the key is missing or wrong.
        ValueError: if the server does not have the model, or ``url`` is not an address.
    """
    base = url.rstrip("/").removesuffix("/v1")
    if api != "openai":
        exchange = Exchange(base, timeout_s, retries)
        if api == "ollama" or _is_ollama(exchange):
            return Ollama(exchange, model)
    key = os.environ.get("OPENAI_API_KEY", "").strip() or None
    return OpenAI(Exchange(base, timeout_s, retries, key), model, certain=api == "openai")


def _listed(names: Iterable[str]) -> str:
    return f"it has {', '.join(sorted(names)) or 'none'}"


def _is_ollama(exchange: Exchange) -> bool:
    try:
        return "version" in exchange.get("/api/version")
    except NoServer:
        raise
    except (RequestRefused, ServerFailed, TypeError):
        return False


def _listed_models(exchange: Exchange) -> list[str] | None:
    """Returns the names in ``/v1/models``; None where the server has no such list."""
    try:
        return [str(entry["id"]) for entry in exchange.get("/v1/models")["data"]]
    except RequestRefused as error:
        if error.status in (401, 403):
            raise RequestRefused(
                error.status, f"{error}.\nSet OPENAI_API_KEY to a valid key"
            ) from error
        return None
    except (ServerFailed, KeyError, TypeError):
        return None


def _response_format(form: str, schema: dict[str, Any]) -> dict[str, Any]:
    if form == "none":
        return {}
    if form == "json_object":
        return {"response_format": {"type": "json_object"}}
    named = {"name": "score", "strict": True, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": named}}
