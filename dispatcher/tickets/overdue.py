"""Loop: ends tickets that would otherwise stay open for ever. Clients wait for an end, and most of them for nothing else.

A window that nobody answers costs nothing. An order that waits for too long is withdrawn, unpaid. One whose outcome stays unknown
ends with that reason; its submission is left to evidence and to a person, because it may have been paid. One whose task the upstream keeps
running for a day ends as well. One that waits at an account that takes nothing now moves to another account of its pool.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from dispatcher.loops.loop import Loop
from dispatcher.tickets.clients import Client
from dispatcher.tickets.moving import Moving
from dispatcher.tickets.shown import standing_of
from storage.clock import Clock
from storage.engine import Connection, Database
from storage.records import Ticket
from storage.tickets import tickets, withdrawing
from storage.tickets.audience import announce
from storage.tickets.known import Known, known

EVERY_S = 2.0
WINDOW_FOR_MS = 24 * 3600 * 1000
SETTLED_AFTER_MS = 2_000
"""Younger tickets are left to the loops that do their work."""

SOME = 200

UNANSWERED = "nobody answered its window within 24 hours; nothing is charged"
UNKNOWN = "outcome unknown, may have been charged"
ENDLESS = "the upstream did not end it in time, may have been charged"


class Overdue:
    """`named` returns a client by its name. `uncertain_max_s`: how long an outcome may stay unknown. `run_max_s`: how long a task may
    run."""

    def __init__(
        self,
        database: Database,
        named: Callable[[str], Client],
        clock: Clock,
        *,
        uncertain_max_s: float = 3600.0,
        run_max_s: float = 24 * 3600.0,
        moving: Moving | None = None,
    ) -> None:
        self._moving = moving
        self._database = database
        self._named = named
        self._clock = clock
        self._uncertain_max_ms = round(1000 * uncertain_max_s)
        self._run_max_ms = round(1000 * run_max_s)
        self.loop = Loop("overdue tickets", self._turn, interval_s=EVERY_S)

    async def _turn(self) -> None:
        last: Ticket | None = None
        ended = 0
        while True:
            last, count = await self._database.write("overdue", partial(self._pass, after=last))
            ended += count
            if last is None:
                break
        if ended:
            self._database.wakeups.wake("events", "submissions")

    def _pass(self, connection: Connection, after: Ticket | None) -> tuple[Ticket | None, int]:
        """Look at the next open tickets; returns the last one (None at the end), and how many were ended."""
        now_ms = self._clock()
        open_ = tickets.open_after(connection, after, now_ms - SETTLED_AFTER_MS, SOME)
        ended = sum(self._end(connection, seen, now_ms) for seen in known(connection, open_, now_ms))
        return (open_[-1] if len(open_) == SOME else None), ended

    def _end(self, connection: Connection, seen: Known, now_ms: int) -> bool:
        ticket, submission = seen.ticket, seen.submission
        client = self._named(ticket.client)
        age_ms = now_ms - ticket.created_at_ms
        if ticket.is_window:
            return age_ms > WINDOW_FOR_MS and self._fail(connection, seen, UNANSWERED, now_ms)
        if standing_of(seen, keeps_cancel=client.keep_cancel).has_ended:
            tickets.end(connection, [ticket.id], now_ms)
            announce(connection, ticket, "it has ended", now_ms, task_id=_task_id(seen))
            return True
        if submission is None:
            return False
        if (
            submission.state == "waiting"
            and self._moving is not None
            and self._moving.move_waiting(connection, submission, now_ms)
        ):
            return True
        if submission.state == "waiting" and age_ms > 1000 * client.wait_max_s:
            why = f"it waited for {client.wait_max_s:g} seconds and was not sent, so nothing is charged"
            return withdrawing.withdraw(connection, ticket, why, now_ms)
        since_ms = now_ms - submission.updated_at_ms
        if submission.state == "uncertain" and since_ms > self._uncertain_max_ms:
            return self._fail(connection, seen, UNKNOWN, now_ms)
        if submission.state in ("accepted", "existed", "needs_modal") and since_ms > self._run_max_ms:
            return self._fail(connection, seen, ENDLESS, now_ms)
        return False

    def _fail(self, connection: Connection, seen: Known, why: str, now_ms: int) -> bool:
        if not tickets.end(connection, [seen.ticket.id], now_ms, fail_reason=why):
            return False
        announce(connection, seen.ticket, why, now_ms, task_id=_task_id(seen))
        return True


def _task_id(seen: Known) -> str:
    return seen.task.id if seen.task is not None else ""
