"""Processor time of `evaluate` beside the harness's own `hf` model, which gives the same numbers.

    python experiments/evaluate/speed.py RUN --hf EXPORT --books FOLDER --out speed.csv

Both run in this process on one thread, in turn, on the same requests; time is processor time, so
that other work on the machine counts less. Every number of both is compared.
"""

import argparse
import csv
import logging
import time
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

SHOTS = {"letters": 5}


def numbers(results: dict[str, Any]) -> dict[str, float]:
    return {
        f"{task} {key}": value
        for task, values in results["results"].items()
        for key, value in values.items()
        if not isinstance(value, str)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--hf", type=Path, required=True, help="the run's export --format hf")
    parser.add_argument("--books", type=Path, required=True, help="folder of .txt files")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--questions", type=int, default=32)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--tokens-per-batch", type=int, default=2048)
    parser.add_argument("--tasks", nargs="+", default=["letters", "endings", "texts", "answers"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    task, _ = load_language_model(options.run)
    rows = []
    with TemporaryDirectory() as scratch:
        write_tasks(Path(scratch), options.books, options.questions)
        manager = TaskManager(include_path=scratch, include_defaults=False)
        for name in options.tasks:
            ours = HarnessModel(
                task.backbone,
                task.head,
                task.tokenizer,
                None,
                tokens_per_batch=options.tokens_per_batch,
                batch_size=32,
            )
            started = time.process_time()
            found = run_tasks(ours, [name], manager, shots=SHOTS.get(name, 0), bootstraps=0)
            seconds = time.process_time() - started
            rows.append((name, "evaluate", "", round(seconds, 2), ""))
            print(*rows[-1], flush=True)
            for size in options.batch_sizes:
                theirs = HFLM(
                    pretrained=str(options.hf), device="cpu", batch_size=size, dtype="float32"
                )
                started = time.process_time()
                expected = simple_evaluate(
                    model=theirs,
                    tasks=[name],
                    task_manager=manager,
                    num_fewshot=SHOTS.get(name, 0),
                    bootstrap_iters=0,
                    log_samples=False,
                )
                seconds = time.process_time() - started
                mine, yours = numbers(found), numbers(expected)
                assert mine.keys() == yours.keys()
                differs = max(
                    abs(mine[key] - yours[key]) / max(1.0, abs(yours[key]))
                    for key in mine
                    if yours[key] == yours[key]
                )
                rows.append((name, "hf", size, round(seconds, 2), f"{differs:.1e}"))
                print(*rows[-1], flush=True)
    with options.out.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["task", "model", "batch size", "processor seconds", "largest difference"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
