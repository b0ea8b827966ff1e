"""The Large Movie Review Dataset (Maas et al. 2011): 50,000 reviews from IMDb, half positive.

The split is the book's, as its ``ch06/03_bonus_imdb-classification/download_prepare_dataset.py``
makes it: the archive's own test and training reviews in one table (test before train, positive
before negative, files in the order of their names), shuffled twice with seed 123, cut into 35,000,
5,000 and 10,000. The class frequencies of the three parts are those that the book reports for its
majority baseline. The book then writes and reads CSV files, which is not repeated here.
"""

import gzip
import re
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from llm_lightning.data import download
from llm_lightning.data.classification import ClassificationData
from llm_lightning.data.encodings import decode_utf8
from llm_lightning.data.splits import Splits, permutation, split_in_order
from llm_lightning.data.text_files import existing_file, read_bytes
from llm_lightning.network import cache_dir
from llm_lightning.run_format.file_digest import file_sha256
from llm_lightning.run_format.files import SPLIT_LABEL, SPLIT_TEXT

URLS = ("https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",)
SHA256 = "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe"
ARCHIVE = "aclImdb_v1.tar.gz"
FOLDER = "aclImdb"
CLASS_NAMES = ["neg", "pos"]
FRACTIONS = (0.7, 0.1)  # of training and validation

MAX_BYTES = 2 << 30
"""Largest content of an archive: that of the published one has 0.3 GB."""
MAX_REVIEW = 1 << 20
"""Bytes of the longest review: the published ones have 14,000."""

_CHUNK_BYTES = 1 << 20
_ORDER = [(subset, name) for subset in ("test", "train") for name in ("pos", "neg")]
_REVIEW = re.compile(rf"{FOLDER}/(train|test)/(neg|pos|unsup)/[\w-]+\.txt")


@dataclass(eq=False)
class Imdb(ClassificationData):
    """Film reviews labelled neg or pos.

    Raises:
        ValueError: if a field is out of range.
    """

    _target_: str = "llm_lightning.data.imdb.Imdb"
    path: str | None = None
    """The reviews on disk: ``aclImdb_v1.tar.gz``, the folder ``aclImdb``, or a folder with either.
    If null, the archive (84 MB) is downloaded once and kept in the cache."""
    max_length: Any = 256
    """As in :class:`ClassificationData`; 256 tokens are the book's."""
    balance: str = "none"
    """As in :class:`ClassificationData`; ``undersample`` applies to the training split only."""

    def __post_init__(self) -> None:
        """Checks ranges; touches neither network nor disk."""
        super().__post_init__()
        if self.folds is not None:
            raise ValueError("data.folds is not possible with data=imdb; data=table can")
        self._location: Path | None = None
        self._origin = ""

    @property
    def source(self) -> str:
        """Where the reviews come from."""
        return self._origin

    def prepare_data(self) -> None:
        """Finds the reviews, downloading them if ``path`` is null and they are not cached.

        Raises:
            Unavailable: if they are not cached and cannot be downloaded.
            ValueError: if ``path`` contains no reviews.
        """
        if self._location is not None:
            return
        if self.path is None:
            self._location = download_reviews(cache_dir() / "imdb", URLS)
            self._origin = "IMDb reviews"
            return
        self._location = find_reviews(Path(self.path).expanduser())
        kind = "a folder"
        if self._location.is_file():
            is_genuine = file_sha256(self._location) == SHA256
            kind = f"{'the' if is_genuine else 'not the'} published archive"
        self._origin = f"{self.path} ({kind})"

    def read(self) -> Splits:
        """Reads, shuffles and splits the reviews.

        Raises:
            ValueError: if a part of them is missing or damaged; names the file.
        """
        self.prepare_data()
        if self._location is None:
            raise RuntimeError("prepare_data() found no reviews and raised nothing")
        reviews = read_reviews(self._location)
        for _ in range(2):
            reviews = reviews.iloc[permutation(len(reviews), self.split_seed)]
        try:
            train, val, test = split_in_order(reviews, train=FRACTIONS[0], val=FRACTIONS[1])
        except ValueError as error:
            raise ValueError(f"{self._location}: {error}") from error
        if self.balance == "undersample":
            train = self._undersampled(train)
        return Splits(train, val, test, CLASS_NAMES)


