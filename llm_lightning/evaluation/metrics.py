"""Classification metrics, as torchmetrics objects."""

from typing import Any, Literal

from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)


class ClassificationMetrics(nn.Module):
    """Accuracy, balanced accuracy, precision, recall, F1 and AUROC of one split.

    With two classes precision, recall, F1 and AUROC speak of the positive class, index 1; with
    more they are macro averages. Balanced accuracy is the mean of the classes' recalls.

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
                "balanced_accuracy": MulticlassAccuracy(average="macro", **options),
                "precision": MulticlassPrecision(average=average, **options),
                "recall": MulticlassRecall(average=average, **options),
                "f1": MulticlassF1Score(average=average, **options),
                "auroc": MulticlassAUROC(average=average, **options),
            }
        )

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Adds a batch: (B, num_classes) probabilities and (B,) class indices."""
        self.metrics.update(probabilities.float(), labels)

    def compute_and_reset(self) -> dict[str, Tensor]:
        """Returns each metric over everything added since the last call, and starts anew."""
        values: dict[str, Tensor] = self.metrics.compute()
        self.metrics.reset()
        return {name: value[1] if value.ndim else value for name, value in values.items()}
