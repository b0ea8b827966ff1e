"""Votes in an SQLite file, which any number of processes may read and write.

A vote keeps digests of the two responses it is about: it counts only as long as both are what the
runs say.
"""

import csv
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

CHOICES = ("left", "right", "tie", "both_bad")
"""Which response is better; a tie of good ones; neither is any good."""

_VERSION = 1
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS votes (
    id INTEGER PRIMARY KEY,
    item TEXT NOT NULL,
    left_run TEXT NOT NULL,
    right_run TEXT NOT NULL,
    left_digest TEXT NOT NULL,
    right_digest TEXT NOT NULL,
    choice TEXT NOT NULL CHECK (choice IN {CHOICES}),
    voter TEXT NOT NULL,
    voted_at TEXT NOT NULL
);
PRAGMA user_version = {_VERSION};
COMMIT;
"""
# In one statement: another process may be making the table.
_STATE = (
    "SELECT (SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_master)"
)


@dataclass(frozen=True)
class Vote:
    """One person's choice between two responses to one task."""

    item: str
    """Digest of the task and its reference."""
    left_run: str
    right_run: str
    left_digest: str
    """Of the response that was shown on the left."""
    right_digest: str
    choice: str
    """One of ``CHOICES``."""
    voter: str
    voted_at: str
    """In UTC, ISO 8601."""

    def __post_init__(self) -> None:
        """Checks the choice."""
        if self.choice not in CHOICES:
            raise ValueError(f"choice must be one of {', '.join(CHOICES)}, got {self.choice!r}")
        if self.left_run == self.right_run:
            raise ValueError(f"a vote is between two runs, got {self.left_run!r} twice")


_COLUMNS = tuple(field.name for field in fields(Vote))


def digest(*texts: str) -> str:
    """Returns a short digest of texts, different for other texts or another division of them."""
    whole = hashlib.sha256()
    for text in texts:
        content = text.encode("utf-8", errors="surrogatepass")
        whole.update(f"{len(content)}:".encode() + content)
    return whole.hexdigest()[:16]


def now() -> str:
    """Returns the time for a vote."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_votes(database: Path) -> list[Vote]:
    """Returns all votes in the order in which they were cast; none if there is no file yet.

    Raises:
        ValueError: if the file is something else.
    """
    if not database.exists():
        return []
    with _connected(database) as connection:
        rows = connection.execute(f"SELECT {', '.join(_COLUMNS)} FROM votes ORDER BY id")
        return [Vote(*row) for row in rows]


def add_votes(database: Path, votes: Iterable[Vote]) -> int:
    """Adds votes, all of them or none; those that are there already are left alone.

    Returns:
        How many were added.

    Raises:
        ValueError: if the file is something else.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    marks = ", ".join("?" * len(_COLUMNS))
    same = " AND ".join(f"{column} = ?" for column in _COLUMNS)
    added = 0
    with _connected(database) as connection, connection:
        for vote in votes:
            values = tuple(asdict(vote).values())
            cursor = connection.execute(
                f"INSERT INTO votes ({', '.join(_COLUMNS)}) SELECT {marks} "
                f"WHERE NOT EXISTS (SELECT 1 FROM votes WHERE {same})",
                values + values,
            )
            added += cursor.rowcount
    return added


def write_csv(file: Path, votes: Iterable[Vote]) -> None:
    """Writes votes as CSV, for :func:`read_csv` and other programs."""
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(vote) for vote in votes)


def read_csv(file: Path) -> list[Vote]:
    """Reads votes that :func:`write_csv` wrote.

    Raises:
        ValueError: naming the file and the row that is wrong.
    """
    with file.open(encoding="utf-8-sig", newline="") as given:
        reader = csv.DictReader(given)
        if missing := set(_COLUMNS) - set(reader.fieldnames or []):
            raise ValueError(f"{file} has no column {', '.join(sorted(missing))}")
        votes = []
        for number, row in enumerate(reader, start=1):
            try:
                votes.append(Vote(**{column: str(row[column] or "") for column in _COLUMNS}))
            except ValueError as error:
                raise ValueError(f"{file}, row {number}: {error}") from error
    return votes


@contextmanager
def _connected(database: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(database, timeout=10)) as connection:
            version, tables = connection.execute(_STATE).fetchone()
            if version != _VERSION and tables:
                raise ValueError(f"{database} is a database of something else, not of votes")
            if version != _VERSION:
                connection.executescript(_SCHEMA)
            yield connection
    except sqlite3.Error as error:
        raise ValueError(f"{database} cannot be used for votes: {error}") from error
