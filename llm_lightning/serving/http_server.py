"""An application at an address, until a signal ends it."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from starlette.applications import Starlette

LONGEST_GOODBYE_S = 60
"""Seconds that answers have to finish after the signal."""

_BACKLOG = 2048
_LARGEST_PORT = 65_535


class AddressTaken(OSError):
    """A server cannot have an address."""


def reserved(host: str, port: int) -> socket.socket:
    """Returns a socket at an address, before the model is loaded; it does not answer yet.

    Args:
        host: name or number of an interface of this machine.
        port: 0 takes a free one.

    Raises:
        AddressTaken: saying why.
    """
    if not 0 <= port <= _LARGEST_PORT:
        raise AddressTaken(f"--port {port}: a port is a number from 0 to {_LARGEST_PORT}")
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        taken = socket.socket(family, socket.SOCK_STREAM)
        try:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(address)
        except BaseException:
            taken.close()
            raise
    except OSError as error:
        reason = error.strerror or error
        raise AddressTaken(
            f"--host {host} --port {port}: {reason}; choose others, --port 0 takes a free one"
        ) from error
    return taken


def address_of(reserved_socket: socket.socket) -> str:
    """Returns a socket's address as a URL."""
    host, port = reserved_socket.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(app: Starlette, at: socket.socket) -> bool:
    """Answers until SIGINT or SIGTERM; then answers what has arrived, and returns.

    A second SIGINT does not wait for it.

    Args:
        app: from :func:`~llm_lightning.serving.application.application`.
        at: from :func:`reserved`; closed at the end.

    Returns:
        Whether everything that had arrived was answered.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=LONGEST_GOODBYE_S,
    )
    server = uvicorn.Server(config)
    with _ended_by_signals():
        server.run(sockets=[at])
    return not server.force_exit and not server.server_state.tasks


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Lets a signal end the server and not the process: uvicorn raises it again at its end."""

    def ignore(signum: int, frame: FrameType | None) -> None:
        pass

    before = {one: signal.signal(one, ignore) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
