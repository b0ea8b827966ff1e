import json
from collections.abc import Iterator

import pytest
from judge_server import DIGEST, VERSION, JudgeServer, Say, Status

from llm_lightning.evaluation.judging import exchange
from llm_lightning.evaluation.judging.exchange import NoServer, RequestRefused, ServerFailed
from llm_lightning.evaluation.judging.openai import OpenAI
from llm_lightning.evaluation.judging.protocol import MAX_TOKENS, Identity, Server, context_size
from llm_lightning.evaluation.judging.rubrics import RUBRICS
from llm_lightning.evaluation.judging.servers import connect

SCHEMA = RUBRICS["score100"].schema


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "BACKOFF_S", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def ollama() -> Iterator[JudgeServer]:
    with JudgeServer() as running:
        yield running


@pytest.fixture
def openai() -> Iterator[JudgeServer]:
    with JudgeServer(apis=("openai",), models=("gpt-4o",)) as running:
        yield running


def meet(server: JudgeServer, model: str, api: str = "auto", path: str = "") -> Server:
    return connect(server.url + path, api, model, timeout_s=2.0, retries=1)


def ask(server: Server, prompt: str = "How good?") -> str:
    return server.ask(server.identity.question(prompt, SCHEMA, seed=7), num_ctx=4096).text


@pytest.mark.parametrize("api", ["auto", "ollama"])
def test_ollama_is_known_by_version_and_digest(ollama: JudgeServer, api: str) -> None:
    server = meet(ollama, "llama3", api)
    assert server.identity == Identity("ollama", ollama.url, "llama3", DIGEST, VERSION)
    assert meet(ollama, "phi3:mini", api).identity.model == "phi3:mini"


def test_ollama_reads_options_where_they_are_sent(ollama: JudgeServer) -> None:
    assert ask(meet(ollama, "llama3")) == '{"score": 50}'
    assert ollama.chats[0].path == "/api/chat"
    assert ollama.chats[0].body == {
        "model": "llama3",
        "messages": [{"role": "user", "content": "How good?"}],
        "stream": False,
        "format": SCHEMA,
        "options": {"seed": 7, "temperature": 0, "num_predict": MAX_TOKENS, "num_ctx": 4096},
    }


def test_missing_model_is_named_with_those_there_are(ollama: JudgeServer) -> None:
    with pytest.raises(
        ValueError, match="has no model llama4; it has llama3:latest, phi3:mini"
    ) as e:
        meet(ollama, "llama4")
    assert str(e.value).endswith("ollama pull llama4")
    ollama.models = ()
    with pytest.raises(ValueError, match="it has none"):
        meet(ollama, "llama3")
    assert ollama.chats == []


def test_openai_is_found_and_asked(openai: JudgeServer) -> None:
    server = meet(openai, "gpt-4o", path="/v1/")
    assert server.identity == Identity("openai", openai.url, "gpt-4o", None, None)
    reply = server.ask(server.identity.question("How good?", SCHEMA, seed=7), num_ctx=4096)
    assert reply == ('{"score": 50}', "b1234", "json_schema", False, ())
    assert openai.chats[0].path == "/v1/chat/completions"
    named = {"name": "score", "strict": True, "schema": SCHEMA}
    assert openai.chats[0].body == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "How good?"}],
        "stream": False,
        "seed": 7,
        "temperature": 0,
        "max_tokens": MAX_TOKENS,
        "response_format": {"type": "json_schema", "json_schema": named},
    }


def test_openai_names_its_models(openai: JudgeServer) -> None:
    with pytest.raises(ValueError, match="has no model llama3; it has gpt-4o"):
        meet(openai, "llama3")


@pytest.mark.parametrize(
    ("forms", "enforced"),
    [(("json_schema",), "json_schema"), (("json_object",), "json_object"), ((), "none")],
)
def test_openai_takes_the_strictest_form_there_is(
    openai: JudgeServer, forms: tuple[str, ...], enforced: str
) -> None:
    openai.forms = forms
    server = meet(openai, "gpt-4o")
    question = server.identity.question("How good?", SCHEMA, seed=7)
    assert server.ask(question, 2048).enforced == enforced
    tried = len(openai.chats)
    assert server.ask(question, 2048).enforced == enforced
    assert len(openai.chats) == tried + 1, "what is refused is tried once"


