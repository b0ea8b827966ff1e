"""Classification metrics of a split, from its losses and probabilities."""

import warnings

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAUROC

from llm_lightning.distributed.collectives import group_size, in_turn

METRICS = ("loss", "accuracy", "balanced_accuracy", "precision", "recall", "f1", "auroc")


class ClassificationMetrics(nn.Module):
    """Mean loss, accuracy, balanced accuracy, precision, recall, F1 and AUROC of one split.

    With two classes, precision, recall, F1 and AUROC are those of the positive class, index 1; with
    more they are macro averages. Every average, and the balanced accuracy (mean recall), is over
    the classes that occur among the labels, as :mod:`llm_lightning.run_format.class_metrics`
    explains. AUROC is NaN if only one class occurs.

    Args:
        num_classes: at least 2.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        # Inputs come from our own softmax; validating them would cost a pass over every batch.
        # It sees all processes' batches.
        self.auroc = MulticlassAUROC(
            num_classes=num_classes, average="none", validate_args=False, sync_on_compute=False
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
        # Stored until compute_and_reset(), as AUROC would store them anyway: all metrics take about
        # as long for one batch as for all.
        self._batches.append((losses, probabilities.float(), labels))

    def state(self) -> list[Tensor]:
        """Returns what was added since the last call of ``compute_and_reset``, for a checkpoint."""
        return list(map(torch.cat, zip(*self._batches, strict=True))) if self._batches else []

    def restore(self, states: list[list[Tensor]], device: torch.device) -> None:
        """Goes on from what :meth:`state` returned, in one process or in several."""
        self._batches = []
        for state in filter(None, states):
            losses, probabilities, labels = (part.to(device) for part in state)
            self._batches.append((losses, probabilities, labels))

    def compute_and_reset(self) -> dict[str, Float[Tensor, ""]]:
        """Returns ``METRICS`` over all batches added since the last call, and forgets them.

        Those of all processes; all of them return the same.
        """
        losses, probabilities, labels = map(torch.cat, zip(*self._gathered(), strict=True))
        self._batches.clear()
        self.auroc.update(probabilities, labels)
        with warnings.catch_warnings():
            # Classes without examples are excluded below; torchmetrics scores them 0.
            warnings.filterwarnings("ignore", message="No (positive|negative) samples")
            auroc: Tensor = self.auroc.compute()
        self.auroc.reset()
        num_classes = probabilities.shape[1]
        predicted = probabilities.argmax(dim=1)
        # Counts of each class: a confusion matrix would grow with the square of the classes.
        hits, given, support = (
            torch.bincount(of, minlength=num_classes)
            for of in (labels[labels == predicted], predicted, labels)
        )
        present = support > 0
        by_class = {
            "precision": hits / given.clamp(min=1),
            "recall": hits / support.clamp(min=1),
            "f1": 2 * hits / (given + support).clamp(min=1),
            "auroc": auroc.masked_fill(support == len(labels), float("nan")),
        }
        values = {
            "loss": losses.mean(),
            "accuracy": (labels == predicted).float().mean(),
            "balanced_accuracy": by_class["recall"][present].mean(),
        }
        for name, found in by_class.items():
            values[name] = found[1] if num_classes == 2 else found[present].mean()
        if not present.all():
            values["auroc"] = by_class["auroc"][present].mean()  # NaN if only one class occurs
        return {name: values[name] for name in METRICS}

    def _gathered(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """The batches of all processes, in the order that one process would have them in."""
        if group_size() == 1:
            return self._batches
        device = next(iter(self._batches), (torch.empty(0),))[0].device
        on_cpu = [tuple(part.cpu() for part in batch) for batch in self._batches]
        return [
            (one.to(device), two.to(device), three.to(device))
            for one, two, three in in_turn(on_cpu)
        ]
