"""Tries rules for a server: in a separate process, one at a time, which is killed when its time is up."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec

from dispatcher.confined.keeper import clean_environment
from dispatcher.plugins.errors import RuleError
from dispatcher.trying import tryout
from dispatcher.trying.tryout import (
    LENGTH_BYTES,
    Prediction,
    RecordedEvents,
    RulesLoaded,
    TrialRequest,
    UnusableRules,
    framed,
)

LARGEST_ANSWER = 4 * 1024 * 1024

FindEvents = Callable[[RulesLoaded], Awaitable[RecordedEvents]]
"""Reads the recorded events that rules need."""


class TrialOverran(Exception):
    """The rules exceeded the limit of time or memory."""


class Busy(Exception):
    """Other rules are being tried now."""


class Trials:
    """Tries one file of rules at a time: a trial may keep one processor busy, but not all of them."""

    def __init__(self) -> None:
        self._is_running = False

    async def run(self, request: TrialRequest, find: FindEvents) -> Prediction:
        """Predict what the rules would have done. Raises `RuleError` for a mistake in them, `TrialOverran`, and `Busy`."""
        if self._is_running:
            raise Busy("other rules are being tried at the moment; try again in a few seconds")
        self._is_running = True
        try:
            async with asyncio.timeout(tryout.WITHIN_S), _started() as process:
                return await _answered(process, request, find)
        except TimeoutError as error:
            raise TrialOverran(_overran(f"took more than {tryout.WITHIN_S} s")) from error
        except OSError as error:
            raise TrialOverran(f"no process to try the rules in could be started: {error}") from error
        finally:
            self._is_running = False


def _overran(limit: str) -> str:
    return f"the rules {limit}; the trial was stopped: choose fewer days, or use `hookchain rules try`"


def _why_it_ended(code: int) -> str:
    """Which limit ended the process, by its exit code."""
    if code == tryout.OUT_OF_MEMORY:
        return _overran(f"needed more than {tryout.MEMORY_BYTES // 1024**2} MB of memory")
    if code < 0:  # by the system, which says no more
        return _overran(f"took more than {tryout.WITHIN_S} s of processor time, or too much memory")
    return _overran(f"ended their process with the code {code}")


async def _answered(process: Process, request: TrialRequest, find: FindEvents) -> Prediction:
    try:
        return await _predicted(process, request, find)
    except (ConnectionError, EOFError) as error:
        raise TrialOverran(_why_it_ended(await process.wait())) from error


async def _predicted(process: Process, request: TrialRequest, find: FindEvents) -> Prediction:
    answer = await _exchange(process, request)
    if isinstance(answer, RulesLoaded):
        answer = await _exchange(process, await find(answer))
    if isinstance(answer, UnusableRules):
        raise RuleError(answer.error)
    assert isinstance(answer, Prediction)
    return answer


async def _exchange(process: Process, message: msgspec.Struct) -> RulesLoaded | UnusableRules | Prediction:
    """Send a message, and read the answer. Raises `ConnectionError` or `EOFError` if the process ends first."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(framed(message))
    await process.stdin.drain()
    length = int.from_bytes(await process.stdout.readexactly(LENGTH_BYTES))
    if length > LARGEST_ANSWER:
        raise TrialOverran(_overran(f"gave an answer of {length} bytes, which is too long"))
    body = await process.stdout.readexactly(length)
    return msgspec.msgpack.decode(body, type=RulesLoaded | UnusableRules | Prediction)


@asynccontextmanager
async def _started() -> AsyncIterator[Process]:
    """Start the process, and kill it at the end. It inherits standard error, for tracebacks, and nothing else."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", tryout.__name__, stdin=PIPE, stdout=PIPE, env=clean_environment(), cwd="/"
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()  # `wait` could hang: it needs the output to have been read
