"""Strangers behind every recipe of nginx that sends no forwarding header, and behind a forwarder of TCP."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest
from starlette.routing import Route

from tests.conftest import HookchainServer, client
from tests.support import nginx
from tests.support.app_routes import app_routes, filled

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("strangers")]

LINK = "/approve/{id}/{token}"
OPEN = {"/healthz", "/readyz", "/login", "/static/{name:path}", LINK, f"{LINK}/picture"}
"""What everybody may ask, beside the hooks: whether the server is well, what the page for logging in is made of, and the links of
approvals, each of which its own token opens (tests/hooks/test_approvals.py)."""

OTHER_METHODS = {"PUT", "PATCH", "DELETE", "OPTIONS"}
IMAGINE = {"kind": "imagine", "prompt": "paid by the owner"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, new_file: Path) -> Iterator[HookchainServer]:
    """One with a public address, which made its token."""
    directory = tmp_path_factory.mktemp("server")
    shutil.copy(new_file, directory / "hookchain.db")
    environment = {"HOOKCHAIN_PUBLIC_URL": "https://hooks.example.org", "HOOKCHAIN_WORKER": "off"}
    server = HookchainServer(directory, environment)
    with closing(server.http):
        yield server
    server.end()


@pytest.fixture(scope="module")
def ways(
    server: HookchainServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, httpx.Client]]:
    """A client of each way to the server, by its name."""
    with ExitStack() as stack:
        urls = stack.enter_context(nginx.running(tmp_path_factory.mktemp("nginx"), server.url))
        urls["forwarder"] = stack.enter_context(nginx.forwarder(server.url))
        yield {name: stack.enter_context(client(url)) for name, url in urls.items()}


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> list[Route]:
    """All that the application answers."""
    return app_routes(tmp_path_factory.mktemp("routes"))


@pytest.fixture(params=[*nginx.RECIPES, "forwarder"])
def stranger(request: pytest.FixtureRequest, ways: dict[str, httpx.Client]) -> httpx.Client:
    """A client that comes by one of the ways."""
    return ways[request.param]


def test_a_stranger_can_do_nothing_whatever_host_he_names(
    stranger: httpx.Client, server: HookchainServer
) -> None:
    """Callbacks and health are for everybody."""
    for host in ("localhost", "127.0.0.1", "hooks.example.org", httpx.URL(server.url).netloc.decode()):
        headers = {"host": host}
        for path in ("/api/tasks", "/api/upstreams", "/metrics"):
            assert stranger.get(path, headers=headers).status_code == 401, (host, path)
        assert stranger.post("/api/submissions", json=IMAGINE, headers=headers).status_code == 401, host
        assert stranger.get("/", headers=headers).headers["location"] == "/login", host
    assert stranger.get("/healthz").json() == {"status": "ok"}
    hook = httpx.URL(server.hook).path
    assert stranger.post(hook, json={"id": "7", "status": "SUBMITTED"}).status_code == 200


def test_every_route_but_the_open_ones_wants_to_know_who_asks(
    stranger: httpx.Client, routes: list[Route]
) -> None:
    """Each route of the application, by each of its methods. Pages answer 401 to what runs on them, and lead people to /login."""
    assert {one.path for one in routes} >= OPEN
    closed = [one for one in routes if one.path not in OPEN]
    assert len(closed) > 50  # else nothing was tried
    for route in closed:
        path = filled(route.path)
        assert "{" not in path, path
        for method in route.methods or ():
            answer = stranger.request(method, path, headers={"hx-request": "true"})
            assert answer.status_code == 401, (method, path)
            shown = stranger.request(method, path)
            assert shown.status_code == 401 or shown.headers["location"].startswith("/login"), (method, path)


def test_nor_is_another_method_answered(ways: dict[str, httpx.Client], routes: list[Route]) -> None:
    for path in {filled(one.path) for one in routes if one.path not in OPEN}:
        for method in OTHER_METHODS:
            assert ways["plain"].request(method, path).status_code in (401, 405), (method, path)


def test_the_owner_gets_in_by_every_way(stranger: httpx.Client, server: HookchainServer) -> None:
    """By the token, and as a browser."""
    token = server.find(r"new administrator's token, needed because .+: (\S+)")
    bearer = {"authorization": f"Bearer {token}"}
    assert stranger.get("/api/tasks", headers=bearer).status_code == 200
    browser = {"origin": "https://hooks.example.org", "sec-fetch-site": "same-origin"}
    cookie = stranger.post("/login", data={"token": token}, headers=browser).headers["set-cookie"]
    assert cookie.startswith("__Host-hookchain_session=")
    session = {"cookie": cookie.partition(";")[0]}
    assert stranger.get("/", headers=session).status_code == 200
    stranger.cookies.clear()
