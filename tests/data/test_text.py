import json
from pathlib import Path

import pytest
import torch

from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID, encode
from llm_lightning.data.text import TextFiles, blocks


@pytest.fixture
def books(tmp_path: Path) -> Path:
    folder = tmp_path / "books"
    folder.mkdir()
    for name, word in (("a", "apple"), ("b", "banana"), ("c", "cherry")):
        (folder / f"{name}.txt").write_text(f" {word} tree" * 50, encoding="utf-8")
    (folder / "notes.md").write_text("not a book")
    return folder


def test_blocks_predict_every_token_but_the_first_once() -> None:
    tokens = torch.arange(23)
    cut = blocks(tokens, 8)
    assert [len(block) for block in cut] == [8, 8, 6]
    assert torch.equal(torch.cat([block.ids for block in cut]), tokens[:-1])
    assert torch.equal(torch.cat([block.labels for block in cut]), tokens[1:])
    assert not any(block.in_response.any() for block in cut)


@pytest.mark.parametrize(("count", "lengths"), [(0, []), (1, []), (2, [1]), (9, [8]), (10, [8, 1])])
def test_blocks_of_few_tokens(count: int, lengths: list[int]) -> None:
    assert [len(block) for block in blocks(torch.arange(count), 8)] == lengths


def test_named_files_are_held_out_whole(books: Path) -> None:
    data = TextFiles(path=str(books), val_files=["b.txt"], test_files=["c*"], max_length=1000)
    data.prepare_data()
    data.setup()
    for split, word in (("train", "apple"), ("val", "banana"), ("test", "cherry")):
        (block,) = data.sequences[split]
        tokens = [*encode(f" {word} tree" * 50), END_OF_TEXT_ID]
        assert [*block.ids.tolist(), int(block.labels[-1])] == tokens


def test_without_names_the_end_of_every_text_is_held_out(books: Path) -> None:
    data = TextFiles(path=str(books), held_out=0.1, max_length=1000)
    data.setup()
    total = sum(len(encode(file.read_text())) + 1 for file in books.glob("*.txt"))
    sizes = {name: len(found[0]) + 1 for name, found in data.sequences.items()}
    assert sum(sizes.values()) == total
    assert (
        sizes["val"]
        == sizes["test"]
        == sum(int(0.1 * (len(encode(file.read_text())) + 1)) for file in books.glob("*.txt"))
    )


def test_seed_and_epoch_determine_the_order_without_grouping(books: Path) -> None:
    def module(seed: int) -> TextFiles:
        data = TextFiles(
            path=str(books), group_by_length=False, max_length=8, batch_size=4, seed=seed
        )
        data.setup()
        return data

    def epoch(data: TextFiles) -> list[int]:
        return [index for batch in loaders[data] for index in batch.indices.tolist()]

    data, again, other = module(1), module(1), module(2)
    loaders = {one: one.train_dataloader() for one in (data, again, other)}
    first, second = epoch(data), epoch(data)
    num_blocks = len(data.sequences["train"])
    for order in (first, second):
        assert sorted(order) == list(range(num_blocks)), "each block once an epoch"
    assert first != second
    torch.manual_seed(99)
    list(again.val_dataloader())  # neither the global seed nor another loader changes the order
    assert epoch(again) == first
    resumed = module(1)
    resumed.load_state_dict(again.state_dict())
    loaders[resumed] = resumed.train_dataloader()
    assert epoch(again) == second == epoch(resumed)
    assert epoch(other) != first


def test_run_folder_records_the_files_of_each_split(books: Path, tmp_path: Path) -> None:
    data = TextFiles(path=str(books), val_files=["b.txt"], test_files=["c.txt"], max_length=64)
    data.setup()
    data.write_splits(tmp_path / "splits")
    found = json.loads((tmp_path / "splits" / "files.json").read_text())
    assert found == {"train": ["a.txt"], "val": ["b.txt"], "test": ["c.txt"]}
    facts = data.facts()
    assert facts["splits"]["train"]["tokens"] == facts["splits"]["train"]["label_tokens"]
    assert facts["splits"]["train"]["response_tokens"] == 0
    assert data.describe()[0].startswith("train: ")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "data.path must name a folder"),
        ({"path": "nowhere"}, "nowhere is neither a file nor a folder of .txt files"),
    ],
)
def test_missing_text_is_an_error(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TextFiles(**fields).prepare_data()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"held_out": 0.5}, r"data\.held_out must lie in \(0, 0\.5\), got 0\.5"),
        ({"val_files": ["b.txt"]}, "must both be set, or neither"),
        ({"max_length": 1}, r"data\.max_length must be at least 2 tokens, got 1"),
        ({"batch_size": 0}, r"data\.batch_size must be at least 1, got 0"),
    ],
)
def test_bad_options_are_refused(books: Path, fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TextFiles(path=str(books), **fields)


def test_unknown_file_names_are_refused(books: Path) -> None:
    data = TextFiles(path=str(books), val_files=["z.txt"], test_files=["c.txt"])
    with pytest.raises(ValueError, match=r"no file in .* matches 'z\.txt'; there are a\.txt"):
        data.prepare_data()


def test_text_that_is_not_utf8_is_named(books: Path) -> None:
    (books / "d.txt").write_bytes(b"caf\xe9")
    data = TextFiles(path=str(books))
    with pytest.raises(ValueError, match=r"d\.txt is not UTF-8"):
        data.setup()
