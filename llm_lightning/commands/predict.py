"""``python -m llm_lightning predict RUN TEXT ...``: label and probability of new texts.

Labels, lengths, padding, position rule and weights all come from the run folder.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from llm_lightning.backbone.tokenizer import encode
from llm_lightning.commands.startup import run_and_exit
from llm_lightning.data.batching import Padder
from llm_lightning.data.files import decode_utf8
from llm_lightning.network import Unavailable
from llm_lightning.presentation import console
from llm_lightning.runs.folder import load_classifier
from llm_lightning.tasks.classifier import Classifier

BATCH_SIZE = 32


@dataclass
class Prediction:
    """What a classifier says about one text."""

    text: str
    label: str
    """The most probable class."""
    probability: float
    """Probability of ``label``."""
    probabilities: dict[str, float]
    """Probability of every class."""
    truncated: bool
    """Whether the text was longer than the run's ``max_length`` and lost its end."""


@torch.inference_mode()
def predict(model: Classifier, texts: Sequence[str]) -> list[Prediction]:
    """Classifies texts as the model's run classified its test split.

    Args:
        model: in evaluation mode.
        texts: any strings, empty ones included.

    Returns:
        One prediction a text, in their order.
    """
    padder = Padder(**model.hparams["text"])
    class_names: list[str] = model.hparams["class_names"]
    token_ids = [encode(text) for text in texts]
    examples = padder.examples(token_ids)
    step = 1 if padder.padding == "none" else BATCH_SIZE
    probabilities: list[list[float]] = []
    for start in range(0, len(examples), step):
        batch = padder.collate(examples[start : start + step])
        logits = model(batch.input_ids.to(model.device), batch.lengths.to(model.device))
        probabilities += logits.float().softmax(dim=-1).tolist()
    predictions = []
    for text, ids, row in zip(texts, token_ids, probabilities, strict=True):
        best = max(range(len(row)), key=row.__getitem__)
        by_name = dict(zip(class_names, row, strict=True))
        truncated = len(ids) > padder.max_length
        predictions.append(Prediction(text, class_names[best], row[best], by_name, truncated))
    return predictions


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m llm_lightning predict",
        description="Label and probability of each text, by the model of a run folder.",
        epilog="Without TEXT and --file, texts are read from standard input, one a line.",
    )
    parser.add_argument("run", type=Path, help="run folder, e.g. runs/last_block/seed_123")
    parser.add_argument("text", nargs="*", help="texts to classify")
    parser.add_argument("--file", type=Path, help="UTF-8 file with one text a line")
    parser.add_argument("--json", action="store_true", help="print one JSON object a text")
    options = parser.parse_intermixed_args(arguments)
    try:
        texts = _texts(options.text, options.file)
        model, summary = load_classifier(options.run)
    except (ValueError, Unavailable) as error:
        console.print_error(str(error))
        return 1
    if torch.cuda.is_available():
        model.to("cuda")
    predictions = predict(model, texts)
    if options.json:
        for prediction in predictions:
            print(json.dumps(vars(prediction), ensure_ascii=False))
        return 0
    console.print_reminder(summary["notices"])
    console.print_predictions(
        [(p.label, p.probability, p.text) for p in predictions],
        num_truncated=sum(p.truncated for p in predictions),
        max_length=model.hparams["text"]["max_length"],
    )
    return 0


def _texts(given: Sequence[str], file: Path | None) -> list[str]:
    """The texts to classify.

    Raises:
        ValueError: if there are none, two sources are named, or the file cannot be read.
    """
    if given and file is not None:
        raise ValueError("give texts as arguments or --file, not both")
    if given:
        return list(given)
    if file is None:
        if sys.stdin.isatty():
            raise ValueError("no text: give texts as arguments, --file, or on standard input")
        raw, name = sys.stdin.buffer.read(), "standard input"
    elif file.is_file():
        raw, name = file.read_bytes(), str(file)
    else:
        raise ValueError(f"--file: {file} does not exist or is not a file")
    texts = [line.removesuffix("\r") for line in decode_utf8(raw, name).split("\n")]
    if texts[-1] == "":
        texts.pop()  # what follows the last line end is no line
    if not texts:
        raise ValueError(f"{name} holds no text")
    return texts


if __name__ == "__main__":
    run_and_exit(main)
