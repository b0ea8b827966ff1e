"""Training from stored activations gives the losses of training without them, in every family."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from contract import DECODERS, LAST_BLOCK, LAST_LAYER, LORA, batch, classifier, language_model
from contract_families import FAMILIES
from quiet_trainer import quiet_trainer
from torch import nn
from torch.utils.data import DataLoader

from llm_lightning.callbacks import frozen_activations
from llm_lightning.callbacks.frozen_activations import FrozenActivations
from llm_lightning.data.batching import Batch
from llm_lightning.data.sequences import NO_LABEL, SequenceBatch
from llm_lightning.distributed.processes import ALONE
from llm_lightning.finetuning.frozen_activations.last_in_memory import LastInMemory
from llm_lightning.run_format.splits import SPLITS
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.tasks.task import Task

Folders = Callable[[str], Path]
SIZES = {"train": 6, "val": 3, "test": 2}
LAST_LORA = LORA | {"blocks": 1, "dropout": 0.1}
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*`logger=False`"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]


@pytest.fixture(autouse=True)
def _nothing_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen_activations, "_last_in_memory", LastInMemory())


class Texts(L.LightningDataModule):
    """Random texts of 1 to 12 tokens, as a task takes them; two in a batch."""

    processes = ALONE

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.as_sequences = isinstance(task, LanguageModel)

    def batch(self, split: str, indices: list[int]) -> Batch | SequenceBatch:
        seed = 100 * SPLITS.index(split)  # type: ignore[arg-type]
        lengths = [1 + (7 * index + seed) % 12 for index in range(SIZES[split])]
        whole = batch(lengths, width=12, seed=seed)
        width = max(lengths[index] for index in indices)
        rows = torch.tensor(indices)
        ids, own_lengths = whole.input_ids[rows, :width], whole.lengths[rows]
        if not self.as_sequences:
            return Batch(ids, own_lengths, whole.labels[rows], rows)
        is_real = torch.arange(width) < own_lengths[:, None]
        labels = torch.where(is_real, (ids + 1) % 97, NO_LABEL)
        return SequenceBatch(ids, own_lengths, labels, is_real, rows)

    def loader(self, split: str) -> DataLoader[Any]:
        pairs = torch.arange(SIZES[split]).split(2)
        return DataLoader(
            [pair.tolist() for pair in pairs],  # type: ignore[arg-type]
            batch_size=None,
            collate_fn=lambda pair: self.batch(split, pair),
        )

    def train_dataloader(self) -> DataLoader[Any]:
        return self.loader("train")

    def val_dataloader(self) -> DataLoader[Any]:
        return self.loader("val")

    def sorted_batches(self, split: str, num_tokens: int) -> Iterator[Batch | SequenceBatch]:
        yield self.batch(split, list(range(SIZES[split])))

    def facts(self) -> dict[str, Any]:
        sizes = {split: {"examples": size, "sha256": split} for split, size in SIZES.items()}
        return {"splits": sizes}


class Losses(L.Callback):
    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        self.values.append(trainer.callback_metrics["train/loss"].item())

    def on_validation_end(self, trainer: L.Trainer, *args: Any) -> None:
        self.values.append(trainer.callback_metrics["val/loss"].item())


class Fit:
    """Two epochs of a task: its losses, what was stored, and how often the first block ran."""

    def __init__(self, task: Task, *, frozen: bool) -> None:
        losses, self.callback = Losses(), FrozenActivations()
        self.passes = 0
        task.backbone.blocks[0].register_forward_hook(self.count)
        trainer = quiet_trainer(
            max_epochs=2,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            callbacks=[losses, *([self.callback] if frozen else [])],
        )
        data: Any = Texts(task)
        self.description = frozen_activations.describe(task, trainer, data)
        self.passes = 0  # without those of the comparison of parts
        L.seed_everything(7, verbose=False)
        trainer.fit(task, datamodule=data)
        self.losses = losses.values

    def count(self, *_: Any) -> None:
        self.passes += 1


TASKS: dict[str, tuple[Callable[..., Task], dict[str, Any], int]] = {
    "classify_last_layer": (classifier, LAST_LAYER, 3),
    "classify_last_block": (classifier, LAST_BLOCK, 2),
    "classify_lora": (classifier, LAST_LORA, 2),
    "generate_last_block": (language_model, LAST_BLOCK, 2),
}
CASES = [(name, task) for task in TASKS for name in (FAMILIES if task[0] == "c" else DECODERS)]


@pytest.mark.parametrize(("name", "case"), CASES)
def test_losses_are_those_without_stored_activations(
    folder_of: Folders, name: str, case: str
) -> None:
    make, finetune, depth = TASKS[case]
    stored = Fit(make(FAMILIES[name], folder_of(name), finetune), frozen=True)
    plain = Fit(make(FAMILIES[name], folder_of(name), finetune), frozen=False)
    assert stored.losses == pytest.approx(plain.losses, abs=1e-5)
    assert len(set(plain.losses)) == len(plain.losses) == 2 * (3 + 1)
    facts = stored.callback.facts
    assert facts is not None
    assert (facts["blocks"], facts["examples"]) == (depth, sum(SIZES.values()))
    assert plain.passes == 2 * (3 + 2), "in every step and every evaluation"
    # Once for each split.
    assert stored.passes == 3
    assert stored.description is not None
    assert f"blocks 0 to {depth - 1} run once for every example" in stored.description


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_a_model_that_cannot_be_resumed_trains_without_stored_activations(
    folder_of: Folders, name: str
) -> None:
    def made() -> Task:
        task = classifier(FAMILIES[name], folder_of(name), LAST_BLOCK)
        add_embeddings(task, block=2)
        return task

    stored, plain = Fit(made(), frozen=True), Fit(made(), frozen=False)
    assert stored.callback.facts is None
    assert stored.losses == plain.losses
    assert stored.passes == plain.passes
    assert stored.description is not None
    assert stored.description.startswith(
        "blocks 0 to 1 run in every epoch: run in two parts, this model gives other hidden states"
    )


def add_embeddings(task: Task, *, block: int) -> None:
    """Makes a block add the embeddings to its output."""
    kept: dict[str, torch.Tensor] = {}
    task.backbone.input_embedding.register_forward_hook(lambda *call: kept.update(out=call[-1]))

    def add(module: nn.Module, args: Any, out: Any) -> Any:
        return (out[0] + kept["out"], *out[1:]) if isinstance(out, tuple) else out + kept["out"]

    task.backbone.blocks[block].register_forward_hook(add)


def test_dropout_keeps_activations_from_being_stored(folder_of: Folders) -> None:
    task = classifier(FAMILIES["bert"], folder_of("bert"), LAST_BLOCK, dropout=0.1)
    assert task.backbone.has_dropout
    fitted = Fit(task, frozen=True)
    assert fitted.callback.facts is None
    assert fitted.description is None
