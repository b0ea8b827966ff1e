"""One run's folder: what is in it, and how a model is rebuilt from it.

::

    config.yaml            the resolved configuration
    summary.json           final metrics, counts, fingerprints, versions, times
    metrics.csv            curves (and TensorBoard events)
    predictions_test.csv   what the model says about each test text
    splits/                the texts of each split
    checkpoints/           best.ckpt (lowest validation loss) and last.ckpt
    plots/                 pictures of the above
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from llm_lightning.tasks.classifier import Classifier

CONFIG = "config.yaml"
SUMMARY = "summary.json"
SPLITS = "splits"


def start(folder: Path, cfg: DictConfig) -> None:
    """Makes the folder and writes the configuration. A former run of the same name goes.

    Raises:
        ValueError: if the folder holds something that is not a run.
    """
    if folder.exists() and any(folder.iterdir()):
        if not (folder / CONFIG).is_file():
            raise ValueError(
                f"run_dir {folder} is not empty and holds no run; choose another runs_dir"
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(cfg, folder / CONFIG, resolve=True)


def write_summary(folder: Path, summary: dict[str, Any]) -> None:
    """Writes ``summary.json``."""
    text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=True)
    (folder / SUMMARY).write_text(text + "\n", encoding="utf-8")


def read_summary(folder: Path) -> dict[str, Any]:
    """Reads ``summary.json``.

    Raises:
        ValueError: if the folder is not that of a finished run; runs inside it are named.
    """
    file = folder / SUMMARY
    if not file.is_file():
        inside = sorted(str(found.parent) for found in folder.glob(f"**/{SUMMARY}"))
        hint = f"; did you mean {inside[0]}?" if inside else ""
        raise ValueError(f"{folder} is not the folder of a finished run (no {SUMMARY}){hint}")
    summary: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return summary


def load_classifier(folder: Path) -> tuple[Classifier, dict[str, Any]]:
    """Rebuilds the model that a run's summary speaks of, in evaluation mode, on the CPU.

    Returns:
        The model and the summary.

    Raises:
        ValueError: if the folder holds no finished run, or its checkpoint is gone.
    """
    summary = read_summary(folder)
    path = folder / summary["checkpoint"]
    if not path.is_file():
        raise ValueError(f"the checkpoint {path} is missing")
    checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    fields = checkpoint["hyper_parameters"]
    fields["model"] = fields["model"] | {"init": "empty"}  # every weight is loaded next
    model = Classifier(**fields)
    model.load_state_dict(checkpoint["state_dict"], strict=True)
    return model.eval(), summary
