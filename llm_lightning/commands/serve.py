"""``python -m llm_lightning serve RUN``: a run's model answers over HTTP."""

import argparse
import ipaddress
import logging
import os
import signal
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from llm_lightning.commands.failures import refused
from llm_lightning.commands.options import ALLOW_DOWNLOAD
from llm_lightning.network import Unavailable
from llm_lightning.presentation.extras import require
from llm_lightning.presentation.terminal import console, errors, facts_grid, print_error, working

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from llm_lightning.serving.limits import Limits
    from llm_lightning.serving.model_process import ModelProcess

_LIBRARIES = {"starlette": "Starlette", "uvicorn": "uvicorn"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        require("serve", _LIBRARIES, "serve")
        # Imported only now: the help should not wait for torch.
        from llm_lightning.commands.served_run import load_served
        from llm_lightning.run_format.summary import read_summary
        from llm_lightning.runs.reminder import print_reminder
        from llm_lightning.serving.http_server import address_of, reserved, serve
        from llm_lightning.serving.limits import Limits
        from llm_lightning.serving.model_process import ModelProcess

        limits = Limits(options.max_kib, options.max_texts, options.max_tokens, options.max_waiting)
        with reserved(options.host, options.port) as at:
            summary = read_summary(options.run)
            with working(f"loading {options.run}"):
                model: ModelProcess[Any] = ModelProcess(
                    partial(load_served, options.run, allow_download=options.allow_download),
                    lambda: os.kill(os.getpid(), signal.SIGTERM),
                )
            with closing(model):
                app = application_of(model, limits)
                print_reminder(summary.fallbacks)
                _print_start(options.run, address_of(at), summary.kind)
                if not _is_loopback(at.getsockname()[0]):
                    errors.print(
                        "every machine that reaches this one may ask: there is no password"
                    )
                logging.basicConfig(format="%(message)s")
                is_whole = serve(app, at)
                if not model.is_alive():
                    print_error("the process of the model has ended, perhaps for want of memory")
                    return 1
    except (ValueError, Unavailable, OSError) as error:
        return refused(error)
    console.print("stopped" if is_whole else "stopped; some requests were not answered")
    return 0


def application_of(model: "ModelProcess[Any]", limits: "Limits") -> "Starlette":
    """Returns the application that serves a loaded model.

    Args:
        model: of :func:`~llm_lightning.commands.served_run.load_served`.
        limits: of requests.
    """
    from llm_lightning.commands.served_run import VERSION, ServedClassifier
    from llm_lightning.serving.application import application
    from llm_lightning.serving.classification import classification
    from llm_lightning.serving.writing import ServedModel, writing

    known = model.description
    if isinstance(known, ServedClassifier):
        path, batcher = classification(model.compute, limits, can_share=known.can_share)
        return application([path], [batcher], known.facts, limits, is_alive=model.is_alive)
    served = ServedModel(
        known.name,
        model.compute,
        known.tokenizer,
        known.context_length,
        known.generation,
        known.prompts,
        VERSION,
        limits,
    )
    paths, writer = writing(served)
    return application(paths, [writer], known.facts, limits, served.listed, is_alive=model.is_alive)


def _print_start(run: Path, address: str, kind: str) -> None:
    paths = "/predict" if kind == "classification" else "/v1"
    grid = facts_grid()
    grid.add_row("run", escape(str(run)))
    grid.add_row("address", escape(f"{address}{paths} (and /health, /info, /openapi.json)"))
    grid.add_row("stop", "Ctrl-C; requests that have arrived are answered first")
    console.print(grid)


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m llm_lightning serve",
        description="Answers over HTTP with the model of a run: POST /predict of a classifier, "
        "OpenAI's /v1/chat/completions and /v1/completions of a language model.",
    )
    parser.add_argument("run", type=Path, help="run folder, e.g. runs/last_block/seed_123")
    parser.add_argument("--allow-download", action="store_true", help=ALLOW_DOWNLOAD)
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="interface to listen on (default: %(default)s, which only this machine reaches)",
    )
    parser.add_argument(
        "--port", type=int, default=8000, help="0 takes a free one (default: %(default)s)"
    )
    limits = parser.add_argument_group("limits of one request, and of all that wait")
    limits.add_argument(
        "--max-kib", type=int, default=1024, help="largest body in KiB (default: %(default)s)"
    )
    limits.add_argument(
        "--max-texts", type=int, default=256, help="most texts or prompts (default: %(default)s)"
    )
    limits.add_argument(
        "--max-tokens", type=int, help="longest answer of a language model (default: its context)"
    )
    limits.add_argument(
        "--max-waiting", type=int, default=1024, help="most requests (default: %(default)s)"
    )
    return parser
