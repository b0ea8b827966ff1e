"""A classifier in torch (fp32, bf16) beside its ONNX graphs (fp32, int8): accuracy and latency.

    python experiments/serving/onnx_speed.py RUN FOLDER

FOLDER is what `export --format onnx --quantize int8` wrote. Texts are those of the test split: one
at a time, and 32 at a time sorted by length. Ways take turns, five rounds; medians are printed.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from llm_lightning.data.batching import Padder
from llm_lightning.exporting.onnx_model import INT8, ONNX, session_of
from llm_lightning.runs.load import load_classifier
from llm_lightning.tasks.classifier import Classifier

ROUNDS, SINGLE, BATCH = 5, 200, 32

Ids = tuple[NDArray[np.int64], NDArray[np.int64]]
Logits = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
"""Padded token ids (B, T) and lengths (B,) to logits (B, classes)."""


def in_torch(model: Classifier) -> Logits:
    @torch.inference_mode()
    def logits(ids: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        found = model(torch.from_numpy(ids), torch.from_numpy(lengths))
        return np.asarray(found.float().numpy())

    return logits


def in_onnx(file: Path) -> Logits:
    session = session_of(file)

    def logits(ids: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        mask = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64)
        return np.asarray(session.run(None, {"input_ids": ids, "attention_mask": mask})[0])

    return logits


def seconds(
    logits: Logits, batches: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]
) -> float:
    started = time.perf_counter()
    for batch in batches:
        logits(*batch)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    table = pd.read_csv(options.run / "predictions_test.csv", keep_default_na=False)
    model, _ = load_classifier(options.run)
    half, _ = load_classifier(options.run)
    ways: dict[str, tuple[Logits, float]] = {
        "torch fp32": (in_torch(model), _mib(model)),
        "torch bf16": (in_torch(half.bfloat16()), _mib(half)),
        "ONNX fp32": (in_onnx(options.folder / ONNX), _file_mib(options.folder / ONNX)),
        "ONNX int8": (in_onnx(options.folder / INT8), _file_mib(options.folder / INT8)),
    }
    padder = Padder(**model.hparams["text"])
    examples = padder.examples([model.tokenizer.encode(text) for text in table["text"]])

    def collated(size: int) -> list[Ids]:
        parts = [padder.collate(own) for own in _parts(examples, size)]
        return [(part.input_ids.numpy(), part.lengths.numpy()) for part in parts]

    single = collated(1)[:SINGLE]
    examples.sort(key=len)
    batches, order = collated(BATCH), [one.index for one in examples]
    names = np.asarray(model.hparams["class_names"])
    predicted, times = {}, {way: ([], []) for way in ways}
    for way, (logits, _) in ways.items():
        found = np.concatenate([logits(*batch).argmax(axis=1) for batch in batches])
        predicted[way] = names[found[np.argsort(order)]]
    for _ in range(ROUNDS):
        for way, (logits, _) in ways.items():
            times[way][0].append(1000 * seconds(logits, single) / len(single))
            times[way][1].append(1000 * seconds(logits, batches) / len(examples))
    print(
        "| way | MiB | accuracy | same label as fp32 | ms a text, alone | ms a text, 32 at once |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for way, (_, mib) in ways.items():
        right = np.mean(predicted[way] == table["label"])
        same = np.sum(predicted[way] == predicted["torch fp32"])
        alone, together = map(statistics.median, times[way])
        print(
            f"| {way} | {mib:.1f} | {100 * right:.2f} % | {same} of {len(table)} | {alone:.2f} | "
            f"{together:.2f} |"
        )


def _parts(examples: list, size: int) -> list[list]:
    return [examples[start : start + size] for start in range(0, len(examples), size)]


def _mib(model: Classifier) -> float:
    return sum(value.nbytes for value in model.parameters()) / 2**20


def _file_mib(file: Path) -> float:
    return file.stat().st_size / 2**20


if __name__ == "__main__":
    main()
