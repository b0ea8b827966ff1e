from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from llm_lightning.backbone.tokenizer import GPT2Tokenizer, encode
from llm_lightning.data.spam import SmsSpam
from llm_lightning.data.splits import first_of_each_class, permutation, split_in_order, undersample
from llm_lightning.data.table import Table


@pytest.fixture
def data() -> SmsSpam:
    module = SmsSpam()
    module.use_packaged()
    module.setup()
    return module


def packaged(**fields: object) -> SmsSpam:
    module = SmsSpam(**fields)  # type: ignore[arg-type]
    module.use_packaged()
    module.setup()
    return module


def order(loader: object) -> list[list[int]]:
    return [
        row[:length].tolist()
        for batch in loader  # type: ignore[attr-defined]
        for row, length in zip(batch.input_ids, batch.lengths, strict=True)
    ]


def test_no_split_is_empty_and_training_has_every_class() -> None:
    def cut(labels: list[int]) -> tuple[pd.DataFrame, ...]:
        table = pd.DataFrame({"Label": labels, "Text": map(str, range(len(labels)))})
        return split_in_order(table, train=0.7, val=0.1)

    assert [len(part) for part in cut([0, 1] * 5)] == [7, 1, 2]
    with pytest.raises(ValueError, match=r"^6 rows, too few to split: val would be empty$"):
        cut([0, 1] * 3)
    with pytest.raises(ValueError, match=r"^1 row, too few to split: train would be empty$"):
        cut([0])
    with pytest.raises(ValueError, match=r"^10 rows, .* a class would have no row in train$"):
        cut([0] * 8 + [1] * 2)


def test_permutation_is_that_of_pandas_sample() -> None:
    table = pd.DataFrame({"x": range(100)})
    assert table.sample(frac=1, random_state=123)["x"].tolist() == permutation(100, 123).tolist()
    assert table.sample(30, random_state=7)["x"].tolist() == permutation(100, 7, take=30).tolist()


def test_undersampling_makes_classes_equal_and_keeps_the_rarest_in_order() -> None:
    table = pd.DataFrame({"Label": [0] * 50 + [1] * 5 + [2] * 20, "Text": map(str, range(75))})
    balanced = undersample(table, seed=1)
    assert balanced["Label"].tolist() == [0] * 5 + [2] * 5 + [1] * 5
    assert balanced["Text"].tolist()[-5:] == list(map(str, range(50, 55)))
    assert balanced["Text"].is_unique


def test_max_length_rules(data: SmsSpam) -> None:
    longest = max(len(encode(text)) for text in data.splits.train["Text"])
    assert data.padder.max_length == longest
    assert packaged(max_length="context").padder.max_length == 1024
    assert packaged(max_length=10).padder.max_length == 10
    short = SmsSpam(max_length="longest_train")
    short.use_packaged()
    short.use_model(GPT2Tokenizer(), context_length=12)
    short.setup()
    assert short.padder.max_length == 12


def test_number_of_truncated_texts_is_counted() -> None:
    facts = packaged(max_length=20).facts()
    module = packaged()
    for name, table in module.splits.items():
        long = sum(len(encode(text)) > 20 for text in table["Text"])
        assert facts["splits"][name]["truncated"] == long > 0


def test_each_kind_of_dropped_and_truncated_text_is_described(tmp_path: Path) -> None:
    texts = {"a": range(30), "b": range(20)}
    lines = [f"{label} {n} and so on,{label}" for label, numbers in texts.items() for n in numbers]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["text,label", *lines, lines[0]]) + "\n")

    def described(**fields: object) -> list[str]:
        module = Table(path=str(path), **fields)  # type: ignore[arg-type]
        module.setup()
        return module.describe()

    *splits, _, dropped, _, positive = described(balance="undersample", num_train=12, max_length=3)
    assert positive == "positive class: b"
    assert splits == [
        "train: 12 (6 a, 6 b), 12 truncated",
        "val: 5 (3 a, 2 b), 5 truncated",
        "test: 10 (6 a, 4 b), 10 truncated",
    ]
    assert dropped == (
        "1 duplicate text dropped; 7 texts dropped to balance the classes; "
        "16 training texts dropped by data.num_train=12"
    )
    assert len(described(deduplicate=False)) == 6, "no line if nothing is dropped"


