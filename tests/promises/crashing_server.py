"""A server that kills itself, as `kill -9` would, at a named transaction: `STAGE NAME`, counted from the first callback, or the first order of a client.

`before begin_attempt` dies when all statements of the transaction have run but nothing is committed; `after` dies when
the commit is on disk and nobody has been told.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import msgspec

from hookchain.cli.http_server import Server, listening
from hookchain.logs import set_up_logs
from hookchain.settings.load import load_settings
from hookchain.wiring import connect_receivers, hook_url, running


class Crash:
    """Watches transactions; dies at the chosen one."""

    def __init__(self, stage: str, name: str) -> None:
        self._at = (stage, name)
        self._armed = False

    def __call__(self, stage: str, name: str) -> None:
        self._armed = self._armed or name in ("ingest", "command")
        if self._armed and (stage, name) == self._at:
            os.kill(os.getpid(), signal.SIGKILL)


async def main(stage: str, name: str) -> None:
    settings = load_settings()
    receivers = connect_receivers(settings)
    with listening("127.0.0.1", 0) as sock:
        settings = msgspec.structs.replace(settings, port=sock.getsockname()[1])
        async with running(settings, receivers) as server:
            server.database.observe(Crash(stage, name))

            def ready() -> None:
                print(f"listens on {settings.listening_url}")
                print(f"notifyHook to register at main: {hook_url(settings, server.secret, 'main')}")
                print("rules and plugins: ready", flush=True)

            await Server(server.application, ready, on_stop=server.hang_up).serve(sockets=[sock])


if __name__ == "__main__":
    set_up_logs("info", "console")
    asyncio.run(main(*sys.argv[1:]))
