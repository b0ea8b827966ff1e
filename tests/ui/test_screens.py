"""What screens are made of: uploads, chosen items, chat, HTML, and who may ask."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reporting import run_folders
from ui.small_models import tiny_classifier

from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.data.prompts import Record
from llm_lightning.presentation.command_lines import command_line
from llm_lightning.runs.prediction import predict
from llm_lightning.ui import chat, markup, text_upload
from llm_lightning.ui.attribution import Attribution, Piece
from llm_lightning.ui.chosen_items import chosen_items
from llm_lightning.ui.own_requests import is_own


def test_command_lines_can_be_pasted() -> None:
    assert command_line("predict", Path("my runs/a"), "it's") == (
        """python -m llm_lightning predict 'my runs/a' 'it'"'"'s'"""
    )


def test_pasted_and_uploaded_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert text_upload.pasted_texts("one\r\n\ntwo ") == ["one", "two "]
    table = tmp_path / "t.csv"
    table.write_text('id,message\n1,"a, b"\n2,NA\n')
    assert text_upload.uploaded_texts(table, "message") == ["a, b", "NA"]
    with pytest.raises(ValueError, match=r"^t\.csv has no column 'text': name the right one$"):
        text_upload.uploaded_texts(table, "text")
    with pytest.raises(ValueError, match="there is no text in the box"):
        text_upload.pasted_texts(" \n")
    monkeypatch.setattr(text_upload, "MOST_TEXTS", 1)
    with pytest.raises(ValueError, match="has 2 texts, more than 1"):
        text_upload.uploaded_texts(table, "message")


def test_the_table_of_predictions_has_a_column_a_class() -> None:
    found = predict(tiny_classifier(), ["hello", "win a prize"])
    table = text_upload.predictions_table(found)
    assert list(table)[:3] == ["text", "label", "probability"]
    assert list(table)[-2:] == ["probability_ham", "probability_spam"]
    assert table["probability_spam"].tolist() == [one.probabilities["spam"] for one in found]


def test_test_items_by_their_mean_score(tmp_path: Path) -> None:
    one = run_folders.write_classifier(tmp_path, missed=[2, 3])
    other = run_folders.write_classifier(tmp_path, seed=2, missed=[3])
    worst = chosen_items([one, other], "worst", 2)
    assert [item.index for item in worst] == [3, 2]
    assert worst[0].answers == ["ham", "ham"]
    assert worst[1].answers == ["spam", "ham"]
    assert worst[1].scores == pytest.approx([0.1, 0.9])
    assert worst[1].reference == "ham"
    assert 3 not in [item.index for item in chosen_items([one, other], "best", 9)]
    drawn = [item.index for item in chosen_items([one], "random", 4, seed=5)]
    assert drawn == [item.index for item in chosen_items([one], "random", 4, seed=5)]
    assert len(set(drawn)) == 4
    elsewhere = run_folders.write_classifier(tmp_path, "row", test=run_folders.TEST[:4])
    with pytest.raises(ValueError, match="was tested on other items"):
        chosen_items([one, elsewhere], "worst", 2)


def test_responses_by_their_score(tmp_path: Path) -> None:
    folder = run_folders.write_responses(tmp_path)
    worst, second = chosen_items([folder], "worst", 2)
    assert (worst.task, worst.reference) == ("Spell it right.\n\nfreind", "friend")
    assert (worst.answers, second.answers) == (["freind"], ["maybe"])
    (folder / "response_scores.csv").unlink()
    with pytest.raises(ValueError, match="has no readable test results"):
        chosen_items([folder], "worst", 2)


def test_a_response_grows_and_an_error_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def pieces(*_: Any) -> Iterator[str]:
        for number in range(5):
            asked.append(number)
            yield f"{number} "
        raise ValueError("the model's logits are NaN")

    monkeypatch.setattr(chat, "stream_text", pieces)
    model: Any = None
    stream = chat.stream_response(model, Record("x"), GenerationOptions())
    assert [next(stream) for _ in range(3)] == ["0 ", "0 1 ", "0 1 2 "]
    with pytest.raises(ValueError, match="NaN"):
        list(stream)
    assert asked == [0, 1, 2, 3, 4]


def test_a_conversation_needs_an_instruction() -> None:
    found = chat.conversation([("hi", "hello")], " and now? ", "this")
    assert (found.instruction, found.input, found.history) == (
        "and now?",
        "this",
        (("hi", "hello"),),
    )
    with pytest.raises(ValueError, match="type an instruction"):
        chat.conversation([], "  ")


def test_nothing_from_a_file_becomes_html() -> None:
    evil = "<script>alert(1)</script>"
    pieces = [Piece(evil, 0.5), Piece(evil, -0.25), Piece(evil, None)]
    shown = (
        markup.table([evil], [[evil]], caption=evil)
        + markup.commands(evil)
        + markup.literal(evil)
        + markup.note(evil)
        + markup.probabilities({evil: 0.5})
        + markup.marked_text(Attribution(pieces, 1, 0.9))
        + markup.panels(evil, [])
    )
    assert "<script" not in shown
    assert shown.count("&lt;script&gt;") == 11
    assert "+50.00 points" in shown
    assert "-25.00 points" in shown


@pytest.mark.parametrize(
    ("host", "origin", "allowed"),
    [
        ("127.0.0.1:7860", None, True),
        ("localhost:7860", "http://localhost:7860", True),
        ("127.0.0.1:7860", "http://127.0.0.1:9999", False),
        ("127.0.0.1:7860", "http://evil.example", False),
        ("127.0.0.1:7860", "null", False),
        ("evil.example:7860", "http://evil.example:7860", False),
        ("", None, False),
    ],
)
def test_only_the_page_itself_may_ask(host: str, origin: str | None, allowed: bool) -> None:
    assert is_own(host, origin) is allowed
