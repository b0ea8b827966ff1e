"""Processor time of `evaluate` beside the harness's own `hf` model, which gives the same numbers.

    python experiments/evaluate/speed.py RUN --hf EXPORT --books FOLDER --out speed.csv

Both run in this process on one thread, in turn, on the same requests; time is processor time, so
that other work on the machine counts less, of the answers alone: what the harness does before and
after them is the same. Every number of both is compared.
"""

import argparse
import csv
import logging
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from tasks import write_tasks

from llm_lightning.evaluation.harness.benchmarks import run_tasks
from llm_lightning.evaluation.harness.model import HarnessModel
from llm_lightning.runs.load import load_language_model

SHOTS = {"letters": 5, "solutions": 5}


def numbers(results: dict[str, Any]) -> dict[str, float]:
    return {
        f"{task} {key}": value
        for task, values in results["results"].items()
        for key, value in values.items()
        if not isinstance(value, str)
    }


def timed(model: Any) -> list[float]:
    """Has a model note the processor time of each call of the harness; the list fills up."""
    seconds: list[float] = []

    def wrapped(method: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            started = time.process_time()
            found = method(*arguments, **options)
            seconds.append(time.process_time() - started)
            return found

        return run

    for name in ("loglikelihood", "loglikelihood_rolling", "generate_until"):
        setattr(model, name, wrapped(getattr(model, name)))
    return seconds


def difference(mine: dict[str, float], yours: dict[str, float]) -> float:
    """The largest one, relative to numbers above 1."""
    assert mine.keys() == yours.keys()
    return max(
        abs(mine[key] - yours[key]) / max(1.0, abs(yours[key]))
        for key in mine
        if yours[key] == yours[key]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--hf", type=Path, required=True, help="the run's export --format hf")
    parser.add_argument("--books", type=Path, required=True, help="folder of .txt files")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--questions", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3, help="medians are printed")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 4, 16, 32])
    parser.add_argument("--tokens-per-batch", type=int, default=2048)
    parser.add_argument(
        "--tasks", nargs="+", default=["letters", "endings", "texts", "answers", "solutions"]
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    task, _ = load_language_model(options.run)
    rows = []
    with TemporaryDirectory() as scratch:
        write_tasks(Path(scratch), options.books, options.questions)
        manager = TaskManager(include_path=scratch, include_defaults=False)
        for name in options.tasks:
            shots = SHOTS.get(name, 0)
            times: dict[int | None, list[float]] = {}
            differs: dict[int, float] = {}
            for _ in range(options.rounds):
                ours = HarnessModel(
                    task.backbone,
                    task.head,
                    task.tokenizer,
                    None,
                    tokens_per_batch=options.tokens_per_batch,
                    batch_size=32,
                )
                seconds = timed(ours)
                found = run_tasks(ours, [name], manager, shots=shots, bootstraps=0)
                times.setdefault(None, []).append(sum(seconds))
                for size in options.batch_sizes:
                    theirs = HFLM(
                        pretrained=str(options.hf), device="cpu", batch_size=size, dtype="float32"
                    )
                    seconds = timed(theirs)
                    expected = simple_evaluate(
                        model=theirs,
                        tasks=[name],
                        task_manager=manager,
                        num_fewshot=shots,
                        bootstrap_iters=0,
                        log_samples=False,
                    )
                    times.setdefault(size, []).append(sum(seconds))
                    differs[size] = difference(numbers(found), numbers(expected))
            for size, all_seconds in times.items():
                differs_by = "" if size is None else f"{differs[size]:.1e}"
                rows.append(
                    (
                        name,
                        "evaluate" if size is None else "hf",
                        size or "",
                        round(statistics.median(all_seconds), 2),
                        differs_by,
                    )
                )
                print(*rows[-1], flush=True)
    with options.out.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["task", "model", "batch size", "processor seconds", "largest difference"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
