import io
import json
import os
import re
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from llm_lightning.backbone.tokenizer import gpt2_encoding
from llm_lightning.commands import generate
from llm_lightning.commands import main as cli
from llm_lightning.commands.startup import HELD
from llm_lightning.data.prompts import Record
from llm_lightning.run_format import files
from llm_lightning.run_format.folder_lock import holding
from llm_lightning.run_format.summary import read_summary, write_summary
from llm_lightning.runs.generation import stream_text
from llm_lightning.runs.load import load_language_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished instruction run; every answer is a few tokens of nonsense."""
    parent = tmp_path_factory.mktemp("generate")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(parent)
        arguments = [
            "+experiment=instruct", "trainer=smoke", "model=nano", "model.weights=random",
            "task.generation.max_new_tokens=4", "runs_dir=runs", "model_task=none",
        ]  # fmt: skip
        patch.setattr(sys, "argv", ["llm_lightning"])
        assert cli.main(arguments) == 0
    return next((parent / "runs").glob("*/seed_123"))


def test_run_ends_with_responses_and_scores(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    entries = json.loads((folder / files.RESPONSES).read_text())
    assert len(entries) == summary["responses"]["examples"] == 110
    assert all(
        set(entry) >= {"instruction", "input", "output", "model_response"} for entry in entries
    )
    for name in ("exact_match", "rouge_l", "token_f1"):
        score = summary["responses"]["scores"][name]
        assert 0 <= score["low"] <= score["mean"] <= score["high"] <= 1
        assert summary["responses"]["untrained_scores"][name]["n"] == 110
    untrained = json.loads((folder / files.UNTRAINED_RESPONSES).read_text())
    assert [entry["instruction"] for entry in untrained] == [e["instruction"] for e in entries]
    assert len((folder / files.RESPONSE_SCORES).read_text().splitlines()) == 111


def test_tensorboard_shows_losses_speed_and_sample_responses(folder: Path) -> None:
    events = EventAccumulator(str(folder)).Reload()
    assert {
        "train/loss",
        "val/loss",
        "val/perplexity",
        "val/response_loss",
        "time/tokens_per_second",
        "test/response_loss",
        "final/test_rouge_l",
    } <= set(events.Tags()["scalars"])
    samples = events.Tensors("val/responses/text_summary")[-1]
    text = samples.tensor_proto.string_val[0].decode()
    validation = json.loads((folder / "splits" / "val.json").read_text())
    for record in validation[:4]:
        assert record["instruction"] in text
        assert record["output"] in text


def test_interrupting_the_responses_leaves_a_finished_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    arguments = [
        "+experiment=instruct", "trainer=smoke", "model=nano", "model.weights=random",
        "task.generation.max_new_tokens=4", "untrained_responses=false",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["llm_lightning"])
    with monkeypatch.context() as patch:
        patch.setattr("llm_lightning.runs.responses.generate_responses", interrupted)
        with pytest.raises(KeyboardInterrupt) as caught:
            cli.main(arguments)
    assert "python -m llm_lightning generate" in str(caught.value)
    assert "--responses" in str(caught.value)
    left = next(Path("runs").glob("*/seed_123"))
    assert read_summary(left).responses is None
    assert generate.main([str(left), "--responses"]) == 0
    assert read_summary(left).responses.examples == 110


def test_a_classifier_is_sent_to_its_own_command(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    accuracy = {split: {"accuracy": 0.5} for split in ("train", "val", "test")}
    other = {"kind": "classification", "class_names": ["a", "b"], "metrics": accuracy}
    (tmp_path / "summary.json").write_text(json.dumps(summary | other))
    assert generate.main([str(tmp_path), "Name a colour."]) == 2
    assert "use python -m llm_lightning predict" in " ".join(
        capsys.readouterr().err.replace("│", " ").split()
    )


def test_options_change_the_response(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def response(*options: str) -> str:
        capsys.readouterr()
        assert generate.main([str(folder), "Name a colour.", *options]) == 0
        return capsys.readouterr().out

    assert response() == response()
    longer = response("--max-new-tokens", "12")
    assert longer.startswith(response().rstrip("\n"))
    assert len(longer) > len(response())
    sampled = [response("--temperature", "1", "--seed", seed) for seed in ("1", "1", "2")]
    assert sampled[0] == sampled[1] != sampled[2]
    assert response("--temperature", "1", "--top-k", "1") == response()


def test_the_input_is_part_of_the_prompt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = []

    def remember(
        backbone: object, head: object, given: list[list[int]], options: object, *, stop_id: int
    ) -> list:
        prompts.extend(given)
        return []

    monkeypatch.setattr("llm_lightning.runs.generation.stream_tokens", remember)
    assert generate.main([str(folder), "Pick one.", "--input", "red or blue"]) == 0
    assert (
        gpt2_encoding()
        .decode(prompts[0])
        .endswith("### Instruction:\nPick one.\n\n### Input:\nred or blue\n\n### Response:\n")
    )


def test_streamed_pieces_are_the_whole_response(folder: Path) -> None:
    model, _ = load_language_model(folder)
    record = Record("Name a colour.")
    pieces = list(stream_text(model, record, model.options.generation))
    assert 1 < len(pieces) <= 4


def test_without_an_instruction_each_line_of_input_is_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = io.BytesIO(b"Name a colour.\n\nName a fruit.\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(given))
    assert generate.main([str(folder)]) == 0
    out = capsys.readouterr().out
    capsys.readouterr()
    answers = ""
    for instruction in ("Name a colour.", "Name a fruit."):
        generate.main([str(folder), instruction])
        answers += capsys.readouterr().out
    assert out == answers


def test_responses_of_a_run_that_another_process_works_on_wait(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (folder / "summary.json").read_bytes()
    with holding(folder):
        assert generate.main([str(folder), "--responses"]) == HELD == 75
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert f"is held by process {os.getpid()} on" in said
    assert (folder / "summary.json").read_bytes() == before
    assert generate.main([str(tmp_path / "none"), "--responses"]) == 2
    assert not list(tmp_path.iterdir())


def test_responses_continue_after_an_interruption_and_reach_the_summary(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = read_summary(folder)
    before = (folder / files.RESPONSES).read_bytes()
    (folder / files.RESPONSES).unlink()
    write_summary(folder, summary.model_copy(update={"responses": None}))
    assert generate.main([str(folder), "--responses"]) == 0
    assert (folder / files.RESPONSES).read_bytes() == before
    again = read_summary(folder)
    assert again.responses.scores == summary.responses.scores
    assert "ROUGE-L" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--temperature", "-1"), "task.generation.temperature must be at least 0"),
        (("--top-p", "2"), "task.generation.top_p must be null or lie in (0, 1], got 2.0"),
    ],
)
def test_bad_options_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], option: tuple[str, str], message: str
) -> None:
    assert generate.main([str(folder), "Name a colour.", *option]) == 2
    told = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert message in told


def test_a_folder_that_is_no_run_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate.main([str(tmp_path), "Name a colour."]) == 2
    assert "is not the folder of a finished run" in " ".join(
        capsys.readouterr().err.replace("│", " ").split()
    )


def test_a_prompt_that_does_not_fit_is_told_with_what_it_lost(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, _ = load_language_model(folder)
    context = model.backbone.context_length
    assert generate.main([str(folder), "long words " * context + "in capitals."]) == 0
    told = " ".join(capsys.readouterr().err.split())
    count = len(gpt2_encoding().encode("long words " * context + "in capitals."))
    found = re.search(r"the prompt has ([\d,]+) tokens, and the model's context of (\d+)", told)
    assert found
    assert int(found[1].replace(",", "")) > count
    assert int(found[2]) == context
    assert f"leaves {context - 4} for it beside a response: cut in instruction" in told
    assert generate.main([str(folder), "Name a colour.", "--input", "blue " * context]) == 0
    assert "cut in input" in " ".join(capsys.readouterr().err.split())
    assert generate.main([str(folder), "Name a colour."]) == 0
    assert "warning" not in capsys.readouterr().err


def test_input_that_is_not_utf8_is_refused_with_its_line(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = io.BytesIO(b"Name a colour.\ncaf\xe9 please\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(given))
    assert generate.main([str(folder)]) == 2
    captured = capsys.readouterr()
    assert captured.out.endswith("\n"), "what came before is answered"
    assert "standard input is not UTF-8: byte 3 in line 2" in " ".join(captured.err.split())
    assert generate.main([str(folder), "caf\udce9"]) == 2
    assert "instruction is not UTF-8" in capsys.readouterr().err


def test_what_a_model_says_is_not_obeyed(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "stream_text", lambda *_: iter(["\x1b]0;owned\x07", "\x9b2J ok"]))
    assert generate.main([str(folder), "Name a colour."]) == 0
    assert not {"\x1b", "\x07", "\x9b"} & set(capsys.readouterr().out)
