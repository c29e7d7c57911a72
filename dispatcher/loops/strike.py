"""Loop: rules that run by the clock → an event for each time that has come, with its deliveries.

Which times are decided is a row for each rule (storage/timetable/), which moves in the transaction that appends the event. So each time is
decided once, by however many processes and restarts. A rule that submits waits while its upstream is paused or down (its breaker is open): times
that pass then are missed, as they are while no process runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec
import structlog

from dispatcher.loops.loop import Loop
from dispatcher.plugins.clocked import Clocked
from dispatcher.plugins.receivers import Registry
from dispatcher.plugins.upstream_handle import UpstreamHandle
from dispatcher.policy.cron_times import CronTime, cron_time
from dispatcher.policy.occurrences import GRACE_MS, Decided, decide, decide_changed, first_ms, is_wrong
from dispatcher.policy.upstream_limits import possible_ms
from storage.engine import Connection, Database
from storage.records import STRUCK, Standing, Timed
from storage.timetable import occurrences, timetable
from storage.upstreams import standings

log = structlog.get_logger("hookchain")

LOOK_EVERY_MS = 60_000
"""How often the timetable is read although nothing is due: another process, or a clock that is set, may have changed it."""


class _Move(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a rule's row, and what was decided with it. `why` a time passed without a firing."""

    seen: Timed | None
    now: Timed
    upstream: str = ""
    decided: Decided | None = None
    why: str = ""


