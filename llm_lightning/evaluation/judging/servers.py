"""The two protocols of model servers: Ollama's own and OpenAI's.

Ollama: https://github.com/ollama/ollama/blob/main/docs/api.md. OpenAI's ``/v1`` is also implemented
by vLLM, llama.cpp, LM Studio and many others, each omitting something else.
"""

import os
from typing import Any

from llm_lightning.evaluation.judging.exchange import (
    Exchange,
    NoServer,
    RequestRefused,
    ServerFailed,
)
from llm_lightning.evaluation.judging.openai import OpenAI
from llm_lightning.evaluation.judging.protocol import Identity, Reply, Server, listed

APIS = ("auto", "ollama", "openai")


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
                f"Ollama at {exchange.url} has no model {model}; {listed(digests)}.\n"
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
            cut_off = answer.get("done_reason") == "length"
        except (KeyError, TypeError) as error:
            raise ServerFailed(f"{self._exchange.url} answers without a message") from error
        return Reply(text, self.identity.version, "json_schema", cut_off)

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


def _is_ollama(exchange: Exchange) -> bool:
    try:
        return "version" in exchange.get("/api/version")
    except NoServer:
        raise
    except (RequestRefused, ServerFailed, TypeError):
        return False
