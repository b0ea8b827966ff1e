"""``python -m llm_lightning export``: a run's model in another library's format."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from llm_lightning.backbone.hub import BeforeDownload
from llm_lightning.commands.consent import consent
from llm_lightning.commands.failures import refused
from llm_lightning.commands.options import ALLOW_DOWNLOAD
from llm_lightning.exporting import formats, hub_upload, verification
from llm_lightning.exporting.adapter_files import point_at_base
from llm_lightning.exporting.card import write_card
from llm_lightning.exporting.dense import dense, rebuilt
from llm_lightning.exporting.gguf_tensors import QUANTIZATIONS
from llm_lightning.exporting.onnx_model import QUANTIZE
from llm_lightning.exporting.output_folder import check_free, staged
from llm_lightning.exporting.suitability import check_can
from llm_lightning.exporting.verification import TOLERANCE, LogitDifference
from llm_lightning.finetuning.qlora import QLoRA
from llm_lightning.network import Unavailable
from llm_lightning.presentation.terminal import console, results_table, working
from llm_lightning.runs.f1_on_test import f1_on_test
from llm_lightning.runs.load import load_task, refuse_download


class Differs(ValueError):
    """The export's logits differ from the run's."""


def export(
    run: Path,
    kind: str,
    out: Path,
    quantizations: Sequence[str] = QUANTIZATIONS,
    quantize: str | None = None,
    repo: str | None = None,
    before_download: BeforeDownload | None = refuse_download,
) -> list[LogitDifference]:
    """Writes a run's model, loads it again and compares; writes all of it or nothing.

    Args:
        run: a run folder.
        kind: one of ``formats.FORMATS``.
        out: the folder to write; created if it does not exist.
        quantizations: of ``gguf``.
        quantize: of ``onnx``: a file with weights in ``int8`` beside the other.
        repo: on the Hub, where it is uploaded to; ``None``: nowhere.
        before_download: see :func:`~llm_lightning.runs.load.load_classifier`.

    Returns:
        The largest differences of logits, by what computed them.

    Raises:
        ValueError: if this run cannot be written in this format, or an extra is missing.
        Unavailable: if the run's base is no longer available.
        Differs: if logits differ by more than ``TOLERANCE``, in a format in full precision.
        NotUploaded: if it was written, but not uploaded.
    """
    formats.check_installed(kind)
    check_free(out)
    if quantize is not None and kind != "onnx":
        raise ValueError(f"--quantize {quantize} belongs to --format onnx, got {kind}")
    if repo is not None:
        hub_upload.check_upload(kind, repo)
    with working(f"loading {run}"):
        task, summary = load_task(run, before_download)
        check_can(task, kind)
        measured = f1_on_test(run, summary)
        if repo is not None:
            hub_upload.check_base(task, kind)
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
        same = verification.same_top_choices(reference, merged)
        differences.append(LogitDifference(what, difference, math.inf, same))
        reference, against = merged, ", compared with that"
    with staged(out) as folder:
        with working(f"writing {out} and loading it again"):
            written = formats.write(
                task, model, kind, folder, quantizations, summary.name, quantize
            )
        for what, logits in written.items():
            difference = verification.largest_difference(reference, logits)
            found = LogitDifference(what + against, difference, TOLERANCE)
            if any(lossy in (kind, what.split()[-1]) for lossy in formats.LOSSY):
                found.limit = math.inf
                found.same_top = verification.same_top_choices(reference, logits)
            differences.append(found)
        _check(differences, out)
        write_card(folder, kind, task, summary, model, differences, measured)
        point_at_base(folder, out)
    if repo is not None:
        with working(f"uploading to {repo}"):
            hub_upload.upload(out, repo)
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
        description="Writes the model of a run folder for transformers, PEFT, ONNX Runtime, "
        "llama.cpp or Ollama, loads it again, and prints the largest difference of logits.",
    )
    parser.add_argument("run", type=Path, help="run folder, e.g. runs/last_block/seed_123")
    parser.add_argument(
        "--format",
        choices=formats.FORMATS,
        required=True,
        help="hf: a transformers folder with its tokenizer; peft: the adapters alone; merged: "
        "weights for model.weights=<folder>; gguf: for llama.cpp and Ollama; "
        "onnx: for ONNX Runtime",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--quantization",
        choices=(*QUANTIZATIONS, "both"),
        default="both",
        help="of GGUF files (default: both)",
    )
    parser.add_argument(
        "--quantize",
        choices=QUANTIZE,
        help="of ONNX: also write a file with the weights in eight bits",
    )
    parser.add_argument(
        "--push-to-hub",
        metavar="OWNER/NAME",
        help="of hf and peft: also upload it; a new repository is private",
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
            options.quantize,
            options.push_to_hub,
            consent(options.allow_download),
        )
    except (ValueError, Unavailable, OSError) as error:
        return refused(error)
    _print_export(options.out, [found.text() for found in differences])
    if options.push_to_hub:
        console.print(f"uploaded to {escape(options.push_to_hub)}")
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
