"""The running parts of a test: its server, in a thread with an event loop of its own, and what has been seen of it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import msgspec

from dispatcher.effects.rehearsal import rehearsing
from dispatcher.plugins.errors import Retry
from dispatcher.plugins.signals import SIGNALS
from dispatcher.trying.dry import DOT
from hookchain.testing import home
from hookchain.testing.asked import Ask, Asked, Sent
from hookchain.testing.server import Server, Setup, State
from hookchain.testing.times import TestClock
from hookchain.testing.upstream import Left
from hookchain.testing.watching import Watch, WatchedRegistry
from midjourney.image_data import image_of_bytes
from midjourney.loading import fetching_nothing
from midjourney.requests import decode_request
from storage import clock
from storage.records import Delivery, Submission

T = TypeVar("T")


class ReceiverFailed(Exception):
    """A receiver failed, and what it raised is not known: it took too long, for example."""


class Running:
    """Starts its server when it is first needed. The test need not have an event loop; if it has one, it waits meanwhile."""

    def __init__(self) -> None:
        self.clock = TestClock()
        self.url = ""
        """A migrated, empty database to work on; "" for one of the test's own."""
        self.watch = Watch()
        self.registry = WatchedRegistry(SIGNALS, self.watch)
        self._server: Server | None = None
        self._folder: Path | None = None
        self._before = State({}, {})
        self._thread: ThreadPoolExecutor | None = None
        self._runner: asyncio.Runner | None = None
        self._recording = ExitStack()

    @property
    def server(self) -> Server:
        """The server. Only for what `do` runs."""
        assert self._server is not None, "do() comes first"
        return self._server

    def do(self, setup: Setup, work: Coroutine[object, None, Asked], *, raise_errors: bool) -> Asked:
        """Run work with the server, until nothing is left to do; returns what came of it. Raises errors of receivers, too."""
        asked = self._in_thread(self._done(setup, work))
        if raise_errors:
            self._raise(asked)
        return asked

    def close(self) -> None:
        """Stop the server."""
        if self._thread is None:
            return
        try:
            if self._server is not None:
                self._in_thread(self._server.close())
            if self._runner is not None:
                self._thread.submit(self._runner.close).result()
        finally:
            self._thread.shutdown()
            self._recording.close()
            if self._folder is not None:
                home.remove(self._folder)

    def _in_thread(self, work: Coroutine[object, None, T]) -> T:
        if self._thread is None:
            # Until the end, and not only during a call: what a plugin starts in the background may go on between two calls.
            self._recording.enter_context(rehearsing(self.watch))
            self._recording.enter_context(fetching_nothing(image_of_bytes(DOT)))
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="hookchain-test")
        return self._thread.submit(self._run, work).result()

    def _run(self, work: Coroutine[object, None, T]) -> T:
        """Run work while this process's time is the test's."""
        if self._runner is None:
            self._runner = asyncio.Runner()
        with clock.stopped(self.clock):
            return self._runner.run(work)

    async def _done(self, setup: Setup, work: Coroutine[object, None, Asked]) -> Asked:
        if self._server is None:
            if not self.url:
                self._folder = home.new()
            url = self.url or f"sqlite:///{self._folder}/hookchain.db"
            self._server = Server(url, self.registry, self.clock)
            await self._server.open()
        await self._server.configure(setup)
        self.watch.forget()
        self._server.answers.left.clear()
        asked = await work
        await self._server.settle()
        await self._tell(asked)
        return asked

    async def _tell(self, asked: Asked) -> None:
        """Complete an answer with what differs from before."""
        state, before = await self.server.state(), self._before
        self._before = state
        order = {one: number for number, one in enumerate(_in_order(self.watch))}
        new = [one for id_, one in state.submissions.items() if id_ not in before.submissions]
        new.sort(key=lambda one: order.get(one.idempotency_key, len(order)))
        asked.asks += [_ask(one, one.asked_by) for one in new]
        for id_, one in state.submissions.items():
            known = before.submissions.get(id_)
            times = one.repeats - (known.repeats if known is not None else 0)
            asked.repeats += [_ask(one, by) for by in self._repeaters(one, known is None)[:times]]
        for delivery in _changed(state, before):
            if delivery.state == "done":
                asked.decisions[delivery.receiver] = delivery.decision
            elif delivery.error:
                asked.failed[delivery.receiver] = delivery.error.strip().splitlines()[-1]
        asked.sent += [_sent(left, state) for left in self.server.answers.left]
        asked.forwarded += self.watch.was_forwarded
        asked.told += self.watch.was_told
        asked.archived += self.watch.was_archived
        for chain_id, content in state.stores.items():
            if content != before.stores.get(chain_id):
                asked.store |= msgspec.json.decode(content)

    def _repeaters(self, submission: Submission, is_new: bool) -> list[str]:
        """The receivers that asked for a submission although it was asked for before."""
        key = submission.idempotency_key
        by = [one.receiver for one in self.watch.requested if one.staged.idempotency_key == key]
        if is_new and submission.asked_by in by:
            by.remove(submission.asked_by)
        return by or [submission.asked_by]

    def _raise(self, asked: Asked) -> None:
        for _, error in self.watch.errors:
            if not isinstance(error, Retry):
                raise error
        known = {receiver for receiver, _ in self.watch.errors}
        for receiver, why in asked.failed.items():
            if receiver not in known:
                raise ReceiverFailed(f"{receiver}: {why}")


def _in_order(watch: Watch) -> list[str]:
    """The keys of what was staged, by event and receiver, whichever of several receivers was quicker."""
    requested = sorted(watch.requested, key=lambda one: (one.event_id, one.receiver))
    return list(dict.fromkeys(one.staged.idempotency_key for one in requested))


def _changed(state: State, before: State) -> list[Delivery]:
    return [one for id_, one in state.deliveries.items() if one != before.deliveries.get(id_)]


def _ask(submission: Submission, receiver: str) -> Ask:
    return Ask(
        id=submission.id,
        receiver=receiver,
        kind=submission.kind,
        label=submission.label,
        request=decode_request(submission.request),
        after_s=max(0, submission.run_at_ms - submission.created_at_ms) / 1000
        if not submission.attempts
        else 0.0,
        priority=submission.priority,
        upstream=submission.upstream,
        chain_id=submission.chain_id,
        depth=submission.depth,
        refused=submission.reason if submission.state == "refused" else "",
    )


def _sent(left: Left, state: State) -> Sent:
    submission = state.submissions[left.submission_id]
    return Sent(
        id=left.submission_id,
        kind=submission.kind,
        label=submission.label,
        upstream=left.upstream,
        path=left.path,
        body=left.body,
    )
