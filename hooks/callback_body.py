"""Reads a callback's body within limits of size and time. A refusal carries the body's beginning, which may hold the task's id.

hooks/ingest.py then counts the refusal, and has the upstream polled for the task.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hooks.intake import Reservation
from hooks.problems import Refused
from midjourney.peek import PEEK_BYTES

if TYPE_CHECKING:
    from starlette.types import Receive

BODY_WITHIN_S = 10.0
"""Seconds for a body to arrive completely. Senders write theirs at once; one that sends a byte a second only takes up room."""


async def read_body(
    receive: Receive,
    reservation: Reservation,
    *,
    declared_bytes: int,
    limit_bytes: int,
    within_s: float,
    arrived: bytes | None = None,
) -> bytes:
    """Return the whole body, which is `arrived` if it has arrived already. Raises `Refused`."""
    most = limit_bytes if declared_bytes <= limit_bytes else min(PEEK_BYTES, limit_bytes)
    parts: list[bytes] = []
    if arrived is not None:
        is_whole = _fits(arrived, reservation, parts, most)
    else:
        try:
            async with asyncio.timeout(within_s):
                is_whole = await _read(receive, reservation, parts, most)
        except TimeoutError as error:
            problem = f"The body did not arrive completely within {within_s:g} s"
            raise _incomplete(408, problem, parts) from error
    if not is_whole or declared_bytes > limit_bytes:
        raise _too_large(declared_bytes, limit_bytes, parts)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _read(receive: Receive, reservation: Reservation, parts: list[bytes], most: int) -> bool:
    """Append what arrives to `parts`; return False as soon as it exceeds `most` bytes. Raises `Refused`."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _incomplete(400, "The sender closed the connection before its body was complete", parts)
        if not _fits(message.get("body", b""), reservation, parts, most):
            return False
        if not message.get("more_body", False):
            return True


def _fits(part: bytes, reservation: Reservation, parts: list[bytes], most: int) -> bool:
    """Append a part to `parts`; return False if it exceeds `most` bytes. Raises `Refused`."""
    fits = reservation.size + len(part) <= most
    if fits:
        reservation.add(len(part))
    parts.append(part)
    return fits


def _too_large(declared_bytes: int, limit_bytes: int, parts: list[bytes]) -> Refused:
    detail = f"A callback may have at most {limit_bytes} bytes"
    return Refused(
        413,
        detail,
        why="too_large",
        detail_kept=f"{detail}; this one has {declared_bytes}" if declared_bytes else detail,
        start=_beginning(parts),
        headers={"connection": "close"},
    )


def _incomplete(status: int, detail: str, parts: list[bytes]) -> Refused:
    return Refused(status, detail, why="incomplete", start=_beginning(parts), headers={"connection": "close"})


def _beginning(parts: list[bytes]) -> bytes:
    return b"".join(parts)[:PEEK_BYTES]
