"""Signals that end a run: SIGTERM, SIGINT, SIGHUP and SIGUSR1.

Where training can stop at the next optimizer step and save, they only set a flag until then.
Everywhere else, and when a second one comes, they are a KeyboardInterrupt; while a module is being
imported they end the process at once.
"""

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

_NAMES = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1")
_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)


class _Stop:
    received: int | None = None
    ended_by: int | None = None  # also after the signals are handled no more
    is_deferred = False


def _on_signal(number: int, frame: FrameType | None) -> None:
    is_first = _Stop.received is None
    _Stop.received = _Stop.ended_by = number
    if _Stop.is_deferred and is_first:
        return
    if _is_importing(frame):
        # Libraries in C++ abort where an exception comes out of their initialisation; and nothing
        # is lost that a killed run would not go on from.
        os._exit(128 + number)
    raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Handles the signals; those that someone else handles or ignores, as nohup does, stay so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [
        number
        for name in _NAMES
        if (number := getattr(signal, name, None)) and signal.getsignal(number) in _DEFAULTS
    ]
    before = {number: signal.signal(number, _on_signal) for number in ours}
    if ours:
        _Stop.received, _Stop.ended_by, _Stop.is_deferred = None, None, False
    try:
        yield
    finally:
        if ours:
            _Stop.received = None
        for number, handler in before.items():
            signal.signal(number, handler)


def handle(number: int) -> Any:
    """Handles another signal in the same way; returns what handled it before."""
    return signal.signal(number, _on_signal)


def ended_by() -> int | None:
    """Returns the signal that ended a command; ``None`` if none did."""
    return _Stop.ended_by


def current() -> dict[int, Any]:
    """Returns the handlers of the signals, for :func:`restore`."""
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    return {number: signal.getsignal(number) for number in numbers}


def restore(handlers: dict[int, Any]) -> None:
    """Sets handlers again that a library has replaced by its own."""
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            if handler is not None:
                signal.signal(number, handler)


def defer(wanted: bool) -> None:
    """Sets whether a signal waits for :func:`received` to be asked."""
    _Stop.is_deferred = wanted


def received() -> int | None:
    """Returns the signal that asked to stop, if one did."""
    return _Stop.received


def check() -> None:
    """Stops where a signal was received but its exception was lost, as in a destructor.

    Raises:
        KeyboardInterrupt: if so.
    """
    if _Stop.received is not None:
        raise KeyboardInterrupt


def exit_status() -> int:
    """Returns the exit status of an interrupted command: 128 and the signal, as shells have it."""
    return 128 + (_Stop.ended_by or signal.SIGINT)


def name() -> str | None:
    """Returns the signal that ended a command, for people; ``None`` after Ctrl-C or without one."""
    is_sent = _Stop.ended_by not in (None, signal.SIGINT)
    return signal.Signals(_Stop.ended_by).name if is_sent and _Stop.ended_by else None


def requeue_if_asked() -> str | None:
    """Queues a SLURM job again that got SIGUSR1, the signal that it ends soon.

    Returns:
        What was done, for people; ``None`` if nothing was.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        job = f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID')}"
    is_asked = _Stop.ended_by == getattr(signal, "SIGUSR1", None)
    if not is_asked or not job or not re.fullmatch(r"[0-9_-]+", job):
        return None
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"SLURM job {job} could not be queued again: {error}"
    return f"SLURM job {job} is queued again"
