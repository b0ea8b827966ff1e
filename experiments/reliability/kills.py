"""Kills runs at chosen moments, starts them again, and compares with runs that were left alone.

Each kill is a SIGKILL just before the n-th write, rename or removal below the run's folder, or
after a number of seconds. Every run is a process forked from this one, which has imported all it
needs, so that a kill takes seconds.

    python experiments/reliability/kills.py --kills 200 --seed 1 --work /tmp/kills
"""

import argparse
import csv
import json
import mmap
import os
import random
import re
import shutil
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Timer
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from llm_lightning.commands import main as cli
from llm_lightning.commands import train as _train  # noqa: F401  imported before the forks
from llm_lightning.commands.startup import run_and_exit
from llm_lightning.run_format import files
from llm_lightning.runs import record

COMMON = (
    "trainer=smoke", "model=nano", "model.weights=random", "trainer.max_epochs=2",
    "trainer.limit_train_batches=7", "baselines=[]", "checkpoint_every=2", "runs_dir=runs",
)  # fmt: skip
CLASSIFY = ("data=table", "data.path=data.csv", "data.batch_size=4")
JOBS: dict[str, tuple[str, ...]] = {
    "last_block": (
        "+experiment=last_block", *CLASSIFY, *COMMON, "trainer.limit_train_batches=null",
        "trainer.limit_val_batches=null", "trainer.limit_test_batches=null",
    ),
    "lora": (
        "+experiment=lora", *CLASSIFY, *COMMON, "finetune.dropout=0.2", "model.resid_pdrop=0.1",
        "trainer.accumulate_grad_batches=2",
    ),
    "instruct": (
        "+experiment=instruct", "finetune=lora", "finetune.dropout=0.1", *COMMON,
        "data.path=records.json", "task.generation.max_new_tokens=3", "data.batch_size=2",
        "task.tie_weights=true", "finetune.head=lora",
    ),
}  # fmt: skip
"""Small jobs of each kind."""

EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"}
"""What Python tells an audit hook before it does it."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

TIMES = {"seconds", "finished_at", "peak_memory_mib", "started_at", "updated_at"}
TIMES |= {"tokens_per_second"}
"""What is of the clock, in JSON files."""


@dataclass(frozen=True)
class Kill:
    """When a run is killed."""

    event: int | None = None
    """Number of the event, from 1."""
    seconds: float | None = None
    """After the start, in place of an event."""


@dataclass
class Ended:
    """How a process ended."""

    status: int
    """Exit status, negative for a signal."""
    steps: int
    """Optimizer steps that it took."""
    events: int
    seconds: float
    said: str


@dataclass
class Result:
    """What became of a killed run."""

    job: str
    kill: Kill
    at: str
    """What it was about to do."""
    was_killed: bool
    lost: int
    """Optimizer steps that were taken twice."""
    differences: list[str]


def write_data(folder: Path) -> None:
    """Writes the small inputs of the jobs."""
    draw = random.Random(7)
    words = [f"word{i}" for i in range(40)]
    rows = [("text", "label")]
    for i in range(72):
        text = " ".join(draw.choices(words, k=draw.randint(3, 14)))
        rows.append((f"{text} {i}", ("ham", "spam")[i % 2]))
    with (folder / "data.csv").open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows(rows)
    records = [
        {"instruction": f"Say {a} and {b}.", "input": "", "output": f"{b} {a}"}
        for a, b in (draw.sample(words, 2) for _ in range(24))
    ]
    (folder / "records.json").write_text(json.dumps(records), encoding="utf-8")


def run(folder: Path, arguments: tuple[str, ...], kill: Kill, trace: Path | None = None) -> Ended:
    """Runs a command in a process of its own.

    Args:
        folder: where it runs.
        arguments: of the command line.
        kill: when it is killed.
        trace: file that its events are written to.
    """
    counters = mmap.mmap(-1, 16)  # optimizer steps, events
    sys.stdout.flush()
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _child(folder, arguments, kill, counters, trace)
    deadline = started + (kill.seconds if kill.seconds is not None else 3600)
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
    steps, events = struct.unpack("qq", counters[:])
    file = folder / "said.txt"  # none, if it was killed before it wrote
    said = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    seconds = time.monotonic() - started
    return Ended(os.waitstatus_to_exitcode(status), steps, events, seconds, said)


def _child(
    folder: Path, arguments: tuple[str, ...], kill: Kill, counters: mmap.mmap, trace: Path | None
) -> None:
    os.chdir(folder)
    said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    out = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) if trace else None
    runs, num = str(Path("runs").absolute()), 0

    def on_event(name: str, details: tuple[Any, ...]) -> None:
        nonlocal num
        if name not in EVENTS or not isinstance(details[0], str | os.PathLike):
            return
        if name == "open" and not (isinstance(details[2], int) and details[2] & _WRITING):
            return
        path = os.path.abspath(os.fspath(details[0]))
        if not path.startswith(runs):
            return
        num += 1
        counters[8:16] = struct.pack("q", num)
        if out is not None:
            os.write(out, f"{name} {_stable(path[len(runs) :])}\n".encode())
        if num == kill.event:
            os.kill(os.getpid(), signal.SIGKILL)

    def count(self: Any, trainer: Any, *_: Any, **__: Any) -> None:
        counters[:8] = struct.pack("q", trainer.global_step)

    Timer.on_train_batch_end = count  # type: ignore[method-assign,assignment]
    sys.addaudithook(on_event)
    sys.argv = ["llm_lightning"]
    try:
        run_and_exit(lambda: cli.main(list(arguments)))
    except SystemExit as ended:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(ended.code or 0) if isinstance(ended.code, int | None) else 1)
    finally:
        os._exit(70)


def _stable(name: str) -> str:
    """A path without what differs from process to process."""
    name = re.sub(r"\.[0-9a-f]{8}\.new", ".new", name)
    return re.sub(r"(events\.out\.tfevents)\..*", r"\1", name)


def contents(folder: Path) -> dict[str, Any]:
    """Returns the contents of a runs folder, by file, without what is of the clock."""
    return {
        _stable(str(file.relative_to(folder))): _content(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def _content(file: Path) -> Any:
    if file.suffix == ".json":
        return _without_times(json.loads(file.read_text(encoding="utf-8")))
    if file.name == files.CURVES:
        with file.open(newline="", encoding="utf-8") as opened:
            rows = list(csv.DictReader(opened))
        return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in rows]
    if "tfevents" in file.name:
        return list(_events(file))
    return file.read_bytes()


def _events(file: Path) -> Iterator[tuple[int, str, str]]:
    for event in EventFileLoader(str(file)).Load():
        for value in event.summary.value:
            if not value.tag.startswith("time/"):
                yield event.step, value.tag, str(value)


def _without_times(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: _without_times(value) for key, value in found.items() if key not in TIMES}
    if isinstance(found, list):
        return [_without_times(value) for value in found]
    return found


def differences(expected: dict[str, Any], folder: Path) -> list[str]:
    """Returns what is missing, left over or other than in the run that was left alone."""
    try:
        found = contents(folder)
    except (OSError, ValueError) as error:
        return [f"unreadable: {error}"]
    told = [f"missing {name}" for name in expected if name not in found]
    told += [f"left over {name}" for name in found if name not in expected]
    return told + [
        f"other {name}{_where(expected[name], found[name])}"
        for name in expected
        if name in found and found[name] != expected[name]
    ]


def _where(expected: Any, found: Any, key: str = "") -> str:
    """The first key at which two JSON values differ, and both values there."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in sorted(expected.keys() | found.keys()):
            if expected.get(name) != found.get(name):
                return _where(expected.get(name), found.get(name), f"{key}.{name}")
    if isinstance(expected, bytes) or not key:
        return ""
    return f" ({key[1:]} is {str(found)[:200]}, not {str(expected)[:200]})"


def alone(job: str, work: Path) -> tuple[dict[str, Any], list[str], float]:
    """Runs a job undisturbed; returns its contents, its events and its seconds."""
    folder = _fresh(work / f"{job}-alone")
    trace = work / f"{job}.trace"
    ended = run(folder, JOBS[job], Kill(), trace)
    if ended.status:
        raise SystemExit(f"{job} failed by itself:\n{ended.said}")
    return contents(folder / "runs"), trace.read_text().splitlines(), ended.seconds


