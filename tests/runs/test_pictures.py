"""A picture that cannot be drawn costs the picture, never a trained run."""

from pathlib import Path

import pytest
from program import SMOKE, command

from llm_lightning.run_format import status
from llm_lightning.run_format.summary import read_summary


def test_a_failing_picture_leaves_a_finished_run(
    own_folder: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(folder: Path, summary: object) -> None:
        assert not (folder / "summary.json").exists()  # pictures come before the last file
        assert (folder / "predictions_test.csv").is_file()
        raise ZeroDivisionError("no width")

    monkeypatch.setattr("llm_lightning.runs.terminal_output.plot_run", broken)
    assert command(monkeypatch, "+experiment=baseline_length", *SMOKE) == 0
    told = capsys.readouterr().err
    assert "plots/ is incomplete: ZeroDivisionError: no width" in told
    assert "Traceback" not in told
    folder = next(Path("runs").glob("*/seed_123"))
    assert read_summary(folder).metrics["test"]
    assert (status.read(folder) or {})["state"] == "finished"
