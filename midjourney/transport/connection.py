"""One connection: writes a request, and reads its answer in slices.

**Slices.** At most `SLICE_BYTES` are parsed before other tasks get a turn. After a full slice, reading stops until the next turn: libuv
alone would read 32 times in one. It goes on once the slice has been taken, so that no server fills the memory of a slow reader.

**Money.** No byte leaves before `Steps.leaving` allows it, and nothing is awaited between its answer and the first write. From then on
every failure is one after which the request may have arrived.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import cast

import httpx

from midjourney.slices import SLICE_BYTES
from midjourney.steps import Steps
from midjourney.transport.answers import Answers

PIECE_BYTES = 64 * 1024
"""A longer request is written in pieces of this size: encrypting all of it would block the event loop."""


class Connection(asyncio.BufferedProtocol):
    """A connection that is used for one request at a time. `on_lost` is called when it has ended."""

    def __init__(self, on_lost: Callable[[Connection], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._buffer = memoryview(bytearray(SLICE_BYTES))
        self._readable: select.poll | None = None
        self._answers = Answers()
        self._steps: Steps | None = None
        self._error: Exception | None = None
        self._changed: asyncio.Future[None] | None = None
        self._is_held = False
        self._may_write = True
        self._is_written = True
        self.idle_since_s = 0.0
        """When it became idle, by the event loop's clock."""
        self.lost: asyncio.Future[None] = self._loop.create_future()

    # What the pool asks.

    @property
    def is_ready(self) -> bool:
        """True if the next request may be written: the last one and its answer are complete, and nothing else has arrived."""
        answers = self._answers
        return (
            answers.is_complete
            and not answers.is_dirty
            and self._is_written
            and self._error is None
            and self._transport is not None
            and not self._transport.is_closing()
        )

    @property
    def is_reusable(self) -> bool:
        """True if it may be kept: it is ready, and the server keeps it open."""
        return self.is_ready and self._answers.keeps_alive

    def is_quiet(self) -> bool:
        """True if nothing waits to be read, such as the end of the connection, which the event loop may not have seen yet."""
        if self._readable is None:
            return self._transport is not None
        return not self._readable.poll(0)

    def close(self) -> None:
        """End the connection at once."""
        if not self._answers.is_complete and self._error is None:
            # Otherwise a body that ends with its connection would seem complete.
            self._error = httpx.ReadError("the connection has been closed")
        if self._transport is not None:
            self._transport.abort()

    # One request and its answer.

    async def send(
        self,
        method: str,
        head: bytes,
        body: bytes,
        steps: Steps | None,
        within_s: float | None,
        rest: AsyncGenerator[bytes] | None = None,
    ) -> None:
        """Write a request on a connection that is ready. Raises what `Steps.leaving` raises, before the first byte is written.

        `rest` gives the pieces of a body that is not held as a whole; `body` is its beginning. If the answer comes earlier, the rest is not written, and the connection will not be used again.
        """
        transport = self._transport
        assert transport is not None
        if steps is not None:
            steps.leaving()
        self._steps = steps
        self._answers.begin(method)
        if rest is None and len(head) + len(body) <= PIECE_BYTES:
            transport.write(head + body)
        else:
            self._is_written = False
            try:
                async with asyncio.timeout(within_s):
                    self._is_written = await self._write_all(transport, head + body, rest)
            except TimeoutError as error:
                raise httpx.WriteTimeout("the request could not be written in time") from error
        if steps is not None:
            steps.written()

    async def _write_all(
        self, transport: asyncio.Transport, beginning: bytes, rest: AsyncGenerator[bytes] | None
    ) -> bool:
        """Write all of a request; returns False if it became useless."""
        if not await self._write_pieces(transport, memoryview(beginning)):
            return False
        if rest is not None:
            async with aclosing(rest):
                async for piece in rest:
                    if not await self._write_pieces(transport, memoryview(piece)):
                        return False
        return True

    async def _write_pieces(self, transport: asyncio.Transport, request: memoryview) -> bool:
        transport.set_write_buffer_limits(0)
        for start in range(0, len(request), PIECE_BYTES):
            transport.write(request[start : start + PIECE_BYTES])
            while not self._may_write and not self._is_over():
                await self._change()
            if self._is_over():
                return False
        return True

    def _is_over(self) -> bool:
        """True if writing on is useless."""
        return self._error is not None or self._answers.status > 0

    async def head(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """The status and the headers of the answer. Raises httpx's errors, and those of `Steps.received`."""
        while not self._answers.status and self._error is None:
            await self._change()
        self._raise()
        return self._answers.status, self._answers.headers

    async def parts(self) -> list[bytes]:
        """The next pieces of the body; none at its end. Raises as `head` does."""
        while not self._answers.parts and not self._answers.is_complete and self._error is None:
            await self._change()
        if parts := self._answers.take():
            self._go_on()
            return parts
        self._raise()
        return []

    def finish(self) -> None:
        """Note that nobody reads the answer any more."""
        self._answers.take()
        self._steps = None
        self._go_on()

    async def _change(self) -> None:
        """Wait until something happens."""
        self._changed = self._loop.create_future()
        await self._changed

    def _raise(self) -> None:
        if (error := self._error) is not None:
            # Not `raise self._error`: it would refer to this frame, which refers to it, and to everything received so far.
            self._error = httpx.ReadError("the connection has failed")
            try:
                raise error
            finally:
                del error

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = cast(asyncio.Transport, transport)
        if hasattr(select, "poll"):  # not on Windows
            self._readable = select.poll()
            self._readable.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def get_buffer(self, sizehint: int) -> memoryview:
        """See asyncio."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Parse a slice."""
        if self._answers.is_complete:
            self._answers.is_dirty = True
            self.close()
            return
        try:
            if self._steps is not None:
                self._steps.received(nbytes)
            error: Exception | None = self._answers.feed(self._buffer[:nbytes])
        except Exception as refused:  # any error ends the exchange; it is raised where the answer is awaited
            error = refused
        if error is not None:
            self._fail(error)
        elif nbytes == SLICE_BYTES or self._answers.unread_bytes >= SLICE_BYTES:
            self._hold()
        self._wake()

    def eof_received(self) -> bool:
        """The server has ended its side, so it answers nothing any more."""
        self._end(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._end(exc)
        self._answers.let_go()
        if not self.lost.done():
            self.lost.set_result(None)
        self._on_lost(self)

    def pause_writing(self) -> None:
        """See asyncio."""
        self._may_write = False

    def resume_writing(self) -> None:
        """See asyncio."""
        self._may_write = True
        self._wake()

    def _end(self, reason: Exception | None) -> None:
        if reason is not None and not self._answers.is_complete:
            self._fail(httpx.ReadError(str(reason) or type(reason).__name__))
        elif (error := self._answers.end()) is not None:
            self._fail(error)
        self._wake()

    def _fail(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
        self.close()

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def _hold(self) -> None:
        if self._transport is not None and not self._is_held and not self._transport.is_closing():
            self._is_held = True
            self._transport.pause_reading()
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Read on, if what was read has been taken."""
        if self._is_held and not self._answers.parts:
            self._is_held = False
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()
