"""Loop: asks each upstream which of our submissions this database lacks, at each start and when there is a sign that a copy of the
database was restored.

Two signs work with any database: a callback to the hook URL of a submission that it lacks or has not sent, and tasks in the
upstream's list with a mark of such a submission. A third is on SQLite the file with the generation
(storage/submissions/request_count.py), and on PostgreSQL what the server says of itself (storage/driver/server_identity.py). Unknown
submissions are adopted. If some cannot be found, the upstream stays paused until a later look finds them or a person decides
(storage/upstreams/restores.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import structlog

from dispatcher.loops.loop import Loop
from dispatcher.policy.marked_tasks import Known, OwnHook, answers_in, found_in, mark_of
from dispatcher.policy.submission_evidence import LAG_FACTOR
from midjourney.client import Client
from midjourney.dialects import Upstream
from midjourney.errors import ProtocolError, UpstreamRefused
from midjourney.lists import Listed
from midjourney.types import Task
from storage.clock import uptime_s
from storage.engine import Connection, Database
from storage.errors import NotDurable
from storage.submissions.adoption import MarkedTask
from storage.submissions.request_count import GenerationFile
from storage.tasks import marks
from storage.upstreams import list_facts, restores
from storage.upstreams.list_facts import ListFacts
from storage.upstreams.restores import CheckResult, RestoreCheck, UnknownSubmission

log = structlog.get_logger("hookchain")

FIRST_S = 3.0
"""How long a start waits for the upstreams' lists if there is no sign that a copy was restored."""

LOOK_S = 2.0
LONGEST_PAUSE_S = 60.0
"""The first and the longest pause between two looks for missing submissions. Each pause is twice as long, since lists lag."""

MOST_LOOKS = 5
"""After so many failed requests for the list at a start, it counts as unreadable."""

UNREAD = "entries of an upstream's list cannot be read, and may be submissions that this database lacks"

HOLD_S = 10.0
"""How long after a start nothing is submitted to an upstream that does not list its tasks, or lists them late: it may be starting too.
After that hookchain submits what is due, so that people see what is wrong with the upstream."""


