"""A bounded load on a server on this machine: some clients, each asking as soon as it is answered.

    python experiments/serving/load.py http://127.0.0.1:8000 texts.json --clients 64 --requests 2000

A client is a connection that is kept open. Nothing but a loopback address is accepted.
"""

import argparse
import asyncio
import ipaddress
import json
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

MOST_CLIENTS, MOST_REQUESTS = 64, 50_000


class Client:
    """One connection."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    async def __aenter__(self) -> "Client":
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def post(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        """Sends a request; returns status and body."""
        content = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        self._writer.write(head.encode() + content)
        header = await self._reader.readuntil(b"\r\n\r\n")
        status = int(header.split(b" ", 2)[1])
        fields = (line.partition(b":") for line in header.lower().split(b"\r\n"))
        length = next(int(value) for name, _, value in fields if name == b"content-length")
        return status, await self._reader.readexactly(length)


async def load(
    url: str, texts: Sequence[str], clients: int, requests: int
) -> tuple[dict[str, float], list[Any]]:
    """Sends requests; returns the figures, and the answers in the order of the requests."""
    address = urlsplit(url)
    host, port = address.hostname or "", address.port or 80
    if not ipaddress.ip_address(host).is_loopback:
        raise SystemExit(f"{host} is not this machine")
    if clients > MOST_CLIENTS or requests > MOST_REQUESTS:
        raise SystemExit(f"at most {MOST_CLIENTS} clients and {MOST_REQUESTS} requests")
    answers: list[Any] = [None] * requests
    seconds: list[float] = []
    work: Iterator[tuple[int, str]] = iter(enumerate(islice(cycle(texts), requests)))

    async def ask() -> None:
        async with Client(host, port) as client:
            for index, text in work:
                started = time.perf_counter()
                status, body = await client.post("/predict", {"text": text})
                seconds.append(time.perf_counter() - started)
                answers[index] = json.loads(body) if status == 200 else None

    started = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(clients)))
    total = time.perf_counter() - started
    p50, p95 = np.percentile(seconds, [50, 95]) * 1000
    figures = {
        "clients": clients,
        "requests": requests,
        "errors": sum(answer is None for answer in answers),
        "requests_per_second": requests / total,
        "p50_ms": float(p50),
        "p95_ms": float(p95),
    }
    return figures, answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("texts", type=Path, help="JSON list of texts")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--answers", type=Path, help="file for the answers")
    options = parser.parse_args()
    texts = json.loads(options.texts.read_text(encoding="utf-8"))
    figures, answers = asyncio.run(load(options.url, texts, options.clients, options.requests))
    print(json.dumps(figures))
    if options.answers:
        options.answers.write_text(json.dumps(answers), encoding="utf-8")


if __name__ == "__main__":
    main()
