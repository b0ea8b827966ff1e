"""Does anything grow over hundreds of runs, thousands of predictions, hours of training with kills?

Each part runs in processes forked from this one, which samples them from outside, on Linux: memory,
threads and open files, into a CSV. ``growth.py`` draws and sums up what they hold.

    python experiments/reliability/long_haul.py --minutes 20 --out experiments/reliability/long_haul
"""

import argparse
import contextlib
import csv
import gc
import json
import mmap
import os
import random
import shutil
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import growth
import torch
from kills import write_data
from lightning.pytorch.callbacks import Timer

from llm_lightning import load
from llm_lightning.commands import main as cli
from llm_lightning.commands import train as _train  # noqa: F401  imported before the forks
from llm_lightning.commands.startup import run_and_exit
from llm_lightning.run_format import files

SMALL = (
    "trainer=smoke", "model=nano", "model.weights=random", "baselines=[]", "runs_dir=runs",
    "data=table", "data.path=data.csv", "data.batch_size=4",
)  # fmt: skip
PRETRAIN = (
    "+experiment=pretrain_nano", "data.path=texts", "runs_dir=runs", "trainer.max_epochs=1000",
    "trainer.precision=32-true", "trainer.limit_val_batches=4", "trainer.limit_test_batches=4",
    "checkpoint_every=20s", "data.max_length=128",
)  # fmt: skip
PARTS = ("runs", "predictions", "pretraining")
_MIB = 2**20


@dataclass(frozen=True)
class Sample:
    """A process at one moment."""

    part: str
    life: int
    """Number of its process, from 0: one is started after each kill."""
    seconds: float
    """Since the part began."""
    done: int
    """Runs, predictions or optimizer steps so far."""
    rss_mib: float
    threads: int
    open_files: int
    folder_files: int
    """Files below the folder of the runs."""
    folder_mib: float


class Haul:
    """Starts the processes of a part and samples them.

    Args:
        part: its name.
        folder: where it runs.
        period: seconds between samples.
        out: the CSV, to which samples are added as they are taken.
    """

    def __init__(self, part: str, folder: Path, period: float, out: Path) -> None:
        self.part, self.folder, self.period, self.out = part, folder, period, out
        self._write([field.name for field in fields(Sample)], "w")
        self.counter = mmap.mmap(-1, 8)  # what the processes have done so far
        self._started, self._life = time.monotonic(), 0

    def life(
        self,
        work: Callable[[], None],
        *,
        seconds: float = float("inf"),
        stop: int = signal.SIGKILL,
        is_sampled: bool = True,
    ) -> int:
        """Does work in a process of its own, and returns its exit status, negative for a signal.

        Args:
            work: what it does.
            seconds: after which it gets a signal.
            stop: the signal.
            is_sampled: whether it belongs to what is measured.
        """
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            self._child(work)
        ends_at = time.monotonic() + seconds
        sampled_at = 0.0
        while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
            now = time.monotonic()
            if is_sampled and now - sampled_at >= self.period:
                sampled_at = now
                with contextlib.suppress(OSError, LookupError):  # it is just ending
                    self._write(astuple(self._sample(pid)), "a")
            if now >= ends_at:
                os.kill(pid, stop)
                ends_at = float("inf")
            time.sleep(0.05)
        self._life += 1
        return os.waitstatus_to_exitcode(ended[1])

    def said(self) -> str:
        """Returns what the last process printed."""
        return (self.folder / "said.txt").read_text(encoding="utf-8", errors="replace")

    def _write(self, row: Iterable[Any], mode: str) -> None:
        with self.out.open(mode, newline="", encoding="utf-8") as opened:
            csv.writer(opened, lineterminator="\n").writerow(row)

    def _child(self, work: Callable[[], None]) -> None:
        os.chdir(self.folder)
        said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        sys.argv = ["llm_lightning"]
        status = 70
        try:
            work()
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _sample(self, pid: int) -> Sample:
        process = Path(f"/proc/{pid}")
        lines = (process / "status").read_text().splitlines()
        facts = dict(line.split(":", 1) for line in lines)
        runs = self.folder / "runs"
        inside = []
        if self.part == "pretraining":
            inside = [one.stat() for one in runs.rglob("*") if one.is_file()]
        return Sample(
            self.part, self._life, round(time.monotonic() - self._started, 1), self.done(),
            round(int(facts["VmRSS"].split()[0]) / 1024, 1), int(facts["Threads"]),
            len(os.listdir(process / "fd")), len(inside),
            round(sum(one.st_size for one in inside) / _MIB, 1),
        )  # fmt: skip

    def done(self) -> int:
        """Returns how much is done so far."""
        if self.part == "runs":
            return sum(1 for _ in (self.folder / "runs").glob(f"*/*/{files.SUMMARY}"))
        return int(struct.unpack("q", self.counter[:])[0])

    def count(self, number: int) -> None:
        """Tells the parent how much is done."""
        self.counter[:] = struct.pack("q", number)


