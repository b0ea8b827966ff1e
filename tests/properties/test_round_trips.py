"""What is written is read again, whatever the texts: tokens, tables, JSON, run folders, splits."""

import contextlib
import io
import json
from collections import Counter
from typing import Any

import pandas as pd
import pytest
import small_tokenizers
import yaml
from hypothesis import given
from hypothesis import strategies as st
from properties.few_cases import quick
from run_format.test_summary import FIELDS

from llm_lightning.backbone.tokenizer import END_OF_TEXT_ID, GPT2Tokenizer
from llm_lightning.data.records import read_records
from llm_lightning.data.splits import (
    as_csv,
    first_of_each_class,
    permutation,
    split_in_order,
    split_stratified,
    undersample,
)
from llm_lightning.evaluation.judging.reply_cache import write_json
from llm_lightning.reporting.read.run_tables import read_split
from llm_lightning.run_format import status
from llm_lightning.run_format.class_metrics import class_metrics, write_class_metrics
from llm_lightning.run_format.configuration import read_configuration
from llm_lightning.run_format.summary import Summary, read_summary, write_summary

texts = st.text(st.characters(codec="utf-8"), max_size=60)
awkward = st.one_of(
    texts,
    st.text("\r\n\t ,;\"'\\=", max_size=12),
    st.sampled_from(["NA", "<|endoftext|>", "\ufeff"]),
)
GPT2 = GPT2Tokenizer()
BYTES = small_tokenizers.byte_level()


@quick
@given(awkward)
def test_gpt2s_tokens_are_the_text(text: str) -> None:
    ids = GPT2.encode(text)
    assert GPT2.decode(ids) == text
    assert END_OF_TEXT_ID not in ids
    again, offsets = GPT2.encode_with_offsets(text)
    assert again == ids
    assert len(offsets) == len(ids)
    assert all(start <= end for start, end in offsets)
    assert [start for start, _ in offsets] == sorted(start for start, _ in offsets)
    assert not offsets or (offsets[0][0] == 0 and offsets[-1][1] == len(text))


@quick
@given(awkward)
def test_tokens_of_bytes_are_the_text(text: str) -> None:
    ids = BYTES.encode(text)
    assert BYTES.decode(ids) == text
    special = {BYTES.special_id(token) for token in ("<s>", "</s>", "<pad>", "<|im_start|>")}
    assert not special & set(ids)


@quick
@given(st.lists(st.tuples(st.integers(0, 1), awkward), min_size=1, max_size=8))
def test_a_split_is_read_as_it_was(tmp_path_factory: Any, rows: list[tuple[int, str]]) -> None:
    table = pd.DataFrame(rows, columns=["Label", "Text"])
    folder = tmp_path_factory.mktemp("run")
    (folder / "splits").mkdir()
    (folder / "splits" / "test.csv").write_bytes(as_csv(table))
    found = read_split(folder, "test", 2)
    assert list(zip(found["Label"], found["Text"], strict=True)) == rows


labelled = st.lists(st.tuples(st.integers(0, 2), texts), min_size=9, max_size=60).map(
    lambda rows: [(0, "a"), (1, "b"), (2, "c")] * 3 + rows
)
NAMES = ["ham", "spam", "eggs"]


def as_counter(*tables: pd.DataFrame) -> Counter:
    return Counter(
        row for table in tables for row in zip(table["Label"], table["Text"], strict=True)
    )


@quick
@given(labelled, st.integers(0, 2**32 - 1))
def test_splits_are_a_partition(rows: list[tuple[int, str]], seed: int) -> None:
    table = pd.DataFrame(rows, columns=["Label", "Text"])
    parts = split_stratified(table, [0.6, 0.2, 0.2], seed, NAMES)
    assert as_counter(*parts) == as_counter(table)
    assert all(set(part["Label"]) == {0, 1, 2} for part in parts)
    again = split_stratified(table, [0.6, 0.2, 0.2], seed, NAMES)
    assert all(one.equals(other) for one, other in zip(parts, again, strict=True))
    shuffled = table.iloc[permutation(len(table), seed)].reset_index(drop=True)
    assert as_counter(shuffled) == as_counter(table)
    in_order = split_in_order(table, 0.7, 0.1)
    assert pd.concat(in_order, ignore_index=True).equals(table)
    balanced = undersample(table, seed)
    counts = Counter(balanced["Label"])
    assert set(counts.values()) == {min(Counter(table["Label"]).values())}
    assert as_counter(balanced) <= as_counter(table)


