"""Every reply of a judge, kept: one small JSON file each, named by a hash of what was asked.

Files are written under another name and moved into place, so processes can share the folder.
"""

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any


class ReplyCache:
    """Replies by what was asked, and servers by how they were addressed.

    Args:
        folder: where the files go; made when there is something to keep.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        """What was kept about ``asked``; None if nothing was or its file is damaged."""
        try:
            kept = json.loads(self._path(asked).read_text(encoding="utf-8"))
            return dict(kept["answer"]) if kept["asked"] == asked else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, asked: dict[str, Any], answer: dict[str, Any]) -> None:
        """Keeps an answer to ``asked``, in place of an earlier one."""
        write_json(self._path(asked), {"asked": asked, "answer": answer})

    def _path(self, asked: dict[str, Any]) -> Path:
        name = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        return self._folder / name[:2] / f"{name}.json"


def write_json(path: Path, value: Any) -> None:
    """Writes a file that is either whole or not there, making its folder."""
    # A lone surrogate, which only a broken reply can hold, becomes the JSON escape that it was.
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
