"""Loop: reads the lists of upstreams at an interval, and takes in tasks that call our hook but that this database has never heard of:
all of their callbacks were lost. It is off unless the settings say how often (`sweep_every_s`).

A list is a hint, as a callback is: each task is read back, and must show our hook there too. Then it is believed as what a poll
brings (storage/tasks/believe.py), so that a late callback changes nothing. A task of a submission that the database lacks is a sign
that a copy was restored, as its callback is: dispatcher/loops/restores.py adopts it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Container, Mapping, Sequence
from functools import partial

import structlog

from dispatcher.loops.loop import Loop
from dispatcher.policy.marked_tasks import Known, OwnHook, mark_of
from dispatcher.policy.sweeping import OursListed, has_registered_hook, ours_in
from dispatcher.runs.readback import MOST_AT_ONCE, Readback
from midjourney.client import Client
from midjourney.errors import ProtocolError
from storage.clock import Clock, uptime_s
from storage.engine import Connection, Database
from storage.submissions import submission_queue
from storage.tasks import aliases, marks
from storage.tasks import rows as tasks
from storage.tasks.believe import TaskReport, believe
from storage.upstreams import restores
from storage.upstreams.restores import UnknownSubmission

log = structlog.get_logger("hookchain")

TURN_S = 5.0
"""The longest pause between two looks at whose turn it is."""

LONGEST_NEWS_S = 86_400.0
"""A task that ended longer ago is not taken in, whatever the settings say."""

LOOKED_UP_AT_ONCE = 500
"""How many listed tasks one statement looks up. A list may have thousands."""

PASS_BY_S = 600.0
LONGEST_PASS_BY_S = 86_400.0
"""For how long a task is not asked about again that the list shows with our hook, but the upstream does not when it is asked: each time
for twice as long. Otherwise a list that lies would keep the others from their turn."""

MOST_PASSED_BY = 10_000
"""How many such tasks are remembered."""

MOST_SIGNS = 5
"""How many tasks of unknown submissions are read back in one sweep until one of them is what the list says."""

_NEVER = (-math.inf, PASS_BY_S)

TokensOf = Callable[[str], Awaitable[Collection[str]]]
"""The tokens of the hook that is registered at an upstream."""


class Sweeper:
    """Sweeps the upstreams whose settings ask for it. `kept_s`: for how long a task is certainly remembered after its end."""

    def __init__(
        self,
        database: Database,
        clients: Mapping[str, Client],
        readbacks: Mapping[str, Readback],
        tokens_of: TokensOf,
        is_own_hook: OwnHook,
        connected_signals: Callable[[], Container[str]],
        clock: Clock,
        *,
        kept_s: float,
    ) -> None:
        self._database = database
        self._clients = {name: one for name, one in clients.items() if one.upstream.sweep_every_s}
        self._readbacks = readbacks
        self._tokens_of = tokens_of
        self._is_own_hook = is_own_hook
        self._connected_signals = connected_signals
        self._clock = clock
        self._kept_s = kept_s
        self._due_s = dict.fromkeys(self._clients, -math.inf)
        self._asking: set[str] = set()
        self._passed_by: dict[tuple[str, str], tuple[float, float]] = {}
        shortest_s = min((one.upstream.sweep_every_s for one in self._clients.values()), default=TURN_S)
        self.loop = Loop("sweep", self._turn, interval_s=min(TURN_S, shortest_s))

    async def _turn(self) -> None:
        for name, client in self._clients.items():
            is_ready = self._readbacks[name].began_ms is not None  # else nothing tells news from history
            if is_ready and name not in self._asking and self._due_s[name] <= uptime_s():
                self._due_s[name] = uptime_s() + client.upstream.sweep_every_s
                self._asking.add(name)  # an upstream that hangs must not block the others
                self.loop.spawn(self._sweep(name, client))

    async def _sweep(self, name: str, client: Client) -> None:
        try:
            known = await self._what_is_ours(name, client)
            found = await self._unheard(name, client, known)
            due = [one for one in found if self._passed_by.get((name, one.task.id), _NEVER)[0] <= uptime_s()]
            await self._note_lost_memory(name, [one for one in due if one.mark], known)
            await self._take_in(name, [one.task.id for one in due if not one.mark][:MOST_AT_ONCE])
        except ProtocolError as error:
            log.info("an upstream could not be swept", upstream=name, why=str(error))
        finally:
            self._asking.discard(name)

    async def _what_is_ours(self, name: str, client: Client) -> Known:
        return Known(
            upstream=name,
            dialect=client.dialect,
            secret=await self._database.write("marks", marks.secret),
            is_own_hook=self._is_own_hook,
        )

    async def _unheard(self, name: str, client: Client, known: Known) -> list[OursListed]:
        """The listed tasks with a hook of ours that the database has never heard of."""
        listed = await client.list_all()
        if listed.unread:
            log.warning("entries of an upstream's list cannot be swept", upstream=name, entries=listed.unread)
        tokens = await self._tokens_of(name)
        news_s = min(client.upstream.news_within_s, self._kept_s, LONGEST_NEWS_S)
        since_ms = self._clock() - int(1000 * news_s)
        ours = await asyncio.to_thread(ours_in, listed.tasks, known, tokens, since_ms)
        unheard: list[OursListed] = []
        for start in range(0, len(ours), LOOKED_UP_AT_ONCE):
            some = ours[start : start + LOOKED_UP_AT_ONCE]
            unheard += await self._database.read(partial(_never_heard_of, upstream=name, ours=some))
        return unheard

    async def _note_lost_memory(self, name: str, marked: Sequence[OursListed], known: Known) -> None:
        """Have the submissions adopted that only the upstream knows. One sign is enough: all that the list shows are looked at.

        The task is read back first: the sign stops the upstream, and a list may lie.
        """
        for one in marked[:MOST_SIGNS]:
            report = await self._readbacks[name].ask(one.task.id)
            if report.task is None or mark_of(report.task, known) != one.mark:
                self._pass_by(name, one.task.id)
                continue
            sign = UnknownSubmission(mark=one.mark, task_id=one.task.id)
            await self._database.write("sign", partial(restores.note_unknown, upstream=name, unknown=sign))
            self._database.wakeups.wake("signs")
            return

    async def _take_in(self, name: str, missed: Sequence[str]) -> None:
        """Read tasks back, and believe what the upstream says of them."""
        if not missed:
            return
        tokens = await self._tokens_of(name)
        readback = self._readbacks[name]
        told = await asyncio.gather(*(readback.ask(task_id) for task_id in missed), return_exceptions=True)
        taken: list[str] = []
        for task_id, report in zip(missed, told, strict=True):
            if isinstance(report, BaseException):
                continue
            if report.task is None or report.is_history or not has_registered_hook(report.task, tokens):
                self._pass_by(name, task_id)
            else:
                await self._believe(report)
                taken.append(task_id)
        if taken:
            log.warning(
                "tasks whose callbacks were all lost were found in a list", upstream=name, tasks=taken
            )
            self._database.wakeups.wake("events", "submissions")
        if failed := [error for error in told if isinstance(error, BaseException)]:
            raise failed[0]

    async def _believe(self, report: TaskReport) -> None:
        await self._database.write(
            "believe",
            lambda connection: believe(connection, report, self._connected_signals(), now_ms=self._clock()),
        )

    def _pass_by(self, name: str, task_id: str) -> None:
        if len(self._passed_by) >= MOST_PASSED_BY:
            self._passed_by.clear()
        _, wait_s = self._passed_by.get((name, task_id), _NEVER)
        self._passed_by[name, task_id] = (uptime_s() + wait_s, min(2 * wait_s, LONGEST_PASS_BY_S))


def _never_heard_of(connection: Connection, upstream: str, ours: Sequence[OursListed]) -> list[OursListed]:
    """Those whose task the database does not know. Of a submission that it knows, other loops find the tasks."""
    ids = [one.task.id for one in ours]
    others = aliases.names(connection, upstream, ids)
    rows = tasks.find_all(connection, upstream, [*ids, *others.values()]) if ids else {}
    return [
        one
        for one in ours
        if others.get(one.task.id, one.task.id) not in rows
        and not (one.mark and submission_queue.find(connection, one.mark) is not None)
    ]
