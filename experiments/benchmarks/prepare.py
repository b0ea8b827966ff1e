"""What all cases read, written once before anything is measured.

Token ids as JSON, so that a peer needs neither Lightning nor a tokenizer to start; and the same
texts as CSV, as our program reads them.
"""

import json
import random
from pathlib import Path
from typing import Any

import pandas as pd

from llm_lightning.backbone.tokenizer import encode
from llm_lightning.data.instructions import Instructions
from llm_lightning.data.prompts import Prompts
from llm_lightning.data.spam import SmsSpam
from llm_lightning.data.splits import Splits
from llm_lightning.run_format.files import SPLIT_LABEL, SPLIT_TEXT

ORDER_SEED = 7  # which examples are timed, and in which order


def prepare(
    *,
    folder: str,
    data_path: str | None,
    instructions_path: str | None,
    examples: int,
    overhead_examples: int,
    lengths: list[int],
    examples_of_length: int,
    prompts: int,
    context: int,
    max_new_tokens: int,
) -> dict[str, Any]:
    """Writes ``inputs.json``, ``steps.json``, ``steps.csv``, ``overhead.csv``, ``length_<n>``.

    Args:
        folder: where to.
        data_path: the SMS collection; without it the packaged messages are used.
        instructions_path: instructions as JSON; without it the packaged ones are used.
        examples: how many texts the timed steps see, drawn from the training split.
        overhead_examples: the same where Lightning's share of a step is measured.
        lengths: for each a file of texts of at least that many tokens is made.
        examples_of_length: texts in each of these.
        prompts: how many instructions get a response, at most.
        context: positions of the smallest model.
        max_new_tokens: room to leave for a response.
    """
    data = SmsSpam(path=data_path)
    if data_path is None:
        data.use_packaged()
    data.setup()
    splits, max_length = data.splits, data.padder.max_length
    out = Path(folder)
    encoded = {
        name: [
            [encode(text)[:max_length], int(label)]
            for text, label in zip(table[SPLIT_TEXT], table[SPLIT_LABEL], strict=True)
        ]
        for name, table in splits.items()
    }
    _write(out / "inputs.json", {"max_length": max_length, "splits": encoded})

    order = random.Random(ORDER_SEED).sample(range(len(splits.train)), len(splits.train))
    chosen = order[:examples]
    for name, rows in (("steps", chosen), ("overhead", order[:overhead_examples])):
        texts = [splits.train[SPLIT_TEXT].iloc[i] for i in rows]
        _write_table(out / f"{name}.csv", splits, texts, rows)
    timed = [encoded["train"][i] for i in chosen]
    _write(out / "steps.json", {"max_length": max_length, "examples": timed})

    for length in lengths:
        texts = _long_texts(splits, examples_of_length, length)
        rows = list(range(len(texts)))
        _write_table(out / f"length_{length}.csv", splits, texts, rows)
        labels = [int(label) for label in splits.train[SPLIT_LABEL].iloc[rows]]
        encoded_texts = [
            [encode(t)[:length], label] for t, label in zip(texts, labels, strict=True)
        ]
        _write(out / f"length_{length}.json", {"max_length": length, "examples": encoded_texts})

    questions = _prompts(instructions_path, context - max_new_tokens)[:prompts]
    _write(out / "prompts.json", questions)
    return {
        "source": Path(data_path).name if data_path else "packaged messages",
        "instructions": Path(instructions_path).name if instructions_path else "packaged",
        "split_sizes": {name: len(rows) for name, rows in encoded.items()},
        "max_length": max_length,
        "mean_length": sum(len(ids) for ids, _ in encoded["train"]) / len(encoded["train"]),
        "prompts": len(questions),
        "prompt_tokens": [min(map(len, questions)), max(map(len, questions))],
    }


def _long_texts(splits: Splits, count: int, length: int) -> list[str]:
    """Messages one after another until each text has the length."""
    messages = iter([*splits.train[SPLIT_TEXT]] * (1 + count * length // len(splits.train)))
    texts = []
    for _ in range(count):
        text = next(messages)
        while len(encode(text)) < length:
            text += " " + next(messages)
        texts.append(text)
    return texts


def _write_table(file: Path, splits: Splits, texts: list[str], rows: list[int]) -> None:
    labels = [int(splits.train[SPLIT_LABEL].iloc[row]) for row in rows]
    pd.DataFrame({"label": labels, "text": texts}).to_csv(file, index=False)


def _prompts(path: str | None, longest: int) -> list[list[int]]:
    data = Instructions(path=path)
    if path is None:
        data.use_packaged()
    data.setup()
    prompts = Prompts(data.prompt_style, data.tokenizer)
    return [prompts.prompt_ids(record, longest) for record in data.records["test"]]


def _write(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value), encoding="utf-8")
