"""Runs killed at writes, renames and removals end as if they had not been, in a small form."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "experiments" / "reliability" / "kills.py"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kills", [3, 9])
def test_killed_runs_end_like_those_left_alone(tmp_path: Path, kills: int) -> None:
    package = str(Path(__file__).parents[2])  # that of the tests, not an installed one
    done = subprocess.run(
        [sys.executable, str(SCRIPT), f"--kills={kills}", "--seed=3", "--work", str(tmp_path)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": package},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": lost ") == kills
    assert done.stdout.count("equal") >= kills
