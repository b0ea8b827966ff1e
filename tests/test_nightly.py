"""The list of tests that are left to the night."""

import re
from pathlib import Path

import pytest

NIGHTLY = Path(__file__).with_name("nightly.txt")
LISTED = [line for line in NIGHTLY.read_text().splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("line", LISTED)
def test_what_is_listed_exists_and_is_slow(line: str) -> None:
    file, _, name = line.partition("::")
    source = (NIGHTLY.parent / file).read_text()
    assert "mark.slow" in source
    if name:
        assert re.search(rf"^def {re.escape(name.split('[')[0])}\(", source, re.MULTILINE)
