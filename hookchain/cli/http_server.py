"""uvicorn as our processes run it, and how they stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import uvicorn
import uvloop
from starlette.types import ASGIApp

from hookchain.cli.api import CallFailed

GRACE_S = 5
"""Seconds that open requests get when the process is asked to stop."""


class Server(uvicorn.Server):
    """uvicorn, which tells when it listens, and leaves the process to us when it is asked to stop."""

    def __init__(
        self,
        application: ASGIApp,
        on_ready: Callable[[], None] | None = None,
        *,
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
                http="httptools",
                log_config=None,
                access_log=False,
                server_header=False,
                forwarded_allow_ips=trusted,
                timeout_graceful_shutdown=GRACE_S,
                timeout_keep_alive=65,
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
        """Take nothing more, and wait for what is open."""
        if self._on_stop is not None:
            self._on_stop()
        await super().shutdown(sockets=sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGTERM and SIGINT, without uvicorn's raising them again: what runs must be finished first."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        with stopping(lambda: self.handle_exit(signal.SIGTERM, None)):
            yield


@contextlib.contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Have `stop` called at SIGTERM, and at SIGINT, by which Fly.io stops a machine."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


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


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run it to its end, on the quickest loop there is."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)
