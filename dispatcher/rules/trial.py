"""Rules tried from a server: in a process of its own, one at a time, which is ended when its time is up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec

from dispatcher.errors import RuleError
from dispatcher.rules import tryout
from dispatcher.rules.tryout import LENGTH_BYTES, Asked, Happened, Heard, Mistake, Outcome, framed

LARGEST_ANSWER = 4 * 1024 * 1024

Find = Callable[[Sequence[str]], Awaitable[Happened]]
"""What happened, of these signals."""

_PASSED_ON = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME")
"""By which an interpreter is found that stands in an unusual place. Nothing else: our environment has secrets in it."""


class GivenUp(Exception):
    """The rules took more time or memory than they may."""


class Busy(Exception):
    """Other rules are being tried."""


class Trials:
    """Tries rules, one file at a time: what takes a processor for itself may not take all of them."""

    def __init__(self) -> None:
        self._is_running = False

    async def run(self, asked: Asked, find: Find) -> Outcome:
        """What the rules would have done. Raises `RuleError` for a mistake in them, `GivenUp`, and `Busy`."""
        if self._is_running:
            raise Busy("other rules are being tried at the moment; try again when they have been")
        self._is_running = True
        try:
            async with asyncio.timeout(tryout.WITHIN_S), _started() as process:
                return await _tried(process, asked, find)
        except (TimeoutError, OSError, EOFError) as error:
            said = f"the rules took more than {tryout.WITHIN_S} s, or more memory than they may, and were given up"
            raise GivenUp(said) from error
        finally:
            self._is_running = False


async def _tried(process: Process, asked: Asked, find: Find) -> Outcome:
    said = await _exchange(process, asked)
    if isinstance(said, Heard):
        said = await _exchange(process, await find(said.signals))
    if isinstance(said, Mistake):
        raise RuleError(said.told)
    assert isinstance(said, Outcome)
    return said


async def _exchange(process: Process, message: msgspec.Struct) -> Heard | Mistake | Outcome:
    """Send a message, and take the answer. Raises `OSError` or `EOFError` when the process ends before."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(framed(message))
    await process.stdin.drain()
    length = int.from_bytes(await process.stdout.readexactly(LENGTH_BYTES))
    if length > LARGEST_ANSWER:
        raise EOFError(f"an answer of {length} bytes is not read")
    body = await process.stdout.readexactly(length)
    return msgspec.msgpack.decode(body, type=Heard | Mistake | Outcome)


@asynccontextmanager
async def _started() -> AsyncIterator[Process]:
    """The process; at the end it is no more. It inherits standard error, for a traceback of ours, and nothing else."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", tryout.__name__, stdin=PIPE, stdout=PIPE, env=_environment(), cwd="/"
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()  # and not `wait`, for which what it has written must have been read


def _environment() -> dict[str, str]:
    """That of a process which finds the modules that we have found."""
    path = os.pathsep.join(os.path.abspath(one) for one in sys.path)
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | {"PYTHONPATH": path}
