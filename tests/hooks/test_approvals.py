"""Approvals for people: the signed link, the dashboard and the API. Opening decides nothing, and each decision counts once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from hooks.approval_tokens import approval_path, approval_token, without_token
from midjourney.decode import decode_task
from storage import clock, schema
from storage.engine import Connection
from storage.records import Approval, ApprovalTerms, Incoming
from storage.submissions import approvals
from tests.hooks.conftest import Site
from tests.support.held import HOUR_MS, by_label, held, press, states

GRID = {"id": "grid", "status": "SUCCESS", "action": "IMAGINE", "prompt": "a <b>cat</b>",
        "imageUrl": "http://127.0.0.1:9/grid.png",
        "buttons": [{"customId": f"MJ::JOB::upsample::{n}::u", "label": f"U{n}"} for n in (1, 2)]}  # fmt: skip
PHONE = {"sec-fetch-site": "same-origin", "origin": "null", "accept": "text/html"}


async def ask(site: Site, **terms: Any) -> Approval:
    """A rule holds two presses on a grid."""
    task = decode_task(json.dumps(GRID).encode())
    await site.database.append(
        Incoming(
            upstream="main", task=task, submission_id="", source="callback", received_at_ms=clock.now_ms()
        )
    )
    given = ApprovalTerms(**{"for_ms": HOUR_MS, **terms})
    opened: Approval = await site.database.write(
        "test", lambda c: held(c, press(1), press(2), terms=given, now_ms=clock.now_ms())
    )
    return opened


async def kept(site: Site, approval: Approval) -> Approval:
    found = await site.database.read(lambda connection: approvals.find(connection, approval.id))
    assert found is not None
    return found


def link(approval: Approval) -> str:
    return approval_path("s", approval.id)


async def decide(site: Site, approval: Approval, do: str, **fields: str) -> httpx.Response:
    return await site.http.post(link(approval), data={"do": do, **fields}, headers=PHONE)


async def test_the_page_shows_what_is_asked_and_the_names_are_escaped(site: Site) -> None:
    """The picture, the prompt, what would be sent, the rule, the end, and two buttons; without a login."""
    approval = await ask(site)
    page = (await site.http.get(link(approval), headers=PHONE)).text
    for shown in ("press U1, U2", "a &lt;b&gt;cat&lt;/b&gt;", "upscale", 'value="release"', 'value="drop"'):
        assert shown in page
    assert f'src="{link(approval)}/picture"' in page


async def test_a_bot_that_opens_each_link_ten_times_decides_nothing(site: Site) -> None:
    """By GET and HEAD, and the picture with it: chats show previews, and scanners of mail open what they find."""
    approval = await ask(site)
    for _ in range(10):
        for method in ("GET", "HEAD"):
            answer = await site.http.request(method, link(approval), headers={"user-agent": "TelegramBot"})
            assert answer.status_code == 200
            await site.http.request(method, f"{link(approval)}/picture")
    assert (await kept(site, approval)).is_open
    assert await site.database.read(states) == {"U1": "held", "U2": "held"}


async def test_its_pages_are_not_stored_indexed_framed_or_given_away(site: Site) -> None:
    """Whatever they answer: the page, a decision, a wrong link, the picture."""
    approval = await ask(site)
    answers = [
        await site.http.get(link(approval)),
        await site.http.get(f"{link(approval)}/picture"),
        await site.http.get(f"/approve/{approval.id}/wrong"),
        await site.http.post(link(approval), data={"do": "maybe"}),
        await decide(site, approval, "drop"),
    ]
    assert [one.status_code for one in answers] == [200, 502, 404, 422, 303]
    for one in answers:
        assert one.headers["cache-control"] == "no-store"
        assert one.headers["referrer-policy"] == "no-referrer"
        assert "noindex" in one.headers["x-robots-tag"]
        assert "default-src 'none'" in one.headers["content-security-policy"]
        assert one.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "same-origin", "origin": "null"},
        {"sec-fetch-site": "", "origin": "null"},
        {"sec-fetch-site": "", "origin": ""},
    ],
    ids=["a phone over TLS", "a phone without TLS", "an old browser"],
)
async def test_its_button_acts_once_without_a_session(site: Site, headers: dict[str, str]) -> None:
    """From the browser of a phone, which sends no origin from a page that keeps its address to itself."""
    approval = await ask(site)
    sent = {name: value for name, value in headers.items() if value}
    form = {"do": "release", "name": "Ann"}
    del site.http.headers["sec-fetch-site"]
    answer = await site.http.post(link(approval), data=form, headers=sent)
    assert (answer.status_code, answer.headers["location"]) == (303, link(approval))
    after = (await site.http.get(link(approval))).text
    assert "Approved by Ann" in after
    assert 'value="release"' not in after
    again = await site.http.post(link(approval), data={"do": "drop", "name": "Bob"}, headers=sent)
    assert again.status_code == 409
    assert "Your decision came too late." in again.text
    assert "Approved by Ann" in again.text
    found = await kept(site, approval)
    assert (found.state, found.decided_by, found.decided_from) == ("released", "Ann", "link")
    assert await site.database.read(states) == {"U1": "waiting", "U2": "waiting"}


async def test_a_form_that_names_no_decision_changes_nothing(site: Site) -> None:
    """As a scanner sends it that posts what it finds; nor does one that is too large."""
    approval = await ask(site)
    for data in ({}, {"do": "yes"}, {"name": "x"}):
        assert (await site.http.post(link(approval), data=data)).status_code == 422
    assert (await decide(site, approval, "drop", name="x" * 5000)).status_code == 413
    assert (await kept(site, approval)).is_open


async def test_a_forged_a_cut_and_a_swapped_token_open_nothing(site: Site) -> None:
    """404 for each, by GET and by POST; nor does the token of another secret, or of another kind."""
    first, second = await ask(site), None
    second = await site.database.write(
        "test", lambda c: held(c, press(9), terms=ApprovalTerms(for_ms=HOUR_MS), now_ms=clock.now_ms())
    )
    token = approval_token("s", first.id)
    wrong = [
        f"/approve/{first.id}/{token[:-1]}",
        f"/approve/{first.id}/{token}x",
        f"/approve/{first.id}/{token[::-1]}",
        f"/approve/{second.id}/{token}",
        f"/approve/{first.id}/{approval_token('other', first.id)}",
        f"/approve/{first.id}/%20",
        f"/approve/unknown/{approval_token('s', 'unknown')}",
    ]
    for path in wrong[:4]:
        assert (await site.http.post(path, data={"do": "release"})).status_code == 404
    for path in wrong[4:]:
        assert (await site.http.get(path)).status_code == 404
    assert (await kept(site, first)).is_open
    assert second.is_open


async def test_who_guesses_has_to_wait_and_who_has_a_link_does_not(site: Site) -> None:
    """Ten wrong ones a minute from one address."""
    approval = await ask(site)
    wrong = [await site.http.get(f"/approve/{approval.id}/{n:024}") for n in range(12)]
    assert [one.status_code for one in wrong] == [404] * 10 + [429] * 2
    assert (await site.http.get(link(approval))).status_code == 200
    assert (await decide(site, approval, "drop")).status_code == 303


async def test_an_expired_one_says_so_although_nothing_has_looked_yet(site: Site) -> None:
    """There is no worker here. The page has no buttons, and a button of a page that was open comes too late."""
    approval = await ask(site)

    def end(connection: Connection) -> None:
        connection.execute(update(schema.approvals).values(expires_at_ms=clock.now_ms() - 1))

    await site.database.write("test", end)
    page = (await site.http.get(link(approval))).text
    assert "The deadline has passed." in page
    assert 'value="release"' not in page
    assert (await kept(site, approval)).is_open
    late = await decide(site, approval, "release")
    assert late.status_code == 409
    assert "its time was over" in late.text
    assert await site.database.read(states) == {"U1": "rejected", "U2": "rejected"}
    assert "its time was over" in (await site.http.get(link(approval))).text


async def test_two_people_who_press_at_one_moment_hear_of_one_decision(site: Site) -> None:
    """By link, on the dashboard and by API."""
    approval = await ask(site)
    answers = await asyncio.gather(
        decide(site, approval, "release", name="Ann"),
        decide(site, approval, "drop", name="Bob"),
        site.http.post(f"/approvals/{approval.id}", data={"do": "drop"}),
        site.http.post(f"/api/approvals/{approval.id}/release"),
    )
    assert sorted(one.status_code for one in answers)[1:] == [409, 409, 409]


async def test_no_log_line_has_the_token(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a decision, nor a wrong link, nor an error of ours."""
    approval = await ask(site)

    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    with capture_logs() as logs:
        await site.http.get(f"/approve/{approval.id}/wrong-token")
        await decide(site, approval, "release")
        monkeypatch.setattr("hooks.dashboard.approval_links.approval_view", fail)
        assert (await site.http.get(link(approval))).status_code == 500
    told = json.dumps(logs, default=str)
    assert "a page failed" in told
    assert "approval decided" in told
    assert approval_token("s", approval.id) not in told
    assert "wrong-token" not in told
    assert without_token("/setup") == "/setup"


