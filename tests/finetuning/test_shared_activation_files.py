"""Shared caches stay whole while four processes write, open and delete what is in them."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, random, signal, sys
from pathlib import Path
import torch
from llm_lightning.finetuning.frozen_activations.activation_files import ActivationFiles

def work(number):
    draw = random.Random(number)
    files = ActivationFiles(Path(sys.argv[1]), max_bytes=3 * 4 * 600)  # room for three of five
    for turn in range(40):
        key = draw.randrange(5)
        if number == 0 and turn == 20:  # one is killed while it writes
            files.open("9" * 8, (100, 6), lambda rows: os.kill(os.getpid(), signal.SIGKILL))
        rows = files.open(f"{key}" * 8, (100, 6), lambda rows: rows.fill_(key))
        if not torch.equal(rows, torch.full((100, 6), float(key))):
            os._exit(3)
    os._exit(0)

children = []
for number in range(4):
    pid = os.fork()
    if pid == 0:
        try:
            work(number)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(4)
    children.append(pid)
ended = sorted(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children)
assert ended == [-9, 0, 0, 0], ended
files = ActivationFiles(Path(sys.argv[1]), max_bytes=3 * 4 * 600)
files.open("7" * 8, (100, 6), lambda rows: rows.fill_(7))
"""


@pytest.mark.slow
def test_four_processes_share_a_cache(tmp_path: Path) -> None:
    folder = tmp_path / "frozen"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    activations = list(folder.glob("*.activations"))
    assert 1 <= len(activations) <= 3
    left = {path.suffix for path in folder.iterdir()}
    assert left == {".activations", ".sha256", ".lock"}  # nothing of the one that was killed


CONVERSION = """
import os, sys, time
from pathlib import Path
from llm_lightning.backbone.huggingface import location

def make(target):
    for name in "abc":
        (target / name).write_text(name * 1000)
        time.sleep(0.05)

def work():
    folder = location._made_once(Path(sys.argv[1]), "gguf", make)
    found = {file.name: file.read_text() for file in folder.iterdir()}
    os._exit(0 if found == {name: name * 1000 for name in "abc"} else 3)

children = []
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(4)
    children.append(pid)
ended = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
assert ended == [0, 0, 0, 0], ended
"""


@pytest.mark.slow
def test_four_processes_convert_a_model_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLM_LIGHTNING_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "model.gguf"
    file.write_bytes(b"weights")
    words = [sys.executable, "-W", "ignore", "-c", CONVERSION, str(file)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "cache" / "models").iterdir()  # and no scratch folder beside it
    assert folder.name.startswith("gguf-")
