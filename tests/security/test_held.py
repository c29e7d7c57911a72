"""Attacks that failed, kept so that they go on failing. One server, with a token, as it stands on a public address."""

from __future__ import annotations

import gzip
import json
import shutil
import socket
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from starlette.routing import Route

from hooks.dashboard.routes import Dashboard
from tests.conftest import HookchainServer
from tests.support.app_routes import app_routes, filled

pytestmark = pytest.mark.process

TOKEN = "the owner's token, long enough to guess for ever"
OWNER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, new_file: Path) -> Iterator[HookchainServer]:
    """One that all attacks share."""
    cwd = tmp_path_factory.mktemp("held")
    shutil.copy(new_file, cwd / "hookchain.db")
    started = HookchainServer(
        cwd,
        {
            "HOOKCHAIN_UPSTREAM_URL": "http://127.0.0.1:9",
            "HOOKCHAIN_ADMIN_TOKEN": TOKEN,
            "HOOKCHAIN_WORKER": "false",
        },
    )
    yield started
    started.http.close()
    started.end()


@pytest.fixture(scope="module")
def owner(server: HookchainServer) -> Iterator[httpx.Client]:
    """A browser in which the owner is logged in."""
    with httpx.Client(base_url=server.url, trust_env=False, verify=False) as http:
        assert http.post("/login", data={"token": TOKEN}).status_code == 303
        assert http.get("/").status_code == 200
        yield http


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """Each method and path of the API, from the application's routes."""
    routes = [one for one in app_routes(tmp_path_factory.mktemp("routes")) if one.path.startswith("/api")]
    return [(method, filled(one.path)) for one in routes for method in one.methods or ()]


HIDDEN = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
LENGTH = b"content-length: %d\r\n" % (5 + len(HIDDEN))
SMUGGLING = {
    "length and chunks": LENGTH + CHUNKED,
    "chunks and length": CHUNKED + LENGTH,
    "two lengths": LENGTH + b"content-length: 5\r\n",
    "a list of lengths": b"content-length: 5, 5\r\n",
    "a signed length": b"content-length: +5\r\n",
    "a negative length": b"content-length: -1\r\n",
    "a length in hexadecimal": b"content-length: 0x5\r\n",
    "space before the colon": b"transfer-encoding : chunked\r\n" + LENGTH,
    "an unknown coding": b"transfer-encoding: xchunked\r\n" + LENGTH,
    "coded twice": b"transfer-encoding: chunked, identity\r\n" + LENGTH,
    "a bare line feed": b"x: y\ntransfer-encoding: chunked\r\n" + LENGTH,
    "a NUL": b"transfer-encoding: chunked\0\r\n" + LENGTH,
}


@pytest.mark.parametrize("headers", SMUGGLING.values(), ids=SMUGGLING)
def test_no_second_request_hides_in_a_body(server: HookchainServer, headers: bytes) -> None:
    """A proxy that reads the length otherwise than we do would let a stranger ask in another's name. One answer, or none."""
    address = httpx.URL(server.url)
    with socket.create_connection((address.host, cast(int, address.port)), timeout=10) as connection:
        head = b"POST /notify/nobody HTTP/1.1\r\nhost: x\r\n" + headers + b"\r\n"
        connection.sendall(head + b"0\r\n\r\n" + HIDDEN)
        connection.shutdown(socket.SHUT_WR)
        answered = b""
        while piece := _received(connection):
            answered += piece
    assert b'"status":"ok"' not in answered
    assert answered.count(b"HTTP/1.1 ") <= 1


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65_536)
    except ConnectionResetError:
        return b""


def acting() -> list[str]:
    """Each path of the dashboard that changes something, from its table of routes."""
    nothing: Any = None
    routes = [one for one in Dashboard(nothing, nothing, nothing).routes() if isinstance(one, Route)]
    return [one.path for one in routes if "POST" in (one.methods or ()) and one.path != "/login"]


