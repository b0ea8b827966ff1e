import pytest
import torch
from sklearn import metrics as sk
from torch.nn import functional as F

from llm_lightning.evaluation.metrics import ClassificationMetrics

LOSS = torch.tensor(0.5)


@pytest.mark.parametrize("num_classes", [2, 4])
def test_values_equal_scikit_learn_over_ragged_batches(num_classes: int) -> None:
    probabilities = torch.randn(70, num_classes, dtype=torch.float64).softmax(dim=1)
    labels = torch.randint(num_classes, (70,))
    metrics = ClassificationMetrics(num_classes)
    losses = F.nll_loss(probabilities.log(), labels, reduction="none")
    for part in map(torch.LongTensor, (range(32), range(32, 64), range(64, 70))):
        metrics.update(losses[part], probabilities[part], labels[part])
    got = {name: value.item() for name, value in metrics.compute_and_reset().items()}

    predicted = probabilities.argmax(dim=1)
    average = "binary" if num_classes == 2 else "macro"
    scores = probabilities[:, 1] if num_classes == 2 else probabilities
    expected = {
        "loss": sk.log_loss(labels, probabilities),
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
    metrics.update(LOSS.expand(2), right.flip(1), torch.tensor([0, 1]))
    assert metrics.compute_and_reset()["accuracy"] == 0
    metrics.update(2 * LOSS.expand(2), right, torch.tensor([0, 1]))
    values = metrics.compute_and_reset()
    assert values["accuracy"] == values["loss"] == 1


def test_classes_without_examples_are_left_out_of_every_average() -> None:
    """A macro average over classes of which nothing is known would be too low."""
    probabilities = torch.tensor(
        [[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7]]
    )
    labels = torch.tensor([0, 1, 0, 1])
    metrics = ClassificationMetrics(3)
    metrics.update(LOSS.expand(4), probabilities, labels)
    values = metrics.compute_and_reset()
    auroc = [sk.roc_auc_score(labels == c, probabilities[:, c]) for c in (0, 1)]
    assert values["auroc"].item() == pytest.approx(sum(auroc) / 2)
    predicted = probabilities.argmax(dim=1)  # of class 2 too, which has no examples
    occurring = {"labels": [0, 1], "average": "macro"}
    assert {name: values[name].item() for name in ("precision", "recall", "f1")} == pytest.approx(
        {
            "precision": sk.precision_score(labels, predicted, **occurring),
            "recall": sk.recall_score(labels, predicted, **occurring),
            "f1": sk.f1_score(labels, predicted, **occurring),
        }
    )
    assert values["balanced_accuracy"] == values["recall"]


def test_a_thousand_classes() -> None:
    metrics = ClassificationMetrics(1000)
    probabilities = torch.randn(300, 1000).softmax(dim=1)
    labels = torch.randint(1000, (300,))
    metrics.update(LOSS.expand(300), probabilities, labels)
    values = metrics.compute_and_reset()
    predicted, occurring = probabilities.argmax(dim=1), labels.unique()
    expected = sk.f1_score(labels, predicted, labels=occurring, average="macro", zero_division=0)
    assert values["f1"].item() == pytest.approx(expected)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_auroc_of_a_single_class_is_not_a_number(num_classes: int) -> None:
    metrics = ClassificationMetrics(num_classes)
    probabilities = torch.randn(5, num_classes).softmax(dim=1)
    metrics.update(LOSS.expand(5), probabilities, torch.ones(5, dtype=torch.long))
    values = metrics.compute_and_reset()
    assert values["auroc"].isnan()
    assert values["accuracy"] == values["balanced_accuracy"]
