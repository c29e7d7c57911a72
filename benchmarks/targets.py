"""The servers to measure: hookchain; a bare Starlette route on plain uvicorn, and on our bounded uvicorn; and a naive server.
Each runs as a process on core 0.

`python -m benchmarks.targets bare|bounded|naive PORT` runs one of the servers for comparison.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import aiosqlite
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.processes import free_port, started, wait_for
from hookchain.cli.http_server import Server, listening, run
from hooks.hook_tokens import registered_token

ROOT = Path(__file__).parent.parent
SECRET = "benchmark"
HOOK = f"/notify/{registered_token(SECRET, 'main')}"


@contextlib.contextmanager
def target(name: str, directory: Path, *, core: int | None = 0) -> Iterator[tuple[int, int]]:
    """Run a server for comparison ("bare", "bounded" or "naive"), and yield its port and process id."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.targets", name, str(port)]
    with started(command, directory, {"PYTHONPATH": str(ROOT)}, core=core) as process:
        wait_for(port, process)
        yield port, process.pid


@contextlib.contextmanager
def watched_target(
    directory: Path,
    *,
    database_url: str = "",
    options: Sequence[str] = (),
    upstream_port: int = 9,
    checkout: Path = ROOT,
    core: int | None = 0,
) -> Iterator[tuple[int, int]]:
    """Run `hookchain serve` of a checkout with these options, and yield its port and process id. It submits to `upstream_port`."""
    port = free_port()
    environment = {
        "PYTHONPATH": str(checkout),
        "HOOKCHAIN_SECRET": SECRET,
        "HOOKCHAIN_BUDGET_PER_HOUR": "1000000",
        "HOOKCHAIN_QUOTAS_BYTES_PER_HOUR": "0",
        "HOOKCHAIN_QUOTAS_TASKS_PER_HOUR": "0",
        "HOOKCHAIN_UPSTREAM_URL": f"http://127.0.0.1:{upstream_port}",
        "LOG_LEVEL": "warning",
    }
    if database_url:
        environment["DATABASE_URL"] = database_url
    python = Path(sys.executable) if checkout == ROOT else checkout / ".venv" / "bin" / "python"
    command = [str(python), "-m", "hookchain", "serve", "--port", str(port), *options]
    with started(command, directory, environment, core=core) as process:
        wait_for(port, process)
        yield port, process.pid


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
