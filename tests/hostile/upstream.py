"""An upstream that lies: the Plus dialect over HTTP, in a thread of the test's process.

Written from the protocol notes alone, and it shares no code with the product or its sandbox: an assumption that both would
make is one that no test could see. `Hostile` is what tests hold; `manners.py` lists the ways to misbehave.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send

from tests.hostile.caller import Caller
from tests.hostile.clock import Clock
from tests.hostile.losing import BREAK, breaking, protocol
from tests.hostile.manners import Manners
from tests.hostile.model import Model

PATIENCE_S = 60.0


class Hostile(Model):
    """Runs until `stop`."""

    def __init__(self, manners: Manners = Manners(), *, secret: str = "", port: int = 0) -> None:  # noqa: B008 - it is frozen
        self.clock, self.caller = Clock(), Caller()
        self.on_stop: list[Callable[[], None]] = []
        sock = socket.create_server(("127.0.0.1", port))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        super().__init__(manners, secret, url=url, clock=self.clock, caller=self.caller)
        transports: dict[tuple[str, int], Any] = {}

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope[BREAK] = breaking(transports, scope.get("client"))
            await self.app(scope, receive, send)

        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=protocol(transports),
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve([sock])), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it, and send nothing any more."""
        for close in self.on_stop:
            close()
        self.clock.stop()
        self.caller.close()
        self._server.should_exit = True
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the upstream did not end"


@contextmanager
def hostile(manners: Manners = Manners(), *, secret: str = "") -> Iterator[Hostile]:  # noqa: B008 - it is frozen
    """An upstream for the time of a `with`."""
    upstream = Hostile(manners, secret=secret)
    try:
        yield upstream
    finally:
        upstream.stop()
