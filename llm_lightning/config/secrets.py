"""Settings are written into the run's folder, which people share: no password may be among them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llm_lightning.run_format.redaction import without_secrets

_SECRET_KEY = re.compile(
    r"(^|_)(api_?key|(access|auth|api|hf)_token|password|secret)$", re.IGNORECASE
)


def check_no_secrets(configuration: Mapping[str, Any]) -> None:
    """Refuses a configuration with a password or a key in it.

    Args:
        configuration: plain values.

    Raises:
        ValueError: naming the setting, and not its value.
    """
    for path, value in _texts(configuration, ""):
        key = path.rpartition(".")[2]
        if value and _SECRET_KEY.search(key):
            raise ValueError(
                f"{path} is a secret, and settings are written into the run's folder: set the "
                f"environment variable that the library reads"
            )
        if without_secrets(value) != value:
            raise ValueError(
                f"{path} contains a password or a key, and settings are written into the run's "
                f"folder: leave it out, or fetch the file yourself and name its path"
            )


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """All texts with their keys, such as ``data.url``."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, Sequence):
        for inner in value:
            yield from _texts(inner, path)