def killed(job: str, kill: Kill, expected: dict[str, Any], trace: list[str], work: Path) -> Result:
    """Kills a job once and starts it again until it ends."""
    folder = _fresh(work / f"{job}-killed")
    first = run(folder, JOBS[job], kill)
    resumed, told = 0, []
    again = run(folder, JOBS[job], Kill())
    if again.status:
        told.append(f"exit status {again.status}: {again.said.strip()[-300:]}")
    if match := re.search(r"resuming after step ([\d,]+)", again.said):
        resumed = int(match[1].replace(",", ""))
    elif match := re.search(r"resuming after epoch (\d+)", again.said):
        resumed = int(match[1]) * _steps_per_epoch(expected)
    elif "finished before" in again.said:
        resumed = first.steps
    told += differences(expected, folder / "runs")
    at = trace[kill.event - 1] if kill.event else f"{kill.seconds:.2f} s"
    return Result(job, kill, at, first.status == -9, max(0, first.steps - resumed), told)


def _steps_per_epoch(expected: dict[str, Any]) -> int:
    summary = next(value for name, value in expected.items() if name.endswith(files.SUMMARY))
    return int(summary["steps_per_epoch"])


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_data(folder)
    return folder


def choose(num: int, num_events: int, seconds: float, draw: random.Random) -> list[Kill]:
    """Returns kills of a job: four in five at events, spread over all, the others at seconds."""
    at_events = min(num_events, num - num // 5)
    chosen = sorted(draw.sample(range(1, num_events + 1), at_events))
    kills = [Kill(event=event) for event in chosen]
    return kills + [Kill(seconds=draw.uniform(0, seconds)) for _ in range(num - at_events)]


def survive(
    jobs: list[str], num: int, seed: int, work: Path, tell: Callable[[Result], None]
) -> list[Result]:
    """Makes a number of kills, shared among the jobs.

    Args:
        jobs: names in ``JOBS``.
        num: of kills.
        seed: of the moments.
        work: a folder for the runs.
        tell: called after each kill.
    """
    torch.set_num_threads(1)
    os.environ |= {"LLM_LIGHTNING_OFFLINE": "1", "LLM_LIGHTNING_CACHE": str(work / "cache")}
    # The forks run what was imported here, whatever is installed while they run.
    versions = {name: version(name) for name in ("llm-lightning", *record.LIBRARIES)}
    record.version = versions.__getitem__
    work.mkdir(parents=True, exist_ok=True)
    draw, results = random.Random(seed), []
    moments, known = [], {}
    for index, job in enumerate(jobs):
        known[job] = expected, trace, seconds = alone(job, work)
        share = num // len(jobs) + (index < num % len(jobs))
        moments += [(job, kill) for kill in choose(share, len(trace), seconds, draw)]
    draw.shuffle(moments)  # so that those made so far are of all kinds
    for job, kill in moments:
        expected, trace, _ = known[job]
        results.append(killed(job, kill, expected, trace, work))
        tell(results[-1])
    return results


def table(results: list[Result]) -> str:
    """Returns a Markdown table of the results by job."""
    lines = [
        "| job | kills | ended equal | steps taken twice: median, most |",
        "| --- | ---: | ---: | --- |",
    ]
    for job in dict.fromkeys(result.job for result in results):
        own = [result for result in results if result.job == job and result.was_killed]
        lost = sorted(result.lost for result in own)
        equal = sum(not result.differences for result in own)
        lines.append(f"| {job} | {len(own)} | {equal} | {lost[len(lost) // 2]}, {lost[-1]} |")
    return "\n".join(lines)


def main() -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", nargs="+", default=list(JOBS), choices=list(JOBS))
    parser.add_argument("--work", type=Path, default=Path("/tmp/kills"))
    options = parser.parse_args()

    so_far: list[Result] = []

    def tell(result: Result) -> None:
        so_far.append(result)
        verdict = "; ".join(result.differences) or "equal"
        was = "" if result.was_killed else " (ended before)"
        print(f"{result.job} {result.at}{was}: lost {result.lost}, {verdict}", flush=True)
        if len(so_far) % 20 == 0:
            print(table(so_far), flush=True)

    results = survive(options.jobs, options.kills, options.seed, options.work.absolute(), tell)
    print(table(results))
    return 1 if any(result.differences for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
