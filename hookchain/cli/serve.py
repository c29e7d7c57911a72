"""`hookchain serve` and `hookchain work`: the long-running processes."""

from __future__ import annotations

import contextlib
import socket
from typing import Annotated

import msgspec
import structlog
import typer

from hookchain import __version__
from hookchain.cli.http_server import Server, listening, run
from hookchain.cli.output import say
from hookchain.cli.stopping import until_stopped
from hookchain.exposure import check_token, login_link, needs_token
from hookchain.logs import set_up_logs
from hookchain.settings.load import Settings, load_settings
from hookchain.wiring import Receivers, ServerParts, connect_receivers, hook_url, running, working
from hooks.logins import LINK_LIFE_S

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
        check_token(settings)
        if not settings.upstreams:
            from hookchain.cli.built_in import built_in_sandbox  # only here: it loads Pillow

            settings = stack.enter_context(built_in_sandbox(settings, sandbox_speed))
        settings = msgspec.structs.replace(settings, poll_only=poll_only or settings.poll_only)
        run(
            _serve(settings, receivers, sock, with_worker=settings.worker and not no_worker),
            with_psycopg=not settings.is_file,
        )


async def _serve(settings: Settings, receivers: Receivers, sock: socket.socket, *, with_worker: bool) -> None:
    async with running(settings, receivers, with_worker=with_worker) as server:
        lines = _banner(settings, receivers, server)
        await Server(
            server.application,
            lambda: say("\n".join(lines)),
            keep_alive_s=settings.keep_alive_s,
            behind_router=settings.platform is not None,
            on_stop=server.hang_up,
            connections=server.connections,
        ).serve(sockets=[sock])


def work() -> None:
    """Run a worker only. Any number of workers and servers can share one PostgreSQL database."""
    settings = msgspec.structs.replace(load_settings(), listens=False)
    set_up_logs(settings.log_level, settings.log_format)
    _warn(settings)
    if not settings.upstreams:
        message = "no upstream is configured (HOOKCHAIN_UPSTREAM_URL): this worker has nothing to do"
        run(until_stopped(lambda: log.warning(message)))
    else:
        run(_work(settings, connect_receivers(settings)), with_psycopg=not settings.is_file)


async def _work(settings: Settings, receivers: Receivers) -> None:
    async with working(settings, receivers):
        names = ", ".join(_names(receivers)) or "none"
        await until_stopped(
            lambda: say(f"hookchain {__version__} worker started; rules and plugins: {names}")
        )


def _warn(settings: Settings) -> None:
    """Warn of settings that will lose data or make a budget useless."""
    if text := settings.disk_warning:
        say(f"{'!' * 100}\n! {text}\n{'!' * 100}", to_errors=True)
        log.warning("the database will be lost at the next restart", file=settings.database_url)
    for text in settings.price_warnings:
        log.warning("a budget limits spending, but prices are missing", what=text)


def _names(receivers: Receivers) -> list[str]:
    """The receivers of rules and plugins; hookchain's own have names such as "hookchain:zoom"."""
    return [name for name in receivers.registry.names() if not name.startswith("hookchain:")]


def _banner(settings: Settings, receivers: Receivers, server: ServerParts) -> list[str]:
    names = _names(receivers)
    lines = [
        f"hookchain {__version__} listens on {settings.listening_url}",
        f"dashboard: {settings.listening_url}/"
        + ("" if server.logins.token else "  (no token needed; only this machine can open it)"),
        *_token_lines(settings, server),
    ]
    if settings.poll_only:
        lines.append("poll only: hookchain sends no notifyHook, and polls the upstreams every 15 s")
    lines += [
        f"notifyHook to register at {name}: {hook_url(settings, server.secret, name, salts.present)}"
        for name, salts in server.tokens.salts.items()
    ]
    if server.has_gateway:
        lines.append(f"gateway: clients send to {settings.hook_base}/mj, or to {settings.hook_base}/k/KEY/mj")
    lines.append(
        f"rules and plugins: {', '.join(names)}"
        if names
        else "no rules and no plugins: hookchain keeps callbacks and submits nothing"
    )
    return lines


def _token_lines(settings: Settings, server: ServerParts) -> list[str]:
    """A new administrator's token, with a one-time login link.

    On a platform, or with JSON logs, only its beginning is shown: the output is stored where others can read it.
    """
    if not server.logins.token or settings.admin_token:
        return []
    if not server.logins.was_made:
        return ["administrator's token: created at the first start; `hookchain token` prints it"]
    intro = f"new administrator's token, needed because {needs_token(settings)}"
    if settings.platform is not None or settings.log_format == "json":
        return [f"{intro}: {server.logins.token[:4]}…; run `hookchain token` there to print all of it"]
    return [
        f"{intro}: {server.logins.token}",
        f"log in once, within {LINK_LIFE_S // 60} minutes: {login_link(settings, server.secret, server.logins.token)}",
    ]
