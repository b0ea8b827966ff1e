"""What every server has: /health, /info, /openapi.json, limits, and errors of one line."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from llm_lightning.serving.body_limit import BodyLimit
from llm_lightning.serving.limits import Limits
from llm_lightning.serving.refusals import Failed, Refused, of_validation

B = TypeVar("B", bound=BaseModel)


class Worker(Protocol):
    """What computes answers, in a thread of its own."""

    def start(self) -> None:
        """Starts it, in the running event loop."""

    async def stop(self) -> None:
        """Ends it, once everything is answered."""


class Path(NamedTuple):
    """A path that takes JSON."""

    path: str
    body: type[BaseModel]
    answer: Callable[[Any, Request], Awaitable[Response]]
    """From the body, and the request it came with."""


def application(
    paths: Sequence[Path],
    workers: Sequence[Worker],
    facts: Mapping[str, Any],
    limits: Limits,
    models: Mapping[str, Any] | None = None,
    is_alive: Callable[[], bool] = lambda: True,
) -> Starlette:
    """Returns the application around the paths of one kind of model.

    Args:
        paths: of the model.
        workers: started and stopped with the server.
        facts: what /info tells about the run.
        limits: of a request; they are told too.
        models: what /v1/models tells; ``None``: there is no such path.
        is_alive: whether the model can answer, for /health.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        for worker in workers:
            worker.start()
        yield
        for worker in workers:
            await worker.stop()

    async def health(_: Request) -> Response:
        if not is_alive():
            raise Refused(503, "the process of the model has ended")
        return JSONResponse({"status": "ok"})

    told: dict[str, Any] = {"/info": dict(facts) | {"limits": vars(limits)}}
    if models is not None:
        told["/v1/models"] = models
    told["/openapi.json"] = _description(["/health", *told, "/openapi.json"], paths)
    handlers: dict[type[Exception], Callable[[Any], Refused]] = {
        Refused: lambda error: error,
        HTTPException: _of_http,
        Exception: Failed,
    }
    return Starlette(
        routes=[
            Route("/health", health),
            *(Route(path, _telling(content)) for path, content in told.items()),
            *(Route(path.path, _answering(path), methods=["POST"]) for path in paths),
        ],
        middleware=[Middleware(BodyLimit, kib=limits.body_kib)],
        exception_handlers={kind: _handler(refusal) for kind, refusal in handlers.items()},
        lifespan=lifespan,
    )


def _telling(content: Any) -> Callable[[Request], Awaitable[Response]]:
    async def tell(_: Request) -> Response:
        return JSONResponse(content)

    return tell


def _answering(path: Path) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return await path.answer(await _body(path.body, request), request)

    return answer


async def _body(kind: type[B], request: Request) -> B:
    """Reads and checks a body.

    Raises:
        Refused: naming the first thing that is wrong.
    """
    # A page of another site may send other types without asking this server first.
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refused(400, "send JSON, with the header Content-Type: application/json")
    try:
        return kind.model_validate_json(await request.body())
    except ValidationError as error:
        raise of_validation(error) from error


def _handler(
    refusal: Callable[[Any], Refused],
) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handle(_: Request, error: Exception) -> Response:
        return refusal(error).response()

    return handle


def _of_http(error: HTTPException) -> Refused:
    """An unknown path, or a method that a path has not."""
    reasons = {
        404: "there is no such path: GET /openapi.json lists them",
        405: "this path has no such method: GET /openapi.json lists them",
    }
    return Refused(error.status_code, reasons.get(error.status_code, str(error.detail)))


def _description(told: Sequence[str], paths: Sequence[Path]) -> dict[str, Any]:
    """All paths, in the form of OpenAPI 3.1."""
    answers = {"200": {"description": "OK"}}
    found: dict[str, Any] = {path: {"get": {"responses": answers}} for path in told}
    for path in paths:
        content = {"application/json": {"schema": path.body.model_json_schema()}}
        body = {"required": True, "content": content}
        found[path.path] = {"post": {"requestBody": body, "responses": answers}}
    return {"openapi": "3.1.0", "info": {"title": "llm_lightning", "version": "1"}, "paths": found}
