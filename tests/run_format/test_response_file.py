from pathlib import Path

import pytest

from llm_lightning.run_format.files import RESPONSES
from llm_lightning.run_format.responses import responses_file


def test_file_is_found_in_a_run_or_named(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "seed_1"
    run.mkdir(parents=True)
    with pytest.raises(ValueError, match="holds no responses"):
        responses_file(run)
    file = run / RESPONSES
    file.write_text("[]")
    assert responses_file(run) == responses_file(file) == file
    with pytest.raises(ValueError, match=f"did you mean {run}"):
        responses_file(tmp_path)
    with pytest.raises(ValueError, match="nowhere does not exist"):
        responses_file(tmp_path / "nowhere")