def test_refusal_after_the_first_reply_is_about_the_question(openai: JudgeServer) -> None:
    server = meet(openai, "gpt-4o")
    ask(server)
    openai.script(Status(400, {"error": {"message": "too long"}}))
    with pytest.raises(RequestRefused, match="too long"):
        ask(server)
    assert len(openai.chats) == 2


def test_openai_without_a_list_of_models_must_be_named() -> None:
    with JudgeServer(apis=()) as server:
        with pytest.raises(ValueError, match="neither /api/version, as Ollama has, nor /v1/models"):
            meet(server, "m")
        assert isinstance(meet(server, "m", api="openai"), OpenAI)


def test_key_of_the_environment_is_sent_to_openai_only(
    openai: JudgeServer, ollama: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    openai.key = "sk-1"
    with pytest.raises(RequestRefused, match=r"HTTP 401.*\nSet OPENAI_API_KEY"):
        meet(openai, "gpt-4o")
    monkeypatch.setenv("OPENAI_API_KEY", " sk-1\n")
    server = meet(openai, "gpt-4o")
    ask(server)
    assert openai.chats[0].headers["Authorization"] == "Bearer sk-1"
    assert "sk-1" not in json.dumps(server.identity.question("a", SCHEMA, 1))
    ask(meet(ollama, "llama3"))
    assert ollama.chats[0].headers["Authorization"] is None


def test_refused_answer_is_an_empty_reply(openai: JudgeServer) -> None:
    openai.script(Status(200, {"choices": [{"message": {"content": None, "refusal": "no"}}]}))
    assert ask(meet(openai, "gpt-4o")) == ""


@pytest.mark.parametrize("status", [400, 200])
@pytest.mark.parametrize(
    ("said", "left_out"),
    [
        ("Unsupported value: 'temperature' does not support 0 with this model.", ("temperature",)),
        ("Unrecognized request argument supplied: seed", ("seed",)),
        ("max_tokens is not permitted", ("max_tokens",)),
        (
            "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            ("max_tokens (sent as max_completion_tokens)",),
        ),
        ("seed and temperature are unknown", ("seed", "temperature")),
    ],
)
def test_parameter_that_a_server_refuses_is_left_out_and_recorded(
    openai: JudgeServer, said: str, left_out: tuple[str, ...], status: int
) -> None:
    openai.script(Status(status, {"error": {"message": said, "code": "unsupported_value"}}))
    server = meet(openai, "gpt-4o")
    question = server.identity.question("How good?", SCHEMA, seed=7)
    reply = server.ask(question, 2048)
    assert (reply.text, reply.left_out) == ('{"score": 50}', left_out)
    sent = openai.chats[1].body
    for name in ("max_tokens", "seed", "temperature"):
        assert (name in sent) == (not any(one.startswith(name) for one in left_out))
    assert sent.get("max_completion_tokens") == (MAX_TOKENS if "sent as" in left_out[0] else None)
    assert sent["response_format"]["type"] == "json_schema", "nothing else was given up"
    server.ask(question, 2048)
    assert len(openai.chats) == 3, "what is refused is tried once"


def test_parameters_are_left_out_one_after_another(openai: JudgeServer) -> None:
    for said in ("no seed", "temperature must be 1", "max_completion_tokens, not max_tokens"):
        openai.script(Status(422, {"error": said}))
    server = meet(openai, "gpt-4o")
    reply = server.ask(server.identity.question("How good?", SCHEMA, seed=7), 2048)
    expected = ("seed", "temperature", "max_tokens (sent as max_completion_tokens)")
    assert reply.left_out == expected


def test_parameter_is_named_by_its_field_too(openai: JudgeServer) -> None:
    error = {"message": "not supported by this model", "param": "temperature", "code": 400}
    openai.script(Status(400, {"error": error}))
    assert ask(meet(openai, "gpt-4o")) == '{"score": 50}'
    assert "temperature" not in openai.chats[1].body


def test_the_token_budget_reaches_both_servers(openai: JudgeServer, ollama: JudgeServer) -> None:
    for site, model in ((openai, "gpt-4o"), (ollama, "llama3")):
        server = meet(site, model)
        server.ask(server.identity.question("How good?", SCHEMA, seed=7, max_tokens=9000), 2048)
    assert openai.chats[0].body["max_tokens"] == 9000
    assert ollama.chats[0].body["options"]["num_predict"] == 9000


def test_a_reply_that_ends_at_the_budget_is_marked(
    openai: JudgeServer, ollama: JudgeServer
) -> None:
    message = {"role": "assistant", "content": "<think> the answer has 3"}
    openai.script(Status(200, {"choices": [{"message": message, "finish_reason": "length"}]}))
    ollama.script(Status(200, {"message": message, "done": True, "done_reason": "length"}))
    for site, model in ((openai, "gpt-4o"), (ollama, "llama3")):
        server = meet(site, model)
        question = server.identity.question("How good?", SCHEMA, seed=7)
        assert server.ask(question, 2048).cut_off
        assert not server.ask(question, 2048).cut_off


def test_text_in_parts_is_joined_without_the_thinking(openai: JudgeServer) -> None:
    parts = [{"type": "thinking", "thinking": "3"}, {"type": "text", "text": "85"}]
    openai.script(Status(200, {"choices": [{"message": {"content": parts}}]}))
    assert ask(meet(openai, "gpt-4o")) == "85"


def test_error_in_a_choice_is_an_error(openai: JudgeServer) -> None:
    choice = {"message": {"content": ""}, "error": {"message": "overloaded", "code": 502}}
    openai.script(Status(200, {"choices": [choice]}))
    assert ask(meet(openai, "gpt-4o")) == '{"score": 50}', "502 is tried again"


@pytest.mark.parametrize("body", [{}, [], {"choices": []}, {"message": None}, 3])
def test_answer_without_a_message_is_a_failure(
    ollama: JudgeServer, openai: JudgeServer, body: object
) -> None:
    for site, model in ((ollama, "llama3"), (openai, "gpt-4o")):
        site.script(Status(200, body))
        with pytest.raises(ServerFailed, match="answers without a message"):
            ask(meet(site, model))


@pytest.mark.parametrize(
    ("path", "answer", "message"),
    [
        ("/api/tags", Status(200, {"tags": []}), "does not answer like Ollama"),
        ("/api/tags", Status(200, "<html>"), "not JSON"),
        ("/api/tags", Status(503, {"error": "starting"}), "HTTP 503: starting"),
        ("/api/version", Status(200, [1]), "does not answer like Ollama"),
    ],
)
def test_something_else_at_the_address_is_named(
    ollama: JudgeServer, path: str, answer: Status, message: str
) -> None:
    ollama.instead[path] = answer
    with pytest.raises(ServerFailed, match=message):
        meet(ollama, "llama3", api="ollama")


@pytest.mark.parametrize("answer", [Status(200, "<html>"), Status(200, "3"), Status(500)])
def test_something_else_is_not_taken_for_ollama(openai: JudgeServer, answer: Status) -> None:
    openai.instead["/api/version"] = answer
    assert isinstance(meet(openai, "gpt-4o"), OpenAI)


def test_nobody_there(ollama: JudgeServer) -> None:
    ollama.close()
    for api in ("auto", "ollama", "openai"):
        with pytest.raises(NoServer, match="Connection refused"):
            meet(ollama, "llama3", api)


def test_a_reply_may_be_any_text(ollama: JudgeServer) -> None:
    ollama.script(Say("Score:\n85 \u2713"))
    assert ask(meet(ollama, "llama3")) == "Score:\n85 \u2713"


@pytest.mark.parametrize(
    ("prompts", "size"),
    [(["a"], 2048), (["a" * 3000], 2048), (["a", "a" * 4000], 4096), (["語" * 3000], 8192)],
)
def test_context_has_room_for_the_longest_prompt(prompts: list[str], size: int) -> None:
    assert context_size(prompts) == size


def test_question_tells_servers_apart_by_digest_or_address() -> None:
    def question(**fields: str | None) -> dict[str, object]:
        known = {"api": "ollama", "url": "a", "model": "m", "digest": "d", "version": "1"} | fields
        return Identity(**known).question("p", SCHEMA, 1)  # type: ignore[arg-type]

    assert question() == question(url="b", version="2")
    assert question() != question(digest="e")
    assert question(digest=None) != question(digest=None, url="b")
    assert question(digest=None) == question(digest=None, version="2")