async def test_the_dashboard_shows_it_and_decides(site: Site) -> None:
    """On the operations page and on the page of its chain; a page from elsewhere cannot."""
    approval = await ask(site)
    for page in ("/operations", f"/chains/{approval.chain_id}"):
        shown = (await site.http.get(page)).text
        assert "press U1, U2" in shown
        assert f'action="/approvals/{approval.id}"' in shown
    forged = await site.http.post(
        f"/approvals/{approval.id}", data={"do": "release"}, headers={"sec-fetch-site": "cross-site"}
    )
    assert forged.status_code == 403
    done = await site.http.post(f"/approvals/{approval.id}", data={"do": "release", "back": "chain"})
    assert done.headers["location"] == f"/chains/{approval.chain_id}"
    found = await kept(site, approval)
    assert (found.decided_by, found.decided_from) == ("person:page", "dashboard")
    assert f"/approvals/{approval.id}" not in (await site.http.get("/operations")).text


async def test_the_panel_lets_a_person_press_what_is_held(site: Site) -> None:
    """Its button counts as not pressed yet."""
    approval = await ask(site)
    panel = (await site.http.get(f"/chains/{approval.chain_id}?task=grid&upstream=main")).text
    assert 'aria-pressed="true"' not in panel


async def test_the_api_lists_shows_and_decides(site: Site) -> None:
    """By state, page by page; 404 and 409 say why, and what was decided."""
    first = await ask(site)
    second = await site.database.write("test", lambda c: held(c, press(7), now_ms=clock.now_ms() + 5))
    page = (await site.http.get("/api/approvals?limit=1&state=open")).json()
    assert [one["id"] for one in page["approvals"]] == [second.id]
    rest = (await site.http.get(f"/api/approvals?limit=1&state=open&cursor={page['cursor']}")).json()
    assert [(one["id"], one["wants"], one["else"]) for one in rest["approvals"]] == [
        (first.id, "press U1, U2", "drop")
    ]
    assert (await site.http.get("/api/approvals?state=gone")).status_code == 422
    assert (await site.http.get("/api/approvals/nope")).status_code == 404
    assert (await site.http.post("/api/approvals/nope/drop")).status_code == 404
    assert (await site.http.post(f"/api/approvals/{first.id}/drop", json={"bye": "x"})).status_code == 422
    done = await site.http.post(f"/api/approvals/{first.id}/drop", json={"by": "Ann"})
    assert (done.status_code, done.json()["state"], done.json()["moved"]) == (202, "dropped", 2)
    again = await site.http.post(f"/api/approvals/{first.id}/release")
    assert again.status_code == 409
    assert again.json()["detail"].startswith("The approval was dropped before by Ann (api) at ")
    assert again.json()["approval"]["decided_by"] == "Ann"


async def test_explain_tells_who_decided_and_when(site: Site) -> None:
    """And a task without an approval has none."""
    approval = await ask(site)
    await decide(site, approval, "release", name="Ann")
    told = (await site.http.get("/api/explain/grid")).json()["approvals"]
    assert [(one["id"], one["state"], one["decided_by"], one["decided_from"]) for one in told] == [
        (approval.id, "released", "Ann", "link")
    ]
    found = await site.database.read(lambda connection: by_label(connection, approval.id))
    assert found["U1"].reason == "released by Ann (link)"


async def test_a_gauge_counts_open_ones(site: Site) -> None:
    """Until somebody decides."""
    approval = await ask(site)
    assert "hookchain_approvals_open 1.0" in (await site.http.get("/metrics")).text
    await decide(site, approval, "drop")
    assert "hookchain_approvals_open 0.0" in (await site.http.get("/metrics")).text
