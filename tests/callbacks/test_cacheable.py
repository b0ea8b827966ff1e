"""What can be computed once, and how the start of a run describes it."""

from pathlib import Path
from typing import Any

import pytest
from small_runs import ROOM, messages, task_for, trainer_with

from llm_lightning.callbacks.cacheable import cacheable_depth, cacheable_splits
from llm_lightning.callbacks.frozen_activations import FrozenActivations, describe


@pytest.fixture(autouse=True)
def _folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        {"finetune": {"_target_": f"{ROOM}.strategies.AllLayers"}},
        {"finetune": {"_target_": f"{ROOM}.adaptation.LoRA"}},
        {"model": {"resid_pdrop": 0.1}},
        # Padded to the longest text of a batch, it differs from batch to batch.
        {"task": {"pooling": "last"}},
        {
            "finetune": {
                "_target_": f"{ROOM}.strategies.TopBlocks",
                "num_blocks": 1,
                "cache_frozen_activations": False,
            }
        },
    ],
)
def test_what_changes_with_the_batch_or_epoch_is_not_cached(settings: dict[str, Any]) -> None:
    assert cacheable_depth(task_for(messages(), **settings)) == 0


def test_only_whole_splits_are_cached() -> None:
    assert cacheable_splits(trainer_with([])) == ["train", "val", "test"]
    one = {f"limit_{stage}_batches": 1 for stage in ("train", "val", "test")}
    assert cacheable_splits(trainer_with([], **one)) == []
    assert cacheable_splits(trainer_with([], limit_train_batches=0.5)) == ["val", "test"]


def test_the_description_names_the_share_of_passes_that_is_saved() -> None:
    data = messages()
    task, trainer = task_for(data), trainer_with([FrozenActivations()])
    # Passes: train and val 2 epochs and the final evaluation, test once; 2 of 3 blocks are saved
    # in all but the first of them.
    counts = {"train": 28, "val": 4, "test": 8}
    assert {name: s["examples"] for name, s in data.facts()["splits"].items()} == counts
    saved = 2 * (28 + 4) * 2 / (3 * ((28 + 4) * 3 + 8))
    expected = f"blocks 0 to 1 run once for every example, which saves {saved:.0%} of all forward"
    assert (describe(task, trainer, data) or "").startswith(expected)


def test_the_description_explains_why_nothing_is_saved() -> None:
    data = messages()
    trainer = trainer_with([FrozenActivations()])
    line = describe(task_for(data, task={"pooling": "last"}), trainer, data)
    assert line == (
        "blocks 0 to 1 run in every epoch: with data.padding=batch, task.pooling=last and "
        "task.mask_padding=true the activations of an example depend on its batch"
    )
    line = describe(task_for(data), trainer_with([]), data)
    assert line == "blocks 0 to 1 run in every epoch: callbacks.frozen_activations was removed"
