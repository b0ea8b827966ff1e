"""Whole exports or none, and nothing else is touched."""

from pathlib import Path

import pytest

from llm_lightning.exporting.output_folder import CARD, MARK, check_free, staged


def export(out: Path, *names: str) -> None:
    check_free(out)
    with staged(out) as folder:
        assert not any(folder.iterdir())
        for name in (*names, CARD):
            file = folder / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(MARK if name == CARD else name)


def interrupted(out: Path) -> None:
    with staged(out) as folder:
        (folder / "config.json").write_text("half")
        raise KeyboardInterrupt


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_folders_on_the_way_are_made_and_nothing_else_is_left(tmp_path: Path) -> None:
    export(tmp_path / "a" / "b", "config.json")
    assert files(tmp_path) == {"a/b/config.json", "a/b/README.md"}
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_the_folder_itself_stays_that_a_shell_may_stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    number = tmp_path.stat().st_ino
    export(Path("."), "config.json")
    assert tmp_path.stat().st_ino == number
    assert files(tmp_path) == {"config.json", "README.md"}


def test_an_earlier_export_goes_and_other_files_stay(tmp_path: Path) -> None:
    export(tmp_path, "adapter_config.json", "base/config.json", "model-f16.gguf")
    (tmp_path / "notes.txt").write_text("mine")
    export(tmp_path, "config.json")
    assert files(tmp_path) == {"config.json", "README.md", "notes.txt"}


def test_after_an_error_everything_is_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for existed in (False, True):
        if existed:
            export(out, "config.json")
        with pytest.raises(KeyboardInterrupt):
            interrupted(out)
        assert out.exists() is existed
        assert len(list(tmp_path.iterdir())) == existed
    assert (out / "config.json").read_text() == "config.json"


def test_what_a_killed_export_left_is_no_part_of_the_next(tmp_path: Path) -> None:
    (tmp_path / ".out.part").mkdir()
    (tmp_path / ".out.part" / "model-f16.gguf").write_text("half")
    export(tmp_path / "out", "config.json")
    assert files(tmp_path) == {"out/config.json", "out/README.md"}


def test_what_is_no_export_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("a file")
    with pytest.raises(ValueError, match=r"--out .*file is a file; name a folder"):
        check_free(file)
    (tmp_path / CARD).write_text("# My project\nbuilt on llm_lightning\n")
    with pytest.raises(ValueError, match="is not empty and contains no export"):
        check_free(tmp_path)


def test_all_files_have_the_permissions_of_a_new_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with staged(out) as folder:
        (folder / "base").mkdir()
        for name in ("model.safetensors", "base/model.safetensors"):
            (folder / name).touch(mode=0o600)
    (tmp_path / "new").touch()
    expected = (tmp_path / "new").stat().st_mode
    assert files(out) == {"model.safetensors", "base/model.safetensors"}
    assert {(out / name).stat().st_mode for name in files(out)} == {expected}
