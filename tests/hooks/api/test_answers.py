"""What each address of the API answers, byte for byte: names, their order and the values are a contract (docs/reference/http.md).

`answers.json` was recorded before the answers became structs. What differs from run to run, ids and
times, is replaced by what it is. After a change that is meant, record again: `RECORD_ANSWERS=1 pytest tests/hooks/api/test_answers.py`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from midjourney.requests import Imagine
from storage import clock
from storage.deliveries import delivery_queue, endings
from storage.deliveries.endings import Ended
from storage.engine import Connection
from storage.events import quarantine, refusals
from storage.events.quarantine import UnreadableBody
from storage.records import Ticket
from storage.records.refusals import Refusal
from storage.submissions import settlements, staging, submission_queue
from storage.submissions.settlements import Settlement
from storage.tickets import sql as tickets_sql
from storage.upstreams import list_facts
from storage.upstreams.list_facts import ListFacts
from tests.hooks.conftest import Site, site_of
from tests.support.staged import stage, wanted

RECORDED = Path(__file__).with_name("answers.json")

GRID = {
    "id": "grid",
    "status": "SUCCESS",
    "action": "IMAGINE",
    "prompt": "a cat",
    "imageUrl": "https://cdn.example/grid.png?ex=1",
    "properties": {"notifyHook": "http://hooks/notify/secret-token", "finalPrompt": "a cat"},
    "buttons": [
        {"customId": "MJ::JOB::upsample::1::u", "label": "U1"},
        {"customId": "MJ::JOB::reroll::0::u::SOLO", "label": "", "emoji": "🔄"},
    ],
}
FAILED = {"id": "failed", "status": "FAILURE", "action": "UPSCALE", "failReason": "Banned prompt detected: x"}

CONFIGURATION = """
[upstreams.second]
url = "http://127.0.0.1:9"

[[rules]]
name = "upscale"
on = "task.succeeded"
if = "task.is_grid"
press = "U1"

