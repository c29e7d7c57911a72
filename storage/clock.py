"""The time, for everything that decides or records by time.

It combines two clocks. `now_ms` is driven by `uptime_s`, which nobody can set, so that its time passes evenly between two
readings of an outside clock, whatever happens to the machine's clock. The base that `now_ms` adds to the uptime (`base_ms`)
is learned:

- With a SQLite file it is the base in which the file's times are written. When somebody sets the machine's clock, the
  process that works on the file moves the base and all future times in one transaction (storage/clock_steps.py); all other
  processes read the base from the file.
- With PostgreSQL it is the server's clock, read every few seconds: machines whose clocks differ by an hour agree, and no
  stored time has to be moved.

The clock is global to the process, as the machine's clock is: a process works on one database.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import msgspec

Clock = Callable[[], int]
"""Returns epoch milliseconds, as `now_ms` does."""

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))

STEP_MS = 1_000
"""A difference of this size or more means that somebody set the clock. Smaller ones are drift, which is followed."""

JITTER_MS = 25
"""Uncertainty of a clock that is read over a network. Smaller differences are ignored, so that time does not go back
and forth."""

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def uptime_s() -> float:
    """Seconds on a clock that cannot be set, and that keeps running while the machine sleeps."""
    return time.monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)


def wall_ms() -> int:
    """The machine's clock, epoch milliseconds. Somebody may set it at any moment."""
    return time.time_ns() // 1_000_000


@cache
def boot_id() -> str:
    """Identifies the boot that `uptime_s` counts from; a random value per process if the system does not provide one."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return secrets.token_hex(8)


class Base(msgspec.Struct, frozen=True):
    """The base in which times were written, and the boot whose uptime it was added to."""

    boot_id: str
    base_ms: int


class _Clock:
    """The base of this process. None until it is learned: until then the machine's clock is used."""

    base_ms: int | None = None
    read: Callable[[], int] | None = None


_clock = _Clock()


def now_ms() -> int:
    """The time, epoch milliseconds."""
    if _clock.read is not None:
        return _clock.read()
    if _clock.base_ms is None:
        return wall_ms()
    return _clock.base_ms + int(1000 * uptime_s())


def wall_base_ms() -> int:
    """The base that the machine's clock gives now."""
    return wall_ms() - int(1000 * uptime_s())


def base_ms() -> int:
    """What `now_ms` adds to the uptime."""
    return wall_base_ms() if _clock.base_ms is None else _clock.base_ms


def follow(learned_ms: int, *, within_ms: int = JITTER_MS) -> int:
    """Adopt a learned base; returns its difference to the previous one (0 if it is within `within_ms` and ignored)."""
    before_ms = base_ms()
    if _clock.base_ms is not None and abs(learned_ms - before_ms) <= within_ms:
        return 0
    _clock.base_ms = learned_ms
    return learned_ms - before_ms


def forget() -> None:
    """Use the machine's clock again."""
    _clock.base_ms = None


@contextmanager
def stopped(read: Callable[[], int]) -> Iterator[None]:
    """Within the block the time is what `read` returns, for all of this process: for tests that move the time themselves, and to try rules on past events.

    What the process has learned about other clocks meanwhile is forgotten at the end.
    """
    before = _clock.base_ms, _clock.read
    _clock.read = read
    try:
        yield
    finally:
        _clock.base_ms, _clock.read = before
