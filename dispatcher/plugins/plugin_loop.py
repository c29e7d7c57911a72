"""An event loop in a separate thread, for the async receivers of one plugin.

A receiver that blocks freezes only this loop. All receivers of a plugin share one loop, since long-lived objects such as clients
and locks belong to the loop in which they were first used.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from dispatcher.plugins.daemon_threads import DaemonThreads, as_failure

log = structlog.get_logger("hookchain")

TIDY_S = 0.5
"""Seconds that the tasks of a loop get to clean up when it ends."""


class Run:
    """One run of a receiver. It begins in the loop to which it was last assigned; after that it cannot be moved."""

    def __init__(self, receiver: str, work: Callable[[], Awaitable[object]]) -> None:
        self.receiver = receiver
        self.begun = asyncio.Event()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._home = asyncio.get_running_loop()
        self._work = work
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        self._assigned_to: PluginLoop | None = None
        self._task: asyncio.Task[Any] | None = None

    def assign(self, loop: PluginLoop | None) -> bool:
        """Let it begin in this loop, or in none. Returns False if it has already begun."""
        with self._lock:
            if self._task is not None:
                return False
            self._assigned_to = loop
            return True

    def begin(self, own: PluginLoop) -> None:
        """Start it; called in the loop's thread. The loop may still end, or block before the first step."""
        if own.is_ending:
            self._call_home(self.cancel)
            return
        # A copy, because two threads cannot be in one context: where the run was assigned before, it may have a step at this moment.
        own.loop.create_task(self._run(own), name=self.receiver, context=self._context.copy())

    def cancel(self) -> None:
        """Ask it to end. A blocked loop does not react."""
        if self.assign(None):
            self.ended.cancel()
        elif self._task is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and so has the run
                self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    def fail(self, error: Exception) -> None:
        """End it with an error: it cannot begin anywhere."""
        self._end(error)
        self.begun.set()

    async def _run(self, own: PluginLoop) -> None:
        with self._lock:
            if self._assigned_to is not own or self._task is not None:
                return  # it was assigned to another loop meanwhile
            self._task = asyncio.current_task()
        self._call_home(self.begun.set)
        error: BaseException | None = None
        try:
            await self._work()
        except BaseException as raised:  # anything it raises is a failure of this receiver
            error = raised
        self._call_home(self._end, error)

    def _end(self, error: BaseException | None) -> None:
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(as_failure(error))
            self.ended.exception()  # mark it as retrieved, in case nobody waits any more

    def _call_home(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function in the loop that created this run."""
        with contextlib.suppress(RuntimeError):  # that loop has ended, so nobody waits
            self._home.call_soon_threadsafe(function, *arguments)


class PluginLoop:
    """Created, and given runs, by the main loop. Its thread is a daemon, so that a hanging one does not keep the process alive."""

    def __init__(self, plugin: str) -> None:
        self.plugin = plugin
        self.loop = asyncio.new_event_loop()
        self.loop.set_default_executor(DaemonThreads())
        self.runs: set[Run] = set()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._home = asyncio.get_running_loop()
        self.is_ending = False
        self._has_tidied = False
        self._thread = threading.Thread(target=self._run_for_ever, daemon=True, name=f"plugin {plugin}")
        self._thread.start()

    def take(self, run: Run) -> None:
        """Run it in this loop, as soon as the loop is free."""
        if run.assign(self):
            self.runs.add(run)
            run.ended.add_done_callback(lambda _: self.runs.discard(run))
            self.loop.call_soon_threadsafe(run.begin, self)

    def release_waiting(self) -> list[Run]:
        """Release the runs that have not begun; they can begin in another loop."""
        waiting = [run for run in self.runs if run.assign(None)]
        self.runs.difference_update(waiting)
        return waiting

    async def responds(self, within_s: float) -> bool:
        """True if the loop responds in time: a blocked loop does not."""
        responded = asyncio.Event()
        self.loop.call_soon_threadsafe(self._home.call_soon_threadsafe, responded.set)
        try:
            async with asyncio.timeout(within_s):
                await responded.wait()
        except TimeoutError:
            return False
        return True

    def blockers(self) -> list[str]:
        """Names of the receivers that may block the loop: the one that runs now, or, if that is unknown, all that have begun."""
        with contextlib.suppress(RuntimeError):  # it has just ended
            if (task := asyncio.current_task(self.loop)) is not None and self._has(task.get_name()):
                return [task.get_name()]
        return sorted({run.receiver for run in self.runs if run.begun.is_set()})

    def _has(self, receiver: str) -> bool:
        return any(run.receiver == receiver for run in self.runs)

    def where(self) -> str:
        """The file, line and function that the thread executes now."""
        frame = sys._current_frames().get(self._thread.ident or 0)
        if frame is None:
            return "nowhere"
        return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"

    def end(self) -> None:
        """Cancel what runs and end the loop, as soon as it is free. `ended` is done when it has."""
        if not self.is_ending:
            self.is_ending = True
            self.loop.call_soon_threadsafe(lambda: self.loop.create_task(self._tidy()))

    async def _tidy(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=TIDY_S)
        await self.loop.shutdown_asyncgens()
        self._has_tidied = True
        self.loop.stop()

    def _run_for_ever(self) -> None:
        """Restart the loop if a task that nobody awaits raises SystemExit or KeyboardInterrupt, or if a plugin stops it: either would
        end it, even in the midst of `_tidy`."""
        asyncio.set_event_loop(self.loop)
        while not self._has_tidied:
            try:
                self.loop.run_forever()
            except BaseException as error:  # this is the thread's outermost function
                log.error(
                    "a background task of a plugin tried to end the process; its loop continues",
                    plugin=self.plugin,
                    exc_info=error,
                )
        self.loop.close()
        with contextlib.suppress(RuntimeError):  # the main loop has ended first
            self._home.call_soon_threadsafe(self._set_ended)

    def _set_ended(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
