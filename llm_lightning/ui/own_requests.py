"""Refuses what other web pages make a browser ask: the page can start processes.

A name that someone else's server resolves to 127.0.0.1 is refused by its ``Host``, and a form or
script of another page by its ``Origin``.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_OWN_NAMES = {"127.0.0.1", "localhost"}


class OwnRequests:
    """Lets requests pass that are addressed to this machine and come from the page itself.

    Args:
        app: what answers them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers that it is refused."""
        if scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            if not is_own(headers.get("host", ""), headers.get("origin")):
                refused = PlainTextResponse("this page is for its own machine\n", status_code=403)
                await refused(scope, receive, send)
                return
        await self._app(scope, receive, send)


def is_own(host: str, origin: str | None) -> bool:
    """Whether a request is addressed to this machine by a page of the same address.

    Args:
        host: the header, with the port.
        origin: the header; ``None`` where there is none, as of an address that was typed.
    """
    if urlsplit(f"//{host}").hostname not in _OWN_NAMES:
        return False
    return origin is None or urlsplit(origin).netloc == host
