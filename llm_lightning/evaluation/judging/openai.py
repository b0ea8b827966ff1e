"""OpenAI's ``/v1``, as many servers implement it, each omitting something else."""

import re
from collections.abc import Sequence
from typing import Any

from llm_lightning.evaluation.judging.exchange import Exchange, RequestRefused, ServerFailed
from llm_lightning.evaluation.judging.protocol import Identity, Reply, listed

_OPTIONS = ("max_tokens", "seed", "temperature")
"""Parameters that a server may refuse; it then answers as it does by default."""
_RENAMED = "max_tokens (sent as max_completion_tokens)"
_FORMS = ["json_schema", "json_object", "none"]
"""How a reply's form can be enforced, the strictest first."""


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
        self._forms = _FORMS
        self._left_out: tuple[str, ...] = ()
        self._is_settled = False
        names = _listed_models(exchange)
        if names is None and not certain:
            raise ValueError(
                f"{exchange.url} has neither /api/version, as Ollama has, nor /v1/models: if it is "
                f"a model server, name its protocol with --api"
            )
        if names and model not in names:
            raise ValueError(f"{exchange.url} has no model {model}; {listed(names)}")
        self.identity = Identity("openai", exchange.url, model, digest=None, version=None)

    def ask(self, question: dict[str, Any], num_ctx: int, patience: float = 1.0) -> Reply:
        """See :class:`Server`. Enforces the form in the strictest way that the server accepts.

        Until a first reply, a parameter that the server refuses by name is left out.
        """
        while True:
            form, left_out = self._forms[0], self._left_out
            body = {
                "model": question["model"],
                "messages": [{"role": "user", "content": question["prompt"]}],
                "stream": False,
                **_sent(question["options"], left_out),
                **_response_format(form, question["schema"]),
            }
            try:
                answer = self._exchange.post("/v1/chat/completions", body, patience)
                break
            except RequestRefused as error:
                if self._is_settled or not self._adapt(error, form, left_out):
                    raise
        self._is_settled = True  # from now on a refusal concerns the question
        try:
            choice = answer["choices"][0]
            # Without content the model refused, which is a reply without a score.
            text = _text_of(choice["message"]["content"])
            cut_off = choice.get("finish_reason") == "length"
            return Reply(text, answer.get("system_fingerprint"), form, cut_off, left_out)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise ServerFailed(f"{self._exchange.url} answers without a message") from error

    def _adapt(self, error: RequestRefused, form: str, left_out: tuple[str, ...]) -> bool:
        """Leaves out what a refusal names, else loosens the form; returns whether either helps.

        Args:
            error: the refusal.
            form: that was sent.
            left_out: of the parameters; other threads may have changed it since.
        """
        if error.status not in (0, 400, 422):  # 0: an error with status 200 that names no code
            return False
        named = [
            name
            for name in _OPTIONS
            if name not in left_out and re.search(rf"(?<!\w){name}(?!\w)", error.said)
        ]
        if named and "response_format" not in error.said:
            if "max_tokens" in named and _RENAMED not in left_out and "max_completi" in error.said:
                named = [_RENAMED]
            both = dict.fromkeys([*self._left_out, *named])
            if "max_tokens" in both:
                both.pop(_RENAMED, None)
            self._left_out = tuple(both)
            return True
        looser = _FORMS[_FORMS.index(form) + 1 :]
        if len(looser) < len(self._forms):
            self._forms = looser or self._forms
        return bool(looser)

    def stop(self) -> None:
        """See :class:`Server`."""
        self._exchange.stop()


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


def _sent(options: dict[str, Any], left_out: Sequence[str]) -> dict[str, Any]:
    """The options without those left out; newer models have another name for the budget."""
    sent = {name: value for name, value in options.items() if name not in left_out}
    if _RENAMED in left_out:
        sent["max_completion_tokens"] = sent.pop("max_tokens")
    return sent


def _text_of(content: Any) -> str:
    """The text of a message, which may come in parts, thinking apart."""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part["type"] == "text")
    return str(content or "")


def _response_format(form: str, schema: dict[str, Any]) -> dict[str, Any]:
    if form == "none":
        return {}
    if form == "json_object":
        return {"response_format": {"type": "json_object"}}
    named = {"name": "score", "strict": True, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": named}}
