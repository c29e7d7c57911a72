"""Servers of ours at upstreams that lie."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.manners import Manners
from tests.hostile.upstream import Hostile
from tests.support import postgres
from tests.support.automations import SECRET, Automation
from tests.support.customer import CLIENTS, Customer, Mailbox
from tests.support.shop import Shop
from tests.support.tried import EXAMPLES, SERVE
from tests.support.witness import UPSCALE_ALL

UPSTREAM = """
[upstreams.main]
url = "{url}"
key = "sk-1"
dialect = "{dialect}"
look_after_s = 0.3
quiet_s = {quiet_s}
private_hosts = {private_hosts}
"""


@pytest.fixture
def start_hostile() -> Iterator[Callable[..., Hostile]]:
    """Start a hostile upstream with manners, at a port of its own or at a given one."""
    started: list[Hostile] = []

    def start(*, port: int = 0, **manners: Any) -> Hostile:
        started.append(Hostile(Manners(**manners), secret="sk-1", port=port))
        return started[-1]

    yield start
    for upstream in started:
        upstream.stop()


@pytest.fixture
def serve(start_server: Any) -> Callable[..., Any]:
    """Start a server of ours at a hostile upstream."""

    def serve(
        upstream: Hostile,
        rules: str = UPSCALE_ALL,
        *,
        dialect: str = "mj-plus",
        quiet_s: float = 0.7,
        private_hosts: tuple[str, ...] = (),
        upstream_too: str = "",
        **environment: str,
    ) -> Any:
        main = UPSTREAM.format(
            url=upstream.url, dialect=dialect, quiet_s=quiet_s, private_hosts=list(private_hosts)
        )
        return start_server(toml=main + upstream_too + rules, **environment)

    return serve


@pytest.fixture
def customer() -> Iterator[Callable[..., Customer]]:
    """A client of a server's gateway: ann, if nobody else is named."""
    made: list[Customer] = []

    def make(server: Any, name: str = "ann", **options: Any) -> Customer:
        made.append(Customer(server.url, name, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def mailbox() -> Iterator[Callable[..., Mailbox]]:
    """What stands at a client's notifyHook."""
    made: list[Mailbox] = []

    def make(port: int = 0) -> Mailbox:
        made.append(Mailbox(port))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, new_file: Path
) -> Iterator[Shop]:
    """A gateway for all tests of a module, over a database of either kind. A module's `SETTINGS` are the clients and the rules."""
    directory = tmp_path_factory.mktemp("shop")
    settings: str = getattr(request.module, "SETTINGS", CLIENTS)
    with contextlib.ExitStack() as stack:
        environment = {}
        if request.param == "postgres":
            server: str = request.getfixturevalue("postgres_server")
            environment["DATABASE_URL"] = stack.enter_context(postgres.fresh_database(server))
        else:
            shutil.copy(new_file, directory / "hookchain.db")
        opened = Shop(directory, settings, environment)
        stack.callback(opened.stop)
        yield opened


@pytest.fixture
def listener() -> Iterator[tuple[str, list[Any]]]:
    """Another system: its address, and what it was told."""
    told: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", told
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def automate(
    start_server: Any, eventually: Any, listener: tuple[str, list[Any]], tmp_path: Path
) -> Iterator[Callable[..., Automation]]:
    """Start a server with an example, some of whose words are replaced, at its built-in sandbox or at the address of another one."""
    started: list[Automation] = []
    shutil.copytree(EXAMPLES, tmp_path / "examples")

    def start(
        name: str, *, replace: tuple[str, str] = ("", ""), at: str = "", **environment: str
    ) -> Automation:
        toml = (EXAMPLES / f"{name}.toml").read_text() if name else ""
        assert replace[0] in toml
        toml = toml.replace(*replace) if replace[0] else toml
        environment = {
            "NOTIFY_TO": listener[0].replace("http", "json"),
            "FORWARD_URL": listener[0],
            "FORWARD_SECRET": SECRET,
        } | environment
        if at:
            environment |= {"HOOKCHAIN_UPSTREAM_URL": at}
        server = start_server(toml=toml, command=SERVE, **environment)
        url = at or server.find(r"built-in sandbox at (http://[^,\s]+)")
        started.append(Automation(server, url, tmp_path, eventually, environment))
        return started[-1]

    yield start
    for automation in started:
        automation.sandbox.close()
