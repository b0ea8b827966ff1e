"""Writes what the model says about each test text."""

from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import torch
from torch import Tensor

from llm_lightning.data.classification import SPLIT_NAMES, ClassificationData


class PredictionWriter(L.Callback):
    """Collects the test split's probabilities and writes ``predictions_test.csv``.

    Columns: ``text``, ``label``, ``predicted`` (class names) and one ``probability_<class>`` each.

    Args:
        folder: where the file goes.
    """

    def __init__(self, folder: str) -> None:
        self._file = Path(folder) / "predictions_test.csv"
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
        if SPLIT_NAMES[dataloader_idx] == "test":
            self._probabilities.append(outputs.float().cpu())

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the file."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, ClassificationData)
        probabilities = torch.cat(self._probabilities).numpy()
        self._probabilities.clear()
        names = data.splits.class_names
        test = data.splits.test.iloc[: len(probabilities)]  # fewer with limit_test_batches
        table = pd.DataFrame(
            {
                "text": test["Text"],
                "label": [names[label] for label in test["Label"]],
                "predicted": [names[best] for best in probabilities.argmax(axis=1)],
            }
        )
        for column, name in enumerate(names):
            table[f"probability_{name}"] = probabilities[:, column]
        table.to_csv(self._file, index=False, lineterminator="\n", na_rep="nan")