FOREIGN = {
    "another site": {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
    "a sibling": {"origin": "https://evil.example", "sec-fetch-site": "same-site"},
    "a sandboxed frame": {"origin": "null"},
    "an old browser": {"origin": "https://evil.example"},
    "a program, or a browser that says nothing": {},
}


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("path", acting())
def test_no_other_site_acts_for_the_owner(owner: httpx.Client, path: str, headers: dict[str, str]) -> None:
    """The browser sends the owner's cookie along; it does not suffice."""
    answer = owner.post(filled(path), data={"prompt": "a cat"}, headers=headers)
    assert answer.status_code == 403
    assert owner.get("/", follow_redirects=False).status_code == 200


@pytest.mark.parametrize(
    "headers", [*FOREIGN.values(), {"sec-fetch-site": "same-origin"}], ids=[*FOREIGN, "ours"]
)
def test_the_api_takes_no_cookie(
    owner: httpx.Client, api: list[tuple[str, str]], headers: dict[str, str]
) -> None:
    """Each of its paths, so that no page reaches it: none can send `Authorization: Bearer` to another site without asking."""
    assert len([method for method, _ in api if method == "POST"]) > 10
    for method, path in api:
        answer = owner.request(method, path, json={"kind": "imagine", "prompt": "a cat"}, headers=headers)
        assert answer.status_code == 401, (method, path)
    asked = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    asked["access-control-request-headers"] = "authorization"
    for path in {path for _, path in api}:
        answer = owner.options(path, headers=asked)
        assert not [name for name in answer.headers if name.startswith("access-control")], path


XSS = "</script></title></textarea>\"'><xss onerror=alert(1)><script>xss()</script><img src=x onerror=xss()>{{7331*7331}}"
LINK = "javascript:xss()"


class Page(HTMLParser):
    """What a browser would make of a page, as far as it runs something."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Elements and attributes that a payload brought."""
        if tag == "xss" or (tag == "script" and not dict(attrs).get("src")):
            self.runs.append(tag)
        self.runs += [
            f"{tag} {name}={value}"
            for name, value in attrs
            if name.startswith("on")
            or name == "srcdoc"
            or (value or "").strip().lower().startswith("javascript:")
        ]


def test_no_payload_runs_on_a_page(server: HookchainServer, owner: httpx.Client) -> None:
    """In each field of a callback, in buttons and properties, as text and as an address; and in quarantine."""
    names = (
        "action",
        "prompt",
        "promptEn",
        "description",
        "failReason",
        "state",
        "submitTime",
        "botType",
        "imageUrl",
    )
    button = {"customId": XSS, "label": XSS, "emoji": XSS}
    task: dict[str, Any] = dict.fromkeys(names, XSS) | {
        "status": "SUCCESS",
        "progress": XSS,
        "buttons": [button],
    }
    task["properties"] = {"finalPrompt": XSS, "messageContent": XSS, "x": XSS}
    tasks = {"41": task, "42": task | {"imageUrl": LINK, "thumbnailUrl": LINK}, "43": task | {"status": XSS}}
    tasks |= {"44": task | {"status": "FAILURE"}, XSS: task}
    hook = server.hook
    for id_, one in tasks.items():
        assert server.http.post(hook, json=one | {"id": id_}).status_code < 500
    server.http.post(hook, content=XSS.encode())
    quoted = [str(httpx.QueryParams({"x": one})).removeprefix("x=").replace("+", "%20") for one in tasks]
    pages = [
        "/",
        f"/?q={quoted[-1]}",
        "/operations",
        f"/operations?body={quoted[-1]}",
        "/rules",
        "/setup",
        f"/{quoted[-1]}",
    ]
    pages += [f"/{where}/main/{id_}" for where in ("tasks", "chains/of", "panel") for id_ in quoted]
    shown = 0
    for path in pages:
        answer = owner.get(path, follow_redirects=True, headers={"accept": "text/html"})
        page = Page()
        page.feed(answer.text)
        assert page.runs == [], path
        assert "53743561" not in answer.text
        shown += "&lt;xss" in answer.text
    assert shown >= 5  # else nothing was tried


DEEP = b"[" * 100_000 + b"]" * 100_000
BOMBS: dict[str, tuple[bytes, dict[str, str]]] = {
    "gzip": (gzip.compress(b"[" + b"1," * 5_000_000 + b"1]"), {"content-encoding": "gzip"}),
    "gzip in gzip": (gzip.compress(gzip.compress(b"0" * 10_000_000)), {"content-encoding": "gzip, gzip"}),
    "cut gzip": (gzip.compress(b"0" * 1000)[:20], {"content-encoding": "gzip"}),
    "not gzip": (b"{}", {"content-encoding": "gzip"}),
    "deep arrays": (DEEP, {}),
    "deep objects": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, {}),
    "deep in properties": (b'{"id":"1","status":"SUCCESS","properties":' + DEEP + b"}", {}),
    "deep text": (b'{"id":"1","status":"SUCCESS","buttons":' + json.dumps(DEEP.decode()).encode() + b"}", {}),
    "unclosed": (b"[" * 500_000, {}),
    "a number of many digits": (b'{"id":' + b"9" * 500_000 + b',"status":"SUCCESS"}', {}),
    "a large exponent": (b'{"id":"1","status":"SUCCESS","progress":1e999999999}', {}),
    "a large integer": (b'{"id":"1","status":"SUCCESS","submitTime":' + b"9" * 4_000 + b"}", {}),
    "NaN": (b'{"id":"1","status":"SUCCESS","submitTime":NaN}', {}),
    "one key often": (b'{"id":"1",' + b'"status":"SUCCESS",' * 30_000 + b'"id":"2"}', {}),
    "many keys": (json.dumps({f"k{n}": n for n in range(50_000)}).encode(), {}),
    "lone surrogates": (rb'{"id":"1","status":"SUCCESS","prompt":"\ud800"}', {}),
    "UTF-16": ('{"id":"1"}'.encode("utf-16"), {"content-type": "application/json; charset=utf-16"}),
    "an unknown charset": (b"{}", {"content-type": "application/json; charset=zlib_codec"}),
    "not UTF-8": (b'{"id":"\xff\xfe"}', {}),
    "NUL": (b'{"id":"1\\u0000","status":"SUCCESS","prompt":"\\u0000"}', {}),
    "NUL in a prompt": (b'{"id":"9","status":"SUCCESS","prompt":"a\\u0000b"}', {}),
    "empty": (b"", {}),
}


@pytest.mark.parametrize(("body", "headers"), BOMBS.values(), ids=BOMBS)
def test_no_body_breaks_the_endpoint(server: HookchainServer, body: bytes, headers: dict[str, str]) -> None:
    """Each is kept, put aside or refused, never an error of ours; and the next callback is answered."""
    answer = server.http.post(
        server.hook, content=body, headers={"content-type": "application/json"} | headers
    )
    assert answer.status_code < 500
    assert server.http.post(server.hook, json={"id": "7", "status": "SUBMITTED"}).status_code == 200
