"""Pictures of tasks from where they lie, asked for anew where their address has ended.

Discord signs an address for a day at most, and only the upstream knows the next one. Asking costs nothing but its
patience: a task is asked about once a minute at most, and what is told is remembered until it ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import msgspec
import structlog

from dispatcher.chain import Place
from dispatcher.effects.archive import LARGEST_BYTES, SOON_MS, expires_at_ms
from hooks.images.flights import Flights
from midjourney.errors import ProtocolError
from midjourney.image_data import BadImage, Image
from midjourney.loading import TIMEOUT_S, NotServed, fetch_image
from storage.errors import StorageError

log = structlog.get_logger("hookchain")

REFRESH_WITHIN_S = 10.0
"""How long the upstream may take to tell an address, its turn within the rate included."""

ASK_AGAIN_MS = 60_000
"""Between two questions about one task."""

MOST_TOLD = 4096
"""Tasks that are remembered, 1 kB each. Where so many were asked about within a minute, no more are."""


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """The picture of a task, at the address that the newest payload of it gives."""

    upstream: str
    task_id: str
    address: str

    @property
    def task(self) -> tuple[str, str]:
        """Whose it is: upstream and task id."""
        return self.upstream, self.task_id


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """What an upstream told in the place of an address; "" where it told nothing."""

    instead_of: str
    address: str
    asked_at_ms: int


def now_ms() -> int:
    """The time, as epoch milliseconds."""
    return time.time_ns() // 1_000_000


class Originals:
    """`places` are the upstreams by name; those with `refresh` are asked. `clock` gives epoch milliseconds."""

    def __init__(
        self,
        places: Mapping[str, Place],
        *,
        timeout_s: float = TIMEOUT_S,
        refresh_within_s: float = REFRESH_WITHIN_S,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._places = places
        self._timeout_s = timeout_s
        self._refresh_within_s = refresh_within_s
        self._clock = clock
        self._told: dict[tuple[str, str], _Told] = {}
        self._questions: Flights[str] = Flights(at_once=4, in_line=60, askers=64, patience_s=refresh_within_s)

    async def fetch(self, picture: Picture) -> Image:
        """The picture, within the time-out whatever happens. Raises `BadImage` as `fetch_image` does, and `Busy`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._fetch(picture)
        except TimeoutError as error:
            raise BadImage(
                f"the picture of {picture.task_id} did not come within {self._timeout_s:g} s"
            ) from error

    async def aclose(self) -> None:
        """End the questions that are under way."""
        await self._questions.aclose()

    async def _fetch(self, picture: Picture) -> Image:
        address = self._known(picture)
        expires_ms = expires_at_ms(address)
        if expires_ms is not None and expires_ms < self._clock() + SOON_MS:
            address = await self._ask(picture) or address
        try:
            return await self._load(picture, address)
        except NotServed as error:
            if not error.is_gone:
                raise
            fresh = await self._ask(picture)
            if not fresh or fresh == address:
                raise
        return await self._load(picture, fresh)

    async def _load(self, picture: Picture, address: str) -> Image:
        place = self._places.get(picture.upstream)
        if place is None:  # no longer in the configuration: nothing is its own any more
            return await fetch_image(address, largest=LARGEST_BYTES)
        return await fetch_image(address, largest=LARGEST_BYTES, is_own=place.is_own)

    def _known(self, picture: Picture) -> str:
        """The address that was told in the place of the picture's, until a newer payload brings another."""
        told = self._told.get(picture.task)
        return (
            told.address
            if told is not None and told.address and told.instead_of == picture.address
            else picture.address
        )

    async def _ask(self, picture: Picture) -> str:
        """The present address; "" where it is not told, or was asked for a moment ago. Those who ask together wait
        for one answer."""
        return await self._questions.join(picture.task, partial(self._ask_once, picture))

    async def _ask_once(self, picture: Picture) -> str:
        at_ms, told = self._clock(), self._told.get(picture.task)
        if told is not None and at_ms < told.asked_at_ms + ASK_AGAIN_MS:
            return told.address if told.instead_of == picture.address else ""
        place = self._places.get(picture.upstream)
        if place is None or place.refresh is None or not self._has_room(at_ms):
            return ""
        address = await self._answer(place.refresh, picture)
        self._told.pop(picture.task, None)  # to the end of the line: the oldest stands first
        self._told[picture.task] = _Told(instead_of=picture.address, address=address, asked_at_ms=at_ms)
        return address

    def _has_room(self, at_ms: int) -> bool:
        if len(self._told) < MOST_TOLD:
            return True
        oldest = next(iter(self._told))
        if at_ms < self._told[oldest].asked_at_ms + ASK_AGAIN_MS:
            return False
        del self._told[oldest]
        return True

    async def _answer(self, refresh: Callable[[str], Awaitable[str]], picture: Picture) -> str:
        try:
            async with asyncio.timeout(self._refresh_within_s):
                return await refresh(picture.task_id)
        except (ProtocolError, StorageError, TimeoutError) as error:
            why = str(error) or type(error).__name__
            log.info("the upstream did not tell where a picture is now", task=picture.task_id, why=why)
            return ""
