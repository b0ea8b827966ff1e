"""The part of a run that several processes do together.

The process that the command started, the main one, finds, builds, prints and writes; it starts the
others, tells them which job this is, and each builds the same model from the same files. A process
that dies ends the others.
"""

import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from llm_lightning.distributed.group import (
    group,
    is_lost_connection,
    joined_store,
    opened_store,
)
from llm_lightning.distributed.nodes import MeetingPlace
from llm_lightning.distributed.processes import Processes
from llm_lightning.runs.errors import UserError

_HOST = "127.0.0.1"
_TOLD = "told"
"""The key in the store under which other machines find what the main process tells."""
_GRACE_S = 20.0
"""How long a process has to end by itself, once its work is done or another one has died."""
_SHOWN_LINES = 6


@dataclass(frozen=True)
class OtherProcess:
    """How another process of the same job is started."""

    module: str
    """That ``python -m`` runs; it reads an :class:`Assignment` from its standard input."""
    job: Any
    """What the module makes the job from; can be pickled."""


@dataclass(frozen=True)
class Told:
    """What the main process tells all others."""

    resume_from: Path | None
    """The checkpoint to go on from."""
    facts: Mapping[str, Any]
    """What the data and weights that they find must be."""

    def to_json(self) -> str:
        """Writes it for another machine."""
        where = None if self.resume_from is None else str(self.resume_from)
        return json.dumps({"resume_from": where, "facts": dict(self.facts)})

    @classmethod
    def from_json(cls, text: bytes) -> "Told":
        """Reads what :meth:`to_json` wrote."""
        read = json.loads(text)
        where = read["resume_from"]
        return cls(None if where is None else Path(where), read["facts"])


@dataclass(frozen=True)
class Assignment:
    """What another process is told."""

    job: Any
    processes: Processes
    place: MeetingPlace
    """Where the processes meet."""
    told: Told


@contextmanager
def together(
    processes: Processes, other: OtherProcess | None, told: Told, place: MeetingPlace | None
) -> Iterator[None]:
    """Runs the body in the main process while the others do the same; the group exists meanwhile.

    Args:
        processes: of the run, seen from the main one.
        other: how one of the others is started.
        told: what all of them must know.
        place: where they meet; ``None`` for any on this machine.

    Raises:
        UserError: if another process died.
    """
    if processes.size == 1:
        yield
        return
    try:
        store = opened_store(*((place.host, place.port) if place else (_HOST,)))
    except RuntimeError as error:
        raise UserError(f"processes cannot meet at {place}: {error}") from error
    if processes.num_nodes > 1:
        store.set(_TOLD, told.to_json())
    here = place or MeetingPlace(_HOST, store.port)
    with _beside(store, here, processes, other, told):
        yield


@contextmanager
def following(
    processes: Processes,
    other: OtherProcess | None,
    facts: Mapping[str, Any],
    place: MeetingPlace | None,
) -> Iterator[Told]:
    """Runs the body in the first process of another machine than the main one's.

    Args:
        processes: of the run, seen from this one.
        other: how one of the others of this machine is started.
        facts: what this process found.
        place: where they meet.

    Yields:
        What the main process told.

    Raises:
        UserError: if another process of this machine died.
        ValueError: if this process found other data or weights.
    """
    if place is None:
        raise ValueError("processes of several machines need a place to meet")
    store = joined_store(place.host, place.port)
    told = Told.from_json(store.get(_TOLD))
    _check_facts(told, facts)
    with _beside(store, place, processes, other, told):
        yield told


