"""One process works on a folder, and the others can say which."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from llm_lightning.run_format import folder_lock
from llm_lightning.run_format.folder_lock import Held, Holder, holder_of, holding, lock_file

HOLD = """
import sys, time, pathlib
from llm_lightning.run_format.folder_lock import holding
with holding(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def start_holder(folder: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_process_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "lora" / "seed_1"
    process = start_holder(folder)
    try:
        pattern = rf"seed_1 is held by process {process.pid} on {socket.gethostname()}, since 20"
        with pytest.raises(Held, match=pattern) as caught, holding(folder):
            pass
        assert holder_of(folder) == caught.value.holder
    finally:
        process.kill()
        process.communicate()
    # It is dead, and its file is still there.
    assert lock_file(folder).is_file()
    assert holder_of(folder) is None
    with holding(folder):
        assert json.loads(lock_file(folder).read_text())["pid"] == os.getpid()
        with pytest.raises(Held), holding(folder):
            pass
    assert not lock_file(folder).exists()
    assert not folder.exists()


def test_an_interrupted_holder_leaves_no_lock(tmp_path: Path) -> None:
    process = start_holder(tmp_path / "run")
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert not lock_file(tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("holder", "is_held"),
    [
        (Holder(os.getppid(), socket.gethostname(), "2026-01-01"), True),
        (Holder(2**22 + 1, socket.gethostname(), "2026-01-01"), False),  # above the largest pid
        (Holder(1, "another-host", "2026-01-01"), True),
        (None, False),
    ],
)
def test_without_locks_of_the_file_system_the_facts_decide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holder: Holder | None, is_held: bool
) -> None:
    monkeypatch.setattr(folder_lock, "fcntl", None)
    monkeypatch.setattr(folder_lock, "_PAUSE_S", 0)
    file = lock_file(tmp_path / "run")
    file.write_text("{}" if holder is None else json.dumps(vars(holder)))
    assert (holder_of(tmp_path / "run") is not None) == is_held
    if is_held:
        with pytest.raises(Held), holding(tmp_path / "run"):
            pass
        return
    with holding(tmp_path / "run"):
        assert json.loads(file.read_text())["pid"] == os.getpid()