def test_order_depends_on_the_seed_and_the_epoch_alone(data: SmsSpam) -> None:
    loader = data.train_dataloader()
    first, second = order(loader), order(loader)
    assert first != second
    assert sorted(first) == sorted(second) == sorted(map(encode, data.splits.train["Text"]))
    torch.manual_seed(99)
    again = packaged().train_dataloader()
    order(data.val_dataloader())  # another pass elsewhere, and another global state, change nothing
    assert order(again) == first
    assert order(again) == second
    assert order(packaged(seed=5).train_dataloader()) != first


def test_batches_of_similar_length_hold_every_text_once_and_pad_less() -> None:
    def padded(*, group_by_length: bool) -> tuple[list[int], int, list[int]]:
        data = SmsSpam(batch_size=8, padding="batch", group_by_length=group_by_length)
        data.use_packaged()
        data.setup()
        batches = list(data.train_dataloader())
        indices = torch.cat([batch.indices for batch in batches]).tolist()
        waste = sum(batch.input_ids.numel() - int(batch.lengths.sum()) for batch in batches)
        return indices, waste, [batch.input_ids.shape[1] for batch in batches]

    shuffled, waste, _ = padded(group_by_length=False)
    grouped, less, widths = padded(group_by_length=True)
    assert sorted(grouped) == sorted(shuffled) == list(range(len(grouped)))
    assert less < 0.3 * waste
    assert widths != sorted(widths), "batches come in random order"


def test_fewer_training_texts_keep_the_classes_in_proportion() -> None:
    table = pd.DataFrame({"Label": [0] * 60 + [1] * 20, "Text": [str(i) for i in range(80)]})
    few, more = (first_of_each_class(table, size) for size in (8, 40))
    assert few["Label"].value_counts().to_dict() == {0: 6, 1: 2}
    assert more["Label"].value_counts().to_dict() == {0: 30, 1: 10}
    assert set(few["Text"]) < set(more["Text"])
    assert first_of_each_class(table, 80).equals(table)
    for size in (1, 81):
        with pytest.raises(ValueError, match=f"data.num_train must be between .*, got {size}"):
            first_of_each_class(table, size)


def test_num_train_changes_training_alone(data: SmsSpam) -> None:
    few = SmsSpam(num_train=10)
    few.use_packaged()
    few.setup()
    assert len(few.splits.train) == 10
    assert few.padder == data.padder
    for name in ("val", "test"):
        assert few.facts()["splits"][name] == data.facts()["splits"][name]


def test_drop_last_leaves_whole_batches_only() -> None:
    sizes = [len(batch.labels) for batch in packaged(drop_last=True).train_dataloader()]
    assert set(sizes) == {8}
    assert len(sizes) == 1680 // 8
    assert len(packaged().train_dataloader()) == 210


def test_final_evaluation_covers_every_text_in_order(data: SmsSpam) -> None:
    for loader, (_, table) in zip(data.test_dataloader(), data.splits.items(), strict=True):
        labels = torch.cat([batch.labels for batch in loader])
        assert np.array_equal(labels.numpy(), table["Label"].to_numpy())


def test_padding_none_evaluates_one_text_at_a_time() -> None:
    module = packaged(padding="none", batch_size=1)
    widths = [batch.input_ids.shape for batch in module.val_dataloader()]
    assert all(rows == 1 for rows, _ in widths)
    assert len({width for _, width in widths}) > 5


def test_splits_are_written_as_csv(data: SmsSpam, tmp_path: Path) -> None:
    data.write_splits(tmp_path)
    for name, table in data.splits.items():
        back = pd.read_csv(tmp_path / f"{name}.csv", keep_default_na=False)
        pd.testing.assert_frame_equal(back, table[["Label", "Text"]], check_dtype=False)


def test_constructing_touches_no_file(tmp_path: Path) -> None:
    SmsSpam(path=str(tmp_path / "nowhere"))
