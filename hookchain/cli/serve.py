"""`hookchain serve` and `work`: the processes that stay."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Annotated

import msgspec
import structlog
import typer

from hookchain import __version__
from hookchain.cli.http_server import Server, bound, listening, run, stopping
from hookchain.logs import set_up_logs
from hookchain.settings import SANDBOX, Settings, load_settings
from hookchain.wiring import Receivers, connect_receivers, hook_url, running, working
from hooks.auth import names_this_machine, netloc_of
from midjourney.dialects import Upstream
from midjourney.sandbox.app import SandboxOptions, create_app

log = structlog.get_logger("hookchain")


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; overrides HOST.")] = "",
    port: Annotated[
        int | None,
        typer.Option(help="Port to listen on; 0 picks a free one. Overrides PORT.", min=0, max=65535),
    ] = None,
    no_worker: Annotated[
        bool,
        typer.Option(
            "--no-worker", help="Only receive callbacks: run no rules or plugins, and submit nothing."
        ),
    ] = False,
    poll_only: Annotated[
        bool,
        typer.Option(
            "--poll-only",
            help="Send no notifyHook; poll the upstreams instead. For servers that upstreams cannot reach.",
        ),
    ] = False,
    sandbox_speed: Annotated[
        float,
        typer.Option(
            help="Speed of the built-in sandbox, which is used if no upstream is configured.", min=0.01
        ),
    ] = 1.0,
) -> None:
    """Run the server: callbacks, API, dashboard and worker."""
    settings = load_settings()
    set_up_logs(settings.log_level, settings.log_format)
    _warn(settings)
    receivers = connect_receivers(settings)
    with (
        listening(host or settings.host, settings.port if port is None else port) as sock,
        contextlib.ExitStack() as stack,
    ):
        settings = msgspec.structs.replace(settings, host=host or settings.host, port=sock.getsockname()[1])
        if not settings.upstreams:
            settings = stack.enter_context(_standing_in(settings, sandbox_speed))
        settings = msgspec.structs.replace(settings, poll_only=poll_only or settings.poll_only)
        run(
            _serve(settings, receivers, sock, with_worker=settings.worker and not no_worker),
            with_psycopg=not settings.is_file,
        )


async def _serve(settings: Settings, receivers: Receivers, sock: socket.socket, *, with_worker: bool) -> None:
    async with running(settings, receivers, with_worker=with_worker) as server:
        lines = _banner(settings, receivers, server.secret)
        await Server(
            server.application,
            lambda: print("\n".join(lines), flush=True),
            keep_alive_s=settings.keep_alive_s,
            behind_router=settings.platform is not None,
            on_stop=server.hang_up,
        ).serve(sockets=[sock])


def work() -> None:
    """Run a worker only. Any number of workers and servers can share one PostgreSQL database."""
    settings = msgspec.structs.replace(load_settings(), listens=False)
    set_up_logs(settings.log_level, settings.log_format)
    _warn(settings)
    if not settings.upstreams:
        told = "no upstream is configured (HOOKCHAIN_UPSTREAM_URL): this worker has nothing to do"
        run(_until_stopped(lambda: log.warning(told)))
    else:
        run(_work(settings, connect_receivers(settings)), with_psycopg=not settings.is_file)


async def _work(settings: Settings, receivers: Receivers) -> None:
    async with working(settings, receivers):
        names = ", ".join(receivers.registry.names()) or "none"
        await _until_stopped(
            lambda: print(f"hookchain {__version__} works; rules and plugins: {names}", flush=True)
        )


async def _until_stopped(announce: Callable[[], None]) -> None:
    """Announce that the worker is here once it can be stopped: whoever reads that may stop it at once."""
    stopped = asyncio.Event()
    with stopping(stopped.set):
        announce()
        await stopped.wait()


def _warn(settings: Settings) -> None:
    """Say loudly what will cost somebody his chains."""
    if told := settings.disk_warning:
        print(f"{'!' * 100}\n! {told}\n{'!' * 100}", file=sys.stderr, flush=True)
        log.warning("the database will be lost at the next restart", file=settings.database_url)
    netloc = netloc_of(settings.known_url)
    if settings.listens and netloc and not names_this_machine(netloc) and not settings.admin_token:
        log.warning(
            "no HOOKCHAIN_ADMIN_TOKEN is set, and a proxy can make strangers look local: set one",
            public_url=settings.known_url,
        )


def _banner(settings: Settings, receivers: Receivers, secret: str) -> list[str]:
    names = receivers.registry.names()
    lines = [
        f"hookchain {__version__} listens on {settings.listening_url}",
        f"dashboard: {settings.listening_url}/"
        + ("" if settings.admin_token else "  (for this machine only, until HOOKCHAIN_ADMIN_TOKEN is set)"),
    ]
    if settings.poll_only:
        lines.append("poll only: hookchain sends no notifyHook, and polls the upstreams every 15 s")
    lines += [
        f"notifyHook to register at {name}: {hook_url(settings, secret, name)}" for name in settings.upstreams
    ]
    lines.append(
        f"rules and plugins: {', '.join(names)}"
        if names
        else "no rules and no plugins: hookchain keeps callbacks and submits nothing"
    )
    return lines


@contextlib.contextmanager
def _standing_in(settings: Settings, speed: float) -> Iterator[Settings]:
    """With the built-in upstream, in a thread of its own, which has ended when this has: one that runs on while the
    interpreter is taken down crashes it."""
    sock = bound("127.0.0.1", 0)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    server = Server(create_app(SandboxOptions(speed=speed)))
    thread = threading.Thread(target=lambda: run(server.serve(sockets=[sock])), daemon=True, name="sandbox")
    thread.start()
    print(
        f"No upstream is configured (HOOKCHAIN_UPSTREAM_URL). hookchain uses the built-in sandbox at {url}, "
        "which draws its own pictures and costs nothing.",
        flush=True,
    )
    try:
        yield msgspec.structs.replace(settings, upstreams={SANDBOX: Upstream(name=SANDBOX, url=url)})
    finally:
        server.should_exit = True
        thread.join()
