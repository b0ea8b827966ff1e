"""The SMS Spam Collection (Almeida et al. 2011, CC BY 4.0) and three recipes for splitting it.

``table`` and ``chapter`` reproduce the book's splits byte for byte, flaws included: pandas' default
quoting merges three messages into one, duplicates are kept, and some test messages also occur in
the training split. ``clean`` has none of these flaws and gives trustworthy numbers.
"""

import csv
import io
import logging
import tempfile
import warnings
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import ClassVar

import pandas as pd

from llm_lightning.data import download
from llm_lightning.data.archive import extract_member, is_zip
from llm_lightning.data.classification import ClassificationData
from llm_lightning.data.splits import (
    Splits,
    ThreeTables,
    permutation,
    split_in_order,
    text_key,
)
from llm_lightning.data.text_files import existing_file, read_bytes, refuse_other_kinds
from llm_lightning.network import cache_dir
from llm_lightning.presentation.plurals import counted
from llm_lightning.run_format.file_digest import file_sha256
from llm_lightning.run_format.files import SPLIT_LABEL, SPLIT_TEXT

logger = logging.getLogger(__name__)

URLS = (
    "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip",
    "https://f001.backblazeb2.com/file/LLMs-from-scratch/sms%2Bspam%2Bcollection.zip",
)
MEMBER = "SMSSpamCollection"
SHA256 = "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d"
CLASS_NAMES = ["ham", "spam"]
RECIPES = ("table", "chapter", "clean")
FRACTIONS = (0.7, 0.1, 0.2)
MAX_BYTES = 64 << 20
"""Largest file of messages: the published one has 477,907 bytes."""
MAX_ROW = 100_000
"""Characters of the longest message: the published ones have 910."""


@dataclass(eq=False)
class SmsSpam(ClassificationData):
    """SMS messages labelled ham or spam.

    Raises:
        ValueError: if a field is out of range.
    """

    fallback: ClassVar[str] = "The packaged messages"

    _target_: str = "llm_lightning.data.spam.SmsSpam"
    path: str | None = None
    """The collection on disk: the zip, the tab-separated file, or a folder with either. If null,
    the collection is downloaded once and kept in the cache."""
    split: str = "table"
    """Recipe: ``table``, as in the book's table of results; ``chapter``, as in its chapter 6;
    ``clean``, read without quoting, without duplicates, stratified by class."""
    balance: str = "undersample"
    """As in :class:`ClassificationData`, but applied before splitting, as in the book."""

    def __post_init__(self) -> None:
        """Checks ranges; touches neither network nor disk."""
        super().__post_init__()
        if self.split not in RECIPES:
            raise ValueError(f"data.split must be one of {', '.join(RECIPES)}, got {self.split!r}")
        if self.folds is not None and self.split != "clean":
            raise ValueError(
                f"data.folds needs data.split=clean, got {self.split}: with repeated messages in "
                f"several folds, tests would be of messages that were trained on"
            )
        self._file: Path | None = None
        self._origin = ""

    @property
    def source(self) -> str:
        """Where the messages come from, and the recipe."""
        return f"{self._origin}, split {self.split!r}"

    def prepare_data(self) -> None:
        """Finds the messages, downloading them if ``path`` is null and they are not cached.

        Raises:
            Unavailable: if they are not cached and cannot be downloaded.
            ValueError: if ``path`` contains no collection.
        """
        if self._file is not None:
            return
        if self.path is not None:
            self._file = find_collection(Path(self.path).expanduser())
            genuine = file_sha256(self._file) == SHA256
            self._origin = f"{self.path} ({'the' if genuine else 'not the'} published collection)"
        else:
            self._file = download_collection(cache_dir() / "sms_spam")
            self._origin = "SMS Spam Collection"

    def use_packaged(self) -> None:
        """Uses the messages in this package instead of the collection."""
        self._file = Path(str(resources.files("llm_lightning.data.packaged") / "messages.tsv"))
        self._origin = "packaged messages"

    def read(self) -> Splits:
        """Reads, balances and splits the messages by the recipe ``split``.

        Raises:
            ValueError: if the file is not a collection or too small to split; names the file.
        """
        self.prepare_data()
        if self._file is None:
            raise RuntimeError("prepare_data() found no file and raised nothing")
        messages = read_collection(self._file, quoting=self.split != "clean")
        if self.split == "clean":
            messages = self._without_duplicates(messages)
        if self.balance == "undersample":
            messages = self._undersampled(messages)
        try:
            return Splits(*self._split(messages), CLASS_NAMES)
        except ValueError as error:
            state = ", undersampled" if self.balance == "undersample" else ""
            raise ValueError(f"data.path: {self._file}{state}: {error}") from error

    def _split(self, messages: pd.DataFrame) -> ThreeTables:
        if self.split == "clean":
            return self._split_stratified(messages, FRACTIONS, CLASS_NAMES)
        for _ in range(2 if self.split == "table" else 1):
            messages = messages.iloc[permutation(len(messages), self.split_seed)]
        return split_in_order(messages, train=FRACTIONS[0], val=FRACTIONS[1])


