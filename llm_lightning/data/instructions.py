"""Instructions and their answers: the book's 1,100 entries, Alpaca's 52,002, or your own.

Splits are taken in file order: training, then test, then validation, as in the book.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

from llm_lightning.data import download
from llm_lightning.data.language import LanguageData
from llm_lightning.data.prompts import MASKS, PROMPT_STYLES, Record, encode_record
from llm_lightning.data.records import read_records
from llm_lightning.data.sequences import TokenSequence
from llm_lightning.data.splits import SPLIT_NAMES

logger = logging.getLogger(__name__)

TRAIN_SHARE, TEST_SHARE = 0.85, 0.1  # the rest is validation


@dataclass(eq=False)
class Instructions(LanguageData):
    """Records with an instruction, an input that may be empty, and the answer to learn.

    Raises:
        ValueError: if a field is out of range.
    """

    kind: ClassVar[str] = "instructions"
    stand_in: ClassVar[str] = "The embedded instructions"

    _target_: str = "llm_lightning.data.instructions.Instructions"
    name: str = "instructions"
    """Short name, as in ``conf/data/``; the download is cached under it and its address."""
    url: str | None = None
    """Where the JSON file is downloaded from, once."""
    sha256: str | None = None
    """SHA-256 of the download, if it is known."""
    path: str | None = None
    """Your own file in place of the download: JSON, JSON Lines or Parquet."""
    prompt_style: str = "alpaca"
    """``alpaca`` (the book's), ``phi3`` or ``plain``."""
    mask: str = "none"
    """What the loss leaves out: ``none``; the ``prompt``, as in the book's exercise 7.2; or the
    ``prompt_and_header``, so that only the response is learnt."""

    def __post_init__(self) -> None:
        """Checks ranges; touches neither network nor disk."""
        super().__post_init__()
        for key, choices in (("prompt_style", tuple(PROMPT_STYLES)), ("mask", MASKS)):
            if getattr(self, key) not in choices:
                raise ValueError(
                    f"data.{key} must be one of {', '.join(choices)}, got {getattr(self, key)!r}"
                )
        self._file: Path | None = None
        self._origin = ""
        self._records: dict[str, list[Record]] = {}
        self._num_cut: dict[str, int] = {}

    @property
    def source(self) -> str:
        """Where the records come from."""
        return self._origin

    def prepare_data(self) -> None:
        """Finds the records, downloading them if they are neither given nor cached.

        Raises:
            Unavailable: if they can neither be found nor downloaded.
            ValueError: if neither ``path`` nor ``url`` is given.
        """
        if self._file is not None:
            return
        if self.path is not None:
            self._file, self._origin = Path(self.path).expanduser(), str(self.path)
        elif self.url is not None:
            destination = self._cached(self.url)
            self._file = download.fetch(
                f"the instructions {self.name!r}",
                [self.url],
                destination,
                verify=self._verify,
                advice=f"download {self.url} by other means and set data.path to the file",
            )
            self._origin = self.name
        else:
            raise ValueError("data.path must name a file of instructions, or data.url an address")

    def use_embedded(self) -> None:
        """Reads the instructions that the package ships, in place of the download."""
        folder = resources.files("llm_lightning.data.embedded")
        self._file, self._origin = Path(str(folder / "instructions.json")), "embedded instructions"

    def read(self) -> dict[str, list[TokenSequence]]:
        """Reads, splits in file order and encodes.

        Raises:
            ValueError: naming the file, if a record cannot be read or there are too few.
        """
        self.prepare_data()
        if self._file is None:
            raise RuntimeError("prepare_data() found no file and raised nothing")
        records = read_records(self._file)
        self._records = split_in_file_order(records, str(self._file))
        sequences = {}
        for split, own in self._records.items():
            encoded = [
                encode_record(record, self.prompt_style, self.mask, self.longest) for record in own
            ]
            sequences[split] = [one.sequence for one in encoded]
            self._num_cut[split] = sum(bool(one.cut) for one in encoded)
        return sequences

    @property
    def records(self) -> dict[str, list[Record]]:
        """The records of each split; after ``setup``."""
        if not self._records:
            raise RuntimeError("call prepare_data() and setup() first")
        return self._records

    def facts(self) -> dict[str, Any]:
        """As :class:`DataModule` has it, with prompts, cuts, empty answers and leakage."""
        facts = super().facts()
        known = {record.question for record in self.records["train"]}
        for split, own in self.records.items():
            facts["splits"][split] |= {
                "truncated": self._num_cut[split],
                "empty_outputs": sum(not record.output for record in own),
            }
        return facts | {
            "prompt_style": self.prompt_style,
            "mask": self.mask,
            "test_in_train": sum(record.question in known for record in self.records["test"]),
            "val_in_train": sum(record.question in known for record in self.records["val"]),
        }

    def describe(self) -> list[str]:
        """A line a split, and one on prompts and leakage."""
        facts = self.facts()
        lines = []
        for name, split in facts["splits"].items():
            cut = f", {split['truncated']} truncated" if split["truncated"] else ""
            lines.append(
                f"{name}: {split['examples']:,} ({split['tokens']:,} tokens, "
                f"{split['label_tokens']:,} learnt, {split['response_tokens']:,} of responses){cut}"
            )
        return [
            *lines,
            f"prompt style {self.prompt_style}, mask {self.mask}, at most {self.longest} tokens; "
            f"{facts['test_in_train']} of {facts['splits']['test']['examples']} test instructions "
            f"also stand in training",
        ]

    def task_arguments(self) -> dict[str, Any]:
        """How prompts are made of records."""
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
            text = json.dumps([asdict(record) for record in own], indent=1, ensure_ascii=False)
            (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")

    def _cached(self, url: str) -> Path:
        """The download's place; what is there is checked again, and removed if it is wrong."""
        # With the address in it: another data.url must not find the file of this one.
        digest = hashlib.sha256(url.encode()).hexdigest()[:8]
        file = download.cache_dir() / "instructions" / f"{self.name}-{digest}.json"
        if file.is_file():
            try:
                self._verify(file)
            except ValueError as error:
                logger.warning("%s is fetched again: %s", file, error)
                file.unlink(missing_ok=True)
        return file

    def _verify(self, file: Path) -> None:
        found = download.sha256(file)
        if self.sha256 not in (None, found):
            raise ValueError(f"its sha256 is {found}, expected {self.sha256}")
        try:
            entries = json.loads(file.read_text(encoding="utf-8-sig"))
        except ValueError as error:  # JSON and UTF-8 errors alike
            raise ValueError(f"it is not JSON: {error}") from error
        if not isinstance(entries, list) or not entries:
            raise ValueError("it holds no list of records")


def split_in_file_order(records: Sequence[Record], source: str) -> dict[str, list[Record]]:
    """Cuts records into training (85 %), test (10 %) and validation, in this order.

    Args:
        records: in file order.
        source: what they come from, for the error.

    Raises:
        ValueError: if a part would be empty.
    """
    end_of_train = int(len(records) * TRAIN_SHARE)
    end_of_test = end_of_train + int(len(records) * TEST_SHARE)
    parts = {
        "train": list(records[:end_of_train]),
        "val": list(records[end_of_test:]),
        "test": list(records[end_of_train:end_of_test]),
    }
    for name in SPLIT_NAMES:
        if not parts[name]:
            raise ValueError(
                f"{source}: {len(records)} records leave the {name} split empty; at least 10 are "
                f"needed"
            )
    return parts
