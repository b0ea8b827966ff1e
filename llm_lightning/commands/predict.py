"""``python -m llm_lightning predict RUN TEXT ...``: label and probability of new texts.

Labels, lengths, padding, pooling and weights all come from the run's folder.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from llm_lightning.commands.failures import refused
from llm_lightning.commands.given_texts import check_utf8, decoded_lines
from llm_lightning.commands.options import ALLOW_DOWNLOAD
from llm_lightning.network import Unavailable
from llm_lightning.presentation.harmless import json_line
from llm_lightning.presentation.terminal import console, errors, results_table

if TYPE_CHECKING:
    from llm_lightning.runs.prediction import Prediction

_MOST_CHARACTERS = 300  # of a text in the table


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m llm_lightning predict",
        description="Label and probability of each text, by the model of a run and the decision "
        "that it fitted, if any.",
        epilog="Without TEXT and --file, texts are read from standard input, one per line.",
    )
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="run folder, e.g. runs/last_block/seed_123"
    )
    parser.add_argument("text", nargs="*", metavar="TEXT", help="texts to classify")
    parser.add_argument("--file", type=Path, help="UTF-8 file with one text per line")
    parser.add_argument("--json", action="store_true", help="print one JSON object per text")
    parser.add_argument("--allow-download", action="store_true", help=ALLOW_DOWNLOAD)
    options = parser.parse_intermixed_args(arguments)
    if len(options.text) == 1 and Path(options.text[0]).is_file():
        errors.print(f"{options.text[0]} is taken as a text; --file reads it", soft_wrap=True)
    try:
        texts = _texts(options.text, options.file)
        # Imported only now: the help should not wait for torch.
        from llm_lightning.commands.consent import consent
        from llm_lightning.runs.load import load_classifier
        from llm_lightning.runs.prediction import best_device, decision_of, predict
        from llm_lightning.runs.reminder import print_reminder

        model, summary = load_classifier(options.run, consent(options.allow_download))
        print_reminder(summary.fallbacks)
        predictions = predict(model.to(best_device()), texts, decision_of(summary))
    except (ValueError, Unavailable, OSError) as error:
        return refused(error)
    max_length = model.hparams["text"]["max_length"]
    if options.json:
        for prediction in predictions:
            print(json_line(prediction.fields()))
        for line in _remarks(predictions, max_length):
            errors.print(line)
        return 0
    _print(predictions, max_length)
    return 0


def _print(predictions: "Sequence[Prediction]", max_length: int) -> None:
    table = results_table("label", "probability", "text")
    table.columns[2].justify, table.columns[2].overflow = "left", "fold"
    for one in predictions:
        label = f"{one.label} (abstained)" if one.abstained else one.label
        probability = f"{100 * one.probability:.1f} %"
        if one.empty:  # the model's answer would look like any other
            label, probability = "none: empty text", ""
        table.add_row(escape(label), probability, escape(_shortened(one.text)))
    console.print(table)
    if num_abstained := sum(one.abstained and not one.empty for one in predictions):
        console.print(f"left to people, as the run's decide.abstain_below says: {num_abstained}")
    for line in _remarks(predictions, max_length):
        console.print(line)


def _remarks(predictions: "Sequence[Prediction]", max_length: int) -> list[str]:
    """What was cut or means nothing, with counts."""
    lines = []
    if num_empty := sum(one.empty for one in predictions):
        lines.append(f"texts with nothing but white space, which have no label: {num_empty}")
    if num_truncated := sum(one.truncated for one in predictions):
        lines.append(f"texts cut to {max_length} tokens, as in training: {num_truncated}")
    return lines


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"


def _texts(given: Sequence[str], file: Path | None) -> list[str]:
    """The texts to classify.

    Raises:
        ValueError: if there are none, two sources are named, or the file cannot be read.
    """
    if given and file is not None:
        raise ValueError("give texts as arguments or --file, not both")
    if given:
        return [check_utf8(text, f"text {number}") for number, text in enumerate(given, start=1)]
    if file is None:
        if sys.stdin.isatty():
            raise ValueError("no text: give texts as arguments, --file, or on standard input")
        texts, name = list(decoded_lines(sys.stdin.buffer, "standard input")), "standard input"
    elif file.is_file():
        with file.open("rb") as opened:
            texts, name = list(decoded_lines(opened, str(file))), str(file)
    else:
        raise ValueError(f"--file: {file} does not exist or is not a file")
    if not texts:
        raise ValueError(f"{name} holds no text")
    return texts
