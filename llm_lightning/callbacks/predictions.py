"""Writes a classifier's prediction for each test text."""

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from llm_lightning.data.classification import ClassificationData
from llm_lightning.run_format.files import (
    LABEL,
    PREDICTED,
    PREDICTIONS,
    SPLIT_LABEL,
    SPLIT_TEXT,
    TEXT,
    probability,
)
from llm_lightning.run_format.splits import SPLITS


class PredictionWriter(L.Callback):
    """Collects the test split's probabilities and writes ``predictions_test.csv``.

    Columns: ``text``, ``label``, ``predicted`` (class names) and a ``probability_<class>`` for each
    class.

    Args:
        folder: of the file, the run's.
    """

    def __init__(self, folder: str) -> None:
        self._file = Path(folder) / PREDICTIONS
        self._probabilities: list[Tensor] = []

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps the (B, num_classes) probabilities of the test split's batches."""
        if SPLITS[dataloader_idx] == "test":
            self._probabilities.append(outputs.float().cpu())

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the file."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, ClassificationData):
            raise TypeError("callbacks.predictions needs classification data")
        probabilities = torch.cat(self._probabilities).numpy()
        self._probabilities.clear()
        # Fewer than the whole split with limit_test_batches.
        test = data.splits.test.iloc[: len(probabilities)]
        write_predictions(self._file, test, data.splits.class_names, probabilities)


def write_predictions(
    file: Path, examples: pd.DataFrame, class_names: list[str], probabilities: NDArray[np.floating]
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
    for column, name in enumerate(class_names):
        table[probability(name)] = probabilities[:, column]
    table.to_csv(file, index=False, lineterminator="\n", na_rep="nan")
