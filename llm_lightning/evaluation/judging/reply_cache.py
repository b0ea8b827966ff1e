"""A cache of a judge's replies: one small JSON file each, named by a hash of the question.

Files are written under another name and moved into place, so processes can share the folder.
"""

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any


class ReplyCache:
    """Replies by question, and model identities by server address.

    Args:
        folder: of the files; created with the first entry.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        """Returns the answer stored for ``asked``; None if there is none or it is damaged."""
        try:
            entry = json.loads(self._path(asked).read_text(encoding="utf-8"))
            return dict(entry["answer"]) if entry["asked"] == asked else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def store(self, asked: dict[str, Any], answer: dict[str, Any]) -> None:
        """Stores the answer to ``asked``, replacing an earlier one."""
        write_json(self._path(asked), {"asked": asked, "answer": answer})

    def _path(self, asked: dict[str, Any]) -> Path:
        name = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        return self._folder / name[:2] / f"{name}.json"


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file as a whole or not at all, creating its folder.

    Args:
        path: of the file.
        value: plain JSON without NaN or infinities.

    Raises:
        ValueError: if a number is not finite; an earlier file stays.
    """
    # A lone surrogate, which only a broken reply can contain, is written as its JSON escape.
    content = (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode(
        "utf-8", errors="backslashreplace"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
