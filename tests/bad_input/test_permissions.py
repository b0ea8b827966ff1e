"""What a user may not read or write is one line, by the system's own refusal.

Permissions do not stop root, as which tests run in containers: there each case runs in a process
of a user without any rights.
"""

import multiprocessing
import os
import shutil
import tempfile
import traceback
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from llm_lightning.backbone.tensor_files import unpickled
from llm_lightning.commands.before_runs import runs_folder
from llm_lightning.commands.failures import described, is_users
from llm_lightning.data.instructions import Instructions
from llm_lightning.data.spam import SmsSpam
from llm_lightning.data.table import Table
from llm_lightning.data.text import TextFiles
from llm_lightning.run_format.folder_lock import holding
from llm_lightning.run_format.summary import read_summary
from llm_lightning.training.checkpoint_files import CheckpointFiles

NOBODY = 65534

pytestmark = pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs users as Unix has them")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that other users can reach, which pytest's own is not."""
    made = Path(tempfile.mkdtemp(dir="/tmp"))
    made.chmod(0o777)
    monkeypatch.setenv("LLM_LIGHTNING_CACHE", str(made / "cache"))
    try:
        yield made
    finally:
        for path in made.rglob("*"):
            path.chmod(0o755)
        shutil.rmtree(made)


def without_rights(work: Callable[[], Any]) -> str:
    """Returns what a command would say about the error that work raises as another user."""
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)

    def body() -> None:
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            sending.send(f"no error: {work()}")
        except (OSError, ValueError) as error:
            is_known = isinstance(error, ValueError) or is_users(error)
            sending.send((str(error) if isinstance(error, ValueError) else described(error))
                         if is_known else traceback.format_exc())  # fmt: skip
        except BaseException:
            sending.send(traceback.format_exc())

    process = context.Process(target=body)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*multi-threaded.*")
        process.start()
    said: str = receiving.recv()
    process.join()
    return said


def prepare(data: Any) -> Callable[[Path], Any]:
    return lambda path: data(path=str(path)).prepare_data()


def lock(path: Path) -> None:
    with holding(path / "run"):
        pass


def use_as_runs_dir(path: Path) -> None:
    with runs_folder(path):
        pass


def write_checkpoint(path: Path) -> None:
    CheckpointFiles().save_checkpoint({"epoch": 1}, path / "last.ckpt")


FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "table": (prepare(Table), "{0} cannot be read: Permission denied"),
    "instructions": (prepare(Instructions), "{0} cannot be read: Permission denied"),
    "text": (prepare(TextFiles), "{0} cannot be read: Permission denied"),
    "messages": (prepare(SmsSpam), "{0} cannot be read: Permission denied"),
    "checkpoint": (
        lambda path: unpickled(path, f"the file {path}"),
        "the file {0} cannot be read: Permission denied",
    ),
    "summary": (
        lambda path: read_summary(path.parent),
        "{0} cannot be read: Permission denied",
    ),
}
FOLDERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "runs_dir": (use_as_runs_dir, "runs_dir={0}: there is no permission to write there"),
    "runs_dir inside": (
        lambda path: use_as_runs_dir(path / "runs"),
        "runs_dir={0}/runs cannot be made: Permission denied",
    ),
    "lock": (lock, "{0}/run.lock: Permission denied"),
    "checkpoint": (write_checkpoint, "Permission denied"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_may_not_be_read(folder: Path, kind: str) -> None:
    work, expected = FILES[kind]
    file = folder / ("summary.json" if kind == "summary" else "a.csv")
    file.write_text("text,label\na,b\n")
    file.chmod(0)
    said = without_rights(lambda: work(file))
    assert said.endswith(expected.format(file))
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_that_may_not_be_written(folder: Path, kind: str) -> None:
    work, expected = FOLDERS[kind]
    inside = folder / "closed"
    inside.mkdir()
    inside.chmod(0o555)
    said = without_rights(lambda: work(inside))
    assert said.endswith(expected.format(inside))
    assert len(said.splitlines()) == 1
    assert not list(inside.iterdir())


def test_a_folder_that_may_not_be_entered(folder: Path) -> None:
    inside = folder / "closed"
    inside.mkdir()
    (inside / "a.csv").write_text("text,label\na,b\n")
    inside.chmod(0)
    said = without_rights(lambda: prepare(Table)(inside / "a.csv"))
    assert str(inside / "a.csv") in said
    assert len(said.splitlines()) == 1


def test_a_cache_that_may_not_be_written(folder: Path) -> None:
    with zipfile.ZipFile(folder / "sms.zip", "w") as archive:
        archive.writestr("SMSSpamCollection", "ham\thello\n")
    (folder / "cache").mkdir()
    (folder / "cache").chmod(0o555)
    said = without_rights(lambda: prepare(SmsSpam)(folder / "sms.zip"))
    assert said == f"{folder}/cache/sms_spam: Permission denied"


def test_the_rights_to_read_are_enough_to_read(folder: Path) -> None:
    torch.save({"a": torch.ones(2)}, folder / "a.ckpt")
    (folder / "a.ckpt").chmod(0o444)
    folder.chmod(0o555)
    said = without_rights(lambda: unpickled(folder / "a.ckpt", "it")["a"].tolist())
    assert said == "no error: [1.0, 1.0]"
