"""What clients ask of one task beyond its state: its seed, an end to it, and pictures uploaded for a prompt. All of it is free."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial

from dispatcher.by_hand import commands
from dispatcher.by_hand.commands import CommandError
from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.tickets import targets
from dispatcher.tickets.answers import FAILED, NOT_FOUND, REFUSED, Envelope
from dispatcher.tickets.clients import Client
from dispatcher.tickets.shown import CANCELLED, standing_of
from hooks.gateway.answering import Answer, Refused, envelope
from midjourney.errors import ProtocolError
from midjourney.requests import Cancel
from storage import clock
from storage.engine import Connection, Database
from storage.tickets import seeds, withdrawing

SEED_WITHIN_S = 60.0


class TaskCalls:
    """The handlers. `seed_of` and `upload_to` ask an account, by its name."""

    def __init__(
        self,
        database: Database,
        handles: Mapping[str, UpstreamHandle],
        seed_of: Callable[[str, str], Coroutine[object, object, str]],
        upload_to: Callable[[str, list[str]], Coroutine[object, object, list[str]]],
    ) -> None:
        self._database = database
        self._handles = handles
        self._seed_of = seed_of
        self._upload_to = upload_to
        self._asking: dict[tuple[str, str], asyncio.Task[str]] = {}

    async def image_seed(self, client: Client, given: str, upstreams: Sequence[str]) -> Answer:
        """The seed of an image, which the account is asked for once."""
        target = await self._target(client, given, upstreams)
        if not target.task_id:
            raise Refused(200, REFUSED, f"task {given} has no image yet")
        where = (target.upstream, target.task_id)
        seed = await self._database.read(lambda connection: seeds.find(connection, *where))
        if not seed:
            self._must_be_configured(given, target.upstream)
            seed = await self._asked(where)
        return envelope(Envelope(code=1, description="success", result=seed))

    async def _asked(self, where: tuple[str, str]) -> str:
        """The seed as the account tells it, asked for once by all who wait. Raises `Refused`."""
        asking = self._asking.get(where)
        if asking is None:
            asking = self._asking[where] = asyncio.create_task(self._ask(*where), name="image-seed")
            asking.add_done_callback(lambda _: self._asking.pop(where, None))
        try:
            async with asyncio.timeout(SEED_WITHIN_S):
                return await asyncio.shield(asking)
        except (ProtocolError, TimeoutError) as error:
            why = str(error) or "it took too long"
            raise Refused(200, FAILED, f"the account gave no seed: {why}"[:300]) from error

    async def _ask(self, upstream: str, task_id: str) -> str:
        seed = await self._seed_of(upstream, task_id)
        await self._database.write("seed", lambda connection: seeds.keep(connection, upstream, task_id, seed))
        return seed

    async def cancel(self, client: Client, given: str, upstreams: Sequence[str]) -> Answer:
        """End a task: here if nothing of it has left, otherwise at its account."""
        target = await self._target(client, given, upstreams)

        def work(connection: Connection) -> bool:
            now_ms = clock.now_ms()
            if target.ticket is not None and withdrawing.withdraw(
                connection, target.ticket, CANCELLED, now_ms
            ):
                return True
            if not target.task_id:
                return False
            self._must_be_configured(given, target.upstream)
            commands.submit(
                connection,
                Cancel(task_id=target.task_id),
                upstream=target.upstream,
                dialect=self._handles[target.upstream].dialect,
                asked_by=f"client {client.name}",
                now_ms=now_ms,
                client=client.name,
            )
            return True

        if target.known is not None and standing_of(target.known).has_ended:
            raise Refused(200, REFUSED, f"task {given} has ended")
        try:
            done = await self._database.write("cancel", work)
        except CommandError as error:
            raise Refused(200, REFUSED, str(error)) from error
        if not done:
            raise Refused(200, FAILED, f"task {given} is being submitted; try again in a moment")
        self._database.wakeups.wake("events", "submissions")
        return envelope(Envelope(code=1, description="success", result=given))

    async def upload(self, fields: Mapping[str, object], upstreams: Sequence[str]) -> Answer:
        """Upload pictures where Midjourney can load them; `result` is the list of their addresses."""
        images = fields.get("base64Array")
        if not isinstance(images, list) or not images or not all(isinstance(image, str) for image in images):
            raise Refused(200, REFUSED, "base64Array: write a list of pictures")
        try:
            links = await self._upload_to(upstreams[0], [str(image) for image in images])
        except ProtocolError as error:
            raise Refused(200, FAILED, str(error)[:300]) from error
        return Answer(body={"code": 1, "description": "success", "result": links, "properties": {}})

    def _must_be_configured(self, given: str, upstream: str) -> None:
        if upstream not in self._handles:
            raise Refused(200, REFUSED, targets.removed(given, upstream))

    async def _target(self, client: Client, given: str, upstreams: Sequence[str]) -> targets.Target:
        target = await self._database.read(
            partial(targets.find, client=client.name, given=given, upstreams=upstreams, now_ms=clock.now_ms())
        )
        # What only the account may know is answered like another client's: the difference would tell which of them exist.
        if target is None or target.is_new:
            raise Refused(404, NOT_FOUND, f"there is no task {given!r}")
        return target