def read_collection(file: Path, *, quoting: bool) -> pd.DataFrame:
    """Reads the tab-separated collection into ``Label`` (0 ham, 1 spam) and ``Text``.

    Args:
        file: lines of ``label<TAB>text`` without a header.
        quoting: whether double quotes delimit fields, which is pandas' default and the book's
            choice (5,572 rows of the published file), or are ordinary characters (5,574).

    Returns:
        One row per message.

    Raises:
        ValueError: the file is not UTF-8 or has no rows, a row has no tab, an empty text or an
            unknown label, or there is a single class. Names the file and, where there is one, the
            row, counted from 1 without blank lines.
    """
    content = read_bytes(file, MAX_BYTES)
    refuse_other_kinds(content, file)
    try:
        with warnings.catch_warnings():
            # With index_col=False pandas only warns of a first row with two tabs or more.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                io.BytesIO(content),
                sep="\t",
                header=None,
                names=[SPLIT_LABEL, SPLIT_TEXT],
                quoting=csv.QUOTE_MINIMAL if quoting else csv.QUOTE_NONE,
                dtype=str,
                keep_default_na=False,
                index_col=False,
            )
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise ValueError(f"data.path: {file} is not a table of label<TAB>text: {error}") from error
    if table.empty:
        raise ValueError(f"data.path: {file} is empty: it has no line of label<TAB>text")
    # pandas reads a line without a tab as a label with an empty text.
    no_text = (text_key(table) == "").to_numpy()
    if no_text.any():
        row = int(no_text.argmax())
        raise ValueError(
            f"data.path: {file}, row {row + 1}: an empty text or no tab; each line must be "
            f"label<TAB>text, got {table[SPLIT_LABEL].iloc[row][:60]!r} "
            f"({counted(int(no_text.sum()), 'such row')})"
        )
    long = (table[SPLIT_TEXT].str.len() > MAX_ROW).to_numpy()
    if long.any():
        raise ValueError(
            f"data.path: {file}, row {int(long.argmax()) + 1}: a message of "
            f"{len(table[SPLIT_TEXT].iloc[int(long.argmax())]):,} characters, which is none "
            f"({counted(int(long.sum()), 'such row')}); for other texts use data=table"
        )
    labels = table[SPLIT_LABEL].map({name: label for label, name in enumerate(CLASS_NAMES)})
    if labels.isna().any():
        row = int(labels.isna().to_numpy().argmax())
        raise ValueError(
            f"data.path: {file}, row {row + 1}: the label must be ham or spam, "
            f"got {table[SPLIT_LABEL].iloc[row]!r}; for other tables use data=table"
        )
    if labels.nunique() < len(CLASS_NAMES):
        raise ValueError(
            f"data.path: {file}: a single class, {table[SPLIT_LABEL].iloc[0]!r} in all of "
            f"{counted(len(table), 'row')}; a classifier needs ham and spam"
        )
    return pd.DataFrame({SPLIT_LABEL: labels.astype(int), SPLIT_TEXT: table[SPLIT_TEXT]})


def find_collection(path: Path) -> Path:
    """Finds the tab-separated file of the collection.

    Args:
        path: the file itself, a zip that contains ``SMSSpamCollection``, or a folder with either.

    Returns:
        The file; extracted into the cache if it was in a zip.

    Raises:
        ValueError: if there is none.
    """
    if path.is_dir():
        candidates = [path / MEMBER, *sorted(path.glob("*.zip")), *sorted(path.glob("*.tsv"))]
        found = next((candidate for candidate in candidates if candidate.is_file()), None)
        if found is None:
            raise ValueError(f"data.path: {path} contains neither {MEMBER} nor a .zip or .tsv file")
        path = found
    if not path.is_file():
        raise ValueError(f"data.path must be an existing file or folder, got {path}")
    path = existing_file(str(path), "data.path")
    try:
        if not is_zip(path):
            return path
    except ValueError as error:
        raise ValueError(f"data.path: {error}") from error
    # Extracted on each use: it is cheap, and an earlier copy may have been damaged since.
    folder = cache_dir() / "sms_spam" / file_sha256(path)[:16]
    return extract_member(path, MEMBER, folder / MEMBER, MAX_BYTES)


def download_collection(folder: Path, urls: tuple[str, ...] = URLS) -> Path:
    """Returns the collection in ``folder``, verified on each use, downloading it if necessary.

    Args:
        folder: where the zip and the extracted file are kept.
        urls: mirrors of the zip, best first.

    Returns:
        The tab-separated file.

    Raises:
        Unavailable: if no mirror delivers the published collection.
    """
    extracted = folder / MEMBER
    if extracted.is_file():
        if file_sha256(extracted) == SHA256:
            return extracted
        logger.warning("%s has changed since it was downloaded: it is extracted again", extracted)
    archive = download.fetch(
        "the SMS Spam Collection",
        urls,
        folder / "sms+spam+collection.zip",
        verify=verify_archive,
        advice=(
            "connect once so that it is cached, or get the zip by other means and pass "
            "data.path=<zip, file or folder>"
        ),
    )
    return extract_member(archive, MEMBER, extracted, MAX_BYTES)


def verify_archive(archive: Path) -> None:
    """Checks the messages inside the zip, whose checksum does not depend on the compression.

    Raises:
        ValueError: if the checksum is not the published one.
    """
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        found = file_sha256(extract_member(archive, MEMBER, Path(folder) / MEMBER, MAX_BYTES))
    if found != SHA256:
        raise ValueError(
            f"the checksum of {MEMBER} is wrong: expected sha256 {SHA256}, got {found}"
        )
