"""An export, uploaded to a repository on the Hub."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from llm_lightning.backbone.hub import HUB_ID, hub_is_off
from llm_lightning.exporting.adapter_files import hub_base
from llm_lightning.network import innermost, while_moving
from llm_lightning.tasks.finetuned_model import FineTunedModel

UPLOADED = ("hf", "peft")
"""Formats that the Hub's own libraries load."""

STALLED_AFTER_S = 300.0
"""An upload is given up once less than ``network.LEAST_BYTES`` move within so many seconds.

It is longer than for downloads, as the client reads large files for their checksums beforehand,
and the Hub checks what it has got before it answers.
"""

_MOST_CHARACTERS = 300  # of the Hub's own words


class NotUploaded(OSError):
    """An export was written, and is not on the Hub."""


def check_upload(kind: str, repo: str) -> None:
    """Refuses what cannot be uploaded, before anything is loaded.

    Args:
        kind: the format.
        repo: ``owner/name``.

    Raises:
        ValueError: saying why not.
    """
    if kind not in UPLOADED:
        raise ValueError(f"--push-to-hub takes --format {' or '.join(UPLOADED)}, got {kind}")
    if not HUB_ID.fullmatch(repo) or "@" in repo:
        raise ValueError(f"--push-to-hub must be owner/name, got {repo!r}")
    if hub_is_off():
        raise ValueError(
            "--push-to-hub needs the network, which LLM_LIGHTNING_OFFLINE or HF_HUB_OFFLINE "
            "forbids: unset it"
        )


def check_base(task: FineTunedModel, kind: str) -> None:
    """Refuses adapters whose base only this machine has.

    Args:
        task: the run's.
        kind: the format.

    Raises:
        ValueError: naming the format that holds everything.
    """
    if kind == "peft" and hub_base(task) is None:
        raise ValueError(
            "--push-to-hub: the base of these adapters is not on the Hub, so nobody could load "
            "them from there: use --format hf, which holds everything"
        )


def upload(folder: Path, repo: str) -> str:
    """Uploads an export; a new repository is private.

    It is given up if the Hub does not make the repository within ``network.STALLED_AFTER_S``, or
    if the upload then hardly moves for ``STALLED_AFTER_S``: after twice that at the latest.

    Args:
        folder: of the export.
        repo: ``owner/name``; made if it does not exist.

    Returns:
        The address of the repository.

    Raises:
        NotUploaded: if the Hub cannot be reached, refuses, or hardly moves.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    failed = f"{folder} is written, but --push-to-hub {repo} failed: "
    try:
        made = while_moving(lambda: api.create_repo(repo, private=True, exist_ok=True), lambda: 0)
        with _counted() as sent:
            while_moving(
                lambda: api.upload_folder(
                    repo_id=repo, folder_path=folder, commit_message="Exported by llm_lightning"
                ),
                sent,
                within_s=STALLED_AFTER_S,
            )
    except HfHubHTTPError as error:
        status = error.response.status_code
        reason = " ".join(str(error).split())[:_MOST_CHARACTERS]
        advice = "; log in with `hf auth login`, or set HF_TOKEN" if status in (401, 403) else ""
        raise NotUploaded(f"{failed}the Hub refused (HTTP {status}): {reason}{advice}") from error
    # RuntimeError is what its upload of large files makes of any error.
    except (httpx2.TransportError, OSError, RuntimeError) as error:
        host = urlsplit(api.endpoint).netloc
        raise NotUploaded(f"{failed}{host}: {innermost(error)}; try again") from error
    return str(made)


@contextlib.contextmanager
def _counted() -> Iterator[Callable[[], int]]:
    """Counts the bytes that the Hub's client uploads, of which only its progress bars know."""
    from huggingface_hub import constants
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, tqdm

    sent, update, uses_no_xet = 0, tqdm.update, constants.HF_HUB_DISABLE_XET

    def count(bar: tqdm, n: float | None = 1) -> Any:
        nonlocal sent
        sent += int(n or 0)
        return update(bar, n)

    tqdm.update = count
    # Xet counts nothing where no bars are shown; plain uploads count all the same.
    constants.HF_HUB_DISABLE_XET = uses_no_xet or are_progress_bars_disabled()
    try:
        yield lambda: sent
    finally:
        tqdm.update = update
        constants.HF_HUB_DISABLE_XET = uses_no_xet
