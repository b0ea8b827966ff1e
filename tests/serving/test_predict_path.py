"""POST /predict: answers, and one line for each thing that can be wrong."""

from collections.abc import Sequence
from typing import Any

import pytest
from starlette.testclient import TestClient

from llm_lightning.serving.application import application
from llm_lightning.serving.classification import classification
from llm_lightning.serving.limits import Limits

LIMITS = Limits(body_kib=2, texts=3)


def classify(texts: Sequence[str], emit: Any, cancelled: Any) -> list[dict[str, Any]]:
    if "bad" in texts:
        raise RuntimeError("no memory\nleft")
    return [
        {
            "text": text,
            "label": "spam",
            "probability": len(text) / 100,
            "abstained": not text,
            "probabilities": {"ham": 1 - len(text) / 100, "spam": len(text) / 100},
            "truncated": False,
        }
        for text in texts
    ]


@pytest.fixture
def client() -> Any:
    path, batcher = classification(classify, LIMITS, can_share=True)
    app = application([path], [batcher], {"run": "my run", "classes": ["ham", "spam"]}, LIMITS)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def test_a_text_gets_an_object_and_texts_a_list_in_their_order(client: TestClient) -> None:
    one = client.post("/predict", json={"text": "hello"}).json()
    assert one == {
        "label": "spam",
        "probability": 0.05,
        "abstained": False,
        "probabilities": {"ham": 0.95, "spam": 0.05},
        "truncated": False,
        "decision": "spam",
    }
    many = client.post("/predict", json={"texts": ["hello", "", "hi"]}).json()["predictions"]
    assert [found["probability"] for found in many] == [0.05, 0.0, 0.02]
    assert [found["decision"] for found in many] == ["spam", None, "spam"]


def test_health_info_and_the_description_of_the_paths(client: TestClient) -> None:
    assert client.get("/health").json() == {"status": "ok"}
    info = client.get("/info").json()
    assert (info["run"], info["classes"]) == ("my run", ["ham", "spam"])
    assert info["limits"] == {"body_kib": 2, "texts": 3, "tokens": None, "waiting": 1024}
    assert "/predict" in client.get("/openapi.json").json()["paths"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 400, "the body is not JSON: EOF while parsing an object"),
        (b"", 400, "the body is not JSON: EOF while parsing a value"),
        (b"[]", 400, "the body must be a JSON object"),
        (b"{}", 400, 'send either {"text": "…"} or {"texts": ["…", "…"]}'),
        (b'{"text": "a", "texts": ["b"]}', 400, "send either"),
        (b'{"texts": []}', 400, "texts: List should have at least 1 item"),
        (b'{"text": 7}', 400, "text: Input should be a valid string"),
        (b'{"texts": ["a", null]}', 400, "texts.1: Input should be a valid string"),
        (b'{"text": "\\ud83d"}', 400, "the body is not JSON: unexpected end of hex escape"),
        (b'{"text": "a", "threshold": 1}', 400, "threshold is not supported: leave it out"),
        (b'{"texts": ["a", "b", "c", "d"]}', 413, "4 texts in one request; at most 3"),
        (b'{"text": "' + b"a" * 3000 + b'"}', 413, "the body is larger than 2 KiB"),
        (b'{"text": "bad"}', 500, "the model failed: RuntimeError: no memory left"),
        (b'{"text": "\xff"}', 400, ""),
    ],
)
def test_what_is_wrong_is_one_line(
    client: TestClient, body: bytes, status: int, message: str
) -> None:
    answer = client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    said = answer.json()["error"]["message"]
    assert message in said
    assert "\n" not in said
    assert client.get("/health").status_code == 200


def test_other_paths_methods_and_types_of_content(client: TestClient) -> None:
    assert client.get("/").status_code == 404
    assert client.get("/predict").status_code == 405
    assert "no such method" in client.get("/predict").json()["error"]["message"]
    # A page of another site may send text/plain without asking first.
    refused = client.post(
        "/predict", content='{"text": "a"}', headers={"Content-Type": "text/plain"}
    )
    assert refused.status_code == 400
    assert "application/json" in refused.json()["error"]["message"]


def test_a_body_is_counted_whatever_its_headers_announce(client: TestClient) -> None:
    def parts() -> Any:
        yield b'{"text": "'
        for _ in range(30):
            yield b"a" * 100
        yield b'"}'

    headers = {"Content-Type": "application/json"}
    assert client.post("/predict", content=parts(), headers=headers).status_code == 413


@pytest.mark.parametrize("field", ["body_kib", "texts", "tokens", "waiting"])
def test_limits_are_at_least_one(field: str) -> None:
    with pytest.raises(ValueError, match=f"the limit on {field} must be at least 1, got 0"):
        Limits(**{field: 0})
