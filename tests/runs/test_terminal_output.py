"""What a finished run prints about its files."""

from pathlib import Path

import pytest
from reporting import run_folders

from llm_lightning.run_format.summary import read_summary
from llm_lightning.runs.terminal_output import print_results


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("events.out.tfevents.1.host.2.0", "tensorboard --logdir"),
        (None, "seed_1/metrics.csv"),
        ("none", None),
    ],
)
def test_curves_are_shown_where_the_run_left_them(
    file: str | None,
    expected: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = run_folders.write_classifier(Path("runs"))
    if file == "none":
        (folder / "metrics.csv").unlink()
    elif file is not None:
        (folder / file).touch()
    print_results(read_summary(folder), folder)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("curves")]
    assert len(lines) == (expected is not None)
    assert expected is None or expected in lines[0]
