"""Who may see the pages, and who may do something there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from hookchain.settings.load import load_settings
from hookchain.wiring import connect_receivers, running
from hooks import login_attempts, session, stream
from hooks.dashboard import routes
from hooks.login_attempts import MOST, MOST_PER_ADDRESS
from hooks.problems import Problem
from hooks.session import COOKIE, HOST_COOKIE, LARGEST_LOGIN, MOST_FIELDS
from hooks.strength import is_weak
from storage.errors import NotDurable
from tests.conftest import PATIENCE_S
from tests.hooks.conftest import FROM_OUR_PAGE

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


@pytest.fixture
async def open_site(new_database: Path) -> AsyncIterator[Any]:
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
                "DATABASE_URL": f"sqlite:///{new_database}/hookchain.db",
            },
            new_database,
        )
        server = running(settings, connect_receivers(settings), with_worker=False)
        parts = await server.__aenter__()
        transport = httpx.ASGITransport(parts.application, client=(address, 50000))
        client = httpx.AsyncClient(transport=transport, base_url=base)
        client.logins = parts.logins  # type: ignore[attr-defined]
        stack.extend([server, client])
        return client

    yield opened
    for one in reversed(stack):
        await one.__aexit__(None, None, None)


async def logged_in(client: httpx.AsyncClient, token: str = TOKEN) -> None:
    """Log in."""
    answer = await client.post("/login", data={"token": token})
    assert answer.status_code == 303
    assert (await client.get("/")).status_code == 200


@pytest.mark.parametrize("path", PAGES)
async def test_without_a_session_a_page_leads_to_the_login_and_back(open_site: Any, path: str) -> None:
    client = await open_site()
    answer = await client.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login")


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
        cookie = client.cookies.get(HOST_COOKIE) or ""
    assert (await client.get("/", headers={"cookie": f"{HOST_COOKIE}={cookie}"})).status_code == 303
    await logged_in(client)
    other = await open_site(token="another token")
    other.cookies = client.cookies
    assert (await other.get("/")).status_code == 303


async def test_who_logs_out_is_out(open_site: Any) -> None:
    client = await open_site()
    await logged_in(client)
    assert (await client.post("/logout", headers=FROM_OUR_PAGE)).headers["location"] == "/login"
    assert (await client.get("/")).status_code == 303


async def test_a_copy_of_a_session_ends_at_the_log_out_on_all_servers_at_once(open_site: Any) -> None:
    """Taking the cookie from the browser alone would leave it valid for two weeks, and a server that remembers which sessions
    have ended would let it in until it asks again."""
    client, elsewhere = await open_site(), await open_site()
    await logged_in(client)
    copied = {"cookie": f"{HOST_COOKIE}={client.cookies[HOST_COOKIE]}"}
    assert (await elsewhere.get("/", headers=copied)).status_code == 200
    await client.post("/logout", headers=FROM_OUR_PAGE)
    later = await open_site()
    for server in (client, elsewhere, later):
        assert (await server.get("/", headers=copied)).status_code == 303


async def test_a_log_out_counts_though_a_question_was_asked_before_it(open_site: Any) -> None:
    """Its answer, which does not know the log-out yet, comes after it."""
    client = await open_site()
    await logged_in(client)
    copied = {"cookie": f"{HOST_COOKIE}={client.cookies[HOST_COOKIE]}"}
    logins = client.logins
    asked, may_answer, read = asyncio.Event(), asyncio.Event(), logins._database.read

    async def slowly(question: Any) -> Any:
        answer = await read(question)
        asked.set()
        await may_answer.wait()
        return answer

    logins._database.read = slowly
    before = asyncio.create_task(logins.read())
    await asked.wait()
    logins._database.read = read
    await client.post("/logout", headers=FROM_OUR_PAGE)
    may_answer.set()
    await before
    assert (await client.get("/", headers=copied)).status_code == 303


class OpenPage:
    """A stream of a page, read without a browser."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.begun = asyncio.Event()
        self._application = client._transport.app  # type: ignore[attr-defined]
        self._cookie = f"{HOST_COOKIE}={client.cookies[HOST_COOKIE]}".encode()

    async def look(self) -> None:
        """Until the server ends it."""
        scope = {
            "type": "http", "method": "GET", "path": "/live/gallery", "query_string": b"", "scheme": "https",
            "headers": [(b"cookie", self._cookie)], "client": ("203.0.113.9", 1), "http_version": "1.1",
        }  # fmt: skip
        await self._application(scope, self._receive, self._send)

    async def _send(self, message: Any) -> None:
        if message.get("body"):
            self.begun.set()

    async def _receive(self) -> Any:
        await asyncio.Event().wait()


