"""The Hugging Face Hub: its names, whether it may be used, and downloads that end.

Downloads use ``huggingface_hub``: HF_HOME, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE apply.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from huggingface_hub import constants
from huggingface_hub.utils.tqdm import tqdm

from llm_lightning.network import LEAST_BYTES, Unavailable, offline, while_moving

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")
"""A repository on the Hub, perhaps with a revision."""

REVISION = re.compile(r"[\w./-]+")
"""A commit, a branch or a tag."""

BeforeDownload = Callable[[str], None]
"""Called with the repository from which something is about to be fetched; may raise."""

# The client tells about progress after each of its pieces of 10 MiB, which take a slow connection
# longer than a download may stand still.
constants.DOWNLOAD_CHUNK_SIZE = LEAST_BYTES

T = TypeVar("T")


def hub_is_off() -> bool:
    """Returns whether the environment forbids using the Hub."""
    return constants.HF_HUB_OFFLINE or offline()


def hub_source(hub_id: str, revision: str | None) -> str:
    """Returns a repository and the beginning of its revision, for display."""
    return f"{hub_id}@{revision[:7]}" if revision else hub_id


def watched(download: Callable[[type[tqdm]], T]) -> T:
    """Runs a download of the Hub's client, and gives it up once it hardly moves.

    Args:
        download: takes the class of the client's progress bars.

    Raises:
        Stalled: if it does; otherwise what the client raises.
    """
    received = 0

    class CountingBar(tqdm):
        """Counts the bytes of all bars."""

        def update(self, n: float | None = 1) -> Any:
            nonlocal received
            received += int(n or 0)
            return super().update(n)

    return while_moving(lambda: download(CountingBar), lambda: received)


@contextlib.contextmanager
def hub_errors(what: str, advice: str) -> Iterator[None]:
    """Turns whatever the Hub's client raises into :class:`Unavailable`.

    Args:
        what: was wanted.
        advice: what the user can do.
    """
    try:
        yield
    # Besides its own errors the client raises those of its HTTP library, which differ between its
    # versions and share no base class. All of them mean that the files are unavailable.
    except Exception as error:
        first_line = (str(error).strip() or "no message").splitlines()[0]
        reason = f"{constants.ENDPOINT}: {type(error).__name__}: {first_line}"
        raise Unavailable(what, reason, advice) from error
