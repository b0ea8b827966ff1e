"""OpenAI's paths, asked by OpenAI's own client and by this project's judge."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from exporting.tasks_to_export import TINY, language_model
from serving.running import running

from llm_lightning.backbone.generation import generate
from llm_lightning.backbone.sampling import GenerationOptions
from llm_lightning.backbone.tokenizer import GPT2Tokenizer, encode
from llm_lightning.commands.judge import main as judge
from llm_lightning.data.prompts import Prompts, Record, Turn
from llm_lightning.runs.generation import stream_text
from llm_lightning.serving.application import application
from llm_lightning.serving.limits import Limits
from llm_lightning.serving.writing import ServedModel, writing
from llm_lightning.serving.writing_batch import writes
from llm_lightning.tasks.language_model import LanguageModel

NAME = "instruct=1,a"
CONTEXT = 400
MESSAGES: Any = [{"role": "user", "content": "Name a colour."}]
OPTIONS = GenerationOptions(max_new_tokens=12)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return language_model(model=TINY | {"n_positions": CONTEXT})


def served(
    model: LanguageModel, prompts: Prompts | None, limits: Limits, compute: Any = None
) -> Any:
    tokenizer = GPT2Tokenizer()
    found = ServedModel(
        NAME, compute or writes(model, tokenizer.end_id), tokenizer, CONTEXT,
        model.options.generation, prompts, "v1", limits,
    )  # fmt: skip
    paths, writer = writing(found)
    return running(application(paths, [writer], {"run": NAME}, limits, found.listed))


@pytest.fixture(scope="module")
def url(model: LanguageModel) -> Iterator[str]:
    with served(model, Prompts("alpaca", GPT2Tokenizer()), Limits(texts=3)) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as found:
        yield found


def expected(model: LanguageModel, record: Record, options: GenerationOptions) -> str:
    return "".join(stream_text(model, record, options)).strip()


def test_the_model_is_listed(client: openai.OpenAI) -> None:
    assert [entry.id for entry in client.models.list()] == [NAME]


def test_a_chat_is_what_generate_answers(client: openai.OpenAI, model: LanguageModel) -> None:
    answer = client.chat.completions.create(model=NAME, messages=MESSAGES, max_tokens=12)
    (choice,) = answer.choices
    assert choice.message.content == expected(model, Record("Name a colour."), OPTIONS)
    assert (choice.message.role, choice.finish_reason) == ("assistant", "length")
    assert answer.usage is not None
    prompt = Prompts("alpaca", GPT2Tokenizer()).prompt_ids(Record("Name a colour."), CONTEXT)
    assert answer.usage.model_dump()["prompt_tokens"] == len(prompt)
    assert answer.usage.completion_tokens == 12
    assert answer.usage.total_tokens == len(prompt) + 12


def test_a_stream_is_the_same_text_in_pieces(client: openai.OpenAI) -> None:
    asked: Any = {"model": NAME, "messages": MESSAGES, "max_tokens": 40}
    whole = client.chat.completions.create(**asked).choices[0].message.content
    chunks = list(
        client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    deltas = [chunk.choices[0] for chunk in chunks[:-1]]
    assert "".join(choice.delta.content or "" for choice in deltas) == whole
    assert deltas[0].delta.role == "assistant"
    assert [choice.finish_reason for choice in deltas[-2:]] == [None, "length"]
    assert len(deltas) > 10
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 40


def test_conversations_have_their_system_message_and_turns(
    client: openai.OpenAI, model: LanguageModel
) -> None:
    messages: Any = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "Two?"},
    ]
    answer = client.chat.completions.create(model=NAME, messages=messages, max_tokens=12)
    record = Record("Two?", system="Be brief.", history=(Turn("One?", "1"),))
    assert answer.choices[0].message.content == expected(model, record, OPTIONS)


def test_completions_continue_each_prompt(client: openai.OpenAI, model: LanguageModel) -> None:
    prompts = ["Once upon a time", " and", ""]
    answer = client.completions.create(model=NAME, prompt=prompts, max_tokens=8)
    rows = [encode(text) or [50256] for text in prompts]
    options = GenerationOptions(max_new_tokens=8)
    tokens = generate(model.backbone, model.head, rows, options)
    assert [choice.text for choice in answer.choices] == [
        GPT2Tokenizer().decode(own) for own in tokens
    ]
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    pieces = client.completions.create(model=NAME, prompt=prompts[0], max_tokens=8, stream=True)
    assert "".join(piece.choices[0].text for piece in pieces) == answer.choices[0].text


def test_a_stop_ends_the_text_before_it(client: openai.OpenAI) -> None:
    asked: Any = {"model": NAME, "prompt": "Once upon a time", "max_tokens": 30}
    whole = client.completions.create(**asked).choices[0].text
    stop = whole[len(whole) // 2 :][:3]
    answer = client.completions.create(**asked, stop=stop)
    assert answer.choices[0].text == whole[: whole.index(stop)]
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens < 30


def test_a_seed_means_what_it_means_for_generate(
    client: openai.OpenAI, model: LanguageModel
) -> None:
    asked: Any = {"model": NAME, "messages": MESSAGES, "max_tokens": 12, "temperature": 1.5}

    def ask(**more: Any) -> str | None:
        return client.chat.completions.create(**asked, **more).choices[0].message.content

    options = replace(OPTIONS, temperature=1.5, seed=7)
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda _: ask(seed=7), range(3)))
    assert found == [expected(model, Record("Name a colour."), options)] * 3
    assert ask(seed=8) != found[0]
    assert len({ask() for _ in range(3)}) == 3


def test_many_at_once_get_their_own_answers(client: openai.OpenAI) -> None:
    def ask(number: int) -> tuple[str, str]:
        answer = client.completions.create(
            model=NAME, prompt=f"Number {number}: " + "one " * number, max_tokens=3 + number
        )
        return answer.choices[0].text, answer.choices[0].finish_reason

    alone = [ask(number) for number in range(12)]
    with ThreadPoolExecutor(12) as threads:
        assert list(threads.map(ask, range(12))) == alone


@pytest.mark.parametrize(
    ("path", "fields", "status", "message"),
    [
        ("chat", {"model": "other"}, 404, f"there is no model other: this server has {NAME}"),
        ("chat", {"messages": []}, 400, "messages: List should have at least 1 item"),
        ("chat", {"max_tokens": 0}, 400, "max_tokens: Input should be greater than or equal to 1"),
        ("chat", {"temperature": -1}, 400, "temperature: Input should be greater"),
        ("chat", {"top_p": 0}, 400, "top_p: Input should be greater than 0"),
        ("chat", {"n": 2}, 400, "n: Input should be 1"),
        ("chat", {"tools": []}, 400, "tools is not supported: leave it out"),
        ("chat", {"presence_penalty": 0.5}, 400, "presence_penalty: Input should be less"),
        ("chat", {"response_format": {"type": "json_object"}}, 400, "response_format.type: "),
        (
            "chat",
            {"messages": [{"role": "user", "content": "word " * 700}]},
            400,
            "the model's context is 400: shorten it to at most 399 tokens",
        ),
        ("", {"prompt": "word " * 700}, 400, "the model's context is 400"),
        ("", {"prompt": ["a"] * 4}, 413, "4 prompts; at most 3 are allowed"),
        ("", {"prompt": ["a", "b"], "stream": True}, 400, "send one prompt"),
        ("", {"prompt": [1, 2]}, 400, "prompt"),
    ],
)
def test_what_is_wrong_is_one_line(
    url: str, path: str, fields: dict[str, Any], status: int, message: str
) -> None:
    asked: dict[str, Any] = {"model": NAME}
    asked |= {"messages": MESSAGES} if path else {"prompt": "a"}
    where = "/v1/chat/completions" if path else "/v1/completions"
    answer = httpx2.post(url + where, json=asked | fields)
    assert answer.status_code == status, answer.text
    said = answer.json()["error"]["message"]
    assert message in said
    assert "\n" not in said


def test_a_run_of_plain_text_has_no_chat(model: LanguageModel) -> None:
    with (
        served(model, None, Limits(tokens=5)) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        with pytest.raises(openai.BadRequestError, match="use /v1/completions"):
            client.chat.completions.create(model=NAME, messages=MESSAGES)
        answer = client.completions.create(model=NAME, prompt="a")
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 5
        with pytest.raises(openai.BadRequestError, match="max_tokens is 6; at most 5 is allowed"):
            client.completions.create(model=NAME, prompt="a", max_tokens=6)


def test_a_client_that_hangs_up_stops_the_writing(model: LanguageModel) -> None:
    emitted: list[Any] = []
    compute = writes(model, GPT2Tokenizer().end_id)

    def slowly(batch: Any, emit: Any, cancelled: Any) -> None:
        def slow(item: Any) -> None:
            emitted.append(item)
            emit(item)
            time.sleep(0.002)

        compute(batch, slow, cancelled)

    with (
        served(model, None, Limits(), slowly) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        with client.completions.create(
            model=NAME, prompt="a", max_tokens=390, stream=True
        ) as stream:
            next(iter(stream))
        # Answered once the other one has ended.
        assert client.completions.create(model=NAME, prompt="a", max_tokens=1).choices
    assert 2 < len(emitted) < 300


@pytest.mark.slow
def test_the_judge_works_against_it(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {
        "instruction": "Name a colour.",
        "input": "",
        "output": "Red",
        "model_response": "Blue",
    }
    file = tmp_path / "responses.json"
    file.write_text(json.dumps([entry, entry | {"model_response": "Green"}]))
    assert judge([str(file), "--url", url, "--model", NAME, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    counts = found["counts"]
    assert counts["items"] == counts["scored"] + counts["unparsed"] == 2