def command(*arguments: str) -> None:
    """Runs the program."""
    run_and_exit(lambda: cli.main(list(arguments)))


def many_runs(haul: Haul, number: int) -> str:
    """Runs a sweep of small runs in one process."""
    seeds = f"seed=range(1,{number // 2 + 1})"
    arguments = ("-m", "+experiment=last_layer,lora", *SMALL, seeds)
    status = haul.life(lambda: command(*arguments))
    if status or haul.done() < number // 2 * 2:
        raise SystemExit(f"the sweep ended with {status}:\n{haul.said()[-2000:]}")
    return f"{haul.done()} runs in one multirun process"


def many_predictions(haul: Haul, number: int) -> str:
    """Classifies texts one by one in one process."""
    if status := haul.life(lambda: command("+experiment=last_layer", *SMALL), is_sampled=False):
        raise SystemExit(f"the run ended with {status}:\n{haul.said()[-2000:]}")

    def predict() -> None:
        (summary,) = Path("runs").glob(f"*/*/{files.SUMMARY}")
        run, draw = load(summary.parent), random.Random(3)
        for index in range(number):
            run.predict([" ".join(draw.choices(["hello", "prize", "meet"], k=draw.randint(1, 60)))])
            haul.count(index + 1)

    if status := haul.life(predict):
        raise SystemExit(f"predicting ended with {status}:\n{haul.said()[-2000:]}")
    return f"{haul.done():,} predictions in one process, a text a call"


def pretraining(haul: Haul, minutes: float, draw: random.Random) -> str:
    """Pretrains nano, killed about once a minute and started again; SIGTERM ends it."""
    texts = haul.folder / "texts"
    texts.mkdir()
    words = [f"{a}{b}" for a in ("re", "un", "over", "out") for b in ("run", "do", "take", "go")]
    for index in range(40):
        lines = (" ".join(draw.choices(words, k=12)) + "." for _ in range(400))
        (texts / f"{index}.txt").write_text("\n".join(lines), encoding="utf-8")

    def count(self: Any, trainer: Any, *_: Any, **__: Any) -> None:
        haul.count(trainer.global_step)

    Timer.on_train_batch_end = count  # type: ignore[method-assign,assignment]
    ends_at, kills, lost = time.monotonic() + 60 * minutes, 0, 0
    while True:
        left = ends_at - time.monotonic()
        seconds = draw.uniform(30, 90)
        is_last = left < seconds + 30
        before = haul.done()
        status = haul.life(
            lambda: command(*PRETRAIN),
            seconds=max(30.0, left) if is_last else seconds,
            stop=signal.SIGTERM if is_last else signal.SIGKILL,
        )
        said = haul.said()
        if kills and "resuming after" not in said:
            lost += before
            print(f"started over after {before} steps:\n{said[-1000:]}", flush=True)
        if is_last:
            break
        if status != -signal.SIGKILL:
            raise SystemExit(f"pretraining ended with {status}:\n{said[-2000:]}")
        kills += 1
    if status != 128 + signal.SIGTERM:
        raise SystemExit(f"SIGTERM ended pretraining with {status}:\n{said[-2000:]}")
    return (
        f"{minutes:g} minutes of pretraining nano, {haul.done():,} optimizer steps, {kills} "
        f"SIGKILLs, then SIGTERM: exit status {status}; {lost} steps started over"
    )


def main() -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--runs", type=int, default=500, help="of the sweep")
    parser.add_argument("--predictions", type=int, default=20_000)
    parser.add_argument("--minutes", type=float, default=20, help="of pretraining")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    parser.add_argument("--work", type=Path, default=Path("/tmp/long_haul"))
    parser.add_argument("--out", type=Path, default=Path("experiments/reliability/long_haul"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # as commands do after their imports
    work = options.work.absolute()
    os.environ |= {"LLM_LIGHTNING_OFFLINE": "1", "LLM_LIGHTNING_CACHE": str(work / "cache")}
    options.out.mkdir(parents=True, exist_ok=True)
    works: dict[str, tuple[float, Callable[[Haul], str]]] = {
        "runs": (4.0, lambda haul: many_runs(haul, options.runs)),
        "predictions": (1.0, lambda haul: many_predictions(haul, options.predictions)),
        "pretraining": (
            3.0,
            lambda haul: pretraining(haul, options.minutes, random.Random(options.seed)),
        ),
    }
    for part in options.parts:
        folder = work / part
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_data(folder)
        period, do = works[part]
        (options.out / f"{part}.json").unlink(missing_ok=True)
        told = do(Haul(part, folder, period, options.out / f"{part}.csv"))
        (options.out / f"{part}.json").write_text(json.dumps({"what": told}) + "\n")
        print(told, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
    print(growth.summed_up(options.out))
    growth.draw(options.out, options.out / "growth.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
