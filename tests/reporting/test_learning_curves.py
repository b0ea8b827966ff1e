"""The values that learning curves are drawn from."""

import numpy as np
import pandas as pd
import pytest
from reporting.figure_runs import METRICS

from llm_lightning.reporting.analyse.learning_curves import learning_curve


def test_learning_curve_places_steps_and_epochs(tmp_path):
    (tmp_path / "metrics.csv").write_text(METRICS)
    curve = learning_curve(pd.read_csv(tmp_path / "metrics.csv"), steps_per_epoch=4)
    assert curve.index.name == "epochs_done"
    assert {name: curve[name].dropna().to_dict() for name in curve} == {
        "step_loss": {0.5: 0.9, 1.0: 0.5, 1.5: 0.4, 2.0: 0.2},
        "train_loss": {1.0: 0.7, 2.0: 0.25},
        "val_loss": {1.0: 0.6, 2.0: 0.3},
        "train_accuracy": {1.0: 0.625, 2.0: 0.9375},
        "val_accuracy": {1.0: 0.75, 2.0: 0.875},
        "response_loss": {},
        "perplexity": {},
    }


def test_learning_curve_keeps_the_last_of_a_repeated_epoch_and_only_finite_values():
    metrics = pd.DataFrame(
        {
            "epoch": [0, 0, 1, 2],
            "step": [3, 3, 7, 11],
            "val/loss": [0.9, 0.6, np.inf, 0.3],
        }
    )
    curve = learning_curve(metrics, steps_per_epoch=4)
    assert curve["val_loss"].to_dict() == {1.0: 0.6, 3.0: 0.3}
    assert curve.drop(columns="val_loss").isna().all(axis=None)


def test_learning_curve_without_steps_per_epoch_has_no_steps():
    metrics = pd.DataFrame({"epoch": [0], "step": [3], "train/loss": [0.5], "val/loss": [0.6]})
    curve = learning_curve(metrics, None)
    assert curve["step_loss"].isna().all()
    assert curve["val_loss"].to_dict() == {1.0: 0.6}
    with pytest.raises(ValueError, match="steps_per_epoch must be at least 1, got 0"):
        learning_curve(metrics, 0)
