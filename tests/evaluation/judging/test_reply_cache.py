import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llm_lightning.evaluation.judging.reply_cache import ReplyCache, write_json


def test_an_answer_is_found_by_what_was_asked_and_nothing_else(tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path / "judge")
    assert cache.find({"prompt": "a"}) is None
    assert not (tmp_path / "judge").exists()
    cache.store({"prompt": "a", "seed": 1}, {"text": "5"})
    assert ReplyCache(tmp_path / "judge").find({"seed": 1, "prompt": "a"}) == {"text": "5"}
    assert cache.find({"prompt": "a", "seed": 2}) is None


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"asked": 1}', '{"asked": {"a": 2}}'])
def test_damaged_file_is_no_reply(tmp_path: Path, damage: str) -> None:
    cache = ReplyCache(tmp_path)
    cache.store({"a": 1}, {"text": "5"})
    (file,) = tmp_path.rglob("*.json")
    file.write_text(damage)
    assert cache.find({"a": 1}) is None
    cache.store({"a": 1}, {"text": "6"})
    assert cache.find({"a": 1}) == {"text": "6"}


def test_many_writers_leave_one_whole_file(tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: cache.store({"a": 1}, {"text": str(n) * 1000}), range(64)))
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    entry = cache.find({"a": 1})
    assert entry is not None
    assert len(set(entry["text"])) <= 2
    assert json.loads(file.read_text())["answer"] == entry


def test_half_a_surrogate_pair_survives(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"text": "\ud83d ü"})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"text": "\ud83d ü"}


def test_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", float("nan"))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["1\n"]
