"""The first batch of a run, read back from its folder."""

from pathlib import Path
from typing import Any

import pytest
from program import SMOKE, start
from reporting import run_folders
from ui.small_models import write_data_run, write_instruction_data_run

from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID, encode
from llm_lightning.tasks.classifier import Classifier
from llm_lightning.tasks.language_model import LanguageModel
from llm_lightning.ui.data_statistics import split_statistics
from llm_lightning.ui.first_batch import IN_LOSS, MASKED, PADDING, TEXT, first_batch
from llm_lightning.ui.run_data import run_data


def test_tokens_padding_and_the_pooled_position_of_a_classifier(tmp_path: Path) -> None:
    folder = tmp_path / "last_block" / "seed_1"
    run = run_data(write_data_run(folder, {"batch_size": 3, "seed": 7, "padding": "max_length"}))
    found = first_batch(run)
    assert (run.notes, found.shape) == ([], (3, 6))
    for row in found.rows:
        label, text = run_folders.TRAIN[row.index]
        ids = encode(text)[:6]
        assert [cell.token for cell in row.cells] == ids + [END_OF_TEXT_ID] * (6 - len(ids))
        assert [cell.role for cell in row.cells] == [TEXT] * len(ids) + [PADDING] * (6 - len(ids))
        assert [i for i, cell in enumerate(row.cells) if cell.is_pooled] == [len(ids) - 1]
        assert row.label == run_folders.CLASSES[label]
    assert found.num_padding == found.count(PADDING)
    assert found.pooled == "the state of the last real token"


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [("auto", "last_real"), ("last", "last"), ("mean_real", "mean_real"), ("mean", "mean")],
)
def test_every_pooling_marks_what_the_head_sees(
    tmp_path: Path, pooling: str, expected: str
) -> None:
    folder = tmp_path / "last_block" / "seed_1"
    data = {"batch_size": 5, "seed": 7, "padding": "max_length"}
    run = run_data(write_data_run(folder, data, pooling))
    assert run.pooling == expected
    for row in first_batch(run).rows:
        length = sum(cell.role != PADDING for cell in row.cells)
        places = {"last_real": [length - 1], "last": [5], "mean_real": [*range(length)]}
        pooled = [i for i, cell in enumerate(row.cells) if cell.is_pooled]
        assert pooled == places.get(expected, [*range(6)])


def test_statistics_count_what_the_model_sees(tmp_path: Path) -> None:
    folder = tmp_path / "last_block" / "seed_1"
    train, _, test = split_statistics(run_data(write_data_run(folder, {})).data)
    lengths = [min(6, len(encode(text))) for _, text in run_folders.TRAIN]
    assert train.lengths == lengths
    assert train.class_counts == {"ham": 3, "spam": 2}
    assert train.truncated == sum(len(encode(text)) > 6 for _, text in run_folders.TRAIN) > 0
    assert train.quantiles == (min(lengths), sorted(lengths)[2], max(lengths), max(lengths))
    assert test.examples == 10


@pytest.mark.parametrize(
    ("mask", "in_loss"),
    [
        ("none", None),
        ("prompt", "\n\n### Response:\nyes<|endoftext|>"),
        ("prompt_and_header", "yes<|endoftext|>"),
    ],
)
def test_what_the_loss_masks_of_an_instruction(
    tmp_path: Path, mask: str, in_loss: str | None
) -> None:
    run = run_data(
        write_instruction_data_run(tmp_path / "run", mask=mask, batch_size=4, max_length=None)
    )
    assert run.notes == ["there is no checkpoint yet: lengths and class names are as configured"]
    row = next(row for row in first_batch(run).rows if row.index == 2)
    said = "".join(
        "<|endoftext|>" if cell.token == END_OF_TEXT_ID else cell.text
        for cell in row.cells
        if cell.role == IN_LOSS
    )
    whole = "".join(cell.text for cell in row.cells if cell.role in (IN_LOSS, MASKED))
    assert "### Instruction:\nSay yes." in whole
    first = row.cells[0].text
    assert said == (in_loss or whole[len(first) :].replace("⟨end⟩", "<|endoftext|>"))
    assert row.cells[0].role == MASKED, "nothing comes before it from which it could be predicted"


def test_without_splits_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("data: {path: x}\n")
    with pytest.raises(ValueError, match="has written no splits yet"):
        run_data(tmp_path)
    (tmp_path / "config.yaml").write_text("data: [\n")
    with pytest.raises(ValueError, match=r"config\.yaml is damaged"):
        run_data(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("own_folder")
@pytest.mark.parametrize(
    ("task_class", "settings"),
    [
        (Classifier, ["+experiment=last_block", "data.num_train=200", "data.padding=max_length"]),
        (Classifier, ["+experiment=last_block", "data.group_by_length=true", "seed=5"]),
        (LanguageModel, ["+experiment=instruct_nano", "task.generation.max_new_tokens=2"]),
    ],
)
def test_it_is_the_batch_that_the_run_trained_on(
    monkeypatch: pytest.MonkeyPatch, task_class: Any, settings: list[str]
) -> None:
    batches: list[Any] = []
    step = task_class.training_step

    def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
        batches.append(batch)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(task_class, "training_step", training_step)
    start(monkeypatch, *settings, *SMOKE)
    run = run_data(next(Path("runs").glob("*/seed_*")))
    again = next(iter(run.data.train_dataloader()))
    for name in ("input_ids", "lengths", "labels", "indices"):
        assert getattr(again, name).tolist() == getattr(batches[0], name).tolist(), name
    assert [row.index for row in first_batch(run).rows] == batches[0].indices.tolist()
