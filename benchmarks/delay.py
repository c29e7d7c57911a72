"""A TCP proxy that delays every byte in each direction, as a network does: this machine's kernel cannot (tc has no netem here).

`python -m benchmarks.delay PORT TARGET DELAY_MS` runs it. TARGET is a port on this machine, or the path of a Unix socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import socket
import sys
from collections.abc import Iterator

from benchmarks.processes import free_port, started, wait_for
from benchmarks.targets import ROOT


@contextlib.contextmanager
def delayed(target: str, delay_ms: float, *, core: int | None = None) -> Iterator[tuple[int, int]]:
    """Run the proxy before a target for the time of a `with` block; its port and process id. Each way takes `delay_ms`."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.delay", str(port), target, str(delay_ms)]
    with started(command, ROOT, {"PYTHONPATH": str(ROOT)}, core=core) as process:
        wait_for(port, process)
        yield port, process.pid


class _Pipe(asyncio.Protocol):
    """One end of a connection: what it reads is written to the other end later, in order."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._early: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self.other: _Pipe | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        sock = transport.get_extra_info("socket")
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for data in self._early:
            transport.write(data)

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self._delay_s, self._pass_on, data)

    def connection_lost(self, error: Exception | None) -> None:
        asyncio.get_running_loop().call_later(self._delay_s, self._pass_on, None)

    def _pass_on(self, data: bytes | None) -> None:
        assert self.other is not None
        self.other.write(data)

    def write(self, data: bytes | None) -> None:
        """Write now, or once it is connected. None closes it."""
        if self._transport is None:
            self._early += [data] if data else []
        elif data is None:
            self._transport.close()
        elif not self._transport.is_closing():
            self._transport.write(data)


class _Front(_Pipe):
    """The end that a client connects to. It connects the other end to the target."""

    def __init__(self, target: str, delay_s: float) -> None:
        super().__init__(delay_s)
        self._target = target
        self.other = _Pipe(delay_s)
        self.other.other = self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connecting = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        loop, back = asyncio.get_running_loop(), self.other
        assert back is not None
        try:
            if self._target.isdigit():
                await loop.create_connection(lambda: back, "127.0.0.1", int(self._target))
            else:
                await loop.create_unix_connection(lambda: back, self._target)
        except OSError:
            self.write(None)


async def _serve(port: int, target: str, delay_ms: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Front(target, delay_ms / 1000), "127.0.0.1", port, backlog=256)
    await server.serve_forever()


def _main(port: str, target: str, delay_ms: str) -> None:
    # epoll waits for whole milliseconds; select's time-outs are in microseconds.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        runner.run(_serve(int(port), target, float(delay_ms)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
