import pytest
import torch
from sklearn import metrics as sk

from llm_lightning.evaluation.metrics import ClassificationMetrics


@pytest.mark.parametrize("num_classes", [2, 4])
def test_values_equal_scikit_learn_over_ragged_batches(num_classes: int) -> None:
    probabilities = torch.randn(70, num_classes).softmax(dim=1)
    labels = torch.randint(num_classes, (70,))
    metrics = ClassificationMetrics(num_classes)
    for start in (0, 32, 64):
        metrics.update(probabilities[start : start + 32], labels[start : start + 32])
    got = {name: value.item() for name, value in metrics.compute_and_reset().items()}

    predicted = probabilities.argmax(dim=1)
    average = "binary" if num_classes == 2 else "macro"
    scores = probabilities[:, 1] if num_classes == 2 else probabilities
    expected = {
        "accuracy": sk.accuracy_score(labels, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, predicted),
        "precision": sk.precision_score(labels, predicted, average=average),
        "recall": sk.recall_score(labels, predicted, average=average),
        "f1": sk.f1_score(labels, predicted, average=average),
        "auroc": sk.roc_auc_score(labels, scores, multi_class="ovr"),
    }
    assert got == pytest.approx(expected, abs=1e-5)


def test_nothing_is_left_after_the_reset() -> None:
    metrics = ClassificationMetrics(2)
    right = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    metrics.update(right.flip(1), torch.tensor([0, 1]))
    assert metrics.compute_and_reset()["accuracy"] == 0
    metrics.update(right, torch.tensor([0, 1]))
    assert metrics.compute_and_reset()["accuracy"] == 1
