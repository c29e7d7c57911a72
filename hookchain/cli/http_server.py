"""How our processes run uvicorn and their event loop. stopping.py says how they stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import partial

import uvicorn
from starlette.types import ASGIApp

from hookchain.cli.api import CallFailed
from hookchain.cli.stopping import stopping
from hookchain.settings.tables import KEEP_ALIVE_S
from hooks.http.connection_limits import raise_open_files
from hooks.http.connections import Connections

GRACE_S = 5
"""Seconds that open requests get to finish when the process is told to stop."""

LINGER_S = 1.0
"""Seconds during which a stopping server still answers on open connections: a router may use one before it notices."""

LISTEN_BACKLOG = 2048
"""Connections that the operating system queues until we accept them."""

ACCEPTED_AT_ONCE = 128
"""asyncio accepts up to its backlog of connections before it reports the first one, so this must stay below the limit of
open files."""

LISTENING_DESCRIPTORS = 32
"""Duplicate descriptors of the listening socket. In each iteration of its loop, uvloop accepts one connection per descriptor and
answers a request of every busy client. With one descriptor, each new client waited one iteration for every new client before it."""

_CHECK_INTERVAL_S = 0.05
_CLOSE = (b"connection", b"close")


class Server(uvicorn.Server):
    """uvicorn with a callback when it listens, and without its own end of the process after a signal."""

    def __init__(
        self,
        application: ASGIApp,
        on_ready: Callable[[], None] | None = None,
        *,
        keep_alive_s: float = KEEP_ALIVE_S,
        behind_router: bool = False,
        on_stop: Callable[[], None] | None = None,
        connections: Connections | None = None,
    ) -> None:
        """`behind_router`: every request comes through a platform's router, whose forwarding headers can be trusted.
        `on_stop` is called before the server waits for open requests. `connections` holds the limits and counters."""
        trusted = "*" if behind_router and "FORWARDED_ALLOW_IPS" not in os.environ else None
        super().__init__(
            uvicorn.Config(
                application,
                lifespan="auto",
                # uvicorn's type is narrower than what it needs: it only calls this.
                http=partial(_protocol(), Connections() if connections is None else connections),  # type: ignore[arg-type]
                backlog=ACCEPTED_AT_ONCE,
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                forwarded_allow_ips=trusted,
                timeout_graceful_shutdown=GRACE_S,
                # uvicorn declares an int, and passes it to call_later, which takes a float.
                timeout_keep_alive=keep_alive_s,  # type: ignore[arg-type]
            )
        )
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._duplicates: list[socket.socket] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then call `on_ready`."""
        sockets = [] if sockets is None else sockets
        if type(asyncio.get_running_loop()).__module__.startswith("uvloop"):
            self._duplicates = [sock.dup() for sock in sockets for _ in range(LISTENING_DESCRIPTORS - 1)]
        await super().startup(sockets=[*sockets, *self._duplicates])
        for sock in sockets:
            sock.listen(LISTEN_BACKLOG)
        if self._on_ready is not None and not self.should_exit:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer one more request on each open connection, then accept nothing more and wait for open requests.

        uvicorn itself closes idle connections at once, which loses a request that a router sends at that moment.
        """
        self.server_state.default_headers = [*self.server_state.default_headers, _CLOSE]
        if self._on_stop is not None:
            self._on_stop()
        until_s = time.monotonic() + LINGER_S
        # uvicorn has no event for a closed connection.
        while self.server_state.connections and time.monotonic() < until_s:  # noqa: ASYNC110
            await asyncio.sleep(_CHECK_INTERVAL_S)
        await super().shutdown(sockets=[*(sockets or []), *self._duplicates])

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGTERM and SIGINT. Unlike uvicorn, do not raise them again: running work must finish first."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        with stopping(lambda: self.handle_exit(signal.SIGTERM, None)):
            yield


def _protocol() -> Callable[..., asyncio.Protocol]:
    """HTTP/1.1 with httptools, or with h11 if httptools is not installed."""
    try:
        from hooks.http.protocol import Protocol
    except ImportError:
        from hooks.http import fallback

        return fallback.Protocol
    return Protocol


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket, closed at the end. Raises `CallFailed` if the address is in use."""
    sock = bound(host, port)
    try:
        yield sock
    finally:
        sock.close()


def bound(host: str, port: int) -> socket.socket:
    """A listening socket, which the caller closes. Raises `CallFailed` if the address is in use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family)
    # On Windows this option would let two processes listen on one port.
    if os.name == "posix":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise CallFailed(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port"
        ) from error
    sock.listen(LISTEN_BACKLOG)
    return sock


def run(main: Coroutine[object, None, None], *, with_psycopg: bool = False) -> None:
    """Run a coroutine to completion on the fastest event loop available, with as many open files as the system allows.
    `with_psycopg`: it uses PostgreSQL."""
    raise_open_files(sys.platform)
    with asyncio.Runner(loop_factory=_loop_factory(with_psycopg=with_psycopg)) as runner:
        runner.run(main)


def _loop_factory(*, with_psycopg: bool) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop if it is installed, else asyncio's default loop (None).

    psycopg cannot use the default loop of Windows. The selector loop there cannot start processes, so the dashboard cannot
    try rules.
    """
    try:
        import uvloop
    except ImportError:
        return asyncio.SelectorEventLoop if with_psycopg else None
    return uvloop.new_event_loop
