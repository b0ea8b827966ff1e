"""Lightning's trainer on the CPU, without anything that prints or writes."""

from typing import Any

import lightning as L


def quiet_trainer(**options: Any) -> L.Trainer:
    """A trainer of one epoch, unless the options say otherwise."""
    quiet = {
        "max_epochs": 1,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return L.Trainer(**quiet | options)
