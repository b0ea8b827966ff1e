"""The status of a run: what is kept when it changes, and what a sweep counts."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from llm_lightning.run_format import status


def test_facts_and_the_start_are_kept_when_the_state_changes(tmp_path: Path) -> None:
    status.write(tmp_path, "running", fallbacks=["nano"])
    started_at = (status.read(tmp_path) or {})["started_at"]

    def interrupted() -> None:
        with status.recorded(tmp_path):
            status.write(tmp_path, "running", epoch=2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    found = status.read(tmp_path) or {}
    assert (found["state"], found["epoch"], found["fallbacks"]) == ("interrupted", 2, ["nano"])
    assert found["started_at"] == started_at


def test_a_refusal_leaves_a_finished_run_finished_and_counts_as_failed(tmp_path: Path) -> None:
    done, new = tmp_path / "done" / "seed_1", tmp_path / "new" / "seed_1"
    status.write(done, "finished")
    since = datetime.now(UTC)
    status.refuse(done, "no such block")
    status.refuse(new, "no such block")
    assert (status.read(done) or {})["state"] == "finished"
    assert (status.read(new) or {})["state"] == "failed"
    assert status.read_progress(tmp_path, since, total=2).failed == [done, new]
    status.write(done, "finished")
    assert status.read_progress(tmp_path, since, total=2).finished == [done]
