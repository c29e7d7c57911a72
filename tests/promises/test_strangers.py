"""Strangers who reach the server: behind a proxy that hides them they stay strangers, and its owner gets in."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.conftest import HookchainServer, client
from tests.support import command, nginx, released

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("strangers")]

PUBLIC = "https://hooks.example"
IMAGINE = {"kind": "imagine", "prompt": "a cat, paid by somebody else"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, new_file: Path) -> Iterator[HookchainServer]:
    """One with a public address, at its first start."""
    directory = tmp_path_factory.mktemp("server")
    shutil.copy(new_file, directory / "hookchain.db")
    server = HookchainServer(directory, {"HOOKCHAIN_PUBLIC_URL": PUBLIC})
    server.directory = directory  # type: ignore[attr-defined]
    with closing(server.http):
        yield server
    server.end()


@pytest.fixture(scope="module")
def start_nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start nginx in front of a server; a client of it. All its recipes are in test_strangers_recipes.py."""
    with ExitStack() as stack:

        def start(url: str) -> httpx.Client:
            ways = stack.enter_context(nginx.running(tmp_path_factory.mktemp("nginx"), url))
            return stack.enter_context(client(ways["plain"]))

        yield start


def assert_closed(stranger: httpx.Client) -> None:
    """Nothing is shown or done, and callbacks are taken."""
    assert stranger.post("/api/submissions", json=IMAGINE).status_code == 401
    for path in ("/api/tasks", "/metrics"):
        assert stranger.get(path).status_code == 401, path
    assert stranger.get("/setup").headers["location"].startswith("/login")
    assert stranger.post("/imagine", data={"prompt": "a cat"}).headers["location"] == "/login"
    assert stranger.get("/healthz").status_code == 200


def token_of(server: HookchainServer) -> str:
    return server.find(r"new administrator's token, needed because its public address is \S+: (\S+)")


def called(server: HookchainServer, *arguments: str) -> Any:
    """A command on the same machine, in the same directory."""
    port = str(urlsplit(server.url).port)
    directory: Path = server.directory  # type: ignore[attr-defined]
    return command.run(directory, *arguments, HOST="127.0.0.1", PORT=port, HOOKCHAIN_PUBLIC_URL=PUBLIC)


def test_a_proxy_that_hides_strangers_lets_none_in(server: HookchainServer, start_nginx: Any) -> None:
    """With a public address: 0.1.0 answered 202, and the owner paid."""
    stranger = start_nginx(server.url)
    assert_closed(stranger)
    bearer = {"authorization": f"Bearer {token_of(server)}"}
    assert stranger.get("/api/tasks", headers=bearer).status_code == 200


def test_nor_does_one_of_which_nobody_told_us(start_server: Any, start_nginx: Any) -> None:
    """Without a public address: an upstream elsewhere costs money, and calls us through somebody."""
    server = start_server(HOOKCHAIN_UPSTREAM_URL="http://192.0.2.1")
    assert_closed(start_nginx(server.url))
    assert "needed because its upstream main is on another machine" in server.output


def test_the_token_that_was_made_stays_and_is_shown_once(start_server: Any) -> None:
    """A log is kept for longer, and read by more people, than the screen of a first start."""
    first = start_server(HOOKCHAIN_PUBLIC_URL=PUBLIC)
    token = token_of(first)
    assert first.stop() == 0
    again = start_server(HOOKCHAIN_PUBLIC_URL=PUBLIC)
    assert token not in again.output
    assert "`hookchain token` prints it" in again.output
    assert again.http.get("/api/tasks", headers={"authorization": f"Bearer {token}"}).status_code == 200


def test_it_stays_in_force_when_the_public_address_is_forgotten(start_server: Any) -> None:
    """A line less in the settings must not open what was closed: the proxy may still be there."""
    first = start_server(HOOKCHAIN_PUBLIC_URL=PUBLIC)
    token = token_of(first)
    assert first.stop() == 0
    again = start_server()
    assert again.http.get("/api/tasks").status_code == 401
    assert again.http.get("/api/tasks", headers={"authorization": f"Bearer {token}"}).status_code == 200
    assert "`hookchain token` prints it" in again.output


@pytest.mark.parametrize(
    "environment",
    [{"DYNO": "web.1"}, {"HOST": "0.0.0.0"}, {"HOST": "0.0.0.0", "LOG_FORMAT": "json"}],
    ids=["platform", "all addresses", "json"],
)
def test_it_is_made_on_a_platform_and_on_all_addresses_too(
    start_server: Any, environment: dict[str, str]
) -> None:
    """Where the log is kept, on a platform and by what reads JSON, it has its beginning only."""
    server = start_server(**environment)
    assert server.http.get("/api/tasks").status_code == 401
    made = server.find(r"new administrator's token, needed because it .+: (\S+)")
    is_kept = "DYNO" in environment or "LOG_FORMAT" in environment
    assert (len(made) < 8) == is_kept
    assert ("/login?once=" in server.output) != is_kept


