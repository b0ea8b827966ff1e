"""``python -m llm_lightning.export``: a run's model in a format that others read."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llm_lightning import console, run_folder
from llm_lightning.exporting import gguf_files, peft_folder, transformers_folder, verification
from llm_lightning.exporting.card import CARD, MARK, write_card
from llm_lightning.exporting.dense import Dense, dense, rebuilt
from llm_lightning.finetuning.qlora import QLoRA
from llm_lightning.network import Unavailable
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.tasks.task import Task

FORMATS = ("hf", "peft", "merged", "gguf")
TOLERANCE = 1e-3
"""Largest difference of logits that a format in full precision may show."""

INSTALL = "pip install 'llm-lightning[export]'"
_NEEDED = {"hf": ("transformers",), "peft": ("peft", "transformers"), "gguf": ("gguf",)}


class Differs(ValueError):
    """What was written does not compute what the run computes."""


def export(run: Path, kind: str, out: Path, quantizations: Sequence[str]) -> list[str]:
    """Writes a run's model, reads it again and compares.

    Args:
        run: a run folder.
        kind: one of ``FORMATS``.
        out: the folder to write; made if need be.
        quantizations: of ``gguf``.

    Returns:
        What was compared, and the largest difference of logits; for people.

    Raises:
        ValueError: if this run cannot be written in this format, or an extra is missing.
        Unavailable: if the run's base cannot be had any more.
        Differs: if a logit differs by more than ``TOLERANCE``, in a format in full precision.
    """
    check_installed(kind)
    check_free(out)
    task, summary = load(run)
    if kind in ("hf", "peft"):
        transformers_folder.check_transformers_can(task)
    if kind == "gguf" and not isinstance(task, LanguageModel):
        raise ValueError("GGUF holds language models, and this run is a classifier: use hf")
    model = dense(task)
    said = []
    reference = verification.logits_of(task)
    if isinstance(task.strategy, QLoRA):
        # The run computes with packed weights in bf16; the export holds them expanded.
        merged = verification.logits_of(rebuilt(task, model))
        gap = verification.largest_difference(reference, merged)
        said.append(f"merged onto the expanded base, against the base in four bits: {gap:.2e}")
        reference = merged
    out.mkdir(parents=True, exist_ok=True)
    compare: dict[str, Any] = {
        "hf": _write_hf,
        "merged": _write_merged,
        "peft": _write_peft,
    }
    if kind == "gguf":
        said += _write_gguf(task, model, out, quantizations, reference)
    else:
        for what, logits in compare[kind](task, model, out):
            difference = verification.largest_difference(reference, logits)
            said.append(f"{what}: {difference:.2e}")
            if not difference <= TOLERANCE:  # not a number is no agreement
                raise Differs(
                    f"{out} does not compute what the run computes: {what}, the largest "
                    f"difference of logits is {difference:.2e}, above {TOLERANCE:g}"
                )
    write_card(out, kind, task, summary, model)
    return said


def load(run: Path) -> tuple[Task, dict[str, Any]]:
    """Rebuilds the model of a run of any kind, in evaluation mode, with its summary."""
    summary = run_folder.read_summary(run)
    if summary["kind"] == "classification":
        return run_folder.load_classifier(run)
    return run_folder.load_language_model(run)


def check_installed(kind: str) -> None:
    """Refuses a format whose libraries are not there.

    Raises:
        ValueError: with the line that installs them.
    """
    missing = [name for name in _NEEDED.get(kind, ()) if find_spec(name) is None]
    if missing:
        raise ValueError(f"--format {kind} needs {' and '.join(missing)}: {INSTALL}")


def check_free(out: Path) -> None:
    """Refuses a folder that holds something else than an earlier export, which it empties.

    Raises:
        ValueError: if it is no folder, or holds something else.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"--out {out} is a file; name a folder")
    if not any(out.iterdir()):
        return
    card = out / CARD
    if not (card.is_file() and MARK in card.read_text(encoding="utf-8")):
        raise ValueError(f"--out {out} is not empty and holds no export; name another folder")
    shutil.rmtree(out)


def _write_hf(task: Task, model: Dense, out: Path) -> list[tuple[str, Any]]:
    transformers_folder.write_transformers(task, model, out)
    theirs = verification.through_transformers(task, out)
    return [
        ("loaded by transformers", verification.transformers_logits(theirs, task)),
        _loaded_again(task, out),
    ]


def _write_merged(task: Task, model: Dense, out: Path) -> list[tuple[str, Any]]:
    transformers_folder.write_merged(task, model, out)
    return [_loaded_again(task, out)]


def _write_peft(task: Task, model: Dense, out: Path) -> list[tuple[str, Any]]:
    peft_folder.write_peft(task, model, out)
    theirs = verification.through_peft(task, dense(task, merge=False), out)
    return [("loaded by PEFT over its base", verification.transformers_logits(theirs, task))]


def _loaded_again(task: Task, out: Path) -> tuple[str, Any]:
    again = verification.reloaded(task, out)
    return f"loaded again as model.weights={out}", verification.logits_of(again)


def _write_gguf(
    task: Task, model: Dense, out: Path, quantizations: Sequence[str], reference: Any
) -> list[str]:
    said = []
    for quantization in quantizations:
        file = out / f"model-{quantization}.gguf"
        with console.working(f"writing {file}"):
            gguf_files.write_gguf(model, file, out.name, quantization)
            again = rebuilt(task, gguf_files.read_back(file, model))
            difference = verification.largest_difference(reference, verification.logits_of(again))
        said.append(f"{file.name}, read back and expanded: {difference:.2e}")
    style = task.hparams["text"].get("prompt_style", "plain")
    first = f"model-{quantizations[0]}.gguf"
    gguf_files.write_modelfile(out, style, first, model.config.n_positions)
    return said


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m llm_lightning.export",
        description="Writes the model of a run folder for transformers, PEFT, llama.cpp or Ollama, "
        "reads it again, and prints the largest difference of logits.",
    )
    parser.add_argument("run", type=Path, help="run folder, e.g. runs/last_block/seed_123")
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--quantization",
        choices=(*gguf_files.QUANTIZATIONS, "both"),
        default="both",
        help="of GGUF files (default: both)",
    )
    options = parser.parse_args(arguments)
    both = gguf_files.QUANTIZATIONS
    quantizations = both if options.quantization == "both" else (options.quantization,)
    try:
        said = export(options.run, options.format, options.out, quantizations)
    except (ValueError, Unavailable) as error:
        console.print_error(str(error))
        return 1
    console.print_export(options.out, said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
