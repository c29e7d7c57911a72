"""Who may see the pages, and who may do something there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from hookchain.settings import load_settings
from hookchain.wiring import connect_receivers, running
from hooks import guesses, session
from hooks.guesses import MOST, MOST_OF_ONE
from hooks.session import COOKIE, LARGEST_LOGIN, MOST_FIELDS

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
        *,
        token: str = TOKEN,
        address: str = "203.0.113.9",
        base: str = "https://hooks.example",
        public: str = "",
    ) -> httpx.AsyncClient:
        settings = load_settings(
            {
                "HOOKCHAIN_PUBLIC_URL": public,
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


async def test_wrong_tokens_are_refused_at_once_after_some_and_the_right_one_never(open_site: Any) -> None:
    """By the form or by a header, on pages, in the API and at /metrics: else a stranger would keep the owner out."""
    client = await open_site()
    for path in ("/", "/api/tasks", "/metrics") * 3:
        answer = await client.get(path, headers={"authorization": "Bearer wrong"})
        assert answer.status_code == (303 if path == "/" else 401)
    assert (await client.post("/login", data={"token": "wrong"})).status_code == 401
    for path in ("/", "/api/tasks", "/metrics"):
        answer = await client.get(path, headers={"authorization": "Bearer wrong"})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
        right = await client.get(path, headers={"authorization": f"Bearer {TOKEN}"})
        assert right.status_code == 200
    assert (await client.post("/login", data={"token": "wrong"})).status_code == 429
    await logged_in(client)


async def test_guesses_from_ever_new_addresses_are_refused_too(open_site: Any) -> None:
    """A header may name them: MOST a minute from all together."""
    client = await open_site()
    app = client._transport.app

    async def guess(address: str) -> int:
        transport = httpx.ASGITransport(app, client=(address, 50000))
        async with httpx.AsyncClient(transport=transport, base_url="https://hooks.example") as stranger:
            return (await stranger.post("/login", data={"token": "wrong"})).status_code

    with capture_logs() as logs:
        answers = [await guess(f"198.51.100.{n}") for n in range(MOST + 1)]
    assert answers == [401] * MOST + [429]
    assert [one["event"] for one in logs] == ["many wrong administrator's tokens"]
    await logged_in(client)


async def test_who_comes_without_a_token_has_not_guessed(open_site: Any) -> None:
    client = await open_site()
    for _ in range(MOST_OF_ONE + 1):
        assert (await client.get("/api/tasks")).status_code == 401
    assert (await client.post("/login", data={"token": "wrong"})).status_code == 401


async def test_a_minute_later_wrong_tokens_are_forgotten(
    open_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await open_site()
    for _ in range(MOST_OF_ONE):
        await client.post("/login", data={"token": "wrong"})
    assert (await client.post("/login", data={"token": "wrong"})).status_code == 429
    monkeypatch.setattr(guesses, "WITHIN_S", -1.0)
    assert (await client.post("/login", data={"token": "wrong"})).status_code == 401


async def test_a_stranger_sends_small_forms_only(open_site: Any) -> None:
    """What is more is not even read."""
    client = await open_site()
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(1000):
            read += 1
            yield b"token=" + b"%41" * 400

    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = await client.post("/login", content=endless(), headers=form)
    assert answer.status_code == 413
    assert read <= LARGEST_LOGIN // 1200 + 2
    fields = "&".join(f"a{n}=" for n in range(MOST_FIELDS + 1))
    assert (await client.post("/login", content=fields, headers=form)).status_code == 422


async def test_a_large_form_of_ours_is_taken_whole(open_site: Any) -> None:
    """A mask."""
    client = await open_site()
    form = {"csrf": await logged_in(client), "prompt": "a cat", "mask": "+/" * 500_000}
    assert (await client.post("/imagine", data=form)).headers["location"].startswith("/chains/")


async def test_while_no_token_is_set_nobody_logs_in(open_site: Any) -> None:
    client = await open_site(token="")
    answer = await client.post("/login", content=b"token=" * 10_000)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "set-cookie" not in answer.headers


async def test_a_proxy_that_asks_for_a_password_of_its_own_is_in_nobodys_way(open_site: Any) -> None:
    client = await open_site()
    await logged_in(client)
    basic = {"authorization": "Basic dTpw"}
    assert (await client.get("/", headers=basic)).status_code == 200
    client.cookies.clear()
    assert (await client.get("/", headers=basic)).status_code == 303


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "same-origin", "origin": "https://hooks.example"}, 303),
        ({"sec-fetch-site": "none"}, 303),
        ({"origin": "https://hooks.example"}, 303),
        ({"origin": "https://HOOKS.example"}, 303),
        ({"origin": "http://127.0.0.1:8000"}, 303),
        ({"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1:8000"}, 403),
        ({"sec-fetch-site": "", "origin": "http://127.0.0.1:8000"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "http://["}, 403),
        ({"origin": "null"}, 403),
    ],
)
async def test_behind_a_proxy_with_a_name_of_its_own_for_us_forms_are_ours(
    open_site: Any, headers: dict[str, str], status: int
) -> None:
    """nginx sends `Host: $proxy_host` unless it is told otherwise."""
    client = await open_site(base="http://127.0.0.1:8000", public="https://hooks.example/")
    answer = await client.post("/login", data={"token": TOKEN}, headers=headers)
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("base", "headers", "is_secure"),
    [
        ("http://hooks.example", {}, True),
        ("http://Hooks.Example", {}, True),
        ("http://127.0.0.1:8000", {"sec-fetch-site": "same-origin", "origin": "https://hooks.example"}, True),
        ("http://localhost:8000", {"origin": "http://localhost:8000"}, False),
        ("http://localhost:8000", {}, False),
    ],
)
async def test_the_cookie_is_for_tls_alone_where_people_come_by_tls(
    open_site: Any, base: str, headers: dict[str, str], is_secure: bool
) -> None:
    """Though a proxy that nobody trusts says nothing of it; a visit to localhost can log in all the same."""
    client = await open_site(base=base, public="https://hooks.example")
    answer = await client.post("/login", data={"token": TOKEN}, headers=headers)
    assert ("secure" in answer.headers["set-cookie"].lower()) == is_secure


@pytest.mark.parametrize("host", ["[", "[::1", "a b", "]:80", "localhost:x"])
@pytest.mark.parametrize("token", ["", TOKEN])
async def test_a_host_that_is_none_breaks_nothing(open_site: Any, host: str, token: str) -> None:
    client = await open_site(token=token, address="127.0.0.1", base="http://localhost")
    for path in ("/", "/login", "/api/tasks", "/nowhere"):
        assert (await client.get(path, headers={"host": host})).status_code < 500
    assert (await client.post("/login", data={"token": TOKEN}, headers={"host": host})).status_code < 500


@pytest.mark.parametrize(
    ("looked_at", "leads_to"),
    [
        ("https://hooks.example/rules?x=1", "/login?next=/rules%3Fx%3D1"),
        ("https://hooks.example/", "/login"),
        ("https://hooks.example//evil.example", "/login"),
        ("http://[", "/login"),
        ("", "/login"),
    ],
)
async def test_a_session_that_has_ended_under_a_page_leads_back_to_it(
    open_site: Any, looked_at: str, leads_to: str
) -> None:
    client = await open_site()
    headers = {"hx-request": "true", "hx-current-url": looked_at}
    answer = await client.post("/imagine", data={"prompt": "a cat"}, headers=headers)
    assert (answer.status_code, answer.headers["hx-redirect"]) == (401, leads_to)


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
    "next_",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "//[",
        "javascript:alert(1)",
        "",
    ],
)
async def test_the_way_back_from_the_login_stays_here(open_site: Any, next_: str) -> None:
    client = await open_site()
    assert (await client.get("/login", params={"next": next_})).status_code == 200
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
