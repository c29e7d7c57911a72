"""/api/dead-letters and /api/quarantine: one, or all that match; what is edited; and what is asked for by mistake."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from midjourney.decode import decode_task
from midjourney.requests import Action, Imagine, encode_request
from storage import schema
from storage.submissions import submission_queue
from storage.tasks.believe import TaskReport, believe
from tests.support import buried

PNG = "data:image/png;base64,iVBORw0KGgo" + "A" * 40
CUT = f"data:image/png;base64… {len(PNG)} characters"
BODY = '{"id":"late","status":"SUCCESS"}'


@pytest.fixture
async def ids(site: Any) -> list[str]:
    """Two deliveries and two submissions, the last one of an upstream that is configured no more."""
    return [
        await site.database.write("bury", work)
        for work in (
            lambda c: buried.delivery(c, "plugin:a", 10),
            lambda c: buried.delivery(c, "plugin:b", 20, error="KeyError"),
            lambda c: buried.submission(c, "s", 30, request=Imagine(prompt="bad", images=(PNG,))),
            lambda c: buried.submission(c, "gone", 40, upstream="gone"),
        )
    ]


async def listed(site: Any, **query: Any) -> list[str]:
    """Ids of all pages."""
    found: list[str] = []
    while True:
        page = (await site.http.get("/api/dead-letters", params=query)).json()
        found += [letter["id"] for letter in page["dead_letters"]]
        if page["cursor"] is None:
            return found
        query["cursor"] = page["cursor"]


async def test_the_list_has_pages_and_filters(site: Any, ids: list[str]) -> None:
    """Both kinds in one order; each with its task and upstream."""
    assert await listed(site, limit=1) == ids[::-1]
    assert await listed(site, kind="submission", limit=1) == [ids[3], ids[2]]
    assert await listed(site, text="keyerror") == [ids[1]]
    assert await listed(site, upstream="main", receiver="plugin:a") == [ids[0]]
    letter = (await site.http.get(f"/api/dead-letters/{ids[0]}")).json()
    assert (letter["upstream"], letter["task_id"], letter["kind"]) == ("main", "grid", "delivery")
    assert (await site.http.get("/api/dead-letters?kind=letter")).status_code == 422


@pytest.mark.parametrize("what", ["retry", "drop"])
async def test_all_that_match_and_no_others(site: Any, ids: list[str], what: str) -> None:
    """Then the rest, where all of them are asked for in so many words."""

    async def each(body: Any) -> int:
        answer = await site.http.post(f"/api/dead-letters/{what}", json=body)
        assert answer.status_code == (202 if what == "retry" else 200)
        return int(answer.json()["count"])

    assert await each({"receiver": "plugin:b", "text": "nothing like it"}) == 0
    assert await each({"receiver": "plugin:b"}) == 1
    assert await listed(site) == [ids[3], ids[2], ids[0]]
    assert await each({"kind": "submission", "upstream": "main", "all": True}) == 1
    assert await listed(site) == [ids[3], ids[0]]
    assert await each({"all": True}) == 2
    assert await listed(site) == []


@pytest.mark.parametrize(
    "path", ["dead-letters/retry", "dead-letters/drop", "quarantine/retry", "quarantine/drop"]
)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"all":false}',
        b'{"text":""}',
        b'{"reciever":"x","all":true}',
        b'{"upstream":1}',
        b"[]",
        b"{",
    ],
)
async def test_all_are_meant_only_where_it_says_so(site: Any, ids: list[str], path: str, body: bytes) -> None:
    """An empty filter, a misspelt one, no JSON: 422 that shows what to write, and everything stays."""
    await site.http.post(site.hook, content=b"not JSON")
    answer = await site.http.post(f"/api/{path}", content=body)
    assert (answer.status_code, '{"all": true}' in answer.json()["detail"]) == (422, True)
    assert len(await listed(site)) == 4
    assert len((await site.http.get("/api/quarantine")).json()["quarantine"]) == 1


async def test_a_request_is_edited_as_it_was_shown(site: Any, ids: list[str]) -> None:
    """Its image was shown cut, and is whole again beside the new words."""
    letter = (await site.http.get(f"/api/dead-letters/{ids[2]}")).json()
    edited = letter["submission"]["request"] | {"prompt": "good"}
    assert PNG not in edited["images"]
    answer = await site.http.post(f"/api/dead-letters/{ids[2]}/retry", json={"request": edited})
    assert (answer.status_code, answer.json()) == (202, {"id": ids[2], "state": "waiting"})

    found = await site.database.read(lambda c: submission_queue.find(c, ids[2].removeprefix("submission-")))
    assert found.request == encode_request(Imagine(prompt="good", images=(PNG,)))
    again = await site.http.post(f"/api/dead-letters/{ids[2]}/retry", json={"request": edited})
    assert again.status_code == 404


async def test_a_prompt_without_blanks_is_edited_whole(site: Any) -> None:
    """A Chinese one of 250 characters: it was shown cut, and sent so."""
    prompt = "山" * 120 + "水" * 130
    letter_id = await site.database.write(
        "bury", lambda c: buried.submission(c, "s", 30, request=Imagine(prompt=prompt))
    )
    page = (await site.http.get("/operations")).text
    assert prompt in page
    request = (await site.http.get(f"/api/dead-letters/{letter_id}")).json()["submission"]["request"]
    edited = request | {"prompt": request["prompt"].replace("水", "云")}
    answer = await site.http.post(f"/api/dead-letters/{letter_id}/retry", json={"request": edited})
    assert answer.status_code == 202
    found = await site.database.read(
        lambda c: submission_queue.find(c, letter_id.removeprefix("submission-"))
    )
    assert found.request == encode_request(Imagine(prompt="山" * 120 + "云" * 130))


@pytest.mark.parametrize(
    ("which", "body", "status", "says"),
    [
        (2, {"request": {"kind": "shorten", "prompt": "x"}}, 422, "cannot become 'shorten'"),
        (2, {"request": {"kind": "imagine", "prompt": ""}}, 422, "prompt: is empty"),
        (2, {"request": {"kind": "imagine", "promt": "x"}}, 422, "promt"),
        (2, {"request": {"kind": "dance"}}, 422, "imagine, blend"),
        (2, {"request": {"kind": "imagine", "prompt": f"x {CUT}"}}, 422, "is incomplete"),
        (2, {"request": None}, 422, '{"request":'),
        (2, {"requst": {}}, 422, "requst"),
        (0, {"request": {"kind": "imagine", "prompt": "x"}}, 422, "Only a submission"),
        (3, {"request": {"kind": "imagine", "prompt": "x"}}, 422, "upstream 'gone' is no longer"),
    ],
)
async def test_a_wrong_edit_says_what_is_wrong(
    site: Any, ids: list[str], which: int, body: Any, status: int, says: str
) -> None:
    """And the letter stays dead."""
    answer = await site.http.post(f"/api/dead-letters/{ids[which]}/retry", json=body)
    assert (answer.status_code, says in answer.json()["detail"]) == (status, True), answer.text
    assert len(await listed(site)) == 4


async def test_what_an_upstream_has_is_a_409(site: Any) -> None:
    """It was refused, and runs all the same, as the upstream shows."""
    press = Action(task_id="grid", custom_id="U1")
    letter_id = await site.database.write("bury", lambda c: buried.submission(c, "s", 10, request=press))
    mark = letter_id.removeprefix("submission-")
    shown = decode_task(json.dumps({"id": "child", "status": "SUCCESS", "state": mark}).encode())
    report = TaskReport(upstream="main", task_id="child", task=shown, asked_at_ms=11)

    def revive(connection: Any) -> None:
        connection.execute(schema.submissions.update().values(state="sending"))

    await site.database.write("sending", revive)
    await site.database.write("believe", partial(believe, report=report, now_ms=11))
    await site.database.write(
        "dead", lambda c: c.execute(schema.submissions.update().values(state="dead")).rowcount
    )
    answer = await site.http.post(f"/api/dead-letters/{letter_id}/retry")
    assert (answer.status_code, "task child" in answer.json()["detail"]) == (409, True)
    assert (await site.http.post("/api/dead-letters/retry", json={"all": True})).json() == {"count": 0}
    assert (await site.http.post(f"/api/dead-letters/{letter_id}/drop")).status_code == 200


async def test_a_quarantined_body_is_mended(site: Any) -> None:
    """A body that is still no task changes nothing; one that is comes in."""
    kept = (await site.http.post(site.hook, content=BODY[:-1].encode())).json()["quarantine_id"]
    path = f"/api/quarantine/{kept}/retry"
    for wrong, says in (
        ({"body": "{}"}, "stays in quarantine"),
        ({"body": None}, "body"),
        ({"bdy": BODY}, "bdy"),
    ):
        answer = await site.http.post(path, json=wrong)
        assert (answer.status_code, says in answer.json()["detail"]) == (422, True)
    assert (await site.http.get(f"/api/quarantine/{kept}")).json()["body"] == BODY[:-1]
    mended = await site.http.post(path, json={"body": BODY})
    assert (mended.status_code, mended.json()) == (202, {"id": kept, "task_id": "late"})
    assert (await site.http.get("/api/tasks/main/late")).json()["status"] == "SUCCESS"
    assert (await site.http.get("/api/quarantine")).json()["quarantine"] == []


async def test_quarantine_is_handled_by_what_it_has_in_common(site: Any) -> None:
    """Read again by its reason, dropped by its upstream."""
    for body in (b"not JSON", b'{"id":1}', b'{"id":2}'):
        await site.http.post(site.hook, content=body)
    reasons = {one["reason"] for one in (await site.http.get("/api/quarantine")).json()["quarantine"]}
    assert len(reasons) == 2
    found = (await site.http.get("/api/quarantine", params={"text": "JSON", "upstream": "main"})).json()
    assert [one["body"] for one in found["quarantine"]] == ["not JSON"]
    again = await site.http.post("/api/quarantine/retry", json={"text": "json"})
    assert (again.status_code, again.json()) == (202, {"count": 0, "left": 1})
    assert (await site.http.post("/api/quarantine/drop", json={"text": "json"})).json() == {"count": 1}
    assert (await site.http.post("/api/quarantine/drop", json={"upstream": "other"})).json() == {"count": 0}
    assert (await site.http.post("/api/quarantine/drop", json={"upstream": "main"})).json() == {"count": 2}
