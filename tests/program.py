"""``python -m llm_lightning`` in the process of a test."""

import sys

import pytest

from llm_lightning.commands import main as cli

SMOKE = (
    "trainer=smoke", "model=nano", "model.weights=random", "baselines=[]",
    "untrained_responses=false",
)  # fmt: skip
"""A run of seconds, whose results do not depend on which weights are packaged."""


def start(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Runs the program with these arguments; raises SystemExit where it fails."""
    monkeypatch.setattr(sys, "argv", ["llm_lightning"])
    if status := cli.main(list(arguments)):
        raise SystemExit(status)


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Runs the program with these arguments; returns the exit status."""
    try:
        start(monkeypatch, *arguments)
    except SystemExit as ended:
        return int(str(ended.code or 0))
    return 0
