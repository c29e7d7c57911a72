"""Counts refused callbacks in memory; at most every second it writes the counts to the database and a warning to the log.

However many requests a stranger sends, they make one row and, in the end, one log line an hour, because reasons and upstreams
are fixed sets.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial

import msgspec
import structlog

from hooks.times import when
from midjourney.redact import redacted_text
from storage import clock
from storage.engine import Connection, Database
from storage.events import refusals as stored
from storage.records.refusals import Refusal, Why

log = structlog.get_logger("hookchain")

FLUSH_EVERY_S = 1.0

SHOWN_FOR_MS = 7 * 86_400_000
"""How long the last refused callback is shown."""

FIRST_PAUSE_S = 60.0
LONGEST_PAUSE_S = 3600.0
"""Time between two log lines about one reason: a minute, then twice as long each time, at most an hour."""

LONGEST_DETAIL = 200

CURES: dict[Why, str] = {
    "unknown_hook": "A callback arrived at a hook of another database or secret. Register the hook that `hookchain url` "
    "prints, or set HOOKCHAIN_SECRET to the secret that the hook was made with.",
    "retired_hook": "A callback arrived at a hook that `hookchain url --retire` has retired. Register the one that "
    "`hookchain url` prints.",
    "method": "A request to the hook was not a POST. Have the sender POST its callbacks, and check for redirects in front of "
    "hookchain.",
    "too_large": "A callback was larger than body_limit_bytes. hookchain polls the upstream for its task instead. Raise "
    "HOOKCHAIN_BODY_LIMIT_BYTES.",
    "incomplete": "A callback's body did not arrive completely. Check the network, and the time-outs of proxies in front of "
    "hookchain.",
    "over_quota": "A hook received more in an hour than its quota allows. hookchain drops the body and polls the upstream for the "
    "task instead. If the callbacks are yours, raise HOOKCHAIN_QUOTAS_BYTES_PER_HOUR and HOOKCHAIN_QUOTAS_TASKS_PER_HOUR. "
    "If not, somebody else knows the hook: see `hookchain url --rotate`.",
    "no_space": "The disk is nearly full, so hookchain no longer keeps bodies that it cannot understand. Free space, or lower "
    "HOOKCHAIN_QUOTAS_SPARE_BYTES.",
    "not_understood": "A callback could not be understood and is in quarantine: see `hookchain quarantine list`.",
    "encoding": "A callback was damaged, or compressed in a way that hookchain cannot read. Have the sender use gzip, deflate "
    "or no compression.",
    "busy": "More callbacks arrived than hookchain can hold while it writes. Check the speed of the database. hookchain "
    "polls for what it refused.",
    "not_kept": "The database could not store a callback. Check its disk and its connection. hookchain polls for what it "
    "refused.",
    "unknown_submission": "A callback arrived at the hook of a submission that this database lacks or has not sent, and was kept. "
    "The database was restored from a copy, or lost; hookchain asks the upstream what else is missing. See `hookchain upstreams`.",
}
"""What is wrong, and what to do about it, by reason."""


class RefusedCallbacks(msgspec.Struct, frozen=True, kw_only=True):
    """Callbacks that were refused for one reason, and what to do. `upstream` is "" if the hook's address names none."""

    upstream: str
    why: str
    count: int
    last_at: str
    detail: str
    what_to_do: str


class _LogThrottle(msgspec.Struct):
    """When the next log line about one reason is due, and how many refusals it will report."""

    count: int = 0
    silent_until_s: float = 0.0
    pause_s: float = FIRST_PAUSE_S


class Refusals:
    """Counts refused callbacks. `note` does no I/O; `flush` writes and warns."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._unwritten: dict[tuple[str, Why], Refusal] = {}
        self._throttles: dict[tuple[str, Why], _LogThrottle] = {}

    def note(self, upstream: str, why: Why, detail: str) -> None:
        """Count one refusal. `detail` describes it and contains no token."""
        self._hold(
            Refusal(
                upstream=upstream,
                why=why,
                count=1,
                last_at_ms=clock.now_ms(),
                detail=detail[: 4 * LONGEST_DETAIL],
            )
        )
        self._throttles.setdefault((upstream, why), _LogThrottle()).count += 1

    async def flush(self) -> None:
        """Write warnings to the log and the counts to the database. Raises `NotDurable`; the counts are kept then."""
        self.warn(time.monotonic())
        if not self._unwritten:
            return
        counted, self._unwritten = list(self._unwritten.values()), {}
        shown = [msgspec.structs.replace(refusal, detail=_shown(refusal.detail)) for refusal in counted]
        try:
            await self._database.write("refusals", partial(stored.add, counted=shown))
        # Not for a cancellation: the writer still does that write.
        except Exception:
            for refusal in counted:
                self._hold(refusal)
            raise

    def _hold(self, refusal: Refusal) -> None:
        known = self._unwritten.get((refusal.upstream, refusal.why))
        if known is not None:
            newer = refusal if refusal.last_at_ms >= known.last_at_ms else known
            refusal = msgspec.structs.replace(newer, count=known.count + refusal.count)
        self._unwritten[refusal.upstream, refusal.why] = refusal

    def warn(self, now_s: float) -> None:
        """Write the log lines that are due. `now_s` is by a clock that cannot step."""
        for (upstream, why), throttle in self._throttles.items():
            if not throttle.count or now_s < throttle.silent_until_s:
                continue
            if now_s > throttle.silent_until_s + LONGEST_PAUSE_S:
                throttle.pause_s = FIRST_PAUSE_S
            log.warning(
                "callbacks refused", upstream=upstream, why=why, count=throttle.count, what_to_do=CURES[why]
            )
            throttle.count, throttle.silent_until_s = 0, now_s + throttle.pause_s
            throttle.pause_s = min(2 * throttle.pause_s, LONGEST_PAUSE_S)


def _shown(detail: str) -> str:
    """Return the detail as PostgreSQL and people can read it, without secrets."""
    return redacted_text(detail).replace("\0", "\ufffd")[:LONGEST_DETAIL]


def recent(connection: Connection, now_ms: int, within_ms: int = SHOWN_FOR_MS) -> list[Refusal]:
    """Return the refusals of the last `within_ms`, newest first."""
    return stored.since(connection, now_ms - within_ms)


def shape(refusal: Refusal) -> RefusedCallbacks:
    """Return a refusal as the API shows it."""
    return RefusedCallbacks(
        upstream=refusal.upstream,
        why=refusal.why,
        count=refusal.count,
        last_at=when(refusal.last_at_ms),
        detail=refusal.detail,
        what_to_do=CURES[refusal.why],
    )


def shapes_of(refusals: Iterable[Refusal], upstream: str) -> list[RefusedCallbacks]:
    """Return the refusals of one upstream, and those whose address names no upstream: they may belong to any."""
    return [shape(refusal) for refusal in refusals if refusal.upstream in ("", upstream)]
