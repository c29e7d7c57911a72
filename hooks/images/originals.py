"""Finds the original pictures of tasks: those that are kept here, or else at their address, for which the upstream gives a new one
once it has expired.

Discord signs an address for at most a day, and only the upstream can give a new one. Such a request costs no money, but the
upstream's goodwill: it is made at most once a minute for each task, and the new address is remembered until it expires.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Protocol

import msgspec
import structlog

from dispatcher.effects.archive import LARGEST_BYTES
from dispatcher.effects.expiring_links import SOON_MS, expires_at_ms
from dispatcher.effects.store import StoreError
from dispatcher.plugins.chain import UpstreamHandle
from hooks.images.flights import Flights
from midjourney.errors import ProtocolError
from midjourney.image_data import BadImage, Image, image_of_bytes
from midjourney.loading import TIMEOUT_S, NotServed, fetch_image
from storage.clock import now_ms
from storage.errors import StorageError

log = structlog.get_logger("hookchain")

REFRESH_WITHIN_S = 10.0
"""How long the upstream may take to give a new address, including the wait for the rate limit."""

REFRESH_AGAIN_MS = 60_000
"""Least time between two requests for the address of one task."""

MOST_REMEMBERED = 4096
"""Tasks whose new address is remembered, 1 kB each. After this many requests within a minute, no further ones are made."""


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """The picture of a task, at the address in the task's newest payload."""

    upstream: str
    task_id: str
    address: str

    @property
    def task(self) -> tuple[str, str]:
        """The task, as upstream and task id."""
        return self.upstream, self.task_id


class Kept(Protocol):
    """Pictures that are kept here."""

    async def get(self, upstream: str, task_id: str) -> bytes | None:
        """The original picture of a task, or None. Raises `StoreError`."""
        ...


class _Refreshed(msgspec.Struct, frozen=True, kw_only=True):
    """The new address that an upstream gave for an expired one; "" if it gave none."""

    replaces: str
    address: str
    requested_at_ms: int


class Originals:
    """Finds original pictures. `places` are the upstreams by name; those with `refresh` can give a new address. `kept`: where pictures
    are kept, if anywhere. `clock` returns epoch milliseconds."""

    def __init__(
        self,
        places: Mapping[str, UpstreamHandle],
        *,
        kept: Kept | None = None,
        timeout_s: float = TIMEOUT_S,
        refresh_within_s: float = REFRESH_WITHIN_S,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._places = places
        self._kept = kept
        self._timeout_s = timeout_s
        self._refresh_within_s = refresh_within_s
        self._clock = clock
        self._refreshed: dict[tuple[str, str], _Refreshed] = {}
        self._refreshes: Flights[str] = Flights(
            concurrent=4, queued=60, waiters=64, queue_timeout_s=refresh_within_s
        )

    async def fetch(self, picture: Picture) -> Image:
        """Return the picture, always within the time-out. Raises `BadImage` as `fetch_image` does, and `Busy`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._fetch(picture)
        except TimeoutError as error:
            raise BadImage(
                f"the picture of {picture.task_id} did not arrive within {self._timeout_s:g} s"
            ) from error

    async def aclose(self) -> None:
        """Cancel the requests for new addresses."""
        await self._refreshes.aclose()

    async def _fetch(self, picture: Picture) -> Image:
        if (data := await self._data_of(picture)) is not None:
            return image_of_bytes(data, what="the kept picture")
        address = self._address_of(picture)
        expires_ms = expires_at_ms(address)
        if expires_ms is not None and expires_ms < self._clock() + SOON_MS:
            address = await self._refresh(picture) or address
        try:
            return await self._load(picture, address)
        except NotServed as error:
            if not error.is_gone:
                raise
            fresh = await self._refresh(picture)
            if not fresh or fresh == address:
                raise
        return await self._load(picture, fresh)

    async def _data_of(self, picture: Picture) -> bytes | None:
        """Return the picture that is kept here, or None."""
        if self._kept is None:
            return None
        try:
            return await self._kept.get(*picture.task)
        except StoreError as error:
            log.warning("a kept picture could not be read", task=picture.task_id, why=str(error))
            return None

    async def _load(self, picture: Picture, address: str) -> Image:
        place = self._places.get(picture.upstream)
        # An upstream that is no longer configured has no private addresses of its own.
        if place is None:
            return await fetch_image(address, largest=LARGEST_BYTES)
        return await fetch_image(address, largest=LARGEST_BYTES, may_be_private=place.near.may_be_private)

    def _address_of(self, picture: Picture) -> str:
        """Return the remembered new address, unless a newer payload has another one; else the picture's own address."""
        known = self._refreshed.get(picture.task)
        return (
            known.address
            if known is not None and known.address and known.replaces == picture.address
            else picture.address
        )

    async def _refresh(self, picture: Picture) -> str:
        """Return the present address; "" if the upstream does not give it, or was asked a moment ago. Simultaneous callers share
        one request."""
        return await self._refreshes.join(picture.task, partial(self._refresh_once, picture))

    async def _refresh_once(self, picture: Picture) -> str:
        at_ms, known = self._clock(), self._refreshed.get(picture.task)
        if known is not None and 0 <= at_ms - known.requested_at_ms < REFRESH_AGAIN_MS:
            return known.address if known.replaces == picture.address else ""
        place = self._places.get(picture.upstream)
        if place is None or place.refresh is None or not self._has_room(at_ms):
            return ""
        address = await self._request_address(place.refresh, picture)
        # Moves the entry to the end: the dict is ordered by age.
        self._refreshed.pop(picture.task, None)
        self._refreshed[picture.task] = _Refreshed(
            replaces=picture.address, address=address, requested_at_ms=at_ms
        )
        return address

    def _has_room(self, at_ms: int) -> bool:
        if len(self._refreshed) < MOST_REMEMBERED:
            return True
        oldest = next(iter(self._refreshed))
        if 0 <= at_ms - self._refreshed[oldest].requested_at_ms < REFRESH_AGAIN_MS:
            return False
        del self._refreshed[oldest]
        return True

    async def _request_address(self, refresh: Callable[[str], Awaitable[str]], picture: Picture) -> str:
        try:
            async with asyncio.timeout(self._refresh_within_s):
                return await refresh(picture.task_id)
        except (ProtocolError, StorageError, TimeoutError) as error:
            why = str(error) or type(error).__name__
            log.info("the upstream gave no new address for a picture", task=picture.task_id, why=why)
            return ""
