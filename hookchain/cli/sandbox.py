"""`hookchain sandbox`: a simulated upstream."""

from __future__ import annotations

from typing import Annotated

import typer

from hookchain.cli.http_server import Server, listening, run
from hookchain.cli.output import say
from hookchain.logs import set_up_logs
from hookchain.settings.conversion import SettingsError
from midjourney.sandbox.app import SandboxOptions, create_app
from midjourney.sandbox.faults import SWITCHES
from midjourney.sandbox.profiles import PROFILES


def sandbox(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 picks a free one.", min=0, max=65535)
    ] = 8062,
    seed: Annotated[
        int | None, typer.Option(help="Seed that makes ids, pictures and faults repeatable.")
    ] = None,
    speed: Annotated[float, typer.Option(help="Speed: 2 is twice as fast as the default.", min=0.01)] = 1.0,
    secret: Annotated[str, typer.Option(help="Require this mj-api-secret.")] = "",
    concurrency: Annotated[int, typer.Option(help="Number of jobs that run at the same time.", min=1)] = 3,
    queue: Annotated[int, typer.Option(help="Number of jobs that can wait in the queue.", min=0)] = 10,
    notify_hook: Annotated[str, typer.Option(help="Callback URL for submissions without a notifyHook.")] = "",
    dialect: Annotated[str, typer.Option(help="API to imitate: " + ", ".join(PROFILES) + ".")] = "mj-plus",
    faults: Annotated[
        str,
        typer.Option(
            help='Faults to inject, separated by commas: "rough" for a mix, or any of '
            + ", ".join(SWITCHES)
            + '. "drop=0.1" sets a probability.'
        ),
    ] = "",
) -> None:
    """Run a simulated midjourney-proxy server. It draws its own pictures and sends real callbacks."""
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
        run(Server(application, lambda: say(f"sandbox upstream on {url}")).serve(sockets=[sock]))
