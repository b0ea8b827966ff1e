"""Text classification as a task: loss and metrics of a classifier that trains."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from llm_lightning.data.batching import Batch
from llm_lightning.evaluation.metrics import METRICS, ClassificationMetrics
from llm_lightning.run_format.splits import EVALUATED
from llm_lightning.tasks.split_metrics import SplitMetrics
from llm_lightning.tasks.task import Task
from llm_lightning.tasks.text_classifier import TextClassifier


class Classifier(TextClassifier, Task):
    """A text classifier that trains; for the arguments see its first base."""

    metric_names: ClassVar[tuple[str, ...]] = METRICS
    training_metric_names: ClassVar[tuple[str, ...]] = METRICS
    class_weights: Tensor | None

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        weights, num_classes = fields["class_weights"], len(fields["class_names"])
        weights = None if weights is None else torch.tensor(weights)
        self.register_buffer("class_weights", weights, persistent=False)
        self.metrics = SplitMetrics(lambda: ClassificationMetrics(num_classes))

    def training_step(self, batch: Batch, batch_idx: int) -> Float[Tensor, ""]:
        """Returns the batch's share of the step's mean loss."""
        logits, weights = self.logits(batch, "train"), self.class_weights
        total = F.cross_entropy(
            logits,
            batch.labels,
            weight=weights,
            label_smoothing=self.options.label_smoothing,
            reduction="sum",
        )
        weight = len(batch.labels) if weights is None else weights[batch.labels].sum().item()
        # Logged as in the evaluation, so that the curves of training and validation are comparable.
        loss, _ = self._update("train", logits.detach(), batch)
        self.log_batch_loss(loss, 0.0 if batch.is_filler else float(len(batch.labels)))
        return self.step_loss(batch, total, float(weight))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds a batch to the validation metrics."""
        self._update("val", self.logits(batch, "val"), batch)

    def test_step(
        self, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> Float[Tensor, "B num_classes"]:
        """Adds a batch to one of ``EVALUATED``; returns its (B, num_classes) probabilities."""
        split = EVALUATED[dataloader_idx]
        return self._update(split, self.logits(batch, split), batch)[1]

    def _update(
        self, split: str, logits: Float[Tensor, "B num_classes"], batch: Batch
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "B num_classes"]]:
        """Adds (B, num_classes) logits to a split; returns their mean loss and probabilities."""
        # The loss is neither weighted nor smoothed, so that runs with different objectives can be
        # compared. Half precision would round probabilities to a few hundred values.
        logits = logits.float()
        losses = F.cross_entropy(logits, batch.labels, reduction="none")
        probabilities = logits.softmax(dim=-1)
        self.count(split, batch, losses, probabilities, batch.labels)
        return losses.mean(), probabilities