def test_the_command_line_reads_the_token_in_the_database(server: HookchainServer) -> None:
    """It lies beside the secret."""
    printed = called(server, "token")
    assert (printed.returncode, printed.stdout) == (0, token_of(server) + "\n")
    assert f"{PUBLIC}/login?once=" in printed.stderr
    assert called(server, "tasks").returncode == 0
    assert called(server, "imagine", "a dog").returncode == 0


def test_a_command_makes_and_migrates_no_database_for_the_token(
    server: HookchainServer, tmp_path: Path
) -> None:
    """In another directory than the server's; a command that only asks changes nothing, an older release's file least of all."""
    port = str(urlsplit(server.url).port)
    asked = command.run(tmp_path, "tasks", HOST="127.0.0.1", PORT=port)
    assert asked.returncode == 1
    assert "`hookchain token` prints it" in asked.stderr
    assert list(tmp_path.iterdir()) == []
    released.load_sqlite(tmp_path / "hookchain.db")
    before = (tmp_path / "hookchain.db").read_bytes()
    assert command.run(tmp_path, "tasks", HOST="127.0.0.1", PORT=port).returncode == 1
    assert (tmp_path / "hookchain.db").read_bytes() == before


def test_a_link_logs_in_once_and_only_by_its_button(server: HookchainServer) -> None:
    """The one that the first start shows, as Jupyter does. Mail scanners and previews in chats only look at it."""
    once = urlsplit(server.find(r"log in once, within 15 minutes: (\S+)"))
    code = once.query.removeprefix("once=")
    for method in ("HEAD", "GET", "GET"):
        page = server.http.request(method, f"{once.path}?{once.query}")
        assert page.status_code == 200
        assert "set-cookie" not in page.headers
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["referrer-policy"] == "same-origin"  # none to anybody else
    assert re.findall(r"<(?:form|input|button)\b[^>]*", page.text) == [
        '<form method="post" action="/login" class="stack"',
        f'<input type="hidden" name="once" value="{code}"',
        '<button class="primary" autofocus',
    ]
    assert page.text.count(code) == 1
    answer = server.http.post("/login", data={"once": code})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    session = {"cookie": answer.headers["set-cookie"].partition(";")[0]}
    assert server.http.get("/", headers=session).status_code == 200
    again = server.http.post("/login", data={"once": code})
    assert again.status_code == 401
    assert "set-cookie" not in again.headers
    assert "hookchain token" in again.text
    assert server.http.post("/login", data={"once": "9999999999.x.y"}).status_code == 401


def test_a_new_token_ends_the_old_one_and_all_sessions(
    start_server: Any, tmp_path: Path, eventually: Any
) -> None:
    """While the server runs."""
    server = start_server(HOOKCHAIN_PUBLIC_URL=PUBLIC)
    old = {"authorization": f"Bearer {token_of(server)}"}
    cookie = server.http.post("/login", data={"token": token_of(server)}).headers["set-cookie"]
    session = {"cookie": cookie.partition(";")[0]}
    assert server.http.get("/", headers=session).status_code == 200
    made = command.run(tmp_path, "token", "--rotate", HOOKCHAIN_PUBLIC_URL=PUBLIC).stdout.strip()
    eventually(lambda: server.http.get("/", headers=session).status_code == 303)
    assert server.http.get("/api/tasks", headers=old).status_code == 401
    new = {"authorization": f"Bearer {made}"}
    assert server.http.get("/api/tasks", headers=new).status_code == 200


@pytest.mark.parametrize("called", [("serve", "--port", "0"), ("migrate",)], ids=["serve", "migrate"])
@pytest.mark.parametrize(
    "environment",
    [{"HOOKCHAIN_PUBLIC_URL": PUBLIC}, {"RENDER": "true"}, {"HOST": "0.0.0.0"}],
    ids=["address", "platform", "all addresses"],
)
def test_a_token_that_can_be_guessed_stops_the_start(
    tmp_path: Path, environment: dict[str, str], called: tuple[str, ...]
) -> None:
    """Before anything is made, and before a platform replaces the release that runs; it says how to make a better one."""
    token = "correct horse"
    ended = command.run(tmp_path, *called, HOOKCHAIN_ADMIN_TOKEN=token, **environment)
    assert ended.returncode == 2
    assert "HOOKCHAIN_ADMIN_TOKEN is easy to guess, and others can reach this server: it" in ended.stderr
    assert "openssl rand -hex 24" in ended.stderr
    assert token not in ended.stderr
    assert not (tmp_path / "hookchain.db").exists()


def test_without_a_token_there_is_none_to_print(tmp_path: Path) -> None:
    """For this machine alone."""
    ended = command.run(tmp_path, "token")
    assert ended.returncode == 1
    assert "does not need one" in ended.stderr
    configured = command.run(tmp_path, "token", "--rotate", HOOKCHAIN_ADMIN_TOKEN="x" * 30)
    assert (configured.returncode, configured.stdout) == (2, "")
