"""The JSON API: pages, single entries, submissions, dead letters; and who may use it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx
import pytest

from hookchain.settings.load import load_settings
from hookchain.wiring import connect_receivers, running
from storage.clock import now_ms
from storage.deliveries import delivery_queue, endings
from storage.deliveries.endings import Ended
from storage.events import quarantine
from storage.events.quarantine import UnreadableBody

GRID = {
    "id": "grid",
    "status": "SUCCESS",
    "action": "IMAGINE",
    "prompt": "a cat",
    "properties": {"notifyHook": "http://hooks/notify/secret-token"},
    "buttons": [
        {"customId": "MJ::JOB::upsample::1::u", "label": "U1"},
        {"customId": "MJ::JOB::reroll::0::u::SOLO", "label": "", "emoji": "🔄"},
    ],
}


async def test_pages_go_on_where_they_ended(site: Any) -> None:
    """Seven tasks in pages of three: each once, newest first."""
    for number in range(7):
        await site.http.post(site.hook, json={"id": str(number), "status": "SUBMITTED"})
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 3}
    while True:
        page = (await site.http.get("/api/tasks", params=query)).json()
        seen += [task["id"] for task in page["tasks"]]
        if page["cursor"] is None:
            break
        query["cursor"] = page["cursor"]
    assert sorted(seen) == [str(number) for number in range(7)]


@pytest.mark.parametrize(
    "path", ["tasks", "chains", "events", "submissions", "deliveries", "quarantine", "dead-letters"]
)
@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "cursor=x", "cursor=bnVsbA==", "cursor=WyJ4Il0="]
)
async def test_a_bad_page_is_a_problem(site: Any, path: str, query: str) -> None:
    """Never a server error."""
    answer = await site.http.get(f"/api/{path}?{query}")
    assert answer.status_code == 422
    assert answer.json()["detail"]


async def test_the_hooks_address_is_redacted(site: Any) -> None:
    """Senders echo it in every payload, and who knows it may post."""
    await site.http.post(site.hook, json=GRID)
    for path in ("/api/tasks/main/grid", "/api/events"):
        assert "secret-token" not in (await site.http.get(path)).text


@pytest.mark.parametrize("task_id", ["a/b", "a/b/c?d#e%2Ff", "/retry"])
async def test_a_task_is_found_whatever_its_id_is_made_of(site: Any, task_id: str) -> None:
    """A stroke is a part of the id, and none of the path."""
    await site.http.post(site.hook, json=GRID | {"id": task_id})
    part = quote(task_id, safe="")
    assert (await site.http.get(f"/api/tasks/main/{part}")).json()["id"] == task_id
    assert (await site.http.get(f"/api/explain/{part}")).json()["task"]["id"] == task_id


async def test_a_press_is_asked_for_once(site: Any) -> None:
    """202 when it is new, 200 with the same submission after that."""
    await site.http.post(site.hook, json=GRID)
    body = {"kind": "action", "task_id": "grid", "custom_id": "MJ::JOB::upsample::1::u"}
    first, second = [await site.http.post("/api/submissions", json=body) for _ in range(2)]
    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json()["id"] == second.json()["id"]
    assert (first.json()["label"], first.json()["parent_id"], first.json()["depth"]) == ("U1", "grid", 1)
    again = await site.http.post("/api/submissions", json=body | {"again": 1})
    assert again.status_code == 202


async def test_an_idempotency_key_is_honoured(site: Any) -> None:
    """The same key is the same imagine; without one each is new."""
    body = {"kind": "imagine", "prompt": "a cat"}
    keyed = [
        await site.http.post("/api/submissions", json=body, headers={"Idempotency-Key": "k"})
        for _ in range(2)
    ]
    assert [answer.status_code for answer in keyed] == [202, 200]
    assert keyed[0].json()["id"] == keyed[1].json()["id"]
    plain = [await site.http.post("/api/submissions", json=body) for _ in range(2)]
    assert plain[0].json()["id"] != plain[1].json()["id"]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 400, "not JSON"),
        (b"[]", 422, "object"),
        (b'{"kind":"dance"}', 422, "press, imagine, blend, describe"),
        (b'{"kind":"imagine"}', 422, "prompt"),
        (
            b'{"kind":"imagine","prompt":"x","promt":"y"}',
            422,
            """'promt' of kind imagine. Did you mean "prompt"?""",
        ),
        (b'{"kind":"press","task_id":"grid","button":"U1","delay":60}', 422, 'Did you mean "after"?'),
        (b'{"kind":"press","task_id":"grid","button":"U1","after":"soon"}', 422, "'soon' is not a time"),
        (b'{"kind":"action","task_id":"grid","custom_id":"U1","zoom":1.8}', 422, "Unknown field 'zoom'"),
        (b'{"kind":"imagine","prompt":"x","upstream":"other"}', 422, "known upstreams: main"),
        (b'{"kind":"action","task_id":"nobody","custom_id":"x"}', 404, "nobody"),
        (b'{"kind":"press","task_id":"grid","button":"U4"}', 422, "it offers: U1"),
        (b'{"kind":"press","task_id":"grid","button":""}', 422, "no button ''; it offers: U1"),
        (b'{"kind":"press","task_id":"grid","button":" "}', 422, "it offers: U1"),
        (b'{"kind":"action","task_id":"grid","custom_id":"U1"}', 422, "MJ::JOB::upsample::1::u"),
    ],
)
async def test_a_bad_submission_says_what_is_wrong(site: Any, body: bytes, status: int, says: str) -> None:
    """And nothing is staged."""
    await site.http.post(site.hook, json=GRID)
    answer = await site.http.post("/api/submissions", content=body)
    assert (answer.status_code, says in answer.json()["detail"]) == (status, True), answer.text
    assert (await site.http.get("/api/submissions")).json()["submissions"] == []


async def test_a_dead_letter_is_listed_shown_and_retried(site: Any) -> None:
    """With its traceback; once it waits again it is none."""
    await site.http.post(site.hook, json=GRID)

    def bury(connection: Any) -> None:
        delivery_queue.fan_out(connection, lambda event: ["plugin:breaks"], 10, 1)
        (claimed,) = delivery_queue.claim(connection, 10, 2, room=lambda name: 1)
        ending = Ended(state="dead", decision="failed 8 times", error="Traceback: it broke")
        endings.end(connection, claimed, ending, refuse=lambda *_: "", now_ms=3)

    await site.database.write("bury", bury)
    (letter,) = (await site.http.get("/api/dead-letters")).json()["dead_letters"]
    assert letter["delivery"]["error"] == "Traceback: it broke"
    assert (await site.http.get(f"/api/dead-letters/{letter['id']}")).json() == letter
    assert (await site.http.post(f"/api/dead-letters/{letter['id']}/retry")).status_code == 202
    assert (await site.http.get("/api/dead-letters")).json()["dead_letters"] == []
    assert (await site.http.post(f"/api/dead-letters/{letter['id']}/retry")).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "tasks/main/x",
        "chains/x",
        "events/9",
        "submissions/x",
        "deliveries/9",
        "dead-letters/delivery-9",
        "dead-letters/x",
        "nothing",
    ],
)
async def test_what_is_not_there_is_404(site: Any, path: str) -> None:
    """As a problem body."""
    answer = await site.http.get(f"/api/{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_health(site: Any) -> None:
    """Alive, and ready: the database takes writes."""
    assert (await site.http.get("/healthz")).json() == {"status": "ok"}
    assert (await site.http.get("/readyz")).json() == {"status": "ready", "checks": {"database": True}}


async def test_without_a_token_the_api_answers_this_machine_only(site: Any) -> None:
    """Neither other machines, nor a proxy on this one that forwards them."""
    forwarded = await site.http.get("/api/tasks", headers={"x-forwarded-for": "203.0.113.9"})
    assert forwarded.status_code == 403
    assert "HOOKCHAIN_ADMIN_TOKEN" in forwarded.json()["detail"]
    assert (await site.http.get("/api/tasks")).status_code == 200


async def test_with_a_token_the_api_wants_it(tmp_path: Any) -> None:
    """From everywhere."""
    settings = load_settings(
        {
            "HOOKCHAIN_ADMIN_TOKEN": "t0ken",
            "HOOKCHAIN_UPSTREAM_URL": "http://127.0.0.1:9",
            "DATABASE_URL": f"sqlite:///{tmp_path}/hookchain.db",
        },
        tmp_path,
    )
    async with running(settings, connect_receivers(settings), with_worker=False) as server:
        transport = httpx.ASGITransport(server.application, client=("203.0.113.9", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            assert (await http.get("/api/tasks")).status_code == 401
            assert (
                await http.get("/api/tasks", headers={"authorization": "Bearer wrong"})
            ).status_code == 401
            assert (
                await http.get("/api/tasks", headers={"authorization": "Bearer t0ken"})
            ).status_code == 200
            assert (await http.get("/healthz")).status_code == 200


async def test_a_person_settles_releases_and_pauses(site: Any) -> None:
    """What is not there is a 404, what is not understood a 422 that says what to write."""
    assert (await site.http.get("/api/uncertain")).json() == {"uncertain": []}
    assert (await site.http.get("/api/refused")).json() == {"refused": []}
    wrong = await site.http.post("/api/uncertain/x/settle", json={"maybe": 1})
    assert (wrong.status_code, "accepted" in wrong.json()["detail"]) == (422, True)
    assert (await site.http.post("/api/uncertain/x/settle", json={"accepted": False})).status_code == 404
    assert (await site.http.post("/api/refused/x/release")).status_code == 404
    assert (await site.http.post("/api/upstreams/nobody/pause")).status_code == 404
    assert (await site.http.post("/api/upstreams/main/pause")).json()["paused"] is True
    (shown,) = (await site.http.get("/api/upstreams")).json()["upstreams"]
    assert (shown["name"], shown["paused"], shown["callbacks"]["calls_back"]) == ("main", True, None)
    assert (await site.http.post("/api/upstreams/main/resume")).json()["paused"] is False


async def test_what_was_not_understood_is_read_again_or_forgotten(site: Any) -> None:
    """Retried it is still none, and stays; dropped it is gone; what is not there is a 404."""
    kept = (await site.http.post(site.hook, content=b"not JSON")).json()["quarantine_id"]
    again = await site.http.post(f"/api/quarantine/{kept}/retry")
    assert (again.status_code, "stays in quarantine" in again.json()["detail"]) == (422, True)
    assert (await site.http.get(f"/api/quarantine/{kept}")).json()["body"] == "not JSON"
    assert (await site.http.post(f"/api/quarantine/{kept}/drop")).status_code == 200
    for method, path in (("GET", ""), ("POST", "/drop"), ("POST", "/retry")):
        assert (await site.http.request(method, f"/api/quarantine/{kept}{path}")).status_code == 404


async def test_a_body_that_is_understood_by_now_comes_in_as_a_callback(site: Any) -> None:
    """As after an update; once."""
    entry = UnreadableBody(
        upstream="main",
        submission_id="",
        content_type="",
        reason="an older release did not know it",
        body=b'{"id":"late","status":"SUCCESS"}',
        received_at_ms=1,
    )
    kept = await site.database.write("test", lambda connection: quarantine.keep(connection, entry))
    assert (await site.http.post(f"/api/quarantine/{kept}/retry")).status_code == 202
    assert (await site.http.get("/api/tasks/main/late")).json()["status"] == "SUCCESS"
    assert (await site.http.get("/api/quarantine")).json()["quarantine"] == []


async def test_a_dead_letter_is_given_up_by_hand(site: Any) -> None:
    """It is among the dead no more, and says what became of it."""
    await site.http.post(site.hook, json=GRID)

    def die(connection: Any) -> int:
        delivery_queue.fan_out(connection, lambda _event: ["gone"], 10, 1)
        (claimed,) = delivery_queue.claim(connection, 10, 10**15, room=lambda _name: 9)
        endings.end(
            connection, claimed, Ended(state="dead", decision="gave up"), refuse=lambda *_: "", now_ms=1
        )
        return claimed.delivery.id

    number = await site.database.write("test", die)
    assert (await site.http.post(f"/api/dead-letters/delivery-{number}/drop")).status_code == 200
    assert (await site.http.get("/api/dead-letters")).json()["dead_letters"] == []
    assert (await site.http.get(f"/api/deliveries/{number}")).json()["decision"] == "dropped by hand: gave up"
    assert (await site.http.post(f"/api/dead-letters/delivery-{number}/drop")).status_code == 404


async def test_a_submission_says_when_and_how_urgently(site: Any) -> None:
    """No sooner than `after`; what cannot be is a 422 that names the field."""
    made = await site.http.post(
        "/api/submissions", json={"kind": "imagine", "prompt": "x", "priority": 7, "after": 3600}
    )
    assert (made.status_code, made.json()["priority"]) == (202, 7)
    assert made.json()["run_at"] > made.json()["created_at"]
    for wrong, told in (
        ({"priority": 1000}, "priority is 1000; it must be a whole number between -100 and 100"),
        ({"priority": 1.5}, "priority is 1.5; it must be a whole number between -100 and 100"),
        ({"after": -1}, "after is -1; it must be a number between 0 and 2592000 seconds (30 days)"),
        ({"again": -1}, "again is -1; it must be a whole number between 0 and 1000000"),
        ({"again": True}, "again is True; it must be a whole number between 0 and 1000000"),
    ):
        answer = await site.http.post("/api/submissions", json={"kind": "imagine", "prompt": "x"} | wrong)
        assert (answer.status_code, answer.json()["detail"]) == (422, told)


async def test_traffic_is_told_in_steps_from_then_until_now(site: Any) -> None:
    """Each series has the same steps, also those in which nothing happened."""
    since_ms = now_ms() - 3 * 3_600_000
    answer = await site.http.get(f"/api/traffic?since_ms={since_ms}&step_s=3600")
    told = answer.json()
    begins = {tuple(point["at_ms"] for point in points) for points in told["series"].values()}
    ((first, *_, last),) = begins
    assert set(told["series"]) == {"callbacks", "refused", "submissions", "deliveries"}
    assert first <= since_ms < first + 3_600_000
    assert last <= told["until_ms"] < last + 3_600_000
    assert told["series"]["refused"][0] == {"at_ms": first, "happened": 0, "mean_ms": 0.0, "slowest_ms": 0.0}


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("step_s=90", "multiple of 60"),
        ("step_s=0", "multiple of 60"),
        ("step_s=-60", "step_s must be a whole number"),
        ("since_ms=yesterday", "since_ms must be a whole number"),
        ("since_ms=" + "9" * 20, "since_ms must be a whole number"),
        ("since_ms=0", "larger step_s"),
    ],
)
async def test_a_bad_question_about_traffic_says_what_is_wrong(site: Any, query: str, says: str) -> None:
    """And so does one that is too large to answer."""
    answer = await site.http.get(f"/api/traffic?{query}")
    assert (answer.status_code, says in answer.json()["detail"]) == (422, True), answer.text


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"kind": "imagine", "prompt": "http://minio:9000/a.png a cat"}, "prompt"),
        ({"kind": "imagine", "prompt": "a cat", "images": ["http://minio:9000/a.png"]}, r"images[0]"),
        ({"kind": "describe", "image": "http://minio:9000/a.png"}, "image"),
        ({"kind": "blend", "images": ["http://minio:9000/a.png"] * 2, "extra": {"x": 1}}, r"images[0]"),
        ({"kind": "describe", "image": "data:image/png;base64,iVBORw0KGgo=", "extra": {"base64": "http://minio:9000/a.png"}}, "extra.base64"),
    ],
)  # fmt: skip
async def test_a_private_link_is_refused_at_once(site: Any, fields: dict[str, Any], field: str) -> None:
    """With its field, its address and what to do; nothing is submitted."""
    answer = await site.http.post("/api/submissions", json=fields)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(
        f"{field}: http://minio:9000/a.png is an address in a private network"
    )
    assert "private_hosts" in answer.json()["detail"]
    assert (await site.http.get("/api/submissions")).json()["submissions"] == []
