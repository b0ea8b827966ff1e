"""One HTTP answer: read within bounds, and what a server's error says, wherever it stands."""

import json
import time
import zlib
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import httpx2

MAX_ANSWER_BYTES = 16 * 2**20
"""Largest answer that is read, after decompression: many times the longest reply of a model."""

_TEXT_SHOWN = 2400  # bytes


class Unreadable(OSError):
    """An answer is larger than ``MAX_ANSWER_BYTES``, or packed in a way that cannot be bounded."""


class Answer(NamedTuple):
    """An HTTP answer that was read to its end."""

    status: int
    headers: httpx2.Headers
    reason: str
    content: bytes

    def json(self) -> Any:
        """Its JSON.

        Raises:
            ValueError: if it is none, or nested too deeply to be read.
        """
        try:
            return json.loads(self.content)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error

    def text(self) -> str:
        """The beginning of its body, for messages."""
        return self.content[:_TEXT_SHOWN].decode("utf-8", errors="replace")


def read_bounded(response: httpx2.Response, deadline: float) -> bytes:
    """The body of an answer, unpacked, within a size and a time.

    Raises:
        Unreadable: if it is larger, or compressed by something whose size cannot be bounded.
        httpx2.ReadTimeout: at the deadline, for a server that sends a byte now and then.
    """
    packing = response.headers.get("Content-Encoding", "identity").strip().lower()
    if packing not in ("identity", "gzip", "x-gzip", "deflate", ""):
        raise Unreadable(f"its answer is packed as {packing}, which was not asked for")
    unpack = zlib.decompressobj(47) if packing not in ("identity", "") else None  # 47: detect it
    content = bytearray()
    for chunk in response.iter_raw():
        if time.monotonic() > deadline:
            raise httpx2.ReadTimeout("the answer takes too long")
        room = MAX_ANSWER_BYTES + 1 - len(content)
        try:
            content += unpack.decompress(chunk, room) if unpack else chunk
        except zlib.error as error:
            raise Unreadable(f"its answer is said to be {packing}, and is not") from error
        if len(content) > MAX_ANSWER_BYTES:
            raise Unreadable(f"its answer is larger than {MAX_ANSWER_BYTES // 2**20} MiB: not read")
    return bytes(content)


def error_inside(content: Any) -> Any:
    """The error in the place of an answer; ``None`` if there is none."""
    if not isinstance(content, dict):
        return None
    if (error := content.get("error")) and not (content.get("choices") or content.get("message")):
        return error
    try:
        return content["choices"][0]["error"] or None
    except (KeyError, IndexError, TypeError):
        return None


def error_code(error: Any) -> int:
    """The HTTP status that an error names; 0 if it names none."""
    fields = error if isinstance(error, dict) else {}
    for key in ("code", "status", "status_code", "type"):
        value = str(fields.get(key, ""))
        if value.isascii() and value.isdecimal() and len(value) == 3:
            return int(value)
        if "rate_limit" in value.lower():
            return 429
    return 0


def error_text(answer: Answer) -> str:
    """The server's own words: Ollama's ``error``, OpenAI's ``error.message``, or the body."""
    try:
        content = answer.json()
        error = error_inside(content) or content["error"]
        if not isinstance(error, dict):
            return str(error)
        named = f" (parameter {error['param']})" if error.get("param") else ""
        return f"{error['message']}{named}"
    except (ValueError, KeyError, TypeError):
        return answer.text()


def retry_after(headers: httpx2.Headers) -> float | None:
    """The Retry-After of an answer, in seconds; None if it has none or it is unclear."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
