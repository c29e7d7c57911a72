"""The built-in sandbox, which a server without an upstream uses. Only such a server loads it, with Pillow, in which it draws."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import msgspec

from hookchain.cli.http_server import Server, bound, run
from hookchain.cli.output import say
from hookchain.settings.load import SANDBOX, Settings
from midjourney.dialects import Upstream
from midjourney.sandbox.app import SandboxOptions, create_app


@contextlib.contextmanager
def built_in_sandbox(settings: Settings, speed: float) -> Iterator[Settings]:
    """Run the built-in sandbox in a thread and return settings that use it.

    Joins the thread at the end: a thread that still runs while the interpreter shuts down crashes it.
    """
    sock = bound("127.0.0.1", 0)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    server = Server(create_app(SandboxOptions(speed=speed)))
    thread = threading.Thread(target=lambda: run(server.serve(sockets=[sock])), daemon=True, name="sandbox")
    thread.start()
    say(
        f"No upstream is configured (HOOKCHAIN_UPSTREAM_URL). hookchain uses the built-in sandbox at {url}, "
        "which draws its own pictures and costs nothing.",
    )
    try:
        yield msgspec.structs.replace(settings, upstreams={SANDBOX: Upstream(name=SANDBOX, url=url)})
    finally:
        server.should_exit = True
        thread.join()
