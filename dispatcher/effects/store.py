"""Stores files in a folder or in S3-compatible storage. A file is stored completely or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol
from urllib.request import url2pathname

from dispatcher.effects.extras import extra
from dispatcher.effects.rehearsal import Rehearsal, present
from dispatcher.plugins.daemon_threads import in_thread
from dispatcher.plugins.errors import GiveUp
from midjourney.file_names import LONGEST_BYTES, segment

MOST_OF_AN_ID = 60
"""The most bytes of an upstream's name, and of a task's id, in the name of a file that a template names."""

_LONGEST_PART, _LONGEST_PATH = 255, 3000
"""Bytes of a folder's name, and of a whole path, so that the names of files find room."""

_UNSAFE = re.compile(r"[^\w.-]+")


class StoreError(Exception):
    """The file could not be stored; trying again may help."""


class Store(Protocol):
    """A destination of files."""

    async def put(self, name: str, data: bytes) -> None:
        """Store a file, replacing any file with that name. Raises `StoreError`."""

    @property
    def scratch(self) -> Path:
        """A folder for a file that is being made, for `put_file`."""

    async def put_file(self, name: str, file: Path) -> None:
        """Store a file that was made in `scratch`, replacing any file with that name; it may be moved. Raises `StoreError`."""

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
    folder = _folder(to)
    if "\0" in to:
        raise _unusable(to, "it has a NUL character")
    if folder is None:
        _Bucket(to)
        return
    if len(os.fsencode(folder)) > _LONGEST_PATH or any(
        len(os.fsencode(part)) > _LONGEST_PART for part in folder.parts
    ):
        raise _unusable(to, "the name is too long")


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

    @property
    def scratch(self) -> Path:
        """See `Store`."""
        return Path(tempfile.gettempdir())

    async def put_file(self, name: str, file: Path) -> None:
        """See `Store`."""
        self._rehearsal.kept(self._to, name, await in_thread(file.read_bytes))

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
            await in_thread(lambda: _write(self._folder, name, data))
        except OSError as error:
            raise StoreError(f"{name} could not be stored in {self._folder}: {error}") from error

    @property
    def scratch(self) -> Path:
        """See `Store`. The folder itself: a file is moved only within a disk."""
        return self._folder

    async def put_file(self, name: str, file: Path) -> None:
        """See `Store`."""
        try:
            await in_thread(lambda: _move(self._folder, file, name))
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


def _write(root: Path, name: str, data: bytes) -> None:
    """Write a file that appears under its name only once it is completely on disk, and that survives a power cut."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    unfinished = (root / name).with_name(f".{secrets.token_hex(8)}.part")
    try:
        unfinished.write_bytes(data)
        _move(root, unfinished, name)
    finally:
        unfinished.unlink(missing_ok=True)


def _move(root: Path, unfinished: Path, name: str) -> None:
    """Give a file of this disk its name, once all of it is on the disk."""
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    with unfinished.open("rb+") as opened:
        os.fsync(opened.fileno())
    unfinished.replace(file)
    for folder in file.parents:  # each may be a new entry in the one above it
        _sync(folder)
        if folder == root:
            break


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
        await self._send(name, data)

    @property
    def scratch(self) -> Path:
        """See `Store`."""
        return Path(tempfile.gettempdir())

    async def put_file(self, name: str, file: Path) -> None:
        """See `Store`. The file is sent in parts, which appear under its name together."""
        await self._send(name, file)

    async def _send(self, name: str, content: bytes | Path) -> None:
        try:
            await self._put(self._store, name, content)
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
    return GiveUp(
        f"hookchain cannot store files in {to[:80]!r}: {why}; write a folder, or s3://bucket/prefix"
    )


def file_name(*parts: str) -> str:
    """Join parts to a path that stays inside the store, whatever the fields of a task contain.

    A part that had to be changed gets a digest as its end: "a/b" and "a_b" are two tasks with two pictures.
    """
    return "/".join(map(_safe, parts))


def named(path: Sequence[str], *, upstream: str, task_id: str) -> str:
    """Join the filled-in parts of a path to one that stays inside the store: folders, and last the beginning of the file's name ("" for
    none), to which upstream and task id are added. So two tasks never have the same name, and one task always has the same.
    """
    *folders, beginning = path
    # Neither part has a "." then: where the beginning ends is certain, whatever it contains.
    tail = ".".join(_without_dots(part) for part in (upstream, task_id))
    room = LONGEST_BYTES - len(tail.encode())
    name = f"{segment(beginning, longest_bytes=room)}.{tail}" if beginning else tail
    return "/".join([*map(segment, folders), name])


def _safe(part: str) -> str:
    safe = _UNSAFE.sub("_", part).strip("._")[:100]
    return part if safe and safe == part else _digested(safe, part)


def _without_dots(part: str) -> str:
    safe = _safe(part)
    if safe == part and "." not in part and len(part.encode()) <= MOST_OF_AN_ID:
        return part
    return _digested(segment(safe.replace(".", "_"), longest_bytes=MOST_OF_AN_ID - 13), part)


def _digested(safe: str, part: str) -> str:
    digest = hashlib.sha256(part.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{safe[:80] or 'none'}-{digest}"
