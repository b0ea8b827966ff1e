"""The list of experiments, whatever their files hold."""

from pathlib import Path

import pytest

from llm_lightning.config import experiments


@pytest.mark.parametrize(
    ("content", "description"),
    [
        ("# @package _global_\n", "(no description: add one as the second comment line)"),
        ("", "(no description: add one as the second comment line)"),
        ("# @package _global_\n# what it does\nseed: 1\n", "what it does"),
        ("#what it does\n# @package _global_\n", "what it does"),
    ],
)
def test_a_file_without_a_description_is_listed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, description: str
) -> None:
    folder = tmp_path / "experiment"
    folder.mkdir()
    (folder / "mine.yaml").write_text(content)
    (folder / "_shared.yaml").write_text(content)
    monkeypatch.setattr(experiments, "conf_dir", lambda: tmp_path)
    assert experiments.list_experiments() == {"mine": description}
