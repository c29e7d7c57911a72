"""An application of a test, served over loopback in the test's own event loop.

uvicorn's `Server.serve` looks every 0.1 s whether it should end, and waits as long for connections to go: a fifth of a second at the
end of each test. Here nothing waits: whoever is still connected is hung up on.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette


@asynccontextmanager
async def served(app: Starlette) -> AsyncIterator[str]:
    """The address of its server, on a free port."""
    config = uvicorn.Config(app, log_level="critical", lifespan="off")
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.on_tick(0)  # it makes the headers of all answers
    with socket.create_server(("127.0.0.1", 0)) as listening:
        await server.startup(sockets=[listening])
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        for one in server.servers:
            one.close()
    for connection in list(server.server_state.connections):
        connection.shutdown()
    answering = list(server.server_state.tasks)
    for task in answering:
        task.cancel()
    await asyncio.gather(*answering, return_exceptions=True)
