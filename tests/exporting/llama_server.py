"""llama.cpp's server of a GGUF file, in this process."""

import json
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import xllamacpp


def served(file: Path, num_ctx: int) -> xllamacpp.Server:
    """Starts a server on a free port of 127.0.0.1.

    Args:
        file: the model.
        num_ctx: its context, in tokens.
    """
    options = xllamacpp.CommonParams()
    options.model.path = str(file)
    options.n_ctx, options.n_parallel, options.n_gpu_layers = num_ctx, 1, 0
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = 1
    options.warmup, options.verbosity = False, 0
    return xllamacpp.Server(options)


def post(server: xllamacpp.Server, path: str, body: dict[str, Any]) -> Any:
    """Sends a request and returns the answer, read as JSON."""
    request = Request(server.listening_address + path, json.dumps(body).encode())
    with urlopen(request) as answer:
        return json.load(answer)
