"""Bodies that are too large are refused before they are in memory."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llm_lightning.serving.refusals import Refused

_READ_AND_DROPPED = 16
"""Times the limit: who sends more loses the connection, and may not see why."""


class BodyLimit:
    """Middleware that keeps no more of a body than is allowed, whatever its headers announce.

    Args:
        app: what is served.
        kib: largest body, in KiB.
    """

    def __init__(self, app: ASGIApp, kib: int) -> None:
        self._app = app
        self._most = kib * 1024
        self._refusal = Refused(
            413, f"the body is larger than {kib} KiB: send less in one request", code="too_large"
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, with its body already read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = next((v for k, v in scope["headers"] if k == b"content-length"), b"0")
        size = int(announced) if announced.isdigit() else 0
        parts: list[bytes] = []
        if size <= _READ_AND_DROPPED * self._most:
            size, is_whole = 0, False
            while not is_whole and size <= _READ_AND_DROPPED * self._most:
                message = await receive()
                if message["type"] != "http.request":  # the client hung up
                    return
                part = message.get("body", b"")
                size += len(part)
                if size <= self._most:
                    parts.append(part)
                is_whole = not message.get("more_body", False)
        if size > self._most:
            await self._refusal.response()(scope, receive, send)
            return
        await self._app(scope, _after(b"".join(parts), receive), send)


def _after(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read, and then whatever the connection says."""
    is_given = False

    async def next_message() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return next_message
