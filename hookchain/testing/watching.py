"""Watches the receivers of a test: what each stages, raises, and would have sent to other systems."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

import msgspec

from dispatcher.plugins.chain import Chain
from dispatcher.plugins.receivers import Receiver, Registry
from hookchain.testing.asked import Archived, Forwarded, Told
from storage.records import Event, Staged

_present: ContextVar[str] = ContextVar("receiver", default="")
"""The receiver that runs in this task or thread."""


class Requested(msgspec.Struct, frozen=True):
    """A submission that a receiver staged, and the event for which it did."""

    event_id: int
    receiver: str
    staged: Staged


class Watch:
    """What has happened since `forget`. Called in the threads of plugins, too: appending to a list is safe there."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.requested: list[Requested] = []
        self.errors: list[tuple[str, BaseException]] = []
        self.was_forwarded: list[Forwarded] = []
        self.was_told: list[Told] = []
        self.was_archived: list[Archived] = []

    @contextmanager
    def running(self, receiver: str, event: Event, chain: Chain) -> Iterator[None]:
        """Watch one run of a receiver."""
        before = _present.set(receiver)
        try:
            yield
        except BaseException as error:
            self.errors.append((receiver, error))
            raise
        finally:
            _present.reset(before)
        self.requested += [Requested(event.id, receiver, staged) for staged in chain.staged]

    def forwarded(self, method: str, url: str, content: bytes, headers: Mapping[str, str]) -> None:
        """See `Rehearsal`."""
        body = content.decode()
        self.was_forwarded.append(
            Forwarded(receiver=_present.get(), method=method, url=url, body=body, headers=dict(headers))
        )

    def told(self, to: Sequence[str], title: str, text: str, attached: Sequence[str]) -> None:
        """See `Rehearsal`."""
        self.was_told.append(
            Told(receiver=_present.get(), to=tuple(to), title=title, text=text, attached=tuple(attached))
        )

    def kept(self, to: str, name: str, data: bytes) -> None:
        """See `Rehearsal`."""
        self.was_archived.append(Archived(receiver=_present.get(), to=to, name=name))


class WatchedRegistry(Registry):
    """The receivers, each of them watched."""

    def __init__(self, signals: Mapping[str, Any], watch: Watch) -> None:
        super().__init__(signals)
        self._watch = watch

    def get(self, name: str) -> Receiver | None:
        """See `Registry`."""
        receiver = super().get(name)
        if receiver is None:
            return None
        return msgspec.structs.replace(receiver, function=self._watched(name, receiver.function))

    def _watched(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def run(sender: str, *, event: Event, chain: Chain, **named: object) -> None:
                with self._watch.running(name, event, chain):
                    await function(sender, event=event, chain=chain, **named)

            return run

        @wraps(function)
        def call(sender: str, *, event: Event, chain: Chain, **named: object) -> Awaitable[None] | None:
            with self._watch.running(name, event, chain):
                result = function(sender, event=event, chain=chain, **named)
            return self._awaiting(name, result, event, chain) if inspect.isawaitable(result) else None

        return call

    async def _awaiting(self, name: str, result: Awaitable[object], event: Event, chain: Chain) -> None:
        with self._watch.running(name, event, chain):
            await result
