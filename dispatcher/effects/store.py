"""Stores files in a folder or in S3-compatible storage. A file is stored completely or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
from pathlib import Path
from typing import Protocol
from urllib.request import url2pathname

from dispatcher.effects.extras import extra
from dispatcher.effects.rehearsal import Rehearsal, present
from dispatcher.plugins.daemon_threads import in_thread
from dispatcher.plugins.errors import GiveUp

_UNSAFE = re.compile(r"[^\w.-]+")


class StoreError(Exception):
    """The file could not be stored; trying again may help."""


class Store(Protocol):
    """A destination of files."""

    async def put(self, name: str, data: bytes) -> None:
        """Store a file, replacing any file with that name. Raises `StoreError`."""

    async def get(self, name: str) -> bytes | None:
        """The content of a file, or None if there is none. Raises `StoreError`."""


def store_at(to: str) -> Store:
    """The store at `to`: a folder ("pictures", "/srv/pictures", "file:///…"), which is created, or "s3://bucket/prefix".

    Raises `GiveUp` for an invalid destination, and for a bucket without the extra "s3".
    """
    if (rehearsal := present()) is not None:
        check_destination(to)
        return _Rehearsed(rehearsal, to)
    folder = _folder(to)
    if folder is None:
        return _Bucket(to)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise _unusable(to, error) from error
    return _Folder(folder)


def check_destination(to: str) -> None:
    """Raise `GiveUp` for an invalid destination, as far as that can be checked without accessing it."""
    if _folder(to) is None:
        _Bucket(to)


def _folder(to: str) -> Path | None:
    """The folder that `to` names; None for any other kind of URL."""
    scheme, separator, rest = to.partition("://")
    if not separator:
        return Path(to)
    if scheme.lower() != "file":
        return None
    host, _, path = rest.partition("/")
    if host not in ("", "localhost"):
        raise _unusable(
            to, f"{host} would be the name of another machine (a folder of this one begins with file:///)"
        )
    return Path(url2pathname(f"/{path}"))


class _Rehearsed:
    """A store of a rehearsal."""

    def __init__(self, rehearsal: Rehearsal, to: str) -> None:
        self._rehearsal, self._to = rehearsal, to

    async def put(self, name: str, data: bytes) -> None:
        """See `Store`."""
        self._rehearsal.kept(self._to, name, data)

    async def get(self, name: str) -> bytes | None:
        """See `Store`."""
        return None


class _Folder:
    """A folder on this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    async def put(self, name: str, data: bytes) -> None:
        """See `Store`."""
        try:
            await in_thread(lambda: _write(self._folder / name, data))
        except OSError as error:
            raise StoreError(f"{name} could not be stored in {self._folder}: {error}") from error

    async def get(self, name: str) -> bytes | None:
        """See `Store`."""
        try:
            return await in_thread((self._folder / name).read_bytes)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{name} could not be read from {self._folder}: {error}") from error


def _write(file: Path, data: bytes) -> None:
    """Write a file that appears under its name only once it is completely on disk, and that survives a power cut."""
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
    # The folders of the chain, the upstream and the store: each may be a new entry in the next.
    for folder in file.parents[:3]:
        _sync(folder)


_NOT_FOR_FOLDERS = (errno.EACCES, errno.EISDIR, errno.EBADF, errno.EINVAL, errno.ENOTSUP)
"""Errors from Windows and some network file systems when a folder is synced. PostgreSQL ignores them too."""


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
    """S3-compatible storage, through obstore, which reads keys, region and AWS_ENDPOINT from the environment."""

    def __init__(self, to: str) -> None:
        with extra("s3"):
            import obstore
            from obstore.exceptions import BaseError, NotFoundError
            from obstore.store import from_url
        self._to, self._put, self._get, self._error = to, obstore.put_async, obstore.get_async, BaseError
        self._missing = NotFoundError
        try:
            self._store = from_url(to, client_options={"allow_http": True})
        except (BaseError, OSError, ValueError) as error:
            raise _unusable(to, str(error).partition("\n")[0]) from error

    async def put(self, name: str, data: bytes) -> None:
        """See `Store`."""
        try:
            await self._put(self._store, name, data)
        except (self._error, OSError) as error:
            raise StoreError(f"{name} could not be stored in {self._to}: {error}") from error

    async def get(self, name: str) -> bytes | None:
        """See `Store`."""
        try:
            found = await self._get(self._store, name)
            return bytes(await found.bytes_async())
        except (FileNotFoundError, self._missing):
            return None
        except (self._error, OSError) as error:
            raise StoreError(f"{name} could not be read from {self._to}: {error}") from error


def _unusable(to: str, why: object) -> GiveUp:
    return GiveUp(f"hookchain cannot store files in {to!r}: {why}; write a folder, or s3://bucket/prefix")


def file_name(*parts: str) -> str:
    """Join parts to a path that stays inside the store, whatever the fields of a task contain.

    A part that had to be changed gets a digest as its end: "a/b" and "a_b" are two tasks with two pictures.
    """
    return "/".join(map(_safe, parts))


def _safe(part: str) -> str:
    safe = _UNSAFE.sub("_", part).strip("._")[:100]
    if safe and safe == part:
        return part
    digest = hashlib.sha256(part.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{safe[:80] or 'none'}-{digest}"
