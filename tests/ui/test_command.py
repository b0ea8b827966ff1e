"""``python -m llm_lightning ui``: what it refuses before there is a page."""

from pathlib import Path

import pytest

from llm_lightning.commands import ui
from llm_lightning.presentation import extras


def test_without_gradio_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extras, "is_installed", lambda module: module != "gradio")
    assert ui.main([]) == 2
    said = " ".join(capsys.readouterr().err.replace("\u2502", " ").split())
    assert "ui needs Gradio: pip install 'llm-lightning[ui]'" in said


def test_a_file_is_no_folder_of_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extras, "is_installed", lambda module: True)
    file = tmp_path / "runs"
    file.touch()
    assert ui.main([str(file)]) == 2
    said = " ".join(capsys.readouterr().err.replace("\u2502", " ").split())
    assert "is a file: name a folder" in said


@pytest.mark.parametrize("option", ["--share", "--host=0.0.0.0", "--server-name=0.0.0.0"])
def test_nobody_else_can_be_let_in(option: str) -> None:
    with pytest.raises(SystemExit) as ended:
        ui.main(["runs", option])
    assert ended.value.code == 2
