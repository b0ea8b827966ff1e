"""Damaged files are named, set aside and made again; a folder is never stuck because of one."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from program import SMOKE, command

from llm_lightning.commands import main as cli
from llm_lightning.run_format import files
from llm_lightning.runs.damage import MARK, problems, set_aside
from llm_lightning.runs.prior_state import is_free

STATUS = '{"state": "running", "started_at": "2026-01-01", "updated_at": "2026-01-01T00:00:00Z"}'
SOUND = {files.CONFIG: f"{MARK}seed: 1\n", files.STATUS: STATUS, files.CURVES: "a,step\r\n1,2\r\n"}


def put(path: Path, content: str | None) -> None:
    """Writes a file, or makes a folder in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content.encode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in SOUND.items():
        put(tmp_path / "run" / name, content)
    return tmp_path / "run"


def test_sound_files_stay(folder: Path) -> None:
    assert problems(folder) == {}
    assert set_aside(folder) == []
    assert {path.name for path in folder.iterdir()} == set(SOUND)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        (files.CONFIG, "", "it is empty"),
        (files.CONFIG, MARK[:20], "it is empty"),
        (files.CONFIG, "\0" * 4096, "no YAML"),
        (files.CONFIG, f"{MARK}- a list", "a mapping is needed, got list"),
        (files.CONFIG, None, "is not a file"),
        (files.CONFIG, MARK + "a: &a {x: 1}\n" + "".join(
            f"{b}: &{b} {{{', '.join(f'k{i}: *{a}' for i in range(9))}}}\n"
            for a, b in zip("abcdefghi", "bcdefghij", strict=True)
        ), "its aliases stand for more than"),
        (files.SUMMARY, "", "it is empty"),
        (files.SUMMARY, '{"name": "lo', "no JSON from line 1"),
        (files.SUMMARY, "[1]", "summary.json"),
        (files.SUMMARY, None, "it is no file"),
        (files.STATUS, "", "it is empty"),
        (files.STATUS, "[]", "it must hold a JSON object"),
        (files.STATUS, '{"state": "running"}', "updated_at must be a text, got None"),
        (files.STATUS, "[" * 100_000, "nested too deeply"),
        (files.CURVES, "", "it is empty"),
        (files.CURVES, "a,step\r\n1,2\r\n3", "different lengths"),
        (files.CURVES, "loss\n1\n", "no column step"),
        (files.CURVES, None, "Is a directory"),
        ("checkpoints/resume.ckpt", "", "it is empty"),
        ("checkpoints/last.ckpt", "PK\x03\x04 and then nothing", "its end is missing"),
        ("checkpoints", "a file", "it is no folder"),
        ("splits", "a file", "it is no folder"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named_and_set_aside(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, content: str | None, problem: str
) -> None:
    path = folder / name
    path.unlink(missing_ok=True)
    put(path, content)
    assert is_free(folder)  # never "holds no run"
    assert set_aside(folder) == [name]
    told = " ".join(capsys.readouterr().err.split())
    assert f"{path} is damaged (" in told
    assert problem in told
    assert "Traceback" not in told
    assert not path.exists()
    assert path.with_name(path.name + files.DAMAGED).exists()
    assert is_free(folder)
    put(path, content)  # and once more: the older one makes room
    assert set_aside(folder) == [name]


def test_a_folder_of_others_is_not_touched(tmp_path: Path) -> None:
    put(tmp_path / "config.yaml", "theirs: 1\n")
    assert not is_free(tmp_path)
    put(tmp_path / "config.yaml", "")
    assert is_free(tmp_path)  # of names that a run writes, and nothing in it
    put(tmp_path / "thesis.txt", "mine")
    assert not is_free(tmp_path)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty config": lambda run: (run / files.CONFIG).write_text(""),
    "torn summary": lambda run: (run / files.SUMMARY).write_text('{"name": "la'),
    "empty curves": lambda run: (run / files.CURVES).write_text(""),
    "no last.ckpt": lambda run: (run / "checkpoints/last.ckpt").unlink(),
    "torn status": lambda run: (run / files.STATUS).write_text('{"state": "fin'),
}


@pytest.mark.slow
@pytest.mark.usefixtures("own_folder")
@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("rerun", [(), ("rerun=true",)])
def test_a_run_with_a_damaged_file_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    rerun: tuple[str, ...],
) -> None:
    arguments = ("+experiment=last_layer", *SMOKE, "runs_dir=runs")
    assert command(monkeypatch, *arguments) == 0
    folder = next(Path("runs").glob("*/seed_123"))
    before = json.loads((folder / files.SUMMARY).read_text())["metrics"]
    capsys.readouterr()
    DAMAGE[kind](folder)
    assert command(monkeypatch, *arguments, *rerun) == 0
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    assert ("is damaged" in shown.err) == (kind != "no last.ckpt")
    assert ("finished before" in shown.out) == (kind == "torn status" and not rerun)
    assert json.loads((folder / files.SUMMARY).read_text())["metrics"] == before
    assert json.loads((folder / files.STATUS).read_text())["state"] == "finished"
    assert (folder / "checkpoints/last.ckpt").is_file()
    assert cli.main([*arguments]) == 0
    assert "finished before" in capsys.readouterr().out
