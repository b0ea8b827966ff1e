"""Pairs are blind and fair; votes survive, and count only for the responses they are about."""

import json
import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llm_lightning.commands import arena as command
from llm_lightning.evaluation.arena import next_pair, open_arena, ratings, record_vote
from llm_lightning.evaluation.arena.votes import Vote, add_votes, read_csv, read_votes, write_csv
from llm_lightning.run_format.files import RESPONSES


def make_run(folder: Path, **responses: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    entries = [
        {"instruction": task, "input": "", "output": "right", "model_response": text}
        for task, text in responses.items()
    ]
    (folder / RESPONSES).write_text(json.dumps(entries))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [
        make_run(tmp_path / "good" / "seed_1", t1="right", t2="right", t3="right", t4="same"),
        make_run(tmp_path / "bad" / "seed_1", t1="wrong", t2="no", t3="what", t4="same", t5="x"),
    ]


def test_every_pair_once_with_sides_shuffled(runs: list[Path], tmp_path: Path) -> None:
    arena = open_arena(runs, tmp_path / "votes.sqlite")
    assert (arena.runs, arena.left_out, arena.identical) == (["good/seed_1", "bad/seed_1"], 1, 1)
    seen, lefts = [], Counter[str]()
    for voter in map(str, range(20)):
        while (pair := next_pair(arena, voter)) is not None:
            assert pair == next_pair(arena, voter), "the same until it is answered"
            assert "good" not in repr(pair), "nothing that is shown says whose it is"
            seen.append(pair.item)
            lefts[pair.left_run] += 1
            record_vote(arena, pair, "left" if pair.left == "right" else "right", voter)
    assert sorted(Counter(seen).values()) == [20, 20, 20], "equal responses are put to nobody"
    assert 20 <= lefts["good/seed_1"] <= 40
    votes, others = arena.votes()
    assert (len(votes), others) == (60, 0)
    best = ratings(votes, arena.runs, bootstraps=20).runs[0]
    assert (best.run, best.wins, best.losses) == ("good/seed_1", 60, 0)


def test_the_least_voted_pair_comes_first(runs: list[Path], tmp_path: Path) -> None:
    arena = open_arena(runs, tmp_path / "votes.sqlite")
    first = next_pair(arena, "one")
    assert first is not None
    record_vote(arena, first, "tie", "one")
    second = next_pair(arena, "two")
    assert second is not None
    assert second.item != first.item


def test_votes_about_responses_that_changed_do_not_count(runs: list[Path], tmp_path: Path) -> None:
    database = tmp_path / "votes.sqlite"
    arena = open_arena(runs, database)
    while (pair := next_pair(arena)) is not None:
        record_vote(arena, pair, "tie")
    make_run(runs[1], t1="changed", t2="no", t3="what", t4="same")
    votes, others = open_arena(runs, database).votes()
    assert (len(votes), others) == (2, 1)


def test_a_vote_must_be_one(runs: list[Path], tmp_path: Path) -> None:
    arena = open_arena(runs, tmp_path / "votes.sqlite")
    pair = next_pair(arena)
    assert pair is not None
    with pytest.raises(ValueError, match=r"choice must be one of left, right, tie, both_bad"):
        record_vote(arena, pair, "up")
    assert read_votes(tmp_path / "votes.sqlite") == []


def test_export_and_import_lose_and_repeat_nothing(runs: list[Path], tmp_path: Path) -> None:
    arena = open_arena(runs, tmp_path / "votes.sqlite")
    for voter in ('Zoë, "quoted"\nline', "=1+1"):
        pair = next_pair(arena, voter)
        assert pair is not None
        record_vote(arena, pair, "both_bad", voter)
    votes = read_votes(arena.database)
    write_csv(tmp_path / "votes.csv", votes)
    assert read_csv(tmp_path / "votes.csv") == votes
    assert add_votes(tmp_path / "other.sqlite", votes) == 2
    assert add_votes(tmp_path / "other.sqlite", votes) == 0
    assert read_votes(tmp_path / "other.sqlite") == votes


def test_the_first_votes_of_several_people_at_once_all_count(tmp_path: Path) -> None:
    for trial in range(10):
        database = tmp_path / f"{trial}.sqlite"
        votes = [
            Vote(str(number), "a", "b", "1", "2", "tie", "someone", "2026-01-01T00:00:00+00:00")
            for number in range(8)
        ]
        with ThreadPoolExecutor(len(votes)) as people:
            added = list(people.map(lambda vote: add_votes(database, [vote]), votes))  # noqa: B023
        assert sum(added) == len(read_votes(database)) == len(votes)


def test_files_that_are_no_votes(runs: list[Path], tmp_path: Path) -> None:
    text = tmp_path / "text.sqlite"
    text.write_text("no database " * 100)
    with pytest.raises(ValueError, match="cannot be used for votes"):
        open_arena(runs, text).votes()
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE things (name TEXT)")
    connection.close()
    with pytest.raises(ValueError, match="a database of something else"):
        open_arena(runs, other).votes()
    table = tmp_path / "votes.csv"
    table.write_text("item,choice\n1,left\n")
    with pytest.raises(ValueError, match="has no column left_digest"):
        read_csv(table)


def test_an_arena_needs_two_runs_with_shared_tasks(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least two runs, got 1"):
        open_arena(runs[:1], tmp_path / "v")
    with pytest.raises(ValueError, match="named twice"):
        open_arena([runs[0], runs[0]], tmp_path / "v")
    other = make_run(tmp_path / "other", elsewhere="x")
    with pytest.raises(ValueError, match="share no task"):
        open_arena([runs[0], other], tmp_path / "v")


def test_the_command_votes_resumes_rates_and_exports(
    runs: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    answers = iter(["?\n", "a\n", "q\n", "b\n", "x\n"])
    monkeypatch.setattr("sys.stdin.readline", lambda: next(answers), raising=False)
    database = tmp_path / "votes.sqlite"
    base = [*map(str, runs), "--database", str(database)]
    assert command.main([*base, "--vote", "--voter", "me"]) == 0
    out = capsys.readouterr().out
    assert "from 1 vote about 1 task" in out
    assert (
        command.main([*base, "--vote", "--voter", "me", "--export", str(tmp_path / "v.csv")]) == 0
    )
    out = capsys.readouterr().out
    assert "There is no further pair for you." in out
    assert "from 3 votes about 3 tasks" in out
    assert "1 pair of equal responses not put to the vote" in out
    assert "1 task left out" in out
    assert [one.voter for one in read_csv(tmp_path / "v.csv")] == ["me"] * 3
    for run, score in zip(runs, (90, 10), strict=True):
        scores = [{"index": n, "score": score} for n in range(4)]
        found = {"responses": RESPONSES, "items": scores}
        (run / "judge-llama3-score100.json").write_text(json.dumps(found))
    assert command.main([*base, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["num_votes"] == 3
    assert shown["judges"]["judge-llama3-score100.json"]["votes"] == 3
    assert command.main([str(runs[0]), "--database", str(database)]) == 2
    assert "at least two runs" in capsys.readouterr().err
