"""Where the file with a model's responses is."""

from pathlib import Path

from llm_lightning.run_format.files import MOST_LEVELS, RESPONSES

_MOST_FOLDERS_NAMED = 3


def responses_file(path: Path) -> Path:
    """The file with the responses: ``path`` itself, or the one in the run folder ``path``.

    Raises:
        ValueError: if there is none; folders below that hold one are named.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise ValueError(f"{path} does not exist: give a run folder or a file like {RESPONSES}")
    file = path / RESPONSES
    if not file.is_file():
        # Not the whole tree below: it may be a disk's.
        patterns = ("*/" * depth + RESPONSES for depth in range(1, MOST_LEVELS + 1))
        inside = sorted(str(found.parent) for one in patterns for found in path.glob(one))
        hint = f"; did you mean {' or '.join(inside[:_MOST_FOLDERS_NAMED])}?" if inside else ""
        raise ValueError(
            f"{path} holds no responses (no {RESPONSES}): instruction runs write it when they "
            f"end{hint}"
        )
    return file
