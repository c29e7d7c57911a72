"""No page but our own has a browser change anything: each address that changes something, by the headers of its request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request

from hooks.cross_origin import Sender, sender_of
from tests.hooks.conftest import FROM_OUR_PAGE, Site, site_of
from tests.support.app_routes import app_routes, filled

TOKEN = "a long token that nobody guesses"
PUBLIC = "https://hooks.example:8443"

OURS = {
    "a page of ours": {"sec-fetch-site": "same-origin", "origin": "http://localhost"},
    "a page of ours that hides its address": {"sec-fetch-site": "same-origin", "origin": "null"},
    "the user": {"sec-fetch-site": "none"},
    "behind a proxy with a host of its own": {"sec-fetch-site": "same-origin", "origin": PUBLIC},
    "an old browser": {"origin": "http://localhost"},
    "an old browser at the public address": {"origin": PUBLIC},
    "an old browser, in capital letters": {"origin": "HTTP://LOCALHOST"},
}
ELSEWHERE = {
    "another site": {"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
    "another site that claims to be us": {"sec-fetch-site": "cross-site", "origin": "http://localhost"},
    "a sibling host": {"sec-fetch-site": "same-site", "origin": "https://evil.hooks.example"},
    "another port": {"sec-fetch-site": "same-site", "origin": "http://localhost:3000"},
    "an empty statement": {"sec-fetch-site": "", "origin": "http://localhost"},
    "an unknown statement": {"sec-fetch-site": "Same-Origin"},
    "a sandboxed frame": {"sec-fetch-site": "cross-site", "origin": "null"},
    "a sandboxed frame in an old browser": {"origin": "null"},
    "another site in an old browser": {"origin": "https://evil.example"},
    "a sibling host in an old browser": {"origin": "https://evil.hooks.example:8443"},
    "another port in an old browser": {"origin": "http://localhost:3000"},
    "a name that begins as ours": {"origin": "http://localhost.evil.example"},
    "our name before an @": {"origin": "http://localhost@evil.example"},
    "an invalid origin": {"origin": "http://["},
    "an origin without a host": {"origin": "file://"},
}


def request_with(headers: dict[str, str], method: str = "POST") -> Request:
    """A request as an application sees it."""
    sent = {"host": "localhost"} | headers
    return Request(
        {"type": "http", "method": method, "headers": [(n.encode(), v.encode()) for n, v in sent.items()]}
    )


@pytest.mark.parametrize(
    ("headers", "sender"),
    [
        *((headers, "same origin") for headers in OURS.values()),
        *((headers, "other origin") for headers in ELSEWHERE.values()),
        ({}, "unknown"),
        ({"origin": ""}, "unknown"),
    ],
)
def test_headers_that_no_page_can_set_say_who_sends(headers: dict[str, str], sender: Sender) -> None:
    assert sender_of(request_with(headers), {"localhost", "hooks.example:8443"}) == sender


LINK = "/approve/{id}/{token}"


@pytest.fixture(scope="module")
def posts(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Each path that changes something, but for the log-in and the links of approvals, which nothing that a browser adds opens
    (tests/hooks/test_approvals.py); the log-out last."""
    routes = app_routes(tmp_path_factory.mktemp("routes"))
    assert {"GET", "HEAD", "POST"} >= {method for one in routes for method in one.methods or ("GET",)}
    paths = {filled(one.path) for one in routes if "POST" in (one.methods or ()) and one.path != LINK}
    return [*sorted(paths - {"/login", "/logout"}), "/logout"]


@pytest.fixture
async def locked(new_database: Path) -> AsyncIterator[Site]:
    """A site with an administrator's token, and a browser in which its owner is logged in."""
    async with site_of(new_database, HOOKCHAIN_ADMIN_TOKEN=TOKEN, HOOKCHAIN_PUBLIC_URL=PUBLIC) as site:
        assert (await site.http.post("/login", data={"token": TOKEN})).status_code == 303
        del site.http.headers["sec-fetch-site"]
        yield site


async def statuses(http: httpx.AsyncClient, paths: list[str], headers: dict[str, str]) -> dict[str, int]:
    """What each path answers to a form."""
    form = {"prompt": "a cat"}
    return {path: (await http.post(path, data=form, headers=headers)).status_code for path in paths}


async def test_with_a_cookie_only_our_own_pages_change_anything(locked: Site, posts: list[str]) -> None:
    """Forms answer 403 to all others, unknown senders included. The API takes no cookie, whoever sends it."""
    forms = [path for path in posts if not path.startswith("/api/")]
    assert len(forms) > 10
    for name, headers in (ELSEWHERE | {"unknown": {}}).items():
        answered = await statuses(locked.http, posts, headers)
        assert {answered.pop(path) for path in forms} == {403}, name
        assert set(answered.values()) == {401}, name
    for name, headers in OURS.items():
        assert 403 not in (await statuses(locked.http, forms[:-1], headers)).values(), name
    assert (await statuses(locked.http, ["/logout"], FROM_OUR_PAGE)) == {"/logout": 303}
    assert (await locked.http.get("/")).status_code == 303


async def test_who_is_not_logged_in_is_led_to_the_login(locked: Site, posts: list[str]) -> None:
    locked.http.cookies.clear()
    for headers in (FROM_OUR_PAGE, {}):
        for path in (path for path in posts if not path.startswith("/api/")):
            answer = await locked.http.post(path, headers=headers)
            assert (answer.status_code, answer.headers["location"]) == (303, "/login"), path


@pytest.mark.parametrize("headers", ELSEWHERE.values(), ids=ELSEWHERE)
async def test_another_page_does_not_log_anybody_in(locked: Site, headers: dict[str, str]) -> None:
    answer = await locked.http.post("/login", data={"token": TOKEN}, headers=headers)
    assert answer.status_code == 403


async def test_a_program_with_the_token_needs_no_headers_of_a_browser(locked: Site) -> None:
    """No page can have a browser send a token that it does not know. A cookie beside it changes nothing."""
    headers = {"authorization": f"Bearer {TOKEN}"}
    for path in ("/operations/upstreams/main/pause", "/api/upstreams/main/resume"):
        assert (await locked.http.post(path, headers=headers)).status_code < 400
    wrong = {"authorization": "Bearer wrong"}
    assert (await locked.http.post("/operations/upstreams/main/pause", headers=wrong)).status_code == 303


async def test_without_a_token_programs_use_the_api_and_browsers_their_own_pages(
    site: Site, posts: list[str]
) -> None:
    """While no administrator's token is set, this machine is let in without a cookie."""
    del site.http.headers["sec-fetch-site"]
    for name, headers in ELSEWHERE.items():
        assert set((await statuses(site.http, posts, headers)).values()) == {403}, name
    unknown = await statuses(site.http, posts, {})
    assert {path for path, status in unknown.items() if status == 403} == {
        path for path in posts if not path.startswith("/api/")
    }
    assert 403 not in (await statuses(site.http, posts, OURS["a page of ours"])).values()


async def test_the_refusal_says_what_to_do(locked: Site) -> None:
    refused = await locked.http.post("/imagine", headers={"sec-fetch-site": "cross-site"})
    assert "Reload this page" in refused.text
    unknown = await locked.http.post("/imagine")
    assert "Bearer token" in unknown.text
