"""``python -m llm_lightning export``: a run's model in a format that others read."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from llm_lightning.exporting import formats, verification
from llm_lightning.exporting.card import write_card
from llm_lightning.exporting.dense import dense, rebuilt
from llm_lightning.exporting.gguf_files import QUANTIZATIONS
from llm_lightning.exporting.libraries import check_installed
from llm_lightning.exporting.output_folder import check_free, staged
from llm_lightning.exporting.verification import TOLERANCE, Comparison
from llm_lightning.finetuning.qlora import QLoRA
from llm_lightning.network import Unavailable
from llm_lightning.presentation.terminal import console, print_error, results_table, working
from llm_lightning.runs.load import load


class Differs(ValueError):
    """What was written does not compute what the run computes."""


def export(
    run: Path, kind: str, out: Path, quantizations: Sequence[str] = QUANTIZATIONS
) -> list[Comparison]:
    """Writes a run's model, reads it again and compares; writes all of it or nothing.

    Args:
        run: a run folder.
        kind: one of ``formats.FORMATS``.
        out: the folder to write; made if need be.
        quantizations: of ``gguf``.

    Returns:
        What was compared, and the largest differences of logits.

    Raises:
        ValueError: if this run cannot be written in this format, or an extra is missing.
        Unavailable: if the run's base cannot be had any more.
        Differs: if logits differ by more than ``TOLERANCE``, in a format in full precision.
    """
    check_installed(kind)
    check_free(out)
    with working(f"loading {run}"):
        task, summary = load(run)
        formats.check_can(task, kind)
        model = dense(task)
        reference = verification.logits_of(task)
    comparisons = []
    against = ""
    if isinstance(task.strategy, QLoRA):
        with working("merging the adapters onto the expanded base"):
            # The run computes with packed weights in bf16; an export holds them expanded.
            merged = verification.logits_of(rebuilt(task, model))
        difference = verification.largest_difference(reference, merged)
        what = "merged onto the expanded base (the run's is in four bits)"
        comparisons.append(Comparison(what, difference, math.inf))
        reference, against = merged, ", against that"
    limit = TOLERANCE if kind != "gguf" else math.inf
    with staged(out) as folder:
        with working(f"writing {out} and reading it again"):
            written = formats.write(task, model, kind, folder, quantizations, summary.name)
        for what, logits in written.items():
            difference = verification.largest_difference(reference, logits)
            comparisons.append(Comparison(what + against, difference, limit))
        _check(comparisons, out)
        write_card(folder, kind, task, summary, model, comparisons)
    return comparisons


def _check(comparisons: Sequence[Comparison], out: Path) -> None:
    for comparison in comparisons:
        if not comparison.is_close:
            raise Differs(
                f"--out {out} was not written: what was exported does not compute what the run "
                f"computes. By {comparison.what} the largest difference of logits is "
                f"{comparison.difference:.2e}; it must be a number, at most {comparison.limit:g}"
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m llm_lightning export",
        description="Writes the model of a run folder for transformers, PEFT, llama.cpp or Ollama, "
        "reads it again, and prints the largest difference of logits.",
    )
    parser.add_argument("run", type=Path, help="run folder, e.g. runs/last_block/seed_123")
    parser.add_argument(
        "--format",
        choices=formats.FORMATS,
        required=True,
        help="hf: a transformers folder with its tokenizer; peft: the adapters alone; merged: "
        "weights for model.weights=<folder>; gguf: for llama.cpp and Ollama",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--quantization",
        choices=(*QUANTIZATIONS, "both"),
        default="both",
        help="of GGUF files (default: both)",
    )
    options = parser.parse_args(arguments)
    quantizations = QUANTIZATIONS if options.quantization == "both" else (options.quantization,)
    try:
        comparisons = export(options.run, options.format, options.out, quantizations)
    except (ValueError, Unavailable, OSError) as error:
        print_error(str(error))
        return 1
    lines = [f"{comparison.what}: {comparison.difference:.2e}" for comparison in comparisons]
    _print_export(options.out, lines)
    return 0


def _print_export(folder: Path, comparisons: Sequence[str]) -> None:
    """Prints the files of an export with their sizes, and how it compares with the run."""
    table = results_table(escape(str(folder)), "MiB")
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(file.relative_to(folder))
        table.add_row(escape(name), f"{file.stat().st_size / 2**20:.2f}")
    console.print(table)
    console.print("largest difference of logits from the run's:")
    for line in comparisons:
        console.print(f"  {escape(line)}", soft_wrap=True)
