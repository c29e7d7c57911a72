"""What broke the API once, or let somebody in."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from midjourney.redact import redacted, shortened, without_secrets_in
from midjourney.types import Task
from storage.records import Incoming


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def deep(depth: int) -> bytes:
    """A task, all of it behind so many levels; written by hand, since no encoder goes as deep."""
    inside = b'{"a":' * depth + b"1" + b"}" * depth
    return b'{"foo":' + inside + b',"id":"deep","status":"SUCCESS","imageUrl":"https://x/y.png"}'


PAGES = (
    "/", "/operations", "/chains/of/main/deep", "/tasks/main/deep", "/api/events", "/api/tasks/main/deep",
    "/api/tasks", "/api/explain/deep", "/api/quarantine", "/api/submissions", "/api/upstreams",
)  # fmt: skip


@pytest.mark.parametrize("depth", [5, 60])
async def test_a_nested_payload_breaks_no_page(site: Any, depth: int) -> None:
    """It is kept byte for byte, and shown as deep as anybody reads."""
    assert (await site.http.post(site.hook, content=deep(depth))).status_code == 200
    asked = {"kind": "imagine", "prompt": "x", "extra": nested(depth)}
    assert (await site.http.post("/api/submissions", json=asked)).status_code == 202
    for path in PAGES:
        assert (await site.http.get(path)).status_code == 200, path


@pytest.mark.parametrize("depth", [100, 900, 5000])
async def test_what_is_nested_deeper_than_anybody_sends_breaks_no_page(site: Any, depth: int) -> None:
    """It goes into quarantine, whole; as a submission it is refused."""
    answer = await site.http.post(site.hook, content=deep(depth))
    assert (answer.status_code, "nested deeper than" in answer.json()["detail"]) == (422, True)
    asked = b'{"kind":"imagine","prompt":"x","extra":' + deep(depth) + b"}"
    assert (await site.http.post("/api/submissions", content=asked)).status_code in (400, 422)
    for path in PAGES:
        assert (await site.http.get(path)).status_code == (404 if "deep" in path else 200), path


@pytest.mark.parametrize("depth", [100, 900, 5000])
async def test_what_a_release_before_kept_breaks_no_page(site: Any, depth: int) -> None:
    """Its row is shown, without what the payload says."""
    task = Task(id="deep", status="SUCCESS", raw=deep(depth))
    await site.database.append(
        Incoming(upstream="main", task=task, submission_id="", source="callback", received_at_ms=1)
    )
    for path in PAGES:
        assert (await site.http.get(path)).status_code == 200, path
    assert (await site.http.get("/api/tasks/main/deep")).json()["status"] == "SUCCESS"
    press = {"kind": "press", "task_id": "deep", "button": "U1"}
    assert (await site.http.post("/api/submissions", json=press)).status_code == 404
    assert (await site.http.get("/images/main/deep")).status_code == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/events/99999999999999999999", 404),
        ("/api/deliveries/99999999999999999999", 404),
        ("/api/deliveries?event_id=99999999999999999999", 404),
        ("/api/deliveries?event_id=²", 404),
        ("/api/tasks?limit=²", 422),
        ("/api/tasks?limit=" + "1" * 5000, 422),
        ("/api/costs?since_ms=²", 422),
        ("/api/costs?since_ms=" + "9" * 30, 422),
        ("/api/costs?since_ms=" + "9" * 5000, 422),
        ("/api/costs?since_ms=" + str(2**63 - 1), 200),
        ("/api/traffic?since_ms=" + "9" * 5000, 422),
        ("/api/events/" + "9" * 5000, 404),
        ("/api/deliveries/" + "9" * 5000, 404),
        ("/api/quarantine/" + "9" * 5000, 404),
        ("/api/events/" + str(2**63 - 1), 404),
        ("/?before=" + "9" * 5000 + "-x", 422),
        ("/api/dead-letters/delivery-²", 404),
        ("/api/dead-letters/delivery-99999999999999999999", 404),
        ("/api/dead-letters/submission-%00", 404),
        ("/api/dead-letters?text=%00", 422),
        ("/api/quarantine?text=%00", 422),
        ("/api/dead-letters?cursor=WzEsImRlbGl2ZXJ5LcKyIl0=", 422),
        ("/api/events?cursor=" + "W1tbW1tb" * 400, 422),
        ("/api/events?cursor=Wzk5OTk5OTk5OTk5OTk5OTk5OTk5OTld", 422),
    ],
)
async def test_a_number_that_no_row_has_is_no_500(site: Any, path: str, status: int) -> None:
    """Nor one that only looks like a number."""
    assert (await site.http.get(path)).status_code == status


@pytest.mark.parametrize("event_id", ["9" * 25, "9" * 5000, "²", "-1"])
async def test_an_event_that_none_can_be_is_not_replayed(site: Any, event_id: str) -> None:
    assert (await site.http.post(f"/api/events/{event_id}/replay")).status_code == 404


@pytest.mark.parametrize("path", ["events/1/replay", "uncertain/x/settle", "dead-letters/retry"])
@pytest.mark.parametrize("body", [b"[" * 5000, b"\xff", b'"\xff"', b"{"])
async def test_a_body_that_cannot_be_read_is_no_500(site: Any, path: str, body: bytes) -> None:
    """It says what to write."""
    answer = await site.http.post(f"/api/{path}", content=body)
    assert (answer.status_code, "write {" in answer.json()["detail"]) == (422, True)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 202),
        ({"host": "localhost:8000", "origin": "http://localhost:8000"}, 202),
        ({"host": "localhost:8000", "origin": "http://localhost:3000"}, 403),
        ({"host": "127.0.0.1:8000"}, 202),
        ({"host": "[::1]:8000"}, 202),
        ({"origin": "https://evil.example", "content-type": "text/plain"}, 403),
        ({"origin": "null"}, 403),
        ({"host": "evil.example"}, 403),
        ({"host": "localhost.evil.example"}, 403),
        ({"x-forwarded-for": "8.8.8.8"}, 403),
        ({"x-real-ip": "8.8.8.8"}, 403),
        ({"via": "1.1 proxy"}, 403),
    ],
)
async def test_other_sites_spend_nothing_through_loopback(
    site: Any, headers: dict[str, str], status: int
) -> None:
    """A page that somebody on this machine looks at can send requests: its origin, or its name for us, gives it away."""
    body = b'{"kind":"imagine","prompt":"x"}'
    answer = await site.http.post("/api/submissions", content=body, headers=headers)
    assert answer.status_code == status, answer.text


async def test_a_proxy_that_adds_no_header_lets_nobody_in(site: Any) -> None:
    """nginx's `proxy_pass http://127.0.0.1:8000` and no more: it asks in HTTP/1.0, for our own address."""
    application = site.http._transport.app

    async def asked_in_1_0(scope: Any, receive: Any, send: Any) -> None:
        await application(scope | {"http_version": "1.0"}, receive, send)

    transport = httpx.ASGITransport(asked_in_1_0, client=("127.0.0.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
        for path in ("/", "/setup", "/api/tasks", "/metrics"):
            assert (await http.get(path)).status_code == 403, path
        assert (await http.get("/healthz")).status_code == 200


def test_secrets_go_before_anything_is_cut_or_kept() -> None:
    """In values too, and as JSON writes them."""
    key, hook = "sk-secret", "https://h/notify/token/1"
    body = json.dumps({"description": f"{key} and {hook}", "hook": hook.replace("/", "\\/")}).encode()
    clean = without_secrets_in(body.replace(b"\\\\/", b"\\/"), key, hook)
    assert b"sk-secret" not in clean
    assert b"notify" not in clean
    assert redacted({"notifyHook": "x", "Authorization": "y", "a": [{"notifyhook": "z"}]}) == {
        "notifyHook": "[redacted]",
        "Authorization": "[redacted]",
        "a": [{"notifyhook": "[redacted]"}],
    }
    assert "…" in json.dumps(shortened(nested(100)), ensure_ascii=False)
