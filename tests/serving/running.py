"""An application at a free address of this machine, for real clients."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

from llm_lightning.serving.http_server import address_of, reserved


@contextmanager
def running(app: Starlette) -> Iterator[str]:
    """Serves in a thread; yields the address."""
    with reserved("127.0.0.1", 0) as at:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [at]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield address_of(at)
        finally:
            server.should_exit = True
            thread.join()
