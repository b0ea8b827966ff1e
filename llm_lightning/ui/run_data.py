"""The data of a run, read back from its folder and encoded as for its training.

A run writes which texts were in which split. With its settings, its tokenizer and what its
checkpoint says about truncation, they become the same examples in the same order.
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import torch

from llm_lightning.backbone.families import build, model_from, saved_tokenizer
from llm_lightning.backbone.weights import ModelConfig
from llm_lightning.data.classification import ClassificationData
from llm_lightning.data.instructions import Instructions
from llm_lightning.data.module import DataModule
from llm_lightning.data.prompts import Prompts, Record
from llm_lightning.data.records import read_records
from llm_lightning.data.sequences import TokenSequence
from llm_lightning.data.splits import Splits
from llm_lightning.data.text import TextFiles
from llm_lightning.reporting.read.run_tables import read_split
from llm_lightning.run_format import files
from llm_lightning.run_format.splits import SPLITS
from llm_lightning.run_format.summary import read_summary
from llm_lightning.tasks.pooling import resolved_pooling
from llm_lightning.ui.config_difference import read_config

_MOST_CLASSES = 10**6
_OF_THE_DRAW = {"num_train", "folds", "fold", "max_length"}
"""Settings that have had their effect on the splits, or whose result is known."""


class RunData(NamedTuple):
    """The data of a run, set up."""

    data: DataModule
    pooling: str | None
    """Of a classifier: which hidden state is classified."""
    notes: list[str]
    """What could not be read and was assumed."""


@dataclass(eq=False)
class RunTexts(ClassificationData):
    """The splits of a classification run."""

    folder: str = ""
    class_names: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """The folder of the splits."""
        return str(Path(self.folder) / files.SPLITS_FOLDER)

    def read(self) -> Splits:
        """Reads the splits as they were written.

        Raises:
            ValueError: if one is missing or damaged.
        """
        num_classes = len(self.class_names) or _MOST_CLASSES
        tables = []
        for split in SPLITS:
            try:
                tables.append(read_split(Path(self.folder), split, num_classes))
            except (OSError, KeyError) as error:
                raise ValueError(f"{self.source} has no readable {split} split") from error
        names = list(self.class_names)
        if not names:
            highest = max(int(table[files.SPLIT_LABEL].max()) for table in tables)
            names = [f"class {index}" for index in range(highest + 1)]
        train, val, test = tables
        return Splits(train, val, test, names)

    def lengths(self, split: str) -> list[int]:
        """Returns the number of tokens of each example, cut and with special tokens."""
        return [len(example) for example in self._examples[split]]


@dataclass(eq=False)
class RunInstructions(Instructions):
    """The splits of an instruction run."""

    folder: str = ""

    @property
    def source(self) -> str:
        """The folder of the splits."""
        return str(Path(self.folder) / files.SPLITS_FOLDER)

    def read(self) -> dict[str, list[TokenSequence]]:
        """Reads the splits as they were written, and encodes them.

        Raises:
            ValueError: if one is missing or damaged.
        """
        prompts = Prompts(self.prompt_style, self.tokenizer)
        sequences: dict[str, list[TokenSequence]] = {}
        for split in SPLITS:
            own: list[Record] = read_records(Path(self.source) / files.split_file(split, self.kind))
            encoded = [prompts.encode(record, self.mask, self.longest) for record in own]
            self._records[split] = own
            self._num_cut[split] = sum(bool(one.cut) for one in encoded)
            sequences[split] = [one.sequence for one in encoded]
        return sequences


def run_data(folder: Path) -> RunData:
    """Reads the data of a run, finished or not.

    Args:
        folder: the run's.

    Raises:
        ValueError: if it is a baseline, has written no splits yet, or they are damaged.
    """
    config = read_config(folder)
    splits = folder / files.SPLITS_FOLDER
    settings = config.get("data")
    if not isinstance(settings, dict) or not splits.is_dir():
        raise ValueError(f"{folder} has written no splits yet: its data are still being prepared")
    if not isinstance(config.get("model"), dict) or "baseline" in str(config.get("task")):
        raise ValueError(f"{folder} is a baseline: it has no tokens and no batches")
    notes: list[str] = []
    trained = _checkpoint(folder)
    text = trained.get("text") or {}
    tokenizer = saved_tokenizer(folder / files.TOKENIZER)
    max_length = text.get("max_length", settings.get("max_length"))
    if not trained:
        notes.append("there is no checkpoint yet: lengths and class names are as configured")
    data: DataModule
    pooling = None
    if (splits / files.split_file("train", "instructions")).is_file():
        kept = _known(settings, Instructions) | {"max_length": max_length, "path": None}
        data = RunInstructions(folder=str(folder), **kept)
    elif (splits / files.split_file("train", "classification")).is_file():
        names = _class_names(folder, trained)
        if not names:
            notes.append("the names of the classes are not known yet")
        data = RunTexts(
            folder=str(folder),
            class_names=names,
            max_length=max_length or "longest_train",
            **_known(settings, ClassificationData),
        )
        pooling = _pooling(config, trained)
        if pooling is None:
            notes.append("which position is pooled is known once there is a checkpoint")
    else:  # plain text: its splits only name the files
        data = TextFiles(**_known(settings, TextFiles) | {"max_length": settings["max_length"]})
        data.prepare_data()
    data.use_model(tokenizer, _context(config, max_length))
    data.setup("fit")
    return RunData(data, pooling, notes)


def _known(settings: Mapping[str, Any], schema: type[Any]) -> dict[str, Any]:
    names = {field.name for field in fields(schema)} - _OF_THE_DRAW - {"_target_"}
    return {name: value for name, value in settings.items() if name in names}


def _checkpoint(folder: Path) -> dict[str, Any]:
    """The hyper-parameters in a checkpoint of the run; none before its first one."""
    for name in ("best", "last", "resume"):
        file = folder / files.CHECKPOINTS / files.checkpoint_file(name)
        if not file.is_file():
            continue
        try:
            found = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
            return dict(found["hyper_parameters"])
        except (RuntimeError, OSError, EOFError, KeyError, TypeError, pickle.UnpicklingError):
            continue  # being replaced, or damaged
    return {}


def _class_names(folder: Path, trained: Mapping[str, Any]) -> tuple[str, ...]:
    if names := trained.get("class_names"):
        return tuple(names)
    try:
        return tuple(read_summary(folder).class_names or ())
    except (ValueError, OSError):
        return ()


def _pooling(config: Mapping[str, Any], trained: Mapping[str, Any]) -> str | None:
    chosen = str(config["task"].get("pooling", "auto"))
    if chosen not in ("auto", "cls"):
        return chosen
    architecture = trained.get("model")
    if architecture is None:
        if "n_layer" not in config["model"]:
            return None
        model = model_from(_known(config["model"], ModelConfig))
        architecture = model.architecture() if isinstance(model, ModelConfig) else {}
    with torch.device("meta"):  # no memory for weights
        is_causal = build(architecture | {"init": "empty"}).is_causal
    return resolved_pooling(chosen, is_causal=is_causal)


def _context(config: Mapping[str, Any], max_length: Any) -> int:
    """The model's context, as far as it matters here: where ``max_length`` is no number."""
    model = config["model"]
    known = model.get("n_positions") or model.get("context_length")
    longest = max_length if isinstance(max_length, int) else 0
    return max(int(known or 1024), longest)