[[budgets]]
name = "daily"
per = "day"
submissions = 1000
"""

READS = [
    "tasks",
    "tasks?limit=1",
    "tasks/main/grid",
    "tasks/main/failed",
    "tasks/main/nobody",
    "chains",
    "chains/{chain}",
    "events",
    "events?task_id=grid",
    "events/1",
    "submissions",
    "submissions?state=uncertain",
    "submissions/{submission}",
    "deliveries",
    "deliveries/1",
    "dead-letters",
    "dead-letters?kind=delivery",
    "dead-letters/{letter}",
    "quarantine",
    "quarantine/1",
    "uncertain",
    "refused",
    "waiting",
    "tickets",
    "tickets?client=shop&state=failed",
    "tickets/{ticket}",
    "tickets/nobody",
    "clients",
    "clients/shop",
    "explain/grid",
    "explain/{ticket}",
    "explain/nobody",
    "costs",
    "costs?by=day",
    "budgets",
    "rules",
    "plugins",
    "upstreams",
    "traffic?step_s=3600",
]
"""What is read of the seeded server, in this order."""

WRITES: list[tuple[str, Any]] = [
    ("submissions", {"kind": "imagine", "prompt": "another cat"}),
    ("submissions", {"kind": "press", "task_id": "grid", "button": "U1"}),
    ("submissions", {"kind": "dance"}),
    ("submissions/known", {"keys": ["order-7"]}),
    ("submissions/known", {"key": "order-7"}),
    ("dead-letters/{letter}/retry", {}),
    ("dead-letters/{delivery}/drop", {}),
    ("dead-letters/retry", {"all": True}),
    ("dead-letters/drop", {"all": True}),
    ("quarantine/1/retry", {"body": '{"id":"late","status":"SUCCESS"}'}),
    ("quarantine/retry", {"all": True}),
    ("quarantine/2/drop", {}),
    ("quarantine/drop", {"all": True}),
    ("uncertain/{uncertain}/settle", {"accepted": True, "task_id": "found"}),
    ("refused/{refused}/release", {}),
    ("waiting/{stalled}/send-now", {}),
    ("waiting/{stalled}/drop", {}),
    ("waiting/{stalled}/drop", {}),
    ("waiting/nobody/send-now", {}),
    ("events/1/replay", {"force": True}),
    ("upstreams/main/pause", {}),
    ("upstreams/main/resume", {}),
]
"""What is asked for then."""


def seed(connection: Connection) -> dict[str, str]:
    """One of each kind of row, with the ids that addresses need."""
    sent = stage(connection, wanted("sent", client="shop", user="u"), 11)
    settle(
        connection,
        Settlement(
            state="accepted",
            outcome="accepted",
            reason="",
            task_ids=("grid",),
            http_status=200,
            answer=b'{"code":1,"result":"grid"}',
        ),
    )
    uncertain = stage(connection, wanted("uncertain"), 12)
    settle(connection, Settlement(state="uncertain", outcome="timeout", reason="no answer"))
    ticket = Ticket(
        id="1764000000000001",
        client="shop",
        kind="imagine",
        upstream="main",
        submission_id=sent.submission_id,
        task_id="grid",
        prompt="a cat",
        state="never shown",
        hook="http://me:secret@hooks.example/path?token=1",
        told_status="IN_PROGRESS",
        told_progress=7,
        created_at_ms=11,
        answered_at_ms=21,
        chosen="the only account of its client",
    )
    tickets_sql.ADD.first(connection, **msgspec.structs.asdict(ticket))
    dead = stage(connection, wanted("dead", Imagine(prompt="bad", images=("data:,x",))), 13)
    settle(connection, Settlement(state="dead", outcome="rejected:auth", reason="HTTP 401"))
    refused = staging.stage(connection, wanted("refused"), refuse=lambda *_: "it is used up", now_ms=14)
    stalled = stage(connection, wanted("stalled", upstream="second"), 15)
    habits = ListFacts(order="newest first", most_entries=7, marks={"imagine": True}, slowest_ms=9)
    list_facts.keep(connection, "main", habits)
    at_ms = clock.now_ms()
    refusal = Refusal(upstream="main", why="too_large", count=2, last_at_ms=at_ms, detail="of 9 bytes")
    refusals.add(connection, [refusal])
    for body in (b"not JSON", b"[]"):
        quarantine.keep(
            connection,
            UnreadableBody(
                upstream="main",
                submission_id="",
                content_type="text/plain",
                reason="not understood",
                body=body,
                received_at_ms=at_ms,
            ),
        )
    return {
        "chain": sent.chain_id,
        "submission": sent.submission_id,
        "ticket": ticket.id,
        "uncertain": uncertain.submission_id,
        "letter": f"submission-{dead.submission_id}",
        "refused": refused.submission_id,
        "stalled": stalled.submission_id,
    }


def settle(connection: Connection, settlement: Settlement) -> None:
    """Send the one submission that waits."""
    (begun,) = submission_queue.begin_attempts(connection, "main", 1, 20)
    settlements.settle_attempt(connection, begun, settlement, 21)


def bury(connection: Connection) -> str:
    """A dead delivery, in the order of the fan-out."""
    delivery_queue.fan_out(connection, lambda _event: ["rule:upscale"], 100, 30)
    for claimed in delivery_queue.claim(connection, 9, 31, room=lambda _name: 9):
        ending = Ended(state="dead", decision="failed 8 times", error="Traceback: it broke", fired=True)
        endings.end(connection, claimed, ending, refuse=lambda *_: "", now_ms=32)
    return f"delivery-{claimed.delivery.id}"


@pytest.fixture
async def seeded(new_database: Path) -> AsyncIterator[tuple[Site, dict[str, str]]]:
    """A server on which something of everything has happened, with the ids."""
    (new_database / "hookchain.toml").write_text(CONFIGURATION)
    async with site_of(new_database) as site:
        ids = await site.database.write("seed", seed)
        await site.http.post(
            f"{site.hook}/{ids['submission']}", json=GRID | {"status": "IN_PROGRESS", "progress": "7%"}
        )
        await site.http.post(f"{site.hook}/{ids['submission']}", json=GRID)
        await site.http.post(
            f"{site.hook}/{ids['submission']}", json=GRID | {"status": "IN_PROGRESS", "progress": "5%"}
        )
        await site.http.post(site.hook, json=FAILED)
        ids["delivery"] = await site.database.write("bury", bury)
        await site.http.post("/api/upstreams/main/pause")
        yield site, ids


def normalized(text: str, known: dict[str, str]) -> str:
    """The answer with what differs from run to run replaced."""
    for found, name in known.items():
        text = text.replace(found, name)
    text = re.sub(r'"20\d\d-\d\d-\d\dT[0-9:.]+Z"', '"<time>"', text)
    text = re.sub(r'"20\d\d-\d\d-\d\d"', '"<day>"', text)
    text = re.sub(r'"cursor":"[^"]+"', '"cursor":"<cursor>"', text)
    text = re.sub(r'"(happened|mean_ms|slowest_ms|for_s)":[0-9.]+', r'"\1":0', text)
    # The order in which a database counts states is its own.
    text = re.sub(
        r'(?<="submissions":\{)[^{}]*(?=\})', lambda found: ",".join(sorted(found[0].split(","))), text
    )
    text = re.sub(r"left for \d+ s", "left for 0 s", text)
    text = re.sub(r"\b\d{13}\b", "0", text)
    return re.sub(r"[0-9a-f]{16,}", "<id>", text)


async def test_every_address_answers_as_it_did(
    seeded: tuple[Site, dict[str, str]], new_database: Path
) -> None:
    """Reads first, then what changes something."""
    site, ids = seeded
    names = {value: f"<{name}>" for name, value in ids.items() if name != "delivery"}
    names[str(new_database)] = "."
    answers: dict[str, str] = {}
    for path in READS:
        answer = await site.http.get(f"/api/{path.format(**ids)}")
        answers[f"GET {path}"] = normalized(f"{answer.status_code} {answer.text}", names)
    for path, body in WRITES:
        answer = await site.http.post(f"/api/{path.format(**ids)}", json=body)
        answers[f"POST {path} {msgspec.json.encode(body).decode()}"] = normalized(
            f"{answer.status_code} {answer.text}", names
        )
    if os.environ.get("RECORD_ANSWERS"):
        RECORDED.write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n")
    assert answers == json.loads(RECORDED.read_text())
