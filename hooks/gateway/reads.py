"""What clients read: their tasks, from the database alone, however often they ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import msgspec
import structlog

from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.tickets import targets
from dispatcher.tickets.answers import NOT_FOUND, REFUSED
from dispatcher.tickets.clients import Client
from dispatcher.tickets.shown import standing_of
from dispatcher.tickets.views import Views
from hooks.gateway.answering import Answer, Refused
from midjourney.errors import ProtocolError
from storage import clock
from storage.engine import Connection, Database
from storage.records import Ticket
from storage.tasks.believe import believe
from storage.tickets import tickets
from storage.tickets.known import Known, known

log = structlog.get_logger("hookchain")

MOST_LISTED = 500
"""Tasks in a list. Real servers keep their tasks for a month, and list them all."""

MOST_PAGED = 2000
"""Tasks that can be reached page by page: the newest. All of them are read for a page."""

UNKNOWN_FOR_MS = 60_000
"""How long an upstream is not asked again about an id that it did not know."""

MOST_UNKNOWN = 10_000

MOST_AT_ONCE = 1000
"""Ids in one question."""


class Reads:
    """The handlers of what clients read."""

    def __init__(self, database: Database, views: Views, handles: Mapping[str, UpstreamHandle]) -> None:
        self._database = database
        self._handles = handles
        self._unknown: dict[tuple[str, str], int] = {}
        self._views = views

    async def fetch(self, client: Client, given: str, upstreams: Sequence[str]) -> Answer:
        """One task. Raises `Refused` 404 for one that the client does not have.

        The only upstream is asked once about an id that the database does not know: the task may be from before the gateway.
        """

        def read(connection: Connection) -> Known | str | None:
            now_ms = clock.now_ms()
            target = targets.find(connection, client.name, given, upstreams, now_ms)
            if target is None or target.is_new:
                return target.upstream if target is not None else None
            if target.known is not None:
                return target.known
            (seen,) = known(connection, [_as_before(client, target)], now_ms)
            return seen if seen.task is not None and seen.payload else None

        seen = await self._database.read(read)
        if isinstance(seen, str):
            seen = await self._database.read(read) if await self._has(seen, given) else None
        if seen is None or isinstance(seen, str):
            raise Refused(404, NOT_FOUND, f"there is no task {given!r}")
        return Answer(body=self._views.of(seen, client))

    async def _has(self, upstream: str, task_id: str) -> bool:
        """Ask an upstream about a task that the database does not know, and store it; True if it has it."""
        now_ms, handle = clock.now_ms(), self._handles.get(upstream)
        asked_ms = self._unknown.get((upstream, task_id), -UNKNOWN_FOR_MS)
        if handle is None or handle.read_back is None or now_ms - asked_ms < UNKNOWN_FOR_MS:
            return False
        if len(self._unknown) >= MOST_UNKNOWN:
            del self._unknown[next(iter(self._unknown))]
        self._unknown[upstream, task_id] = now_ms
        try:
            told = await handle.read_back(task_id)
        except ProtocolError as error:
            log.info("the upstream could not be asked about a client's task", task=task_id, why=str(error))
            return False
        told = msgspec.structs.replace(
            told, is_history=True
        )  # a client's question must not trigger receivers
        await self._database.write("believe", partial(believe, report=told, now_ms=now_ms))
        return True

    async def among(self, client: Client, fields: Mapping[str, object], upstreams: Sequence[str]) -> Answer:
        """The ones of these tasks that the client has, in the order in which it names them."""
        ids = _ids(fields.get("ids"))

        def read(connection: Connection) -> list[Known]:
            now_ms = clock.now_ms()
            found = tickets.find(connection, client.name, ids)
            others = [
                _as_before(client, target)
                for given in ids
                if given not in found
                and (target := targets.find(connection, client.name, given, upstreams, now_ms)) is not None
                and not target.is_new
            ]
            wanted = [*(found[given] for given in ids if given in found), *others]
            return [seen for seen in known(connection, wanted, now_ms) if seen.ticket.digest or seen.payload]

        return Answer(body=[self._views.of(seen, client) for seen in await self._database.read(read)])

    async def all_of(self, client: Client) -> Answer:
        """The client's newest tasks, the newest first."""
        seen = await self._database.read(
            lambda connection: known(
                connection, tickets.newest(connection, client.name, MOST_LISTED), clock.now_ms()
            )
        )
        return Answer(body=[self._views.of(one, client) for one in seen])

    async def queue(self, client: Client) -> Answer:
        """The client's tasks that wait or run, the oldest first."""
        seen = await self._database.read(
            lambda connection: known(
                connection, tickets.open_of(connection, client.name, MOST_LISTED), clock.now_ms()
            )
        )
        open_ = [one for one in seen if not standing_of(one).has_ended and not one.ticket.is_window]
        return Answer(body=[self._views.of(one, client) for one in open_])

    async def page(self, client: Client, fields: Mapping[str, object]) -> Answer:
        """A page of the client's tasks, as the admin page of Plus asks for it: `pageNumber` from 0, `pageSize`, `status`."""
        size = min(_whole(fields.get("pageSize"), 20) or 20, MOST_LISTED)
        number = min(_whole(fields.get("pageNumber"), 0), MOST_PAGED)
        most = min((number + 1) * size + 1, MOST_PAGED)
        seen = await self._database.read(
            lambda connection: known(
                connection, tickets.newest(connection, client.name, most), clock.now_ms()
            )
        )
        wanted = str(fields.get("status") or "")
        listed = [self._views.of(one, client) for one in seen]
        listed = [task for task in listed if not wanted or task["status"] == wanted]
        content = listed[number * size : (number + 1) * size]
        page = {"content": content, "number": number, "size": size, "numberOfElements": len(content)}
        total = len(listed)
        return Answer(
            body=page
            | {"totalElements": total, "totalPages": -(-total // size), "last": total <= (number + 1) * size}
        )


def _as_before(client: Client, target: targets.Target) -> Ticket:
    """A task from before the client came to the gateway, under the id that the client knows: the upstream's."""
    return Ticket(
        id=target.task_id,
        client=client.name,
        kind="",
        upstream=target.upstream,
        task_id=target.task_id,
        created_at_ms=0,
    )


def _ids(value: object) -> list[str]:
    """The ids in a question: numbers (the web UI) or strings. Raises `Refused`."""
    given = value if isinstance(value, list) else [value] if isinstance(value, str | int) else None
    if given is None or any(isinstance(one, bool) or not isinstance(one, str | int) for one in given):
        raise Refused(200, REFUSED, "ids: write a list of ids")
    if len(given) > MOST_AT_ONCE:
        raise Refused(200, REFUSED, f"ids: at most {MOST_AT_ONCE} at once")
    return list(dict.fromkeys(str(one) for one in given))


def _whole(value: object, default: int) -> int:
    try:
        return max(0, msgspec.convert(value, int, strict=False))
    except msgspec.ValidationError:
        return default
