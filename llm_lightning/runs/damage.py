"""Damaged files of a run's folder: named, set aside, and made again."""

import csv
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

from llm_lightning.run_format import configuration, files, status
from llm_lightning.run_format.summary import read_summary
from llm_lightning.runs.terminal_output import print_set_aside

MARK = "# A run of llm_lightning: running the same command again replaces this folder's files.\n"
"""Begins the configuration of a run."""

_FOLDERS = (files.SPLITS_FOLDER, files.CHECKPOINTS, files.PLOTS, files.TOKENIZER)


def set_aside(folder: Path) -> list[str]:
    """Renames what is damaged in a run's folder, and says so in a line each.

    Args:
        folder: a run's, which no other process works on.

    Returns:
        The names of the damaged files.
    """
    found = problems(folder)
    for name, problem in found.items():
        path = folder / name
        aside = path.with_name(path.name + files.DAMAGED)
        if aside.is_dir() and not aside.is_symlink():
            shutil.rmtree(aside)
        else:
            aside.unlink(missing_ok=True)
        os.replace(path, aside)
        print_set_aside(path, problem)
    return list(found)


def problems(folder: Path) -> dict[str, str]:
    """Returns what is wrong with the files of a run's folder, by name; changes nothing."""
    found = {}
    for name in _FOLDERS:
        if (folder / name).exists() and not (folder / name).is_dir():
            found[name] = "it is no folder"
    checkpoints = folder / files.CHECKPOINTS
    checks = {
        files.CONFIG: _configuration,
        files.SUMMARY: _summary,
        files.STATUS: _status,
        files.CURVES: _curves,
    }
    if checkpoints.is_dir():
        checks |= {f"{files.CHECKPOINTS}/{file.name}": _zip for file in checkpoints.glob("*.ckpt")}
    for name, check in checks.items():
        if not os.path.lexists(folder / name):
            continue
        try:
            problem = check(folder / name)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            problem = str(error).splitlines()[0] if str(error) else type(error).__name__
            problem = problem.removeprefix(f"{folder / name} is damaged: ")
        if problem:
            found[name] = problem
    return found


def read_configuration(folder: Path) -> dict[str, Any] | None:
    """Returns the configuration of a run; ``None`` if there is none that can be read."""
    try:
        return configuration.read_configuration(folder)
    except (FileNotFoundError, ValueError):
        return None


def has_mark(folder: Path) -> bool:
    """Whether a folder's configuration says that it is a run's."""
    try:
        with (folder / files.CONFIG).open("rb") as opened:
            return opened.read(len(MARK)) == MARK.encode()
    except OSError:
        return False


def _configuration(file: Path) -> str | None:
    configuration.read_configuration(file.parent)
    return None


def _summary(file: Path) -> str | None:
    if not file.is_file():
        return "it is no file"
    try:
        read_summary(file.parent)
    except ValueError as error:
        return str(error).removeprefix(f"{file} is damaged: ")
    return None


def _status(file: Path) -> str | None:
    status.checked(file)
    return None


def _curves(file: Path) -> str | None:
    with file.open(newline="", encoding="utf-8") as opened:
        try:
            rows = list(csv.reader(opened, strict=True))
        except csv.Error as error:
            return str(error)
    if not rows:
        return "it is empty"
    if "step" not in rows[0]:
        return "it has no column step"
    lengths = {len(row) for row in rows}
    return None if lengths == {len(rows[0])} else "its rows have different lengths"


def _zip(file: Path) -> str | None:
    if file.is_file() and not file.stat().st_size:
        return "it is empty"
    return None if zipfile.is_zipfile(file) else "it is no checkpoint, or its end is missing"
