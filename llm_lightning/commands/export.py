"""``python -m llm_lightning export``: a run's model in another library's format."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from llm_lightning.backbone.hub import BeforeDownload
from llm_lightning.commands.command_line import ALLOW_DOWNLOAD
from llm_lightning.commands.consent import consent
from llm_lightning.commands.failures import refused
from llm_lightning.exporting import formats, verification
from llm_lightning.exporting.card import write_card
from llm_lightning.exporting.dense import dense, rebuilt
from llm_lightning.exporting.gguf_tensors import QUANTIZATIONS
from llm_lightning.exporting.output_folder import check_free, staged
from llm_lightning.exporting.suitability import check_can
from llm_lightning.exporting.verification import TOLERANCE, LogitDifference
from llm_lightning.finetuning.qlora import QLoRA
from llm_lightning.network import Unavailable
from llm_lightning.presentation.terminal import console, results_table, working
from llm_lightning.runs.load import load_task, refuse_download


class Differs(ValueError):
    """The export's logits differ from the run's."""


def export(
    run: Path,
    kind: str,
    out: Path,
    quantizations: Sequence[str] = QUANTIZATIONS,
    before_download: BeforeDownload | None = refuse_download,
) -> list[LogitDifference]:
    """Writes a run's model, loads it again and compares; writes all of it or nothing.

    Args:
        run: a run folder.
        kind: one of ``formats.FORMATS``.
        out: the folder to write; created if it does not exist.
        quantizations: of ``gguf``.
        before_download: see :func:`~llm_lightning.runs.load.load_classifier`.

    Returns:
        The largest differences of logits, by what computed them.

    Raises:
        ValueError: if this run cannot be written in this format, or an extra is missing.
        Unavailable: if the run's base is no longer available.
        Differs: if logits differ by more than ``TOLERANCE``, in a format in full precision.
    """
    formats.check_installed(kind)
    check_free(out)
    with working(f"loading {run}"):
        task, summary = load_task(run, before_download)
        check_can(task, kind)
        model = dense(task)
        reference = verification.logits_of(task)
    differences = []
    against = ""
    if isinstance(task.strategy, QLoRA):
        with working("merging the adapters into the dequantized base"):
            # The run computes with quantized weights in bf16; an export has dequantized ones.
            merged = verification.logits_of(rebuilt(task, model))
        difference = verification.largest_difference(reference, merged)
        what = "merged into the dequantized base (the run's is in four bits)"
        differences.append(LogitDifference(what, difference, math.inf))
        reference, against = merged, ", compared with that"
    limit = TOLERANCE if kind != "gguf" else math.inf
    with staged(out) as folder:
        with working(f"writing {out} and loading it again"):
            written = formats.write(task, model, kind, folder, quantizations, summary.name)
        for what, logits in written.items():
            difference = verification.largest_difference(reference, logits)
            differences.append(LogitDifference(what + against, difference, limit))
        _check(differences, out)
        write_card(folder, kind, task, summary, model, differences)
    return differences


def _check(differences: Sequence[LogitDifference], out: Path) -> None:
    for found in differences:
        if not found.is_close:
            raise Differs(
                f"--out {out} was not written: the export does not compute the same as the run. "
                f"With {found.what} the largest difference of logits is {found.difference:.2e}; "
                f"it must be a number, at most {found.limit:g}"
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m llm_lightning export",
        description="Writes the model of a run folder for transformers, PEFT, llama.cpp or Ollama, "
        "loads it again, and prints the largest difference of logits.",
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
    parser.add_argument("--allow-download", action="store_true", help=ALLOW_DOWNLOAD)
    options = parser.parse_args(arguments)
    quantizations = QUANTIZATIONS if options.quantization == "both" else (options.quantization,)
    try:
        differences = export(
            options.run,
            options.format,
            options.out,
            quantizations,
            consent(options.allow_download),
        )
    except (ValueError, Unavailable, OSError) as error:
        return refused(error)
    lines = [f"{found.what}: {found.difference:.2e}" for found in differences]
    _print_export(options.out, lines)
    return 0


def _print_export(folder: Path, lines: Sequence[str]) -> None:
    """Prints the files of an export with their sizes, and how it compares with the run."""
    table = results_table(escape(str(folder)), "MiB")
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(file.relative_to(folder))
        table.add_row(escape(name), f"{file.stat().st_size / 2**20:.2f}")
    console.print(table)
    console.print("largest difference of logits from the run's:")
    for line in lines:
        console.print(f"  {escape(line)}", soft_wrap=True)