@contextmanager
def _beside(
    store: TCPStore,
    place: MeetingPlace,
    processes: Processes,
    other: OtherProcess | None,
    told: Told,
) -> Iterator[None]:
    """Runs the body in a machine's first process, beside the others of the machine."""
    threads = max(1, torch.get_num_threads() // processes.per_node)
    if other is None:
        raise UserError("this job can only be one process: trainer.devices must be 1")
    with tempfile.TemporaryDirectory() as folder:
        started: list[_Started] = []
        try:
            for own in processes.beside():
                assignment = Assignment(other.job, own, place, told)
                messages = Path(folder) / f"{own.rank}.txt"
                started.append(_Started(other.module, assignment, messages, threads))
            with group(store, processes, lambda: _check(started)), _using(threads):
                yield
            for one in started:
                one.wait()
            _check(started)
        except Exception as error:
            if is_lost_connection(error):
                for one in started:
                    one.wait()
                _check(started, cause=error)
            raise
        finally:
            for one in started:
                one.end()


@contextmanager
def joining(told: Assignment, facts: Mapping[str, Any]) -> Iterator[None]:
    """Runs the body in another process than the main one, as :func:`together` does there.

    Raises:
        ValueError: if this process found other data or weights.
    """
    _check_facts(told.told, facts)
    with group(joined_store(told.place.host, told.place.port), told.processes):
        yield


def _check_facts(told: Told, facts: Mapping[str, Any]) -> None:
    """Checks that this process has found what the main one has.

    Raises:
        ValueError: naming what differs.
    """
    if changed := [name for name, value in told.facts.items() if facts.get(name) != value]:
        raise ValueError(f"{', '.join(changed)} are not those of the run's first process")


def receive() -> Assignment:
    """Returns what this process was told; ends it from now on when the main one has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process is interrupted, and ends this
    told = pickle.load(sys.stdin.buffer)
    if not isinstance(told, Assignment):
        raise TypeError(f"another process of a run needs an Assignment, got {type(told)}")
    threading.Thread(target=_end_with_main_process, daemon=True).start()
    return told


def _end_with_main_process() -> None:
    # Until the pipe is closed, which the system does for a dead process. Not through sys.stdin,
    # whose lock a waiting thread would keep when the interpreter ends.
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


@contextmanager
def _using(threads: int) -> Iterator[None]:
    """Computes with so many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Started:
    """Another process that this one has started.

    Args:
        module: see :class:`OtherProcess`.
        told: what it is to do.
        messages: file for what it says when it fails.
        threads: with which it computes.
    """

    def __init__(self, module: str, told: Assignment, messages: Path, threads: int) -> None:
        self._messages = messages
        self._rank, self._size = told.processes.rank, told.processes.size
        here = {
            "OMP_NUM_THREADS": str(threads),
            # What is imported here is imported there, wherever this was started.
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            # All that had to be downloaded is here.
            "LLM_LIGHTNING_OFFLINE": "1",
            "HF_HUB_OFFLINE": "1",
        }
        with messages.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                env={**os.environ, **here},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=out,
            )
        try:
            self._send(told)
        except BaseException:
            self.end()
            raise

    def _send(self, told: Assignment) -> None:
        pipe = self._pipe()
        with suppress(BrokenPipeError):  # it has died, which is noticed next
            pickle.dump(told, pipe)
            pipe.flush()

    def wait(self) -> None:
        """Waits a while for its end."""
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            return

    def end(self) -> None:
        """Ends it."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        with suppress(BrokenPipeError):
            self._pipe().close()

    def problem(self) -> str | None:
        """Returns how it failed, if it did."""
        status = self._process.poll()
        if not status:
            return None
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        said = self._messages.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reason = "".join(f"\n  {line}" for line in said[-_SHOWN_LINES:])
        return f"process {self._rank + 1} of {self._size} ended {how}{reason}"

    def _pipe(self) -> IO[bytes]:
        if self._process.stdin is None:
            raise RuntimeError("the process was started with a pipe")
        return self._process.stdin


def _check(started: list[_Started], cause: BaseException | None = None) -> None:
    """Checks that no other process has failed.

    Raises:
        UserError: naming those that have.
    """
    problems = [problem for one in started if (problem := one.problem())]
    if problems:
        raise UserError(
            "\n".join([*problems, "The same command continues after the last checkpoint"])
        ) from cause
