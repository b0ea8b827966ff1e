"""``python -m llm_lightning evaluate RUN --tasks mmlu``: benchmarks of lm-evaluation-harness.

The harness (extra ``eval``) asks and counts; the run's model answers in place, without an export.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from llm_lightning.commands.failures import refused
from llm_lightning.commands.options import ALLOW_DOWNLOAD
from llm_lightning.evaluation.judging.reply_cache import write_json
from llm_lightning.network import Unavailable
from llm_lightning.presentation.extras import require
from llm_lightning.presentation.plurals import counted
from llm_lightning.presentation.terminal import console, facts_grid, results_table
from llm_lightning.run_format.benchmarks import (
    CONDITIONS,
    BenchmarkScore,
    benchmark_file,
    benchmark_scores,
)

_TOKENS_PER_BATCH = {"cuda": 32768}
_TOKENS_PER_BATCH_ELSEWHERE = 2048


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    tasks = [name.strip() for name in options.tasks.split(",") if name.strip()]
    try:
        require("evaluate", {"lm_eval": "lm-evaluation-harness"}, "eval")
        if not tasks:
            raise ValueError("--tasks is empty: name at least one, such as --tasks mmlu")
        if options.include is not None and not options.include.is_dir():
            raise ValueError(f"--include {options.include} is no folder with task files")
        file, results = evaluate_run(options.run, tasks, options)
    except (ValueError, Unavailable) as error:
        return refused(error)
    if options.json:
        print(json.dumps({"file": str(file), **results[CONDITIONS], **_scores(results)}))
    else:
        _print(file, results)
    return 0


def evaluate_run(
    run: Path, tasks: Sequence[str], options: argparse.Namespace
) -> tuple[Path, dict[str, Any]]:
    """Evaluates a run and writes the harness's results into its folder.

    Args:
        run: folder of a language model's run.
        tasks: names that the harness knows.
        options: of the command line.

    Raises:
        ValueError: if the run, a task or a setting is wrong; nothing is written.
        Unavailable: if weights or a task's data are unavailable.
    """
    # After the check that the harness is there.
    from llm_lightning.commands.consent import consent
    from llm_lightning.data.prompts import Prompts
    from llm_lightning.evaluation.harness.benchmarks import find_tasks, run_tasks
    from llm_lightning.evaluation.harness.model import HarnessModel
    from llm_lightning.runs.load import load_language_model
    from llm_lightning.runs.prediction import best_device

    started = time.perf_counter()
    manager = find_tasks(tasks, options.include)
    task, summary = load_language_model(run, consent(options.allow_download))
    device = best_device()
    task = task.to(device).eval()
    style = task.hparams["text"].get("prompt_style")
    if options.chat and style is None:
        raise ValueError("--chat: this run was trained on plain text, it knows no conversation")
    model = HarnessModel(
        task.backbone,
        task.head,
        task.tokenizer,
        None if style is None else Prompts(style, task.tokenizer),
        tokens_per_batch=options.tokens_per_batch
        or _TOKENS_PER_BATCH.get(device.type, _TOKENS_PER_BATCH_ELSEWHERE),
        batch_size=options.batch_size,
    )
    results = run_tasks(
        model,
        tasks,
        manager,
        shots=options.shots,
        limit=options.limit,
        chat=options.chat,
    )
    results.pop("samples", None)
    results[CONDITIONS] = {
        "run": summary.name,
        "checkpoint": summary.checkpoint,
        "fallbacks": summary.fallbacks,
        "device": device.type,
        "precision": "32-true",
        "chat": options.chat,
        "prompt_style": style if options.chat else None,
        "limit": options.limit,
        "texts_cut": model.num_cut,
        "responses_capped": model.num_capped,
        "contexts_not_shared": model.why_not_shared,
        "seconds": time.perf_counter() - started,
    }
    file = run / benchmark_file(tasks, options.shots, options.limit, options.chat)
    # The harness's results hold functions, dtypes and the like.
    write_json(file, json.loads(json.dumps(results, default=_as_text, allow_nan=True), **_NO_NAN))
    return file, results


_NO_NAN: dict[str, Any] = {"parse_constant": lambda _: None}
"""Standard errors of single examples are NaN, which JSON has no word for."""


def _as_text(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


def _scores(results: dict[str, Any]) -> dict[str, Any]:
    return {"scores": [vars(score) for score in benchmark_scores(results)]}


def _print(file: Path, results: dict[str, Any]) -> None:
    table = results_table("task", "metric", "value", "standard\nerror", "examples", "shots")
    table.columns[0].overflow = "fold"
    for score in benchmark_scores(results):
        table.add_row(*map(escape, _cells(score)))
    console.print(table)
    conditions = results[CONDITIONS]
    if conditions["texts_cut"]:
        console.print(
            f"{counted(conditions['texts_cut'], 'text')} exceeded the model's context and lost "
            f"tokens at the beginning"
        )
    if conditions["responses_capped"]:
        console.print(
            f"{counted(conditions['responses_capped'], 'response')} could be only half as long as "
            f"the model's context, less than the task allows"
        )
    if reason := conditions["contexts_not_shared"]:
        console.print(escape(f"every choice was computed with its context: {reason}"))
    if conditions["limit"] is not None:
        console.print("with --limit the numbers are no results of the benchmark")
    facts = facts_grid()
    facts.add_row("harness", escape(str(results.get("lm_eval_version", "of unknown version"))))
    facts.add_row("file", escape(str(file)))
    console.print(facts)


def _cells(score: BenchmarkScore) -> list[str]:
    def number(value: float | None) -> str:
        return "" if value is None or value != value else f"{value:.4f}"

    return [
        score.task,
        score.metric,
        number(score.value),
        number(score.standard_error),
        "" if score.examples is None else str(score.examples),
        "" if score.shots is None else str(score.shots),
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m llm_lightning evaluate",
        description="Evaluates the language model of a run on benchmarks of "
        "lm-evaluation-harness; the results are written into the run's folder.",
    )
    parser.add_argument("--allow-download", action="store_true", help=ALLOW_DOWNLOAD)
    parser.add_argument("run", type=Path, help="run folder, e.g. runs/instruct/seed_123")
    parser.add_argument(
        "--tasks", required=True, help="names of the harness, with commas: mmlu,hellaswag"
    )
    parser.add_argument(
        "--include", type=Path, metavar="FOLDER", help="folder with task files (YAML) of your own"
    )
    parser.add_argument(
        "--shots", type=_at_least(0), help="solved examples ahead of each (default: the task's)"
    )
    parser.add_argument(
        "--limit", type=_at_least(1), help="only the first LIMIT examples of each task, to try it"
    )
    parser.add_argument(
        "--chat", action="store_true", help="put questions in the prompt style of the run"
    )
    parser.add_argument(
        "--batch-size",
        type=_at_least(1),
        default=32,
        help="prompts that are continued at a time (default: %(default)s)",
    )
    parser.add_argument(
        "--tokens-per-batch",
        type=_at_least(1),
        help="tokens of choices that are computed at a time, padding included (default: "
        f"{_TOKENS_PER_BATCH_ELSEWHERE}, on a GPU {_TOKENS_PER_BATCH['cuda']})",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _at_least(lowest: int) -> Any:
    def number(text: str) -> int:
        value = int(text)
        if value < lowest:
            raise argparse.ArgumentTypeError(f"must be at least {lowest}, got {value}")
        return value

    return number
