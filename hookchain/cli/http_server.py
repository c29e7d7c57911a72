"""uvicorn as our processes run it, and how they stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Literal

import uvicorn
from starlette.types import ASGIApp

from hookchain.cli.api import CallFailed
from hookchain.settings import KEEP_ALIVE_S

GRACE_S = 5
"""Seconds that open requests get when the process is asked to stop."""

LINGER_S = 1.0
"""Seconds for which a server that stops still answers on open connections: a router may use one before it hears of it."""

_LOOK_EVERY_S = 0.05
_CLOSE = (b"connection", b"close")

_STOPPED_BY = [
    number
    for name in ("SIGTERM", "SIGINT", "SIGBREAK")
    if (number := getattr(signal, name, None)) is not None
]
"""SIGINT is how Fly.io stops a machine; SIGBREAK is Ctrl+Break on Windows."""


class Server(uvicorn.Server):
    """uvicorn, which tells when it listens, and leaves the process to us when it is asked to stop."""

    def __init__(
        self,
        application: ASGIApp,
        on_ready: Callable[[], None] | None = None,
        *,
        keep_alive_s: float = KEEP_ALIVE_S,
        behind_router: bool = False,
        on_stop: Callable[[], None] | None = None,
    ) -> None:
        """`behind_router`: nobody reaches us but through a platform's router, whose headers are true. `on_stop` is called
        before open requests are waited for."""
        trusted = "*" if behind_router and "FORWARDED_ALLOW_IPS" not in os.environ else None
        super().__init__(
            uvicorn.Config(
                application,
                lifespan="auto",
                http=_http(),
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                forwarded_allow_ips=trusted,
                timeout_graceful_shutdown=GRACE_S,
                timeout_keep_alive=keep_alive_s,  # type: ignore[arg-type]  # it is given to call_later
            )
        )
        self._on_ready = on_ready
        self._on_stop = on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets=sockets)
        if self._on_ready is not None and not self.should_exit:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what still comes on open connections, each for the last time; then take nothing more, and wait for what is
        open. uvicorn alone closes idle connections at once, and loses what a router sends on one in that moment."""
        self.server_state.default_headers = [*self.server_state.default_headers, _CLOSE]
        if self._on_stop is not None:
            self._on_stop()
        until_s = time.monotonic() + LINGER_S
        # uvicorn has no event for a connection that is gone.
        while self.server_state.connections and time.monotonic() < until_s:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_EVERY_S)
        await super().shutdown(sockets=sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGTERM and SIGINT, without uvicorn's raising them again: what runs must be finished first."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        with stopping(lambda: self.handle_exit(signal.SIGTERM, None)):
            yield


def _http() -> type[asyncio.Protocol] | Literal["h11"]:
    """HTTP/1.1 by httptools, or by h11 where there is none; h11 ignores offers of an upgrade by itself."""
    try:
        from hooks.http.protocol import Protocol
    except ImportError:
        return "h11"
    return Protocol


@contextlib.contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Have `stop` called by the loop at a signal that asks the process to stop.

    Not by `add_signal_handler`, which no loop on Windows has.
    """
    loop = asyncio.get_running_loop()
    before = {
        number: signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop)) for number in _STOPPED_BY
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens. Raises `CallFailed` when the address is taken."""
    sock = bound(host, port)
    try:
        yield sock
    finally:
        sock.close()


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens, which the caller closes. Raises `CallFailed` when the address is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family)
    if os.name == "posix":  # on Windows it would let two processes listen on one port
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise CallFailed(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port"
        ) from error
    sock.listen(2048)
    return sock


def run(main: Coroutine[Any, Any, None], *, with_psycopg: bool = False) -> None:
    """Run it to its end, on the quickest loop there is. `with_psycopg`: it asks a PostgreSQL."""
    with asyncio.Runner(loop_factory=_loop_factory(with_psycopg=with_psycopg)) as runner:
        runner.run(main)


def _loop_factory(*, with_psycopg: bool) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where there is one, else asyncio's own loop (None). psycopg cannot use the one of Windows; the other loop there
    starts no processes, so that rules are not tried on the dashboard."""
    try:
        import uvloop
    except ImportError:
        return asyncio.SelectorEventLoop if with_psycopg else None
    return uvloop.new_event_loop
