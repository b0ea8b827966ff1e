"""Both orders are asked; a judge that prefers a place is found out."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from judge_server import WARM_UP, JudgeServer

from llm_lightning.commands import judge as command
from llm_lightning.evaluation.judging.head_to_head import HeadToHead, head_to_head
from llm_lightning.evaluation.judging.items import Item
from llm_lightning.evaluation.judging.judgement import Settings
from llm_lightning.evaluation.judging.rubrics import RUBRICS
from llm_lightning.run_format.files import RESPONSES


def answers(prompt: str) -> tuple[str, str]:
    first, second = (
        prompt.split(f"[BEGIN ANSWER {number} ")[1].split("]\n", 1)[1].split("\n[END")[0]
        for number in (1, 3)
    )
    return first, second


def longer(prompt: str) -> str:
    """A judge that prefers the longer answer."""
    first, second = map(len, answers(prompt))
    return json.dumps({"score": 2 if first == second else 1 if first > second else 3})


def always_first(prompt: str) -> str:
    return '{"score": 1}'


def items(*responses: str) -> list[Item]:
    return [Item(f"task {n}", "right", text) for n, text in enumerate(responses)]


Compare = Callable[..., tuple[HeadToHead, JudgeServer]]


@pytest.fixture
def compare() -> Iterator[Compare]:
    servers = []

    def asked(
        reply: Callable[[str], str], a: list[Item], b: list[Item]
    ) -> tuple[HeadToHead, JudgeServer]:
        server = JudgeServer(reply)
        servers.append(server)
        settings = Settings("llama3", RUBRICS["score100"], url=server.url, timeout_s=60.0)
        return head_to_head(a, b, settings), server

    yield asked
    for server in servers:
        server.close()


def test_a_judge_of_the_answers_decides_in_both_orders(compare: Compare) -> None:
    a = items("long answer", "b", "same", "even", "")
    b = items("short", "longer", "same", "odd!", "something")
    found, server = compare(longer, a, b)
    assert [one.winner for one in found.verdicts] == ["a", "b", "tie", "tie", "b"]
    assert found.counts == {"a": 1, "b": 2, "tie": 2, "unparsed": 0, "changed_with_order": 0}
    assert found.identical == 1
    assert all(one.is_consistent for one in found.verdicts)
    prompts = [chat.prompt for chat in server.chats if WARM_UP not in chat.prompt]
    assert len(prompts) == 2 * 3, "equal and empty responses need no judge"
    assert {answers(prompt) for prompt in prompts} == {
        ("long answer", "short"), ("short", "long answer"), ("b", "longer"), ("longer", "b"),
        ("even", "odd!"), ("odd!", "even"),
    }  # fmt: skip
    assert found.share_of_a is not None
    assert found.share_of_a.mean == pytest.approx((1 + 0 + 0.5 + 0.5 + 0) / 5)
    assert found.position.share == 0.5


def test_a_judge_of_the_place_decides_nothing(compare: Compare) -> None:
    found, _ = compare(always_first, items("x", "y", "z"), items("1", "2", "3"))
    assert [one.winner for one in found.verdicts] == ["tie"] * 3
    assert found.counts["changed_with_order"] == 3
    assert (found.position.first, found.position.decided, found.position.share) == (6, 6, 1.0)
    assert found.position.interval is not None
    assert found.position.interval.low > 0.5


def test_a_reply_without_a_verdict_leaves_the_task_open(compare: Compare) -> None:
    def unsure(prompt: str) -> str:
        return "I cannot say" if answers(prompt)[0] == "x" else '{"score": 3}'

    found, _ = compare(unsure, items("x", "y"), items("1", "2"))
    assert [one.winner for one in found.verdicts] == [None, "tie"]
    assert (found.verdicts[0].a_first, found.verdicts[0].b_first) == (None, "a")
    assert found.counts["unparsed"] == 1


def test_runs_without_shared_tasks(compare: Compare) -> None:
    with pytest.raises(ValueError, match="none are to the same task"):
        compare(longer, items("a"), [Item("another", "right", "b")])


def test_the_command_writes_and_shows_the_comparison(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    for name, responses in (("a", ["longest", "x"]), ("b", ["short", "yy"])):
        entries = [
            {"instruction": f"task {n}", "output": "right", "model_response": text}
            for n, text in enumerate(responses)
        ]
        (tmp_path / name).mkdir()
        (tmp_path / name / RESPONSES).write_text(json.dumps(entries))
    with JudgeServer(longer) as server:
        given = [str(tmp_path / "a"), "--against", str(tmp_path / "b"), "--url", server.url]
        assert command.main(given) == 0
        out = " ".join(capsys.readouterr().out.split())
        assert "the response that stood first won 2 of 4 decided replies: 50 %" in out.replace(
            "%", " %"
        ).replace("  %", " %")
        asked = len(server.chats)
        assert command.main([*given, "--json"]) == 0
        assert len(server.chats) == asked, "replies are cached"
        shown = json.loads(capsys.readouterr().out)
        assert (shown["counts"]["a"], shown["counts"]["b"]) == (1, 1)
        (file,) = (tmp_path / "a").glob("pairs-llama3-against-*.json")
        assert [one["winner"] for one in json.loads(file.read_text())["verdicts"]] == ["a", "b"]
        assert command.main([str(tmp_path / "a"), "--against", str(tmp_path / "a")]) != 0
        assert "is the same run" in capsys.readouterr().err
