"""Keeps passwords and keys out of messages and of files that people share."""

import os
import re

HIDDEN = "***"

_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY")
"""Environment variables whose values are secrets that this package or its libraries send."""
_SHORTEST = 8
"""A shorter value is no key, and would be hidden in the middle of words."""

_USER = re.compile(r"(?<=://)[^/\s@?#'\"]+@")
_PARAMETER = re.compile(
    r"(?<=[?&])([\w.-]*(?:token|key|secret|signature|sig|password|passwd|credential)[\w.-]*)=[^&\s'\"#]+",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"\b(?:hf_|sk-|ghp_|github_pat_)[A-Za-z0-9_-]{16,}")


def without_secrets(text: str) -> str:
    """Hides what may be secret in a text.

    That is: users and passwords in addresses, their parameters with names such as ``token``, keys
    in the form of well-known services, and the values of ``HF_TOKEN`` and ``OPENAI_API_KEY``.

    Args:
        text: of an error, a log line or a setting.
    """
    for name in _VARIABLES:
        if len(value := os.environ.get(name, "").strip()) >= _SHORTEST:
            text = text.replace(value, HIDDEN)
    text = _USER.sub(f"{HIDDEN}@", text)
    text = _PARAMETER.sub(rf"\1={HIDDEN}", text)
    return _TOKEN.sub(HIDDEN, text)
