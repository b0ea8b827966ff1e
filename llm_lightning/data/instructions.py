"""Instructions and responses: the book's 1,100 records, Alpaca's 52,002, or your own.

Records are split in file order: training, then test, then validation, as in the book.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

from llm_lightning.data import download
from llm_lightning.data.batching import warn_of_truncation
from llm_lightning.data.language import LanguageData
from llm_lightning.data.prompt_styles import CHAT, PROMPT_STYLES
from llm_lightning.data.prompts import MASKS, Prompts, Record
from llm_lightning.data.records import RecordFile, read_record_file
from llm_lightning.data.sequences import TokenSequence
from llm_lightning.data.table_format import TableFormat
from llm_lightning.data.text_files import existing_file, parse_json, read_text, refuse_other_kinds
from llm_lightning.network import cache_dir
from llm_lightning.presentation.plurals import counted
from llm_lightning.run_format.files import split_file
from llm_lightning.run_format.splits import SPLITS

TRAIN_SHARE, TEST_SHARE = 0.85, 0.1  # the rest is validation
BOOK_SHA256 = "7e09a9af353722ca15c18bc580f093f9c39d3178335a75177319cb1e1d163944"
"""Of the book's ``instruction-data.json``."""


@dataclass(eq=False)
class Instructions(TableFormat, LanguageData):
    """Records with an instruction, an optional input, and the response to learn.

    Raises:
        ValueError: if a field is out of range.
    """

    kind: ClassVar[str] = "instructions"
    fallback: ClassVar[str] = "The packaged instructions"

    _target_: str = "llm_lightning.data.instructions.Instructions"
    name: str = "instructions"
    """Short name, as in ``conf/data/``; part of the name of the cached download."""
    url: str | None = None
    """Address of a JSON file, which is downloaded once."""
    sha256: str | None = None
    """SHA-256 of the download, if it is known."""
    path: str | None = None
    """Your own file instead of the download: JSON, JSON Lines, CSV, TSV or Parquet."""
    prompt_style: str = "alpaca"
    """``alpaca`` (as in the book), ``phi3`` or ``plain``; or ``chat``, the chat template of a model
    that was trained on conversations, with its own token at the end of a response."""
    mask: str = "none"
    """Tokens that the loss ignores: ``none``; the ``prompt``, as in the book's exercise 7.2; or
    ``prompt_and_header``, everything but the response."""

    def __post_init__(self) -> None:
        """Checks ranges; touches neither network nor disk."""
        super().__post_init__()
        for key, choices in (("prompt_style", (*PROMPT_STYLES, CHAT)), ("mask", MASKS)):
            if getattr(self, key) not in choices:
                raise ValueError(
                    f"data.{key} must be one of {', '.join(choices)}, got {getattr(self, key)!r}"
                )
        self._given = self.given_format()
        self._file: Path | None = None
        self._read: RecordFile | None = None
        self._origin = ""
        self._records: dict[str, list[Record]] = {}
        self._num_cut: dict[str, int] = {}

    @property
    def source(self) -> str:
        """Where the records come from."""
        return self._origin

    def prepare_data(self) -> None:
        """Finds the file, downloading it if ``path`` is null and it is not cached.

        Raises:
            Unavailable: if it is not cached and cannot be downloaded.
            ValueError: if neither ``path`` nor ``url`` is given.
        """
        if self._file is not None:
            return
        if self.path is not None:
            self._file, self._origin = existing_file(self.path, "data.path"), str(self.path)
        elif self.url is not None:
            # The address is part of the name: another data.url must not use this file.
            digest = hashlib.sha256(self.url.encode()).hexdigest()[:8]
            self._file = download.fetch(
                self._described(),
                [self.url],
                cache_dir() / "instructions" / f"{self.name}-{digest}.json",
                known_hash=self.sha256,
                verify=_verify_list,
                advice=f"download {self.url} by other means and set data.path to the file",
            )
            self._origin = self.name
        else:
            raise ValueError("data.path must name a file of instructions, or data.url an address")

    def _described(self) -> str:
        """What the download is called in messages."""
        if self.sha256 == BOOK_SHA256:
            return "the book's 1,100 instructions"
        if self.name == "instructions":  # of another address or version
            return f"the instructions at {self.url}"
        return f"the instructions {self.name!r}"

    def use_packaged(self) -> None:
        """Uses the instructions in this package instead of the download."""
        folder = resources.files("llm_lightning.data.packaged")
        self._file, self._origin = Path(str(folder / "instructions.json")), "packaged instructions"

    def read(self) -> dict[str, list[TokenSequence]]:
        """Reads the records, splits them in file order and encodes them.

        Raises:
            ValueError: if a record cannot be read, or there are too few; names the file.
        """
        self.prepare_data()
        if self._file is None:
            raise RuntimeError("prepare_data() found no file and raised nothing")
        self._read = read_record_file(self._file, self._given)
        self._records = split_in_file_order(self._read.records, str(self._file))
        prompts = Prompts(self.prompt_style, self.tokenizer)
        sequences = {}
        for split, own in self._records.items():
            encoded = [prompts.encode(record, self.mask, self.longest) for record in own]
            sequences[split] = [one.sequence for one in encoded]
            self._num_cut[split] = sum(bool(one.cut) for one in encoded)
        warn_of_truncation(
            sum(self._num_cut.values()),
            sum(map(len, sequences.values())),
            f"a record of more than {self.longest} tokens loses parts of its fields",
        )
        return sequences

    @property
    def records(self) -> dict[str, list[Record]]:
        """The records of each split; available after ``setup``."""
        if not self._records:
            raise RuntimeError("call prepare_data() and setup() first")
        return self._records

    def facts(self) -> dict[str, Any]:
        """Adds prompt settings, truncation, empty outputs and leakage to the usual facts."""
        facts = super().facts()
        in_train = {record.question for record in self.records["train"]}
        for split, own in self.records.items():
            facts["splits"][split] |= {
                "truncated": self._num_cut[split],
                "empty_outputs": sum(not record.output for record in own),
            }
        return facts | {
            "prompt_style": self.prompt_style,
            "mask": self.mask,
            **self._reading_facts(),
            "test_in_train": sum(record.question in in_train for record in self.records["test"]),
            "val_in_train": sum(record.question in in_train for record in self.records["val"]),
        }

    def describe(self) -> list[str]:
        """One line per split, and one on prompts and leakage."""
        facts = self.facts()
        lines = []
        for name, split in facts["splits"].items():
            cut = f", {split['truncated']:,} truncated" if split["truncated"] else ""
            lines.append(
                f"{name}: {split['examples']:,} ({split['tokens']:,} tokens, "
                f"{split['label_tokens']:,} in the loss, {split['response_tokens']:,} in "
                f"responses){cut}"
            )
        return [
            *lines,
            f"prompt style {self.prompt_style}, mask {self.mask}, at most {self.longest} tokens; "
            f"{facts['test_in_train']} of {facts['splits']['test']['examples']} test instructions "
            f"also occur in training",
            *self._notes(),
        ]

    def _reading_facts(self) -> dict[str, Any]:
        """How the file was read, where there was a choice."""
        read = self._read
        if read is None:
            return {}
        return {
            "file": read.reading.facts() if read.reading else None,
            "fields_renamed": read.renamed,
            "fields_not_read": read.unread,
            "messages_not_learnt": read.num_not_learnt,
            "messages_left_out": read.num_left_out,
        }

    def _notes(self) -> list[str]:
        if self._read is None:
            return []
        reading = self._read.reading
        return [*([f"read as: {reading.describe()}"] if reading else []), *self._read.notes()]

    def task_arguments(self) -> dict[str, Any]:
        """Returns the settings of the prompts."""
        return {
            "text": {
                "prompt_style": self.prompt_style,
                "mask": self.mask,
                "max_length": self.longest,
            }
        }

    def write_splits(self, folder: Path) -> None:
        """Writes ``train.json``, ``val.json`` and ``test.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, own in self.records.items():
            text = json.dumps([record.fields() for record in own], indent=1, ensure_ascii=False)
            (folder / split_file(name, self.kind)).write_text(text + "\n", encoding="utf-8")


def _verify_list(file: Path) -> None:
    """Checks that a download is a JSON list and not, say, an error page."""
    text = read_text(file)
    refuse_other_kinds(text[:200].encode(errors="replace"), Path("it"))
    entries = parse_json(text, "it")
    if not isinstance(entries, list) or not entries:
        raise ValueError("it is not a list of records")


def split_in_file_order(records: Sequence[Record], source: str) -> dict[str, list[Record]]:
    """Splits records into training (85 %), test (10 %) and validation, in this order.

    Args:
        records: in file order.
        source: where they come from, for the error.

    Returns:
        The records of ``train``, ``val`` and ``test``.

    Raises:
        ValueError: if a split would be empty.
    """
    end_of_train = int(len(records) * TRAIN_SHARE)
    end_of_test = end_of_train + int(len(records) * TEST_SHARE)
    parts = {
        "train": list(records[:end_of_train]),
        "val": list(records[end_of_test:]),
        "test": list(records[end_of_train:end_of_test]),
    }
    for name in SPLITS:
        if not parts[name]:
            raise ValueError(
                f"{source}: with {counted(len(records), 'record')} the {name} split is empty; at "
                f"least 10 are needed"
            )
    return parts
