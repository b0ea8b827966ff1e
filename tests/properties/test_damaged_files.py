"""Damaged files of every kind are refused with a ValueError, or read: nothing else comes out."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "experiments" / "reliability"
CASES = 8
"""Of each kind; `experiments/reliability/fuzz.py` tries as many as one likes."""


@pytest.fixture(scope="module")
def fuzz() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        import fuzz

        yield fuzz
        sys.modules.pop("fuzz", None)


def test_damaged_files_are_refused_in_one_line_or_read(fuzz: Any, tmp_path: Path) -> None:
    with fuzz.targets() as targets:
        for number, target in enumerate(targets):
            found = fuzz.run(target, CASES, 3, tmp_path / str(number))
            assert found.failures == [], target.name
            assert found.cases == CASES


def test_a_failure_is_noticed(fuzz: Any, tmp_path: Path) -> None:
    def read(file: Path) -> None:
        if file.read_bytes() != b"good":
            raise KeyError("x")

    found = fuzz.run(fuzz.Target("test", [b"good"], ".txt", read), 5, 1, tmp_path)
    assert len(found.failures) == 5
    assert found.failures[0].startswith("case 0: KeyError: 'x' (test_damaged_files.py:")
    assert (tmp_path / "failed-test-0").is_file()