class Striker:
    """Decides about the times of rules. `handles` are the upstreams, whose time zone is that of a rule that names none."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        handles: Mapping[str, UpstreamHandle],
        clock: Callable[[], int],
    ) -> None:
        self._database = database
        self._registry = registry
        self._handles = handles
        self._clock = clock
        self._rules: dict[str, Clocked] | None = None
        self._read_ms = self._next_ms = 0
        self.loop = Loop("strike", self.turn)

    async def turn(self) -> None:
        """Decide about the times that have come."""
        rules, now_ms = self._registry.clocked(), self._clock()
        if not rules and rules == self._rules:
            return
        if rules == self._rules and self._read_ms <= now_ms < min(
            self._next_ms, self._read_ms + LOOK_EVERY_MS
        ):
            return
        rows, closed = await self._database.read(partial(_read, now_ms))
        moves = self._moves(rules, rows, closed, now_ms)
        if moves:
            struck = await self._database.write(
                "strike", lambda connection: self._write(connection, moves, now_ms)
            )
            if struck:
                self._database.wakeups.wake("events")
        self._rules, self._read_ms = rules, now_ms
        left = rows | {one.now.rule: one.now for one in moves}
        self._next_ms = min(
            (left[name].next_ms for name in rules if name in left), default=now_ms + LOOK_EVERY_MS
        )

    def _moves(
        self, rules: Mapping[str, Clocked], rows: Mapping[str, Timed], closed: frozenset[str], now_ms: int
    ) -> list[_Move]:
        moves = [self._gone(row, now_ms) for name, row in rows.items() if name not in rules and row.every]
        for name in sorted(rules):
            upstream = rules[name].upstream or next(iter(self._handles), "")
            if upstream not in self._handles:
                continue  # its configuration is about to change
            move = self._move(rules[name], rows.get(name), upstream, upstream in closed, now_ms)
            moves += [move] if move is not None else []
        return moves

    def _move(
        self, rule: Clocked, row: Timed | None, upstream: str, is_closed: bool, now_ms: int
    ) -> _Move | None:
        at = cron_time(rule.every, zone=self._handles[upstream].zone)
        if row is None or is_wrong(row.decided_ms, now_ms):
            return _Move(seen=row, now=_begun(rule.rule, at, row, now_ms))
        is_changed, has_come = row.every != str(at), row.next_ms <= now_ms
        if is_changed and not (row.every and has_come):
            return _Move(seen=row, now=_begun(rule.rule, at, row, now_ms))
        if not has_come or (is_closed and rule.submits):
            return None
        decided = (decide_changed if is_changed else decide)(at, rule.missed, row.next_ms, now_ms)
        now = msgspec.structs.replace(row, every=str(at), decided_ms=now_ms, next_ms=decided.next_ms)
        why = _missed(decided, rule.missed, now_ms, is_changed=is_changed)
        return _Move(seen=row, now=now, upstream=upstream, decided=decided, why=why)

    def _gone(self, row: Timed, now_ms: int) -> _Move:
        """Mark the row of a rule that is gone. If its time has just come, nobody will decide about that."""
        now = msgspec.structs.replace(row, every="")
        if not now_ms - GRACE_MS <= row.next_ms <= now_ms:
            return _Move(seen=row, now=now)
        former = (self._rules or {}).get(row.rule)
        upstream = (former.upstream if former is not None else "") or next(iter(self._handles), "")
        decided = Decided(missed_ms=row.next_ms, next_ms=row.next_ms)
        why = "missed: the rule was removed, renamed or switched off at its time"
        return _Move(seen=row, now=now, upstream=upstream, decided=decided, why=why)

    def _write(self, connection: Connection, moves: Sequence[_Move], now_ms: int) -> int:
        """Write what was decided. Returns the number of occurrences."""
        return sum(
            self._write_one(connection, one, now_ms)
            for one in moves
            if timetable.move(connection, one.seen, one.now) and one.decided is not None
        )

    def _write_one(self, connection: Connection, move: _Move, now_ms: int) -> bool:
        rule, decided = move.now.rule, move.decided
        assert decided is not None
        if decided.missed_ms is not None:
            at = occurrences.time_text(decided.missed_ms)
            log.warning("a rule missed its time", rule=rule, at=at, why=move.why)
            occurrences.miss(
                connection,
                rule=rule,
                upstream=move.upstream,
                at_ms=decided.missed_ms,
                detail=move.why,
                now_ms=now_ms,
            )
        if decided.strike_ms is None:
            return False
        late_s = (now_ms - decided.strike_ms) // 1000
        occurrences.strike(
            connection,
            rule=rule,
            upstream=move.upstream,
            at_ms=decided.strike_ms,
            receivers=self._registry.receiver_names(STRUCK, rule),
            detail=f"{move.now.every}{f', {late_s} s late' if late_s >= 60 else ''}",
            now_ms=now_ms,
        )
        return True


def _read(now_ms: int, connection: Connection) -> tuple[dict[str, Timed], frozenset[str]]:
    """The timetable, and the upstreams to which nothing is sent."""
    every = standings.every(connection)
    return timetable.rows(connection), frozenset(name for name in every if _is_closed(every[name], now_ms))


def _is_closed(standing: Standing, now_ms: int) -> bool:
    return standing.paused or possible_ms(standing.open_until_ms, now_ms, standing.open_ms) > now_ms


def _begun(rule: str, at: CronTime, row: Timed | None, now_ms: int) -> Timed:
    """The row of a rule that is new, or has other times than before."""
    decided_ms = row.decided_ms if row is not None and not is_wrong(row.decided_ms, now_ms) else now_ms
    next_ms = first_ms(at, decided_ms, now_ms)
    return Timed(rule=rule, every=str(at), decided_ms=max(decided_ms, now_ms), next_ms=next_ms)


def _missed(decided: Decided, missed: str, now_ms: int, *, is_changed: bool) -> str:
    """Why a time passed without a firing; "" if none did."""
    if decided.missed_ms is None:
        return ""
    if is_changed and decided.missed_ms >= now_ms - GRACE_MS:
        return "missed: the rule was changed at its time"
    because = "no process ran, or the upstream was paused or down"
    if decided.strike_ms is not None:
        time = occurrences.time_text(decided.strike_ms).partition("T")[2]
        return f"missed: {because}; of the times that passed, only {time} fires"
    return f'missed: {because}, and missed = "{missed}"'
