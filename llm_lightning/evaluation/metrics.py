"""Classification metrics, as torchmetrics objects."""

import warnings
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
    MulticlassStatScores,
)

METRICS = ("loss", "accuracy", "balanced_accuracy", "precision", "recall", "f1", "auroc")


class ClassificationMetrics(nn.Module):
    """Mean loss, accuracy, balanced accuracy, precision, recall, F1 and AUROC of one split.

    With two classes, precision, recall, F1 and AUROC are those of the positive class, index 1; with
    more they are macro averages. Balanced accuracy (mean recall) and macro AUROC average over the
    classes that occur among the labels; AUROC is NaN if only one class occurs.

    Args:
        num_classes: at least 2.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        # Inputs come from our own softmax; validating them would cost a pass over every batch.
        options: dict[str, Any] = {"num_classes": num_classes, "validate_args": False}
        average: Literal["none", "macro"] = "none" if num_classes == 2 else "macro"
        self.metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(average="micro", **options),
                "precision": MulticlassPrecision(average=average, **options),
                "recall": MulticlassRecall(average=average, **options),
                "f1": MulticlassF1Score(average=average, **options),
                "auroc": MulticlassAUROC(average="none", **options),
                "counts": MulticlassStatScores(average="none", **options),
            }
        )
        self._batches: list[tuple[Tensor, Tensor, Tensor]] = []

    def update(
        self,
        losses: Float[Tensor, " B"],
        probabilities: Float[Tensor, "B num_classes"],
        labels: Int[Tensor, " B"],
    ) -> None:
        """Adds a batch.

        Args:
            losses: (B,) of the examples.
            probabilities: (B, num_classes).
            labels: (B,) class indices.
        """
        # Stored until compute_and_reset(), as AUROC would store them anyway: the metrics together
        # take about as long for one batch as for all.
        self._batches.append((losses, probabilities.float(), labels))

    def compute_and_reset(self) -> dict[str, Float[Tensor, ""]]:
        """Returns ``METRICS`` over all batches added since the last call, and forgets them."""
        losses, probabilities, labels = map(torch.cat, zip(*self._batches, strict=True))
        self._batches.clear()
        self.metrics.update(probabilities, labels)
        with warnings.catch_warnings():
            # Classes without examples are excluded below; torchmetrics scores them 0.
            warnings.filterwarnings("ignore", message="No (positive|negative) samples")
            values: dict[str, Tensor] = self.metrics.compute()
        self.metrics.reset()
        values["loss"] = losses.mean()
        true_positives, _, _, _, support = values.pop("counts").unbind(dim=1)
        present = support > 0
        values["balanced_accuracy"] = (true_positives / support)[present].mean()
        auroc = values.pop("auroc").masked_fill(support == support.sum(), float("nan"))
        values["auroc"] = auroc[1] if len(auroc) == 2 and present.all() else auroc[present].mean()
        return {name: values[name][1] if values[name].ndim else values[name] for name in METRICS}
