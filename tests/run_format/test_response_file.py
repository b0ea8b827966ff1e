from pathlib import Path

import pytest

from llm_lightning.run_format.responses import ANSWERS, answers_file


def test_file_is_found_in_a_run_or_named(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "seed_1"
    run.mkdir(parents=True)
    with pytest.raises(ValueError, match="holds no answers"):
        answers_file(run)
    file = run / ANSWERS
    file.write_text("[]")
    assert answers_file(run) == answers_file(file) == file
    with pytest.raises(ValueError, match=f"did you mean {run}"):
        answers_file(tmp_path)
    with pytest.raises(ValueError, match="nowhere does not exist"):
        answers_file(tmp_path / "nowhere")
