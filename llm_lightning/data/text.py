"""Plain text files as blocks of tokens, for pretraining."""

import json
from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from llm_lightning.data.language import LanguageData
from llm_lightning.data.sequences import TokenSequence
from llm_lightning.data.text_files import existing_file, read_text
from llm_lightning.presentation.plurals import counted
from llm_lightning.run_format.splits import SPLITS


@dataclass(eq=False)
class TextFiles(LanguageData):
    """A folder of ``.txt`` files, sub-folders included, or a single one.

    The texts of a split, each between the tokens with which the model begins and ends a text (GPT-2
    has only the end-of-text token), are concatenated and cut into
    blocks of ``max_length`` tokens; the context of a token is what precedes it in its block. Either
    named files are held out for validation and test, or the end of every file is.

    Raises:
        ValueError: if a field is out of range.
    """

    kind: ClassVar[str] = "text"

    _target_: str = "llm_lightning.data.text.TextFiles"
    path: str | None = None
    """Folder of ``.txt`` files in UTF-8, or one such file. Files of sub-folders are read too, those
    with other endings and hidden ones are not."""
    val_files: list[str] = field(default_factory=list)
    """Names or patterns (``*wells*``) of the validation files; those in sub-folders are named with
    their folder (``wells/*``)."""
    test_files: list[str] = field(default_factory=list)
    """Names or patterns of the test files."""
    held_out: float = 0.05
    """Without named files: fraction at the end of every text that is used for validation, and the
    same again for testing, in (0, 0.5)."""

    def __post_init__(self) -> None:
        """Checks ranges; touches neither network nor disk."""
        super().__post_init__()
        if not 0 < self.held_out < 0.5:
            raise ValueError(f"data.held_out must lie in (0, 0.5), got {self.held_out}")
        if bool(self.val_files) != bool(self.test_files):
            raise ValueError("data.val_files and data.test_files must both be set, or neither")
        self._names: dict[str, list[str]] = {}
        self._left_out: Counter[str] = Counter()

    def prepare_data(self) -> None:
        """Checks that the files exist.

        Raises:
            ValueError: if ``path`` is neither a file nor a folder of ``.txt`` files, or a pattern
                matches no file.
        """
        if self.path is None:
            raise ValueError("data.path must name a folder of .txt files, or one such file")
        self._files()

    @property
    def source(self) -> str:
        """The folder or file, as given."""
        return str(self.path)

    def read(self) -> dict[str, list[TokenSequence]]:
        """Reads the files, splits them and cuts them into blocks.

        Raises:
            ValueError: if there is no file, one is not UTF-8, or a split is empty; names the file.
        """
        parts: dict[str, list[list[int]]] = {name: [] for name in SPLITS}
        self._names = {name: [] for name in SPLITS}
        for file in self._files():
            encoded = self.tokenizer.encode(read_text(file))
            tokens = [*self.tokenizer.prefix, *encoded, self.tokenizer.end_id]
            if self.val_files:
                split = self._split_of(file)
                parts[split].append(tokens)
                self._names[split].append(self._name(file))
                continue
            held_out = int(self.held_out * len(tokens))
            end_of_train, end_of_val = len(tokens) - 2 * held_out, len(tokens) - held_out
            parts["train"].append(tokens[:end_of_train])
            parts["val"].append(tokens[end_of_train:end_of_val])
            parts["test"].append(tokens[end_of_val:])
            for names in self._names.values():
                names.append(self._name(file))
        sequences = {
            name: blocks(torch.tensor([token for text in texts for token in text]), self.longest)
            for name, texts in parts.items()
        }
        for name, found in sequences.items():
            if not found:
                raise ValueError(f"data.path: {self.path} leaves the {name} split empty")
        return sequences

    def describe(self) -> list[str]:
        """One line per split, and one on files that are not read."""
        lines = [
            f"{name}: {counted(facts['tokens'], 'token')} in {counted(facts['examples'], 'block')} "
            f"of at most {self.longest} from {counted(len(self._names[name]), 'text')}"
            for name, facts in self.facts()["splits"].items()
        ]
        if self._left_out:
            kinds = ", ".join(f"{kind} ({num:,})" for kind, num in sorted(self._left_out.items()))
            number = counted(self._left_out.total(), "file")
            lines.append(f"{number} of the folder not read, only .txt is: {kinds}")
        return lines

    def facts(self) -> dict[str, Any]:
        """Adds the files that are not read, by ending."""
        return super().facts() | {"files_not_read": dict(sorted(self._left_out.items()))}

    def task_arguments(self) -> dict[str, Any]:
        """Returns no prompt settings: plain text has no prompts."""
        return {"text": {}}

    def write_splits(self, folder: Path) -> None:
        """Writes ``files.json``: the names of the files in each split."""
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self._names, indent=2, ensure_ascii=False)
        (folder / "files.json").write_text(text + "\n", encoding="utf-8")

    def _files(self) -> list[Path]:
        path = Path(str(self.path)).expanduser()
        if path.is_dir():
            files = self._in_folder(path)
        else:
            files = [existing_file(str(self.path), "data.path")] if path.is_file() else []
        if not files:
            raise ValueError(f"data.path: {path} is neither a file nor a folder of .txt files")
        for key in ("val_files", "test_files"):
            for pattern in getattr(self, key):
                if not any(self._matches(file, pattern) for file in files):
                    raise ValueError(
                        f"data.{key}: no file in {path} matches {pattern!r}; there are "
                        f"{_listed([self._name(file) for file in files])}"
                    )
        return files

    def _in_folder(self, folder: Path) -> list[Path]:
        """All text files in the order of their paths; counts the others."""
        found, self._left_out = [], Counter()
        for file in sorted(folder.rglob("*")):
            if not file.is_file():
                continue
            if any(part.startswith(".") for part in file.relative_to(folder).parts):
                self._left_out["hidden"] += 1
            elif file.suffix.lower() == ".txt":
                found.append(existing_file(str(file), "data.path"))
            else:
                self._left_out[file.suffix.lower() or "without an ending"] += 1
        return found

    def _name(self, file: Path) -> str:
        """The name of a file, with its sub-folder."""
        folder = Path(str(self.path)).expanduser()
        return file.relative_to(folder).as_posix() if folder.is_dir() else file.name

    def _matches(self, file: Path, pattern: str) -> bool:
        return fnmatch(file.name, pattern) or fnmatch(self._name(file), pattern)

    def _split_of(self, file: Path) -> str:
        held_out = {"val": self.val_files, "test": self.test_files}
        for split, patterns in held_out.items():
            if any(self._matches(file, pattern) for pattern in patterns):
                return split
        return "train"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def blocks(tokens: Int[Tensor, " N"], length: int) -> list[TokenSequence]:
    """Cuts tokens into consecutive blocks, with the next token of each as its label.

    Args:
        tokens: (N,) int64.
        length: largest number of input tokens in a block.

    Returns:
        Blocks in order; every token but the first is a label exactly once.
    """
    never = torch.zeros(length, dtype=torch.bool)
    cut = []
    for start in range(0, len(tokens) - 1, length):
        labels = tokens[start + 1 : start + 1 + length]
        ids = tokens[start : start + len(labels)]
        cut.append(TokenSequence(ids, labels, never[: len(labels)]))
    return cut
