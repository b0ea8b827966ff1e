"""What goes wrong in a command becomes one message and an exit status.

2: something that the user can put right, in the command, a file, the disk or the network; 1: a
fault of this program, or of a library. Where it was raised is shown if ``HYDRA_FULL_ERROR=1`` or
``--debug`` asks for it.
"""

import errno
import os
from collections.abc import Callable

from llm_lightning.presentation.terminal import print_error
from llm_lightning.runs.errors import UserError

USER = 2
PROGRAM = 1

DEBUG = "--debug"
_FULL_ERROR = "HYDRA_FULL_ERROR"

_OF_THE_DISK = frozenset(
    {
        errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT,
        errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EFBIG, errno.EEXIST, errno.EMFILE,
        errno.ENFILE, errno.ELOOP,
    }
)  # fmt: skip
"""What an operation on a file can meet that says nothing about the program."""


def wants_trace() -> bool:
    """Returns whether the user asked where errors were raised."""
    return os.environ.get(_FULL_ERROR) == "1"


def without_debug(arguments: list[str]) -> list[str]:
    """Returns a command line without ``--debug``, which then holds for the whole process."""
    if DEBUG in arguments:
        os.environ[_FULL_ERROR] = "1"
    return [argument for argument in arguments if argument != DEBUG]


def refused(error: Exception) -> int:
    """Prints an error that the user can put right; returns the exit status.

    Raises:
        Exception: the error itself, if the user asked where it was raised.
    """
    if wants_trace():
        raise error
    print_error(disk_problem(error) or str(error))
    return USER


def reported(main: Callable[[], int]) -> int:
    """Runs a command; prints what it raises as one message and returns the exit status.

    Raises:
        BaseException: what it raises, if the user asked where; and what ends a process on purpose.
    """
    try:
        return main()
    except BaseException as error:
        if wants_trace() or not is_failure(error):
            raise
        print_error(described(error))
        return USER if is_users(error) else PROGRAM


def is_failure(error: BaseException) -> bool:
    """Whether an exception is a failure, a library's panic included, and no wish to end."""
    # Rust's panics arrive as a BaseException, so that nobody swallows them by accident.
    is_panic = type(error).__name__ == "PanicException"
    return is_panic or (isinstance(error, Exception) and not isinstance(error, BrokenPipeError))


def is_users(error: BaseException) -> bool:
    """Whether the user can put an error right."""
    return isinstance(error, UserError) or _is_unavailable(error) or disk_problem(error) is not None


def described(error: BaseException) -> str:
    """Returns an error as a message: what and where, or how to learn where."""
    if isinstance(error, UserError) or _is_unavailable(error):
        return str(error)
    if problem := disk_problem(error):
        return problem
    first = (str(error).strip() or "no message").splitlines()[0]
    return (
        f"{type(error).__name__}: {first}\n"
        f"This is a fault of the program or of a library: {DEBUG} shows where it was raised"
    )


def _is_unavailable(error: BaseException) -> bool:
    from llm_lightning.network import Unavailable  # only now: the help should not wait for HTTP

    return isinstance(error, Unavailable)


def disk_problem(error: BaseException) -> str | None:
    """Returns which file cannot be read or written, and why; ``None`` of other errors."""
    if not isinstance(error, OSError) or error.errno not in _OF_THE_DISK:
        return None
    where = error.filename if error.filename2 is None else error.filename2
    reason = error.strerror or os.strerror(error.errno or 0)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        reason += ": free some, or write elsewhere with runs_dir, LLM_LIGHTNING_CACHE or TMPDIR"
    return f"{where}: {reason}" if where is not None else reason
