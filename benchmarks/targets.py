"""The servers to measure: hookchain; a bare Starlette route on plain uvicorn, and on our bounded uvicorn; and a naive server.
Each runs as a process on core 0.

`python -m benchmarks.targets bare|bounded|naive PORT` runs one of the servers for comparison.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import aiosqlite
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from hookchain.cli.http_server import Server, listening, run
from hooks.hook_tokens import registered_token

ROOT = Path(__file__).parent.parent
SECRET = "benchmark"
HOOK = f"/notify/{registered_token(SECRET, 'main')}"


CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
"""Read before any process is pinned: a child inherits its parent's cores, and would see only that one."""


def pin(core: int) -> str:
    """Keep this process on one core if the machine has two or more. Returns "split", or "free" if it has only one."""
    if len(CORES) > 1:
        os.sched_setaffinity(0, {CORES[core]})
        return "split"
    return "free"


def pin_to_all() -> None:
    """Let this process run anywhere again."""
    if CORES:
        os.sched_setaffinity(0, CORES)


@contextlib.contextmanager
def target(name: str, directory: Path, *, upstream_port: int = 9) -> Iterator[int]:
    """Run a server ("hookchain", "bare", "bounded" or "naive") and yield its port. hookchain submits to `upstream_port`."""
    with _running(name, directory, upstream_port, "", ()) as (port, _process_id):
        yield port


@contextlib.contextmanager
def watched_target(
    directory: Path,
    *,
    database_url: str = "",
    options: Sequence[str] = (),
    upstream_port: int = 9,
    checkout: Path = ROOT,
) -> Iterator[tuple[int, int]]:
    """Run `hookchain serve` of a checkout with these options, and yield its port and process id."""
    with _running("hookchain", directory, upstream_port, database_url, options, checkout) as server:
        yield server


def cpu_s(process_id: int) -> float:
    """CPU time of a process in seconds, in user and system mode (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(process_id: int) -> float:
    """Current resident memory of a process in MB (proc(5), VmRSS)."""
    return _memory_mb(process_id, "VmRSS")


def peak_mb(process_id: int) -> float:
    """Peak resident memory in MB since the process started, or since `forget_peak` (proc(5), VmHWM)."""
    return _memory_mb(process_id, "VmHWM")


def forget_peak(process_id: int) -> None:
    """Restart the measurement of the peak (proc(5), clear_refs)."""
    Path(f"/proc/{process_id}/clear_refs").write_text("5")


def _memory_mb(process_id: int, key: str) -> float:
    match = re.search(rf"^{key}:\s+(\d+) kB$", Path(f"/proc/{process_id}/status").read_text(), re.MULTILINE)
    return int(match[1]) * 1024 / 1e6 if match else 0.0


def until_quiet(process_id: int) -> None:
    """Wait until the process is idle, for at most ten seconds."""
    for _ in range(20):
        before_s = cpu_s(process_id)
        time.sleep(0.5)
        if cpu_s(process_id) - before_s < 0.05:
            return


@contextlib.contextmanager
def _running(
    name: str,
    directory: Path,
    upstream_port: int,
    database_url: str,
    options: Sequence[str],
    checkout: Path = ROOT,
) -> Iterator[tuple[int, int]]:
    port = free_port()
    command = (
        ["hookchain", "serve", "--port", str(port), *options]
        if name == "hookchain"
        else ["benchmarks.targets", name, str(port)]
    )
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": str(checkout),
        "HOOKCHAIN_SECRET": SECRET,
        "HOOKCHAIN_QUOTAS_BYTES_PER_HOUR": "0",
        "HOOKCHAIN_QUOTAS_TASKS_PER_HOUR": "0",
        "HOOKCHAIN_UPSTREAM_URL": f"http://127.0.0.1:{upstream_port}",
        "LOG_LEVEL": "warning",
    }
    if database_url:
        environment["DATABASE_URL"] = database_url
    python = sys.executable if checkout == ROOT else checkout / ".venv" / "bin" / "python"
    process = subprocess.Popen(
        [python, "-m", *command],
        cwd=directory,
        env=environment,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: pin(0),
    )
    try:
        wait_for(port, process)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(20)


def free_port() -> int:
    """A free port."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the process listens. Raises RuntimeError if it ends or takes too long."""
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"a server to measure did not start (exit code {process.poll()})")
        time.sleep(0.05)


async def _bare(request: Request) -> JSONResponse:
    await request.body()
    return JSONResponse({"kept": True})


def _naive_app() -> Starlette:
    """A server that answers each request after one INSERT and COMMIT."""

    @contextlib.asynccontextmanager
    async def opened(app: Starlette) -> AsyncIterator[None]:
        async with aiosqlite.connect("naive.db", isolation_level=None) as connection:
            await connection.executescript(
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE events (id INTEGER PRIMARY KEY, body BLOB)"
            )
            app.state.connection = connection
            yield

    async def keep(request: Request) -> JSONResponse:
        body = await request.body()
        await request.app.state.connection.execute("INSERT INTO events (body) VALUES (?)", (body,))
        return JSONResponse({"kept": True})

    return Starlette(routes=[Route(HOOK, keep, methods=["POST"])], lifespan=opened)


def main(name: str, port: str) -> None:
    """Run one of the servers for comparison, with uvicorn configured as for hookchain."""
    app = _naive_app() if name == "naive" else Starlette(routes=[Route(HOOK, _bare, methods=["POST"])])
    if name == "bounded":
        with listening("127.0.0.1", int(port)) as sock:
            run(Server(app).serve(sockets=[sock]))
        return
    uvicorn.run(
        app,
        port=int(port),
        http="httptools",
        loop="uvloop",
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_keep_alive=65,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
