"""What every server has: /health, /info, limits, and errors of one line."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from llm_lightning.serving.body_limit import BodyLimit
from llm_lightning.serving.limits import Limits
from llm_lightning.serving.refusals import Failed, Refused, of_validation

logger = logging.getLogger(__name__)


class Worker(Protocol):
    """What computes answers, in a thread of its own."""

    def start(self) -> None:
        """Starts it, in the running event loop."""

    async def stop(self) -> None:
        """Ends it, once everything is answered."""


def application(
    router: APIRouter, workers: Sequence[Worker], facts: Mapping[str, Any], limits: Limits
) -> FastAPI:
    """Returns the application around the paths of one kind of model.

    Args:
        router: these paths.
        workers: started and stopped with the server.
        facts: what /info tells about the run.
        limits: of a request; they are told too.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        for worker in workers:
            worker.start()
        yield
        for worker in workers:
            await worker.stop()

    # The pages of /docs would load their scripts from elsewhere.
    app = FastAPI(title="llm_lightning", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.include_router(router)
    app.add_middleware(BodyLimit, kib=limits.body_kib)

    @app.get("/health")
    async def health() -> Response:
        return JSONResponse({"status": "ok"})

    @app.get("/info")
    async def info() -> Response:
        return JSONResponse(dict(facts) | {"limits": vars(limits)})

    handlers: dict[type[Exception], Callable[[Any], Refused]] = {
        Refused: lambda error: error,
        RequestValidationError: of_validation,
        HTTPException: _of_http,
        Exception: Failed,
    }
    for kind, refusal in handlers.items():
        app.add_exception_handler(kind, _handler(refusal))
    return app


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
