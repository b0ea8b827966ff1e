"""``python -m llm_lightning serve RUN``: a run's model answers over HTTP."""

import argparse
import ipaddress
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

import llm_lightning
from llm_lightning.network import Unavailable
from llm_lightning.presentation.extras import require
from llm_lightning.presentation.terminal import console, errors, facts_grid, print_error, working

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from llm_lightning.run_format.summary import Summary
    from llm_lightning.serving.limits import Limits
    from llm_lightning.tasks.classifier import Classifier
    from llm_lightning.tasks.language_model import LanguageModel

_LIBRARIES = {"starlette": "Starlette", "uvicorn": "uvicorn"}
_VERSION = f"llm_lightning-{llm_lightning.__version__}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        require("serve", _LIBRARIES, "serve")
        # Imported only now: the help should not wait for torch.
        from llm_lightning.runs.terminal_output import print_reminder
        from llm_lightning.serving.http_server import address_of, reserved, serve
        from llm_lightning.serving.limits import Limits

        limits = Limits(options.max_kib, options.max_texts, options.max_tokens, options.max_waiting)
        with reserved(options.host, options.port) as at:
            with working(f"loading {options.run}"):
                app, summary = application_of(options.run, limits)
            print_reminder(summary.fallbacks)
            _print_start(options.run, address_of(at), summary)
            if not _is_loopback(at.getsockname()[0]):
                errors.print("every machine that reaches this one can ask: there is no password")
            logging.basicConfig(format="%(message)s")
            is_whole = serve(app, at)
    except (ValueError, Unavailable, OSError) as error:
        print_error(str(error))
        return 1
    console.print("stopped" if is_whole else "stopped; some requests were not answered")
    return 0


def application_of(run: Path, limits: "Limits") -> tuple["Starlette", "Summary"]:
    """Loads a run's model, on the GPU if there is one, and makes the application that serves it.

    Args:
        run: a run folder.
        limits: of requests.

    Raises:
        ValueError: if it is not the folder of a finished run with a network.
        Unavailable: if the weights that it was trained on are no longer available.
    """
    from llm_lightning.runs.load import load_task
    from llm_lightning.tasks.classifier import Classifier
    from llm_lightning.tasks.language_model import LanguageModel

    task, summary = load_task(run)
    if isinstance(task, Classifier):
        return _classifier(task, summary, limits), summary
    assert isinstance(task, LanguageModel)
    return _language_model(task, summary, limits), summary


def _classifier(model: "Classifier", summary: "Summary", limits: "Limits") -> "Starlette":
    from llm_lightning.runs.decisions import decision_of
    from llm_lightning.runs.prediction import best_device, predict
    from llm_lightning.serving.application import application
    from llm_lightning.serving.classification import classification

    model = model.to(best_device())
    decide = partial(predict, model, decision=decision_of(summary))
    decide(["the first text takes longer than all others"])
    path, batcher = classification(
        lambda texts: [found.fields() for found in decide(texts)],
        limits,
        can_share=model.why_not_cacheable() is None,
    )
    facts = _facts(summary) | {
        "classes": model.hparams["class_names"],
        "decision": None if summary.decision is None else summary.decision.kind,
        "max_length": model.hparams["text"]["max_length"],
        "precision": "fp32",
        "device": str(model.device),
    }
    return application([path], [batcher], facts, limits)


def _language_model(model: "LanguageModel", summary: "Summary", limits: "Limits") -> "Starlette":
    from llm_lightning.data.prompts import Prompts
    from llm_lightning.runs.prediction import best_device
    from llm_lightning.runs.responses import precision_of, ready_to_generate
    from llm_lightning.serving.application import application
    from llm_lightning.serving.writing import ServedModel, writing

    model = ready_to_generate(model, best_device(), summary.precision)
    style = model.hparams["text"].get("prompt_style")
    prompts = None if style is None else Prompts(style, model.tokenizer)
    served = ServedModel(summary.name, model, prompts, _VERSION, limits)
    paths, writer = writing(served)
    facts = _facts(summary) | {
        "prompt_style": style,
        "context_length": model.backbone.context_length,
        "most_tokens": served.most_tokens,
        "precision": precision_of(model),
        "device": str(model.device),
    }
    return application(paths, [writer], facts, limits, served.listed)


def _facts(summary: "Summary") -> dict[str, Any]:
    return {
        "run": summary.name,
        "kind": summary.kind,
        "metrics": summary.metrics["test"],
        "fallbacks": summary.fallbacks,
        "server": _VERSION,
    }


def _print_start(run: Path, address: str, summary: "Summary") -> None:
    paths = "/predict" if summary.kind == "classification" else "/v1"
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