class Restores:
    """Asks each upstream for our submissions."""

    def __init__(
        self,
        database: Database,
        clients: Mapping[str, Client],
        is_own_hook: OwnHook,
        clock: Callable[[], int],
        file: GenerationFile | None,
    ) -> None:
        self._database = database
        self._clients = clients
        self._is_own_hook = is_own_hook
        self._clock = clock
        self._file = file
        self._left = dict.fromkeys(clients, MOST_LOOKS)
        self._looks: dict[str, tuple[float, float]] = {}
        self._began_s = uptime_s()
        self._asking: dict[str, asyncio.Task[None]] = {}
        self.loop = Loop("restores", self._turn, interval_s=LOOK_S)

    def may_submit(self, upstream: str) -> bool:
        """True once an upstream has shown what was sent before this start, or its time to do so is over."""
        return not self._left[upstream] or uptime_s() - self._began_s >= HOLD_S

    async def begin(self) -> None:
        """Compare the database with what tells a copy from it, and ask all upstreams once. Doubtful upstreams are paused afterwards."""
        self._began_s = uptime_s()
        await self._compare()
        asking = [self._ask(name) for name in self._clients]
        if asking:
            await asyncio.wait(asking, timeout=FIRST_S)

    async def stop(self) -> None:
        """Cancel all requests, after the loop has ended."""
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    async def _turn(self) -> None:
        names = list(self._clients)
        due = await self._database.read(lambda connection: _wanted(connection, names))
        now_s = asyncio.get_running_loop().time()
        for name in names:
            doubt, sign = due[name]
            wait_s, since_s = self._looks.get(name, (0.0, 0.0))
            if sign is not None or self._left[name] or (doubt is not None and now_s - since_s >= wait_s):
                self._ask(name)

    async def _compare(self) -> None:
        if self._file is None:
            names = list(self._clients)
            compare = partial(restores.compare_server, names=names, now_ms=self._clock())
            await self._database.write("generation", compare)
            return
        file = self._file
        try:
            beside = await asyncio.to_thread(file.read)
            agreed = await self._database.write(
                "generation",
                partial(restores.compare, beside=beside, names=list(self._clients), now_ms=self._clock()),
            )
            await asyncio.to_thread(file.write, agreed)
        except OSError as error:
            log.warning(
                "hookchain cannot use the file that identifies a restored database, and relies on the upstreams' lists alone",
                file=str(file.path),
                why=str(error),
            )
            await self._database.write("generation", restores.forget_generation)

    def _ask(self, name: str) -> asyncio.Task[None]:
        task = self._asking.get(name)
        if task is None or task.done():
            task = self._asking[name] = asyncio.create_task(self._look(name))
        return task

    async def _look(self, name: str) -> None:
        now_s = asyncio.get_running_loop().time()
        wait_s = self._looks.get(name, (0.0, 0.0))[0]
        self._looks[name] = (min(max(LOOK_S, 2 * wait_s), LONGEST_PAUSE_S), now_s)
        try:
            doubt, sign = await self._database.read(lambda connection: _wanted(connection, [name])[name])
            late_s = await self._late_s(name)
            if doubt is not None and await self._database.write(
                "restores", partial(restores.drop_if_resumed, upstream=name)
            ):
                log.info("a person has resumed a restored upstream", upstream=name)
                return
            listed, is_list = await self._listed(name)
            found = await self._found(name, listed.tasks, sign)
            looked = await self._adopt(name, listed, found, is_list=is_list)
            self._report(name, looked)
            if listed.unread:
                # It may hide submissions of ours, as a list that cannot be read at all.
                self._left[name] = max(0, self._left[name] - 1)
                log.warning(UNREAD, upstream=name, entries=listed.unread)
            elif self._left[name] and late_s > 0:
                log.info("waits for an upstream that lists tasks late", upstream=name, for_s=round(late_s, 1))
                self.loop.wake_after(late_s)
            elif self._left[name]:
                self._left[name] = 0
                self._database.wakeups.wake("submissions")
        except (ProtocolError, NotDurable) as error:  # the loop asks again
            if isinstance(error, UpstreamRefused):
                self._left[name] = max(0, self._left[name] - 1)
            log.info(
                "an upstream does not list hookchain's submissions",
                upstream=name,
                why=str(error),
            )
        except Exception:
            log.exception(
                "could not compare a database with its upstream; the loop tries again", upstream=name
            )

    async def _late_s(self, name: str) -> float:
        """In how many seconds the list will show what was sent before this start; not above 0 once it does."""
        facts = await self._database.read(partial(list_facts.find, upstream=name))
        return self._began_s + (facts.lag_ms or 0) / 1000 - uptime_s()

    async def _listed(self, name: str) -> tuple[Listed, bool]:
        """The upstream's list, and whether it has one at all."""
        client = self._clients[name]
        if not client.dialect.has("list"):
            return Listed([]), False
        try:
            return await client.list_all(), True
        except UpstreamRefused as error:
            if error.status in (404, 405, 501):
                return Listed([]), False
            raise

    async def _found(
        self, name: str, listed: Sequence[Task], sign: UnknownSubmission | None
    ) -> list[MarkedTask]:
        client = self._clients[name]
        known = Known(
            upstream=name,
            dialect=client.dialect,
            secret=await self._database.write("marks", marks.secret),
            is_own_hook=self._is_own_hook,
        )
        found = found_in(listed, known)
        if sign is None or sign.mark in {submission.mark for submission in found}:
            return found
        task = await client.fetch(sign.task_id)  # lists lag, and relays have no lists
        if task is None or mark_of(task, known) not in ("", sign.mark):  # it belongs to another submission
            return found
        return found + found_in([task], known, sign.mark)

    async def _adopt(
        self, name: str, listed: Listed, found: list[MarkedTask], *, is_list: bool
    ) -> CheckResult:
        client, now_ms = self._clients[name], self._clock()

        def examine(connection: Connection) -> CheckResult:
            return restores.examine(
                connection,
                upstream=name,
                listed=listed.tasks,
                marked=found,
                answers=answers_in(listed.tasks, name, client.dialect),
                is_list=is_list,
                is_whole=not listed.unread,
                settled_ms=_settled_ms(client.upstream, list_facts.find(connection, name)),
                now_ms=now_ms,
            )

        return await self._database.write("adopt", examine)

    def _report(self, name: str, looked: CheckResult) -> None:
        if looked.adopted:
            log.warning(
                "a copy of the database was restored: the upstream has submissions that the copy lacks. hookchain adopts them "
                "and does not send them again",
                upstream=name,
                submissions=looked.adopted,
            )
        if looked.resumed:
            log.info("all submissions since the copy was made are known: submitting resumes", upstream=name)
            self._looks.pop(name, None)
        if looked.adopted or looked.resumed:
            self._database.wakeups.wake("events", "submissions")


def _settled_ms(upstream: Upstream, facts: ListFacts) -> int:
    """After how long without anything new a list shows all that was sent before this start.

    A request may have left in the last moment, and end with its time-out; a slow upstream takes it later still, and a late list
    shows it later again.
    """
    ends_ms = max(int(1000 * upstream.timeout_s), 2 * facts.slowest_ms)
    return int(1000 * upstream.settle_after_s) + ends_ms + LAG_FACTOR * (facts.lag_ms or 0)


def _wanted(
    connection: Connection, names: list[str]
) -> dict[str, tuple[RestoreCheck | None, UnknownSubmission | None]]:
    return {name: (restores.find(connection, name), restores.unknown_at(connection, name)) for name in names}
