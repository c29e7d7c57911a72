"""Runs receivers: harmless ones in the main loop, those of plugins where they can freeze only their own plugin.

A plain function runs in a thread, an async function in the loop of its plugin, in another thread. Neither a thread nor a blocked
loop can be stopped. When its time is up the run is abandoned, but still counts as a run of its receiver; later deliveries
get a new loop.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec
import structlog

from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.plugins.daemon_threads import in_thread
from dispatcher.plugins.plugin_loop import PluginLoop, Run
from dispatcher.plugins.receivers import Receiver

log = structlog.get_logger("hookchain")

T = TypeVar("T")

BLOCKED_S = 1.0
"""Seconds after which the log reports a loop that does not respond."""

MOVE_ON_S = 4.0
"""More seconds until waiting runs move to a new loop. Not sooner, because a plugin's clients belong to the old loop."""

TIDY_S = 1.0
"""Seconds that a cancelled async receiver gets to end: its traceback then shows what it waited for."""

END_WITHIN_S = 1.0
"""Seconds that the plugins' loops get when the process stops."""


class Arguments(Protocol):
    """What a receiver is called with."""

    @property
    def action(self) -> str:
        """The sender."""

    def arguments(self) -> dict[str, object]:
        """The keyword arguments."""


class Runner:
    """Runs receivers for one process. `on_end` is called when an abandoned run ends."""

    def __init__(self, on_end: Callable[[], None] = lambda: None) -> None:
        self._on_end = on_end
        self._loops: dict[str, PluginLoop] = {}
        self._abandoned: Counter[str] = Counter()
        self._blocked: set[PluginLoop] = set()
        self._watches: dict[PluginLoop, asyncio.Task[None]] = {}

    def abandoned(self, receiver: str) -> int:
        """The number of a receiver's abandoned runs that have not ended."""
        return self._abandoned[receiver]

    async def run(self, receiver: Receiver, context: Arguments) -> None:
        """Run a receiver to its end. Raises what it raises, as an `Exception`, and `TimeoutError`."""
        function, timeout_s = receiver.function, receiver.options.timeout_s
        call = partial(function, context.action, **context.arguments())
        if receiver.options.harmless:
            async with asyncio.timeout(timeout_s):
                await call()
        elif inspect.iscoroutinefunction(function):
            await self._in_plugin_loop(receiver, call)
        elif inspect.isawaitable(result := await self._in_thread(receiver, call)):
            await self._in_plugin_loop(receiver, lambda: result)

    async def close(self) -> None:
        """End the plugins' loops. One that does not respond is abandoned: its thread ends with the process."""
        for watch in self._watches.values():
            watch.cancel()
        loops = [*self._loops.values(), *self._blocked]
        for own in loops:
            own.end()
        if loops:
            await asyncio.wait([own.ended for own in loops], timeout=END_WITHIN_S)
        for own in loops:
            if not own.ended.done():
                log.warning(
                    "a plugin does not stop; hookchain abandons it", plugin=own.plugin, at=own.where()
                )

    async def _in_thread(self, receiver: Receiver, call: Callable[[], T]) -> T:
        thread = asyncio.ensure_future(in_thread(call))
        await self._until_ended(receiver, thread)
        return thread.result()

    async def _in_plugin_loop(self, receiver: Receiver, work: Callable[[], Awaitable[object]]) -> None:
        run = Run(receiver.name, work)
        self._give(plugin_of(receiver.function), run)
        try:
            await run.begun.wait()
            await self._until_ended(receiver, run.ended, run.cancel)
        finally:
            if not run.ended.done():
                run.cancel()

    async def _until_ended(
        self, receiver: Receiver, ended: asyncio.Future[Any], cancel: Callable[[], None] | None = None
    ) -> None:
        """Wait for the end of a run, and raise its error. A run that does not end in time is abandoned."""
        timeout_s = receiver.options.timeout_s
        try:
            await asyncio.wait([ended], timeout=timeout_s)
            if ended.done():
                ended.result()
                return
            if cancel is not None:
                cancel()
                await asyncio.wait([ended], timeout=TIDY_S)
            cause = ended.exception() if ended.done() else None
            if not ended.done() and self._abandoned[receiver.name] + 1 >= receiver.options.concurrency:
                log.error(
                    "receiver hangs, and gets no more runs until one of its runs ends or the process restarts",
                    receiver=receiver.name,
                    runs=self._abandoned[receiver.name] + 1,
                )
            raise TimeoutError(f"{receiver.name} did not end within {timeout_s:g} s") from cause
        finally:
            if not ended.done():
                self._abandoned[receiver.name] += 1
                ended.add_done_callback(lambda ended: self._has_ended(receiver.name, ended))

    def _has_ended(self, receiver: str, ended: asyncio.Future[Any]) -> None:
        if not ended.cancelled():
            ended.exception()  # mark it as retrieved: nobody waits for it any more
        self._abandoned[receiver] -= 1
        self._on_end()

    def _give(self, plugin: str, run: Run) -> None:
        if plugin not in self._loops:
            self._loops[plugin] = PluginLoop(plugin)
        own = self._loops[plugin]
        own.take(run)
        if own not in self._watches:
            self._watches[own] = asyncio.create_task(self._watch(own))

    async def _watch(self, own: PluginLoop) -> None:
        """While a loop has runs: log which receiver blocks it, and move waiting runs to another loop."""
        try:
            while own.runs:
                await asyncio.sleep(BLOCKED_S)
                if own.runs and not await own.responds(BLOCKED_S):
                    log.warning(
                        "receiver blocks its plugin's event loop: use async calls, or a plain function",
                        receiver=", ".join(own.blockers()),
                        plugin=own.plugin,
                        at=own.where(),
                    )
                    if not await own.responds(MOVE_ON_S):
                        self._move_on(own)
                        return
        finally:
            del self._watches[own]

    def _move_on(self, own: PluginLoop) -> None:
        """Move the runs that wait for a blocked loop to a new one; the old loop ends when it can."""
        del self._loops[own.plugin]
        self._blocked.add(own)
        own.ended.add_done_callback(lambda _: self._blocked.discard(own))
        for run in own.release_waiting():
            try:
                self._give(own.plugin, run)
            except RuntimeError as error:  # no more threads can be started
                run.fail(error)
        for run in own.runs:
            run.ended.add_done_callback(lambda _: None if own.runs else own.end())
        if not own.runs:
            own.end()


def plugin_of(function: Callable[..., Any]) -> str:
    """The package of a receiver: its receivers share a loop."""
    while isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__module__", None) or "?").partition(".")[0]


def for_other_loops(handles: Mapping[str, UpstreamHandle]) -> dict[str, UpstreamHandle]:
    """Handles for receivers in other loops. Connections belong to the loop this is called in, so that loop sends the requests."""
    return {
        name: msgspec.structs.replace(
            handle, refresh=_in_this_loop(handle.refresh), read_back=_in_this_loop(handle.read_back)
        )
        for name, handle in handles.items()
    }


def _in_this_loop(ask: Callable[[str], Awaitable[T]] | None) -> Callable[[str], Awaitable[T]] | None:
    if ask is None:
        return None
    home = asyncio.get_running_loop()

    async def ask_at_home(task_id: str) -> T:
        return await ask(task_id)

    async def ask_from_elsewhere(task_id: str) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(ask_at_home(task_id), home))

    return ask_from_elsewhere
