"""What happens when a signal (SIGTERM, SIGINT) stops `hookchain serve` or `hookchain work`: start here, then follow the steps.

1. The signal only asks the process to stop (`stopping` below). It raises nothing, so that running work can finish.
2. `serve` (cli/serve.py) runs the server inside of everything else, so its connections end first (http_server.py, `Server.shutdown`):
   it ends the streams of open pages (hooks/stream.py), answers for `LINGER_S` more with "Connection: close", then accepts nothing more,
   and gives open requests `GRACE_S` to finish.
3. The pages fetch no more images, and the worker stops (hookchain/wiring.py, `running`; hookchain/worker.py, `Worker.stop`):
   - It notes that this is no crash, so that no running receiver is suspected (dispatcher/loops/heartbeat.py, `Membership.stopping`).
   - Its loops claim nothing more. Running work gets `STOP_WITHIN_S` and is then cancelled (dispatcher/loops/loop.py, `Loop.stop`).
   - It gives unfinished work back to the other workers or the next start (dispatcher/loops/heartbeat.py, `Membership.leave`).
   - It closes the clients of the upstreams, and releases the lock on a SQLite file.
4. What every process has ends last (hookchain/wiring.py leaves its blocks in reverse order): the counts of refused callbacks and of
   traffic are stored (hookchain/background.py, dispatcher/loops/count_traffic.py), and the database is closed (storage/engine.py).
5. The process exits with 0.

A process that is killed before that loses nothing: another worker, or the next start, takes its work over (`Membership`).
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator

_STOP_SIGNALS = [
    number
    for name in ("SIGTERM", "SIGINT", "SIGBREAK")
    if (number := getattr(signal, name, None)) is not None
]
"""Fly.io stops a machine with SIGINT; SIGBREAK is Ctrl+Break on Windows."""


@contextlib.contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` in the event loop when a signal tells the process to stop.

    Does not use `add_signal_handler`, which event loops on Windows lack.
    """
    loop = asyncio.get_running_loop()
    before = {
        number: signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop)) for number in _STOP_SIGNALS
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def until_stopped(announce: Callable[[], None]) -> None:
    """Announce the worker only after the signal handlers are installed: a reader may stop it as soon as it is announced."""
    stopped = asyncio.Event()
    with stopping(stopped.set):
        announce()
        await stopped.wait()