async def test_a_page_that_is_open_learns_nothing_after_the_log_out(
    open_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its stream ends, which without the log-out goes on for an hour."""
    monkeypatch.setattr(stream, "PING_S", 0.01)
    client = await open_site()
    await logged_in(client)
    page = OpenPage(client)
    looking = asyncio.create_task(page.look())
    await page.begun.wait()
    await client.post("/logout", headers=FROM_OUR_PAGE)
    async with asyncio.timeout(PATIENCE_S):
        await looking


async def test_while_the_database_is_away_an_open_page_waits(
    open_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whether its session lasts: it is shown nothing, stays open, and goes on afterwards."""
    monkeypatch.setattr(stream, "PING_S", 0.01)
    monkeypatch.setattr(routes, "RETRY_S", 0.01)
    client = await open_site()
    await logged_in(client)
    page = OpenPage(client)
    looking = asyncio.create_task(page.look())
    await page.begun.wait()
    asked = asyncio.Queue[None]()

    async def away(_name: str) -> bool:
        asked.put_nowait(None)
        raise NotDurable("the database is away")

    with monkeypatch.context() as patched:
        patched.setattr(client.logins, "has_ended", away)
        await asked.get()
        page.begun.clear()
        await asked.get()
        assert not page.begun.is_set()
    await page.begun.wait()
    looking.cancel()


@pytest.mark.parametrize(
    ("name", "base"), [(HOST_COOKIE, "http://hooks.example"), (COOKIE, "https://hooks.example")]
)
async def test_a_session_is_of_no_use_under_the_other_name(open_site: Any, name: str, base: str) -> None:
    """Behind TLS the cookie is one that only this host can set, over TLS."""
    client = await open_site(base=base)
    await logged_in(client)
    found = dict(client.cookies)
    assert name not in found
    client.cookies.clear()
    headers = {"cookie": f"{name}={next(iter(found.values()))}"}
    assert (await client.get("/", headers=headers)).status_code == 303


@pytest.mark.parametrize("public", ["", "https://hooks.example"])
async def test_over_tls_no_plain_cookie_lets_anybody_in(open_site: Any, public: str) -> None:
    """A neighbour's page can have set it, or somebody have read it on its way: it was sent without TLS."""
    base = "http://localhost:8000"
    client = await open_site(base=base, public=public)
    await client.post("/login", data={"token": TOKEN})
    plain = {"cookie": f"{COOKIE}={client.cookies[COOKIE]}"}
    assert (await client.get("/", headers=plain)).status_code == 200
    client.cookies.clear()
    for url in ("https://hooks.example/", "https://localhost:8000/") + (
        ("http://hooks.example/",) if public else ()
    ):
        assert (await client.get(url, headers=plain)).status_code == 303, url  # the last one behind a proxy
    acted = await client.post(f"{base}/imagine", headers=plain | {"origin": "https://hooks.example"})
    assert acted.status_code == (303 if public else 403)


async def test_a_weak_token_waits_too_where_somebody_guesses(open_site: Any) -> None:
    """Else nothing would slow the one who guesses. A strong one is never kept waiting."""
    client = await open_site(token="hunter2")
    right = {"authorization": "Bearer hunter2"}
    assert (await client.get("/api/tasks", headers=right)).status_code == 200
    for _ in range(MOST_PER_ADDRESS):
        assert (await client.post("/login", data={"token": "wrong"})).status_code == 401
    assert (await client.post("/login", data={"token": "hunter2"})).status_code == 429
    assert (await client.get("/api/tasks", headers=right)).status_code == 429


def test_who_has_many_addresses_guesses_no_more_often() -> None:
    """Everybody with IPv6 has 2**64 of them."""
    counted = login_attempts.LoginAttempts()
    for number in range(MOST_PER_ADDRESS):
        counted.note(f"2001:db8::{number:x}")
    with pytest.raises(Problem):
        counted.check("2001:db8::ffff")
    counted.check("2001:db8:0:1::1")


@pytest.mark.parametrize(
    ("token", "weak"),
    [
        ("secret", True),
        ("correct horse", True),
        ("hookchain-hookchain-hookchain", True),
        ("12345678901234567890", True),
        ("abcdefghijklmnopqrstuvwxyz", True),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaab", True),
        ("4f9c1d0b7e2a8365c1f0d9ab", False),  # openssl rand -hex 12
        ("RV54qUplLNIQ3ORtdtAcncjQh6uCOToU_vD6nPrg70I", False),
        (TOKEN, False),
    ],
)
def test_a_weak_token_is_short_or_has_a_pattern(token: str, weak: bool) -> None:
    assert is_weak(token) == weak


@pytest.mark.parametrize(
    "path", ["/", "/rules/", "/setup/", "/login/", "/api/tasks", "/api/tasks/", "/api/nothing", "/healthz/"]
)
async def test_no_answer_leads_to_the_host_that_a_request_names(open_site: Any, path: str) -> None:
    """Nor is it stored, or taken for another type; behind TLS a browser keeps to TLS."""
    client = await open_site(public="https://hooks.example")
    for accept in ("text/html", "*/*"):
        answer = await client.get(path, headers={"host": "evil.example", "accept": accept})
        assert answer.headers.get("location", "/login") == "/login"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.parametrize(
    ("public", "base", "is_told"),
    [
        ("https://hooks.example", "http://127.0.0.1:8000", True),
        ("HTTPS://hooks.example:443/", "http://127.0.0.1:8000", True),
        ("", "https://hooks.example", True),
        ("https://nas.example:8443", "http://127.0.0.1:8000", False),
        ("https://nas.example:8443", "https://nas.example:8443", False),
        ("https://nas.example:8443", "https://nas.example", False),
        ("", "https://nas.example:8443", False),
        ("http://hooks.example", "https://hooks.example", False),
        ("", "http://localhost", False),
    ],
)
async def test_browsers_are_told_to_use_tls_alone_where_all_of_the_host_is_ours(
    open_site: Any, public: str, base: str, is_told: bool
) -> None:
    """Also behind a proxy that says nothing of TLS. It holds for all ports: with a port of our own, it would break those of
    others that have no TLS (of a NAS, say)."""
    client = await open_site(base=base, public=public)
    for path in ("/login", "/api/tasks", "/healthz", "/nowhere"):
        assert ("strict-transport-security" in (await client.get(path)).headers) == is_told, path


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
    for _ in range(MOST_PER_ADDRESS + 1):
        assert (await client.get("/api/tasks")).status_code == 401
    assert (await client.post("/login", data={"token": "wrong"})).status_code == 401


async def test_a_minute_later_wrong_tokens_are_forgotten(
    open_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await open_site()
    for _ in range(MOST_PER_ADDRESS):
        await client.post("/login", data={"token": "wrong"})
    assert (await client.post("/login", data={"token": "wrong"})).status_code == 429
    monkeypatch.setattr(login_attempts, "WITHIN_S", -1.0)
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
    await logged_in(client)
    form = {"prompt": "a cat", "mask": "+/" * 500_000}
    assert (
        (await client.post("/imagine", data=form, headers=FROM_OUR_PAGE))
        .headers["location"]
        .startswith("/chains/")
    )


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
    await logged_in(client)
    answer = await client.post("/imagine", data={"prompt": "a cat"}, headers=headers)
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


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://localhost:3000"},
        {"origin": "http://127.0.0.1"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://localhost:3000"},
    ],
)
async def test_without_a_token_no_page_of_another_site_acts_by_the_api(
    open_site: Any, headers: dict[str, str]
) -> None:
    """Nobody needs a cookie there. A page of another program on this machine is another site, too: its port differs."""
    client = await open_site(token="", address="127.0.0.1", base="http://localhost")
    body = {"kind": "imagine", "prompt": "a cat"}
    text = {"content-type": "text/plain"}  # which a page may send anywhere without asking
    for path in ("/api/submissions", "/api/upstreams/main/pause", "/api/dead-letters/retry"):
        assert (await client.post(path, json=body, headers=headers | text)).status_code == 403
    is_told = "origin" not in headers  # links of others lead here
    assert (await client.get("/api/tasks", headers=headers)).status_code == (200 if is_told else 403)
    ours = {"origin": "http://localhost", "sec-fetch-site": "same-origin"}
    assert (await client.post("/api/submissions", json=body, headers=ours)).status_code == 202
    assert (await client.post("/api/submissions", json=body)).status_code == 202  # a program


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