@quick
@given(labelled, st.integers(3, 12))
def test_a_smaller_training_set_is_part_of_a_larger(rows: list[tuple[int, str]], size: int) -> None:
    table = pd.DataFrame(rows, columns=["Label", "Text"])
    larger = first_of_each_class(table, size + 6)
    assert len(larger) == size + 6
    with contextlib.suppress(ValueError):  # where a class would have no row left
        smaller = first_of_each_class(table, size)
        assert as_counter(smaller) <= as_counter(larger)
        assert len(smaller) == size


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | texts
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@quick
@given(plain)
def test_a_judges_json_is_read_as_it_was(tmp_path_factory: Any, value: Any) -> None:
    file = tmp_path_factory.mktemp("cache") / "a.json"
    write_json(file, value)
    assert json.loads(file.read_text(encoding="utf-8")) == value


@quick
@given(st.text(min_size=1, max_size=20), st.integers(0, 2**70), texts, st.floats(0, 1))
def test_a_summary_is_read_as_it_was(
    tmp_path_factory: Any, name: str, seed: int, label: str, value: float
) -> None:
    folder = tmp_path_factory.mktemp("run")
    names = [f"1{label}", f"2{label}"]
    changed = FIELDS | {"name": name.encode(errors="replace").decode(), "seed": seed}
    changed |= {"class_names": names, "baselines": {label: {"accuracy": value}}}
    summary = Summary.model_validate(changed)
    write_summary(folder, summary)
    assert read_summary(folder) == summary


@quick
@given(texts, st.dictionaries(st.sampled_from(["epoch", "step"]), st.integers(0, 9)))
def test_a_status_is_read_as_it_was(tmp_path_factory: Any, error: str, facts: Any) -> None:
    folder = tmp_path_factory.mktemp("run")
    status.write(folder, "failed", error=error, **facts)
    found = status.read(folder)
    assert found is not None
    assert (found["state"], found["error"]) == ("failed", error)
    assert {key: found[key] for key in facts} == facts


@quick
@given(st.dictionaries(texts, plain, min_size=1, max_size=3))
def test_a_configuration_is_read_as_it_was(tmp_path_factory: Any, value: dict) -> None:
    folder = tmp_path_factory.mktemp("run")
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    (folder / "config.yaml").write_text(text, encoding="utf-8", newline="")
    assert read_configuration(folder) == yaml.safe_load(text)


@quick
@given(
    st.lists(st.fixed_dictionaries({"instruction": texts.map("a{}".format), "output": texts},
                                   optional={"input": texts, "system": texts}), min_size=1)
)  # fmt: skip
def test_records_are_read_as_they_were(tmp_path_factory: Any, entries: list[dict]) -> None:
    folder = tmp_path_factory.mktemp("data")
    (folder / "a.json").write_text(json.dumps(entries), encoding="utf-8")
    lines = "\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    (folder / "a.jsonl").write_bytes(lines.encode())
    for name in ("a.json", "a.jsonl"):
        found = read_records(folder / name)
        assert [one.instruction for one in found] == [e["instruction"].strip() for e in entries]
        assert [one.output for one in found] == [e["output"].strip() for e in entries]
        assert [one.input for one in found] == [e.get("input", "").strip() for e in entries]


@quick
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30))
def test_class_metrics_count_every_example(
    tmp_path_factory: Any, pairs: list[tuple[int, int]]
) -> None:
    truth, predicted = ([pair[side] for pair in pairs] for side in (0, 1))
    found = class_metrics(truth, predicted, ['a,"b', "c\nd", "e"])
    assert found.support.sum() == found.predicted.sum() == len(pairs)
    right = sum(one == other for one, other in pairs)
    kept = found.support > 0
    assert (found.recall[kept] * found.support[kept]).sum() == pytest.approx(right)
    if len(pairs) == right:
        assert found.macro() == {"precision": 1.0, "recall": 1.0, "f1": 1.0}
    file = tmp_path_factory.mktemp("run") / "classes.csv"
    write_class_metrics(file, found)
    table = pd.read_csv(io.StringIO(file.read_bytes().decode()), keep_default_na=False)
    assert table["class"].tolist() == ['a,"b', "c\nd", "e"]
    assert table["support"].tolist() == found.support.tolist()