def read_reviews(location: Path) -> pd.DataFrame:
    """Reads all labelled reviews, in the book's order before shuffling.

    An archive is read without being extracted: nothing in it can write a file.

    Args:
        location: the archive, or the folder ``aclImdb``.

    Returns:
        Columns ``Label`` (0 neg, 1 pos) and ``Text``.

    Raises:
        ValueError: if the archive is damaged or has a member that does not belong there, one of the
            four folders is missing or empty, or a review is not UTF-8.
    """
    found: dict[tuple[str, str], dict[str, str]] = {group: {} for group in _ORDER}
    members = _in_folder(location) if location.is_dir() else _in_archive(location)
    for subset, class_name, file_name, content in members:
        text = decode_utf8(content, f"{location}: {subset}/{class_name}/{file_name}")
        # As Python reads a text file, and so the book.
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        found[subset, class_name][file_name] = text
    labels: list[int] = []
    texts: list[str] = []
    for subset, class_name in _ORDER:
        own = found[subset, class_name]
        if not own:
            raise ValueError(f"{location} has no reviews in {FOLDER}/{subset}/{class_name}")
        texts += [own[name] for name in sorted(own)]
        labels += [CLASS_NAMES.index(class_name)] * len(own)
    return pd.DataFrame({SPLIT_LABEL: labels, SPLIT_TEXT: texts})


def _in_folder(folder: Path) -> Iterator[tuple[str, str, str, bytes]]:
    """Yields subset, class, file name and content of each review."""
    for subset, class_name in _ORDER:
        for file in (folder / subset / class_name).glob("*.txt"):
            yield subset, class_name, file.name, read_bytes(file, MAX_REVIEW)


def _in_archive(archive: Path) -> Iterator[tuple[str, str, str, bytes]]:
    """Yields subset, class, file name and content of each review."""
    try:
        with _LimitedGzip(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as source:
            for member in source:
                if not (_REVIEW.fullmatch(member.name) and member.isreg()):
                    # Refuses links, devices, absolute paths and those that lead out of the folder.
                    tarfile.data_filter(member, str(archive.parent))
                    continue
                _, subset, class_name, file_name = PurePosixPath(member.name).parts
                content = source.extractfile(member)
                if class_name in CLASS_NAMES and content is not None:
                    if member.size > MAX_REVIEW:
                        raise _TooLarge(f"{archive}: {member.name} has {member.size:,} bytes")
                    yield subset, class_name, file_name, content.read()
            while stream.read(_CHUNK_BYTES):
                pass  # to its end, where gzip compares checksums
    except _TooLarge:
        raise
    except tarfile.FilterError as error:
        raise ValueError(f"{archive} is not safe to read: {error}") from error
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        raise ValueError(
            f"{archive} is damaged or not a .tar.gz archive ({error}): delete it and download it "
            f"again"
        ) from error


class _TooLarge(ValueError):
    """The archive holds more than reviews can."""


class _LimitedGzip(gzip.GzipFile):
    """Stops unpacking what would not end."""

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(size)
        if self.tell() > MAX_BYTES:
            raise _TooLarge(f"{self.name} holds more than {MAX_BYTES:,} bytes when unpacked")
        return content


def find_reviews(path: Path) -> Path:
    """Finds the archive, or the folder ``aclImdb``.

    Args:
        path: either of them, or a folder with either.

    Raises:
        ValueError: if there is none.
    """
    if path.is_file():
        return existing_file(str(path), "data.path")
    for folder in (path, path / FOLDER):
        if (folder / "train").is_dir() or (folder / "test").is_dir():
            return folder
    if (path / ARCHIVE).is_file():
        return existing_file(str(path / ARCHIVE), "data.path")
    if path.is_dir():
        raise ValueError(f"data.path: {path} contains neither {ARCHIVE} nor the folder {FOLDER}")
    raise ValueError(f"data.path must be an existing file or folder, got {path}")


def download_reviews(folder: Path, urls: Sequence[str]) -> Path:
    """Returns the archive in ``folder``, verified on each use, downloading it if necessary.

    Args:
        folder: where the archive is kept.
        urls: mirrors of the archive, best first.

    Raises:
        Unavailable: if no mirror delivers the published archive.
    """
    return download.fetch(
        "the IMDb reviews",
        urls,
        folder / ARCHIVE,
        known_hash=SHA256,
        advice=(
            f"connect once so that they are cached, or get {ARCHIVE} by other means and pass "
            f"data.path=<archive or folder>; data=table takes other labelled texts"
        ),
    )
