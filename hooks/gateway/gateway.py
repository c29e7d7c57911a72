"""The gateway's ASGI application: finds the client and the handler of a request, and always answers with JSON.

docs/gateway.md has its paths. What it does not know it answers with 404 and a list of what there is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from dispatcher.tickets.answers import FAILED, NOT_FOUND, REFUSED, name_of, refused
from dispatcher.tickets.clients import Client
from dispatcher.tickets.desk import Declined
from dispatcher.tickets.orders import KIND_OF_PATH
from hooks.gateway.accounts import Accounts
from hooks.gateway.answering import Answer, CrossOrigin, Refused, envelope, header, write
from hooks.gateway.bodies import Bodies, Body
from hooks.gateway.paths import Place, place_of
from hooks.gateway.pictures import Pictures
from hooks.gateway.pools import Pools
from hooks.gateway.reads import Reads
from hooks.gateway.submits import Submits
from hooks.gateway.tasks import TaskCalls
from hooks.http.connections import HAS_HUNG_UP
from storage.errors import NotDurable, StorageError
from storage.tally import Tally

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

log = structlog.get_logger("hookchain")

NO_KEY = "unknown key: send yours as mj-api-secret or Authorization: Bearer, or put /k/KEY before the path"
AWAY = "the database is away, so nothing was kept; try again soon"
THERE_IS = "submit/…, task/{id}/fetch, task/list, task/queue, task/list-by-condition, insight-face/swap, insight-face/video-swap, account/list"


class FindClient(Protocol):
    """Finds the client that a request comes from."""

    async def client_of(self, scope: Scope, path_key: str) -> Client | None:
        """The client whose key the request carries, or None. Raises `Refused` after too many wrong keys."""
        ...


class Gateway:
    """The application."""

    def __init__(
        self,
        clients: FindClient,
        reads: Reads,
        submits: Submits,
        calls: TaskCalls,
        accounts: Accounts,
        bodies: Bodies,
        pools: Pools,
        pictures: Pictures,
        cross_origin: CrossOrigin,
        tally: Tally,
    ) -> None:
        self._clients = clients
        self._reads = reads
        self._submits = submits
        self._calls = calls
        self._accounts = accounts
        self._bodies = bodies
        self._pools = pools
        self._pictures = pictures
        self._cross_origin = cross_origin
        self._tally = tally

    async def stop(self) -> None:
        """Store what is left to be stored."""
        await self._submits.stop()
        await self._bodies.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request for a path of the gateway (`place_of`)."""
        headers = self._cross_origin.headers(scope)
        place = place_of(scope["path"])
        try:
            if scope["method"] == "OPTIONS":
                await write(send, self._cross_origin.preflight(scope), headers)
                return
            if place is None:
                raise Refused(404, NOT_FOUND, f"there is no such path here. There is: {THERE_IS}")
            if scope["method"] in ("GET", "HEAD") and place.rest.startswith("image/"):
                response = await self._pictures.get(place.rest.removeprefix("image/"), scope["query_string"])
                response.headers.update(dict(headers))
                await response(scope, receive, send)
                return
            client = await self._clients.client_of(scope, place.key)
            if client is None:
                raise Refused(401, REFUSED, NO_KEY)
            if scope["method"] == "POST" and place.rest in KIND_OF_PATH:
                await self._order(client, place, scope, receive, send, headers)
                return
            answer = await self._read(client, place, scope, receive)
        except Refused as error:
            answer = error.answer
        except NotDurable:
            answer = Answer(status=503, body=refused(FAILED, AWAY), headers=[("retry-after", "5")])
        except StorageError as error:
            log.exception("a request of a client could not be kept", path=place.rest if place else "")
            answer = envelope(refused(FAILED, f"this cannot be kept: {error}"[:300]))
        except (
            Exception
        ):  # a bug of ours: clients read JSON only, and pages of other origins need the headers
            log.exception("a request of a client failed", path=place.rest if place else "")
            answer = Answer(status=500, body=refused(FAILED, "hookchain failed; its log says why"))
        await write(send, answer, headers)

    async def _order(
        self,
        client: Client,
        place: Place,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: Sequence[tuple[str, str]],
    ) -> None:
        """Take an order, and count it with its answer."""
        began_ns, answer = time.perf_counter_ns(), ""
        try:
            answer = await self._take(client, place, scope, receive, send, headers)
        except Refused as error:
            answer = f"http_{error.answer.status}"
            raise
        except NotDurable:
            answer = "away"
            raise
        except Exception:
            answer = "failed"
            raise
        finally:
            if answer:
                self._tally.orders[client.name, answer] += 1
                self._tally.answers.add((time.perf_counter_ns() - began_ns) // 1000)

    async def _take(
        self,
        client: Client,
        place: Place,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: Sequence[tuple[str, str]],
    ) -> str:
        """Take an order; returns what it was answered, in a word. If the client hangs up before it has its answer, the order stands, and can
        be sent again for the same ticket."""
        async with self._bodies.of(scope, receive, place.rest, client.name) as body:
            try:
                order = self._submits.read(
                    place.rest,
                    place.mode,
                    body.fields,
                    digest=body.digest,
                    key=header(scope, b"idempotency-key"),
                    client=client,
                )
                upstreams, chosen = await self._accounts_for(client, place, body)
                order = msgspec.structs.replace(order, chosen=chosen)
                await body.keep()
            except Declined as declined:
                await write(send, envelope(refused(declined.code, str(declined))), headers)
                return name_of(declined.code)
            hangs_up = asyncio.create_task(_disconnected(receive))
            try:
                placed, told = await self._submits.order(client, order, upstreams)
            finally:
                is_gone = hangs_up.done()  # asked before it is cancelled, which is an end as well
                hangs_up.cancel()
            if placed is None or not placed.is_new:
                await body.release()
        is_heard = not is_gone and not _has_hung_up(scope)
        await write(send, envelope(told), headers)
        if placed is not None and is_heard:
            self._submits.receipts.written(client.name, order.digest, placed.ticket.id)
        return "repeated" if placed is not None and not placed.is_new else name_of(told.code)

    async def _accounts_for(self, client: Client, place: Place, body: Body) -> tuple[Sequence[str], str]:
        """The accounts for an order, and why the first is the first. Raises `Declined` if none works in its mode."""
        mode = place.mode or mode_in(body.fields)
        names, why = await self._pools.for_new_work(client, mode)
        if not names:
            raise Declined(REFUSED, f"no account of {client.name} works in mode {mode!r}")
        return names, why

    async def _read(self, client: Client, place: Place, scope: Scope, receive: Receive) -> Answer:
        match scope["method"], place.rest.split("/"):
            case "GET", ["task", given, "fetch" | "refresh"]:
                return await self._reads.fetch(client, given, self._pools.members(client))
            case "GET", ["task", "list"]:
                return await self._reads.all_of(client)
            case "GET", ["task", "queue"]:
                return await self._reads.queue(client)
            case "POST", ["task", "list-by-condition" | "list-by-ids"]:
                fields = await self._fields(client, scope, receive, place)
                return await self._reads.among(client, fields, self._pools.members(client))
            case "POST", ["task", "query"]:
                return await self._reads.page(client, await self._fields(client, scope, receive, place))
            case "GET", ["task", given, "image-seed"]:
                return await self._calls.image_seed(client, given, self._pools.members(client))
            case "POST", ["task", given, "cancel"]:
                return await self._calls.cancel(client, given, self._pools.members(client))
            case "POST", ["submit", "upload-discord-images"]:
                async with self._bodies.of(scope, receive, place.rest, client.name) as body:
                    await body.keep()
                    try:
                        return await self._calls.upload(body.fields, self._pools.members(client))
                    finally:
                        await body.release()
            case "GET", ["account", "list"]:
                return await self._accounts.list(self._pools.members(client))
            case _:
                raise Refused(
                    404, NOT_FOUND, f"there is no {scope['method']} {place.rest} here. There is: {THERE_IS}"
                )

    async def _fields(
        self, client: Client, scope: Scope, receive: Receive, place: Place
    ) -> Mapping[str, object]:
        async with self._bodies.of(scope, receive, place.rest, client.name) as body:
            return body.fields


def mode_in(fields: Mapping[str, object]) -> str:
    """The mode that a body asks for: `accountFilter.modes` (Plus) or `mode` (relays); "" for any."""
    account_filter = fields.get("accountFilter")
    modes = account_filter.get("modes") if isinstance(account_filter, dict) else None
    if isinstance(modes, list) and modes and isinstance(modes[0], str):
        return modes[0]
    mode = fields.get("mode")
    return mode if isinstance(mode, str) else ""


def _has_hung_up(scope: Scope) -> bool:
    """True if the client has closed its connection, or its side of it, before the answer was written: it may never read it."""
    has_hung_up = scope.get("state", {}).get(HAS_HUNG_UP)
    return bool(has_hung_up is not None and has_hung_up())


async def _disconnected(receive: Receive) -> None:
    """Return when the client has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass
