"""Recognises zip archives, and extracts one file from one that may be damaged or malicious."""

import os
import secrets
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

_CHUNK_BYTES = 1 << 16
_NAMES_SHOWN = 10


def is_zip(file: Path) -> bool:
    """Returns whether a file is a zip archive.

    Raises:
        ValueError: if its end is that of an archive, but says what cannot be.
    """
    try:
        return zipfile.is_zipfile(file)
    except Exception as error:  # of a crafted end, BadZipFile or what its numbers lead to
        raise _damaged(file, error) from error


def extract_member(archive: Path, member: str, destination: Path, max_bytes: int = 1 << 30) -> Path:
    """Writes one member of a zip archive to ``destination``, whatever path the archive gives it.

    Args:
        archive: the zip file.
        member: exact name of the member inside it.
        destination: path to write; an existing file is replaced atomically.
        max_bytes: largest size to accept, declared or actual, in bytes.

    Returns:
        ``destination``.

    Raises:
        ValueError: the archive is damaged or lacks the member, or the member is encrypted, too
            large, or not a regular file.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    part = destination.with_name(f"{destination.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as target:
            target.writelines(_member_chunks(archive, member, max_bytes))
        os.replace(part, destination)
    finally:
        part.unlink(missing_ok=True)
    return destination


class _MemberRejected(ValueError):
    """The archive is sound, but the member is missing or must not be written."""


def _member_chunks(archive: Path, member: str, max_bytes: int) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(archive) as source:
            info = _checked_member(source, archive, member, max_bytes)
            size = 0
            with source.open(info) as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    size += len(chunk)
                    # zipfile stops at the declared size, but its documentation does not promise it.
                    if size > max_bytes:
                        raise _MemberRejected(
                            f"{archive}: {member} is larger than {max_bytes:,} bytes"
                        )
                    yield chunk
    except (_MemberRejected, FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # damage surfaces as anything from BadZipFile to OSError
        raise _damaged(archive, error) from error


def _damaged(archive: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{archive} is damaged or not a zip archive ({error}): delete it and download it again"
    )


def _checked_member(
    source: zipfile.ZipFile, archive: Path, member: str, max_bytes: int
) -> zipfile.ZipInfo:
    try:
        info = source.getinfo(member)
    except KeyError as error:
        names = source.namelist()
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        shown = ", ".join(names[:_NAMES_SHOWN]) or "nothing"
        raise _MemberRejected(
            f"{archive} has no member {member}; it contains {shown}{more}"
        ) from error
    if info.flag_bits & 0x1:
        raise _MemberRejected(f"{archive}: {member} is encrypted")
    # The upper half of the external attributes is the Unix mode, 0 if made on another system.
    kind = stat.S_IFMT(info.external_attr >> 16)
    if info.is_dir() or kind not in (0, stat.S_IFREG):
        raise _MemberRejected(f"{archive}: {member} is not a regular file")
    if info.file_size > max_bytes:
        raise _MemberRejected(
            f"{archive}: {member} declares {info.file_size:,} bytes, more than {max_bytes:,}"
        )
    return info
