"""A folder, or S3-compatible storage, to keep files in. Each file is there whole, or not at all."""

from __future__ import annotations

import re
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from dispatcher.errors import GiveUp

_UNSAFE = re.compile(r"[^\w.-]+")


class StoreError(Exception):
    """The file could not be kept; trying again may help."""


class Store:
    """`to` is a folder ("pictures", "/srv/pictures", "file:///…") or "s3://bucket/prefix".

    S3 takes its keys, region and AWS_ENDPOINT from the environment, as obstore reads them (AWS_ACCESS_KEY_ID …).
    Raises `GiveUp` for a place that cannot be.
    """

    def __init__(self, to: str) -> None:
        self.to = to
        try:
            if "://" in to:
                self._store = from_url(to, client_options={"allow_http": True})
            else:
                Path(to).mkdir(parents=True, exist_ok=True)
                self._store = from_url(Path(to).resolve().as_uri())
        except (BaseError, OSError, ValueError) as error:
            raise GiveUp(
                f"nothing can be kept in {to!r}: {error}; write a folder, or s3://bucket/prefix"
            ) from error

    async def put(self, name: str, data: bytes) -> None:
        """Keep a file; one of the same name is replaced. Raises `StoreError`."""
        try:
            await obstore.put_async(self._store, name, data)
        except (BaseError, OSError) as error:
            raise StoreError(f"{name} could not be kept in {self.to}: {error}") from error


def file_name(*parts: str) -> str:
    """A path of parts in which nothing leads elsewhere, whatever a task's fields say."""
    safe = [_UNSAFE.sub("_", part).strip("._") or "none" for part in parts]
    return "/".join(part[:100] for part in safe)
