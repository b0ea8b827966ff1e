"""Writes what a classifier predicts for each validation and test text, and how well by class."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from llm_lightning.data.classification import ClassificationData
from llm_lightning.data.splits import Splits, quoting_for
from llm_lightning.distributed.collectives import in_turn
from llm_lightning.run_format.atomic_files import replacing
from llm_lightning.run_format.class_metrics import class_metrics, write_class_metrics
from llm_lightning.run_format.files import (
    CLASS_METRICS,
    LABEL,
    PREDICTED,
    PREDICTIONS,
    SPLIT_LABEL,
    SPLIT_TEXT,
    TEXT,
    VAL_PREDICTIONS,
    probability,
)
from llm_lightning.run_format.splits import SPLITS

Probabilities = NDArray[np.floating]

_FILES = {"val": VAL_PREDICTIONS, "test": PREDICTIONS}


class PredictionWriter(L.Callback):
    """Collects probabilities in the final evaluation and writes what each text is predicted to be.

    ``predictions_test.csv`` and ``predictions_val.csv`` have the columns ``text``, ``label``,
    ``predicted`` (class names) and a ``probability_<class>`` for each class;
    ``class_metrics_test.csv`` has a row for each class.

    Args:
        folder: of the files, the run's.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._probabilities: dict[str, list[Tensor]] = {split: [] for split in _FILES}
        self._indices: dict[str, list[Tensor]] = {split: [] for split in _FILES}

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps the (B, num_classes) probabilities of the validation and test split's batches."""
        if (split := SPLITS[dataloader_idx]) in _FILES and not batch.is_filler:
            self._probabilities[split].append(outputs.float().cpu())
            self._indices[split].append(batch.indices)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the files, of all processes' examples."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, ClassificationData):
            raise TypeError("callbacks.predictions needs classification data")
        found = {}
        for split, batches in self._probabilities.items():
            order = torch.cat(in_turn(self._indices[split])).argsort()
            found[split] = torch.cat(in_turn(batches))[order].numpy()
        for batches in (*self._probabilities.values(), *self._indices.values()):
            batches.clear()
        if trainer.is_global_zero:
            write_all_predictions(self._folder, data.splits, found)


def write_all_predictions(
    folder: Path, splits: Splits, probabilities: Mapping[str, Probabilities]
) -> None:
    """Writes the files that :class:`PredictionWriter` describes.

    Args:
        folder: the run's.
        splits: of the data.
        probabilities: (examples, classes) of the validation and the test split, or of their first
            examples where the evaluation was limited.
    """
    for split, file in _FILES.items():
        found, names = probabilities[split], splits.class_names
        examples = getattr(splits, split).iloc[: len(found)]
        write_predictions(folder / file, examples, names, found)
        if split == "test":
            metrics = class_metrics(examples[SPLIT_LABEL], found.argmax(axis=1), names)
            write_class_metrics(folder / CLASS_METRICS, metrics)


def write_predictions(
    file: Path, examples: pd.DataFrame, class_names: list[str], probabilities: Probabilities
) -> None:
    """Writes the predictions of a classifier.

    Args:
        file: to write, with the columns of :class:`PredictionWriter`.
        examples: with columns ``Text`` and ``Label``, a class index.
        class_names: name of each class.
        probabilities: (examples, classes).
    """
    table = pd.DataFrame(
        {
            TEXT: examples[SPLIT_TEXT],
            LABEL: [class_names[label] for label in examples[SPLIT_LABEL]],
            PREDICTED: [class_names[best] for best in probabilities.argmax(axis=1)],
        }
    )
    # At once: a thousand columns that are added one by one fragment a table.
    by_class = pd.DataFrame(
        probabilities, index=table.index, columns=[probability(name) for name in class_names]
    )
    table = pd.concat([table, by_class], axis="columns")
    quoting = quoting_for(table[TEXT])
    with replacing(file) as new:
        table.to_csv(new, index=False, lineterminator="\n", na_rep="nan", quoting=quoting)
