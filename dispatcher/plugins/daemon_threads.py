"""Threads for blocking calls: `in_thread` for a single call, `DaemonThreads` for `asyncio.to_thread` in plugins.

At exit the interpreter waits for the threads of the standard library's pool, so a thread that hangs would keep the process from
ending. It does not wait for these.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar, cast

T = TypeVar("T")

AT_ONCE = 32
"""The most threads of a pool, as in the standard library."""


def as_failure(error: BaseException) -> Exception:
    """Convert what a receiver raised to an `Exception` that a future can hold: KeyboardInterrupt and SystemExit would end the
    loop they reach, and futures reject StopIteration."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    failure = RuntimeError(f"{type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure


async def in_thread(function: Callable[[], T]) -> T:
    """Run a blocking function in a thread of its own.

    Not in a pool: a function that hangs would occupy one of its threads for ever, and keep the process from ending.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return  # the caller has stopped waiting: its time was up
        if error is not None:
            done.set_exception(as_failure(error))
        else:
            done.set_result(cast(T, result))

    def run() -> None:
        result, error = None, None
        try:
            result = function()
        except BaseException as raised:  # raised again where the caller waits
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended, so nobody waits
            loop.call_soon_threadsafe(finish, result, error)

    threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True, name="receiver").start()
    return await done


class DaemonThreads(ThreadPoolExecutor):
    """A pool of daemon threads. A ThreadPoolExecutor only by type, because event loops accept nothing else.

    A call starts a thread, which then runs the calls that are waiting.
    """

    def __init__(self) -> None:
        super().__init__(1)
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._busy = 0

    def submit(self, function: Callable[..., T], /, *arguments: Any, **named: Any) -> Future[T]:
        """Run a call, as `ThreadPoolExecutor.submit` does."""
        future: Future[T] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function(*arguments, **named))
            except BaseException as error:  # raised again where the caller waits
                future.set_exception(as_failure(error))

        with self._lock:
            self._waiting.append(call)
            if self._busy < AT_ONCE:
                threading.Thread(target=self._work, daemon=True, name="plugin's call").start()
                self._busy += 1
        return future

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._busy -= 1
                    return
                call = self._waiting.popleft()
            call()
