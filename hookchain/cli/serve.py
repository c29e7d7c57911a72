"""`hookchain serve`, `work` and `sandbox`: the processes that stay."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Annotated, Any

import msgspec
import structlog
import typer
import uvicorn
import uvloop
from starlette.types import ASGIApp

from hookchain import __version__
from hookchain.cli.api import CallFailed
from hookchain.logs import set_up_logs
from hookchain.settings import SANDBOX, Settings, SettingsError, load_settings
from hookchain.wiring import Receivers, connect_receivers, hook_url, running, working
from midjourney.dialects import Upstream
from midjourney.sandbox.app import SandboxOptions, create_app
from midjourney.sandbox.faults import SWITCHES
from midjourney.sandbox.manners import MANNERS

log = structlog.get_logger("hookchain")

GRACE_S = 5
"""Seconds that open requests get when the process is asked to stop."""


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on (HOST).")] = "",
    port: Annotated[
        int, typer.Option(help="Port to listen on (PORT); 0 picks a free one.", min=-1, max=65535)
    ] = -1,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Receive only; run no rules, submit nothing.")
    ] = False,
    poll_only: Annotated[
        bool,
        typer.Option(
            "--poll-only", help="Send no notifyHook: ask the upstreams instead. For where nobody can call."
        ),
    ] = False,
    sandbox_speed: Annotated[
        float, typer.Option(help="How fast the built-in sandbox draws, where it stands in.", min=0.01)
    ] = 1.0,
) -> None:
    """Run the receiver, the API and the worker."""
    settings = load_settings()
    set_up_logs(settings.log_level, settings.log_format)
    _warn(settings)
    receivers = connect_receivers(settings)
    with listening(host or settings.host, settings.port if port < 0 else port) as sock:
        settings = msgspec.structs.replace(settings, host=host or settings.host, port=sock.getsockname()[1])
        if not settings.upstreams:
            settings = _with_sandbox(settings, sandbox_speed)
        settings = msgspec.structs.replace(settings, poll_only=poll_only or settings.poll_only)
        _run(_serve(settings, receivers, sock, with_worker=settings.worker and not no_worker))


async def _serve(settings: Settings, receivers: Receivers, sock: socket.socket, *, with_worker: bool) -> None:
    async with running(settings, receivers, with_worker=with_worker) as server:
        lines = _banner(settings, receivers, server.secret)
        await Server(
            server.application,
            lambda: print("\n".join(lines), flush=True),
            behind_router=settings.platform is not None,
            on_stop=server.hang_up,
        ).serve(sockets=[sock])


def work() -> None:
    """Run a worker alone, beside servers on the same database. Any number of them share the work."""
    settings = msgspec.structs.replace(load_settings(), listens=False)
    set_up_logs(settings.log_level, settings.log_format)
    _warn(settings)
    if not settings.upstreams:
        log.warning("no upstream is configured (HOOKCHAIN_UPSTREAM_URL): this worker has nothing to do")
        _run(_until_stopped())
    else:
        _run(_work(settings, connect_receivers(settings)))


async def _work(settings: Settings, receivers: Receivers) -> None:
    async with working(settings, receivers):
        names = receivers.registry.names()
        print(f"hookchain {__version__} works; rules and plugins: {', '.join(names) or 'none'}", flush=True)
        await _until_stopped()


async def _until_stopped() -> None:
    stopped = asyncio.Event()
    with _stopping(stopped.set):
        await stopped.wait()


def _warn(settings: Settings) -> None:
    """Say loudly what will cost somebody his chains."""
    if told := settings.disk_warning:
        print(f"{'!' * 100}\n! {told}\n{'!' * 100}", file=sys.stderr, flush=True)
        log.warning("the database will be lost at the next restart", file=settings.database_url)


def _banner(settings: Settings, receivers: Receivers, secret: str) -> list[str]:
    names = receivers.registry.names()
    lines = [
        f"hookchain {__version__} listens on {settings.listening_url}",
        f"dashboard: {settings.listening_url}/"
        + ("" if settings.admin_token else "  (for this machine only, until HOOKCHAIN_ADMIN_TOKEN is set)"),
    ]
    if settings.poll_only:
        lines.append("poll only: no notifyHook is sent, the upstreams are asked every 15 s")
    lines += [
        f"notifyHook to register at {name}: {hook_url(settings, secret, name)}" for name in settings.upstreams
    ]
    lines.append(
        f"rules and plugins: {', '.join(names)}"
        if names
        else "no rules and no plugins: callbacks are kept, nothing is pressed"
    )
    return lines


def _with_sandbox(settings: Settings, speed: float) -> Settings:
    """Start the built-in upstream in a thread of its own; it ends with the process."""
    sock = _bound("127.0.0.1", 0)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    application = create_app(SandboxOptions(speed=speed))
    threading.Thread(
        target=lambda: _run(Server(application).serve(sockets=[sock])), daemon=True, name="sandbox"
    ).start()
    print(
        f"No upstream is configured (HOOKCHAIN_UPSTREAM_URL): the built-in sandbox at {url} stands in for one. "
        "Its pictures are drawn here and cost nothing.",
        flush=True,
    )
    return msgspec.structs.replace(settings, upstreams={SANDBOX: Upstream(name=SANDBOX, url=url)})


def sandbox(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 picks a free one.", min=0, max=65535)
    ] = 8062,
    seed: Annotated[
        int | None, typer.Option(help="Make ids, pictures and faults the same at every start.")
    ] = None,
    speed: Annotated[
        float, typer.Option(help="How many times faster than the demonstration pace.", min=0.01)
    ] = 1.0,
    secret: Annotated[str, typer.Option(help="Ask for this mj-api-secret.")] = "",
    concurrency: Annotated[int, typer.Option(help="Jobs that run at once.", min=1)] = 3,
    queue: Annotated[int, typer.Option(help="Jobs that may wait.", min=0)] = 10,
    notify_hook: Annotated[str, typer.Option(help="Hook of submissions that carry none.")] = "",
    dialect: Annotated[
        str, typer.Option(help="Whose API it speaks: " + ", ".join(MANNERS) + ".")
    ] = "mj-plus",
    faults: Annotated[
        str,
        typer.Option(
            help='Comma-separated: "rough", or of ' + ", ".join(SWITCHES) + '; "drop=0.1" for a probability.'
        ),
    ] = "",
) -> None:
    """Run a stand-in for a midjourney-proxy server: it draws its own pictures and sends real callbacks."""
    try:
        options = SandboxOptions(
            dialect=dialect,
            seed=seed,
            speed=speed,
            secret=secret,
            concurrency=concurrency,
            queue=queue,
            notify_hook=notify_hook,
            faults=faults,
        )
        application = create_app(options)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    set_up_logs("warning", "console")
    with listening(host, port) as sock:
        url = f"http://{host}:{sock.getsockname()[1]}"
        _run(
            Server(application, lambda: print(f"sandbox upstream on {url}", flush=True)).serve(sockets=[sock])
        )


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
        with _stopping(lambda: self.handle_exit(signal.SIGTERM, None)):
            yield


@contextlib.contextmanager
def _stopping(stop: Callable[[], None]) -> Iterator[None]:
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
    sock = _bound(host, port)
    try:
        yield sock
    finally:
        sock.close()


def _bound(host: str, port: int) -> socket.socket:
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


def _run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)
