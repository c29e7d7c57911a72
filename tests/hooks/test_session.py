"""Who may see the pages, and who may do something there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hookchain.settings import load_settings
from hookchain.wiring import connect_receivers, running
from hooks import session
from hooks.session import COOKIE, MOST_TRIES

TOKEN = "a long token that nobody guesses"
PAGES = [
    "/",
    "/operations",
    "/rules",
    "/setup",
    "/chains/x",
    "/tasks/main/x",
    "/panel/main/x",
    "/live/gallery",
]
DEEDS = [
    "/imagine", "/press/main/1", "/modal/main/1", "/logout", "/rules/try", "/setup/examine",
    "/operations/upstreams/main/pause", "/operations/upstreams/main/resume", "/operations/uncertain/1",
    "/operations/refused/1", "/operations/letters", "/operations/letters/delivery-1", "/operations/quarantine",
    "/operations/quarantine/1",
]  # fmt: skip


@pytest.fixture
async def open_site(tmp_path: Path) -> AsyncIterator[Any]:
    """A function: a client of one application, from an address, with a token set or not."""
    stack: list[Any] = []

    async def opened(
        *, token: str = TOKEN, address: str = "203.0.113.9", base: str = "https://hooks.example"
    ) -> httpx.AsyncClient:
        settings = load_settings(
            {
                "HOOKCHAIN_SECRET": "s",
                "HOOKCHAIN_ADMIN_TOKEN": token,
                "HOOKCHAIN_UPSTREAM_URL": "http://127.0.0.1:9",
                "DATABASE_URL": f"sqlite:///{tmp_path}/hookchain.db",
            },
            tmp_path,
        )
        server = running(settings, connect_receivers(settings), with_worker=False)
        parts = await server.__aenter__()
        transport = httpx.ASGITransport(parts.application, client=(address, 50000))
        client = httpx.AsyncClient(transport=transport, base_url=base)
        stack.extend([server, client])
        return client

    yield opened
    for one in reversed(stack):
        await one.__aexit__(None, None, None)


async def logged_in(client: httpx.AsyncClient, token: str = TOKEN) -> str:
    """Log in; the word that forms carry."""
    answer = await client.post("/login", data={"token": token})
    assert answer.status_code == 303
    found = re.search(r'name="csrf" value="(\w+)"', (await client.get("/")).text)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("path", PAGES)
async def test_without_a_session_a_page_leads_to_the_login_and_back(open_site: Any, path: str) -> None:
    client = await open_site()
    answer = await client.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login")


@pytest.mark.parametrize("path", DEEDS)
async def test_nothing_is_done_without_the_word_of_a_session(open_site: Any, path: str) -> None:
    """Neither by a stranger nor by a page that makes the browser of somebody who is logged in send it."""
    client = await open_site()
    assert (await client.post(path)).headers["location"].startswith("/login")
    await logged_in(client)
    assert (await client.post(path, data={})).status_code == 403
    assert (await client.post(path, data={"csrf": "0" * 40})).status_code == 403


async def test_a_session_is_a_cookie_that_no_script_and_no_other_site_gets(open_site: Any) -> None:
    client = await open_site()
    answer = await client.post("/login", data={"token": TOKEN, "next": "/rules?x=1"})
    assert answer.headers["location"] == "/rules?x=1"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "secure" in cookie
    assert TOKEN not in cookie
    assert (await client.get("/")).status_code == 200


async def test_without_tls_the_cookie_can_be_sent_all_the_same(open_site: Any) -> None:
    client = await open_site(base="http://hooks.example")
    answer = await client.post("/login", data={"token": TOKEN})
    assert "secure" not in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize("forged", ["", "9999999999.x.y", "9999999999..", "x", "é.ü.ö"])
async def test_a_cookie_that_is_not_ours_is_none(open_site: Any, forged: str) -> None:
    client = await open_site()
    headers = {"cookie": f"{COOKIE}={forged}".encode()}
    assert (await client.get("/", headers=headers)).status_code == 303


async def test_a_session_ends_in_time_and_with_the_token(
    open_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await open_site()
    with monkeypatch.context() as patched:
        patched.setattr(session, "LIFE_S", -1)
        await client.post("/login", data={"token": TOKEN})
        cookie = client.cookies.get(COOKIE) or ""
    assert (await client.get("/", headers={"cookie": f"{COOKIE}={cookie}"})).status_code == 303
    await logged_in(client)
    other = await open_site(token="another token")
    other.cookies = client.cookies
    assert (await other.get("/")).status_code == 303


async def test_who_logs_out_is_out(open_site: Any) -> None:
    client = await open_site()
    word = await logged_in(client)
    assert (await client.post("/logout", data={"csrf": word})).headers["location"] == "/login"
    assert (await client.get("/")).status_code == 303


async def test_a_wrong_token_is_refused_and_guessing_is_stopped(open_site: Any) -> None:
    """The right one too, for a minute: who guesses would see it otherwise."""
    client = await open_site()
    for _ in range(MOST_TRIES):
        assert (await client.post("/login", data={"token": "wrong"})).status_code == 401
    assert (await client.post("/login", data={"token": TOKEN})).status_code == 429


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "https://hooks.example:8443"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_another_sites_page_can_neither_log_in_nor_act(open_site: Any, headers: dict[str, str]) -> None:
    client = await open_site()
    assert (await client.post("/login", data={"token": TOKEN}, headers=headers)).status_code == 403
    word = await logged_in(client)
    answer = await client.post("/imagine", data={"csrf": word, "prompt": "a cat"}, headers=headers)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "next_", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", ""]
)
async def test_the_way_back_from_the_login_stays_here(open_site: Any, next_: str) -> None:
    client = await open_site()
    answer = await client.post("/login", data={"token": TOKEN, "next": next_})
    assert answer.headers["location"] == "/"


async def test_without_a_token_the_pages_are_for_this_machine_and_say_why(open_site: Any) -> None:
    here = await open_site(token="", address="127.0.0.1", base="http://localhost")
    assert (await here.get("/")).status_code == 200
    assert (await here.get("/", headers={"x-forwarded-for": "203.0.113.9"})).status_code == 403
    assert (await here.get("/", headers={"host": "rebound.example"})).status_code == 403
    elsewhere = await open_site(token="")
    answer = await elsewhere.get("/")
    assert answer.status_code == 403
    assert "HOOKCHAIN_ADMIN_TOKEN" in answer.text


async def test_a_program_uses_the_token_itself(open_site: Any) -> None:
    """As for the API; no page can make a browser send that header."""
    client = await open_site()
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert (await client.get("/", headers=bearer)).status_code == 200
    answer = await client.post("/imagine", data={"prompt": "a cat"}, headers=bearer)
    assert answer.headers["location"].startswith("/chains/")
    assert (await client.get("/", headers={"authorization": "Bearer wrong"})).status_code == 303


async def test_every_page_has_the_strict_policy(open_site: Any) -> None:
    client = await open_site()
    pages = [await client.get("/login")]
    await logged_in(client)
    pages += [await client.get(path) for path in PAGES if not path.startswith("/live")]
    for page in pages:
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["cache-control"] == "no-store"
