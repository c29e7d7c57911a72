"""A folder, or S3-compatible storage, to keep files in. Each file is there whole, or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
from pathlib import Path
from typing import Protocol
from urllib.request import url2pathname

from dispatcher.effects.extras import extra
from dispatcher.errors import GiveUp
from dispatcher.supervisor import in_thread

_UNSAFE = re.compile(r"[^\w.-]+")


class StoreError(Exception):
    """The file could not be kept; trying again may help."""


class Store(Protocol):
    """Where files are kept."""

    async def put(self, name: str, data: bytes) -> None:
        """Keep a file; one of the same name is replaced. Raises `StoreError`."""


def store_at(to: str) -> Store:
    """The store at `to`: a folder ("pictures", "/srv/pictures", "file:///…"), which is made, or "s3://bucket/prefix".

    Raises `GiveUp` for a place that cannot be, and for a bucket without the extra "s3".
    """
    folder = _folder(to)
    if folder is None:
        return _Bucket(to)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise _unusable(to, error) from error
    return _Folder(folder)


def check_place(to: str) -> None:
    """Raise `GiveUp` for a place that cannot be, as far as that shows without touching it."""
    if _folder(to) is None:
        _Bucket(to)


def _folder(to: str) -> Path | None:
    """The folder that `to` names; None for an address of anything else."""
    scheme, separator, rest = to.partition("://")
    if not separator:
        return Path(to)
    if scheme.lower() != "file":
        return None
    host, _, path = rest.partition("/")
    if host not in ("", "localhost"):
        raise _unusable(to, f"{host} is taken for another machine; three slashes begin a folder of this one")
    return Path(url2pathname(f"/{path}"))


class _Folder:
    """A folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    async def put(self, name: str, data: bytes) -> None:
        """As `Store` says."""
        try:
            await in_thread(lambda: _write(self._folder / name, data))
        except OSError as error:
            raise StoreError(f"{name} could not be kept in {self._folder}: {error}") from error


def _write(file: Path, data: bytes) -> None:
    """The file appears under its name once the disk has all of it, and the folder's entry survives a power cut."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with unfinished.open("xb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
    for folder in file.parents[
        :3
    ]:  # the chain's, the upstream's, and the store's: each may be a new entry of the next
        _sync(folder)


_NOT_FOR_FOLDERS = (errno.EACCES, errno.EISDIR, errno.EBADF, errno.EINVAL, errno.ENOTSUP)
"""What Windows and some network file systems answer to a program that syncs a folder. PostgreSQL ignores such errors too."""


def _sync(folder: Path) -> None:
    try:
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
    except OSError as error:
        if error.errno not in _NOT_FOR_FOLDERS:
            raise


class _Bucket:
    """S3-compatible storage, by obstore, which reads keys, region and AWS_ENDPOINT from the environment."""

    def __init__(self, to: str) -> None:
        with extra("s3"):
            import obstore
            from obstore.exceptions import BaseError
            from obstore.store import from_url
        self._to, self._put, self._error = to, obstore.put_async, BaseError
        try:
            self._store = from_url(to, client_options={"allow_http": True})
        except (BaseError, OSError, ValueError) as error:
            raise _unusable(to, str(error).partition("\n")[0]) from error

    async def put(self, name: str, data: bytes) -> None:
        """As `Store` says."""
        try:
            await self._put(self._store, name, data)
        except (self._error, OSError) as error:
            raise StoreError(f"{name} could not be kept in {self._to}: {error}") from error


def _unusable(to: str, why: object) -> GiveUp:
    return GiveUp(f"nothing can be kept in {to!r}: {why}; write a folder, or s3://bucket/prefix")


def file_name(*parts: str) -> str:
    """A path of parts in which nothing leads elsewhere, whatever a task's fields say."""
    safe = [_UNSAFE.sub("_", part).strip("._") or "none" for part in parts]
    return "/".join(part[:100] for part in safe)
