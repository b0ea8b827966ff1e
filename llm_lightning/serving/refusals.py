"""What a request is refused with: a status and one line, in the form of OpenAI's errors."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from starlette.responses import JSONResponse

_MOST_CHARACTERS = 300
"""Of an error: a wrong value may be a whole book."""


class Refused(Exception):
    """A request that is not answered.

    Args:
        status: of HTTP.
        message: one line: what was wrong, and what to do.
        code: OpenAI's name of the reason, where it has one.
        retry_after_s: seconds after which another attempt may succeed.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after_s = status, code, retry_after_s

    def response(self) -> JSONResponse:
        """Returns the answer that says so."""
        headers = None if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        return JSONResponse(self.body(), self.status, headers)

    def body(self) -> dict[str, Any]:
        """Returns the error as OpenAI's clients read it."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        message = " ".join(str(self).split())
        if len(message) > _MOST_CHARACTERS:
            message = f"{message[:_MOST_CHARACTERS]}…"
        return {"error": {"message": message, "type": kind, "param": None, "code": self.code}}


class Overloaded(Refused):
    """Too many requests wait."""

    def __init__(self) -> None:
        super().__init__(
            503, "too many requests are waiting: try again in a second", retry_after_s=1
        )


class ModelFailed(Exception):
    """What the model raised, in another process, as text."""


class Failed(Refused):
    """The model failed at a request.

    Args:
        error: what it raised.
    """

    def __init__(self, error: BaseException) -> None:
        reason = str(error)
        if not isinstance(error, ModelFailed):
            reason = f"{type(error).__name__}: {reason}"
        super().__init__(500, f"the model failed: {reason}")


def of_validation(error: ValidationError) -> Refused:
    """Returns the first thing that is wrong with a body."""
    first: Mapping[str, Any] = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return Refused(400, f"the body is not JSON: {first['ctx']['error']}")
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return Refused(400, f"{where} is not supported: leave it out")
    if first["type"] == "missing":
        return Refused(400, f"{where} is missing")
    if not where and first["type"] == "model_type":
        return Refused(400, "the body must be a JSON object")
    message = str(first["msg"]).removeprefix("Value error, ")
    return Refused(400, f"{where}: {message}" if where else message)
