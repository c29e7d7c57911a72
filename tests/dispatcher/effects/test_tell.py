"""Other systems are told in signed messages that can be told apart; people are told by Apprise. No secret leaves."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook
from starlette.responses import Response

from dispatcher.effects.forward import forward
from dispatcher.effects.notify import notify
from dispatcher.plugins.errors import GiveUp, Retry
from midjourney.decode import decode_task
from storage.records import Event

KEY = b"0123456789abcdef01234567"
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
EVENT = Event(
    id=7,
    upstream="main",
    task_id="17",
    submission_id="",
    source="callback",
    signal="task.succeeded",
    action="IMAGINE",
    status="SUCCESS",
    progress=100,
    advanced=True,
    detail="",
    payload=b"{}",
    received_at_ms=1_700_000_000_123,
    generation=0,
)


async def test_a_message_is_signed_as_standard_webhooks_says(web: Any, make: Any) -> None:
    """HMAC-SHA256 over id, timestamp and body, checked here by hand and as a receiver would; the id is the same at every try."""
    for _ in range(2):
        await forward(
            make.task("http://x/y.png"),
            event=EVENT,
            chain=make.chain("http://x"),
            url=f"{web.url}/in",
            secret=SECRET,
        )
    ids = set()
    for method, target, headers, body in web.asked:
        assert (method, target, headers["content-type"]) == ("POST", "/in", "application/json")
        text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.new(KEY, text, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
        assert Webhook(SECRET).verify(body, dict(headers)) == json.loads(body)
        ids.add(headers["webhook-id"])
        told = json.loads(body)
        assert (told["type"], told["timestamp"]) == ("task.succeeded", "2023-11-14T22:13:20.123Z")
        assert (told["data"]["task"]["id"], told["data"]["chain"]["id"]) == ("17", "c1")
        assert b"secret" not in body
    assert len(ids) == 1


async def test_a_task_is_forwarded_as_a_client_of_the_upstream_would_get_it(web: Any, make: Any) -> None:
    """Every key of the sender is there, the hook is not; `state` is the submitter's, and the task's relatives are named."""
    task = make.task("http://x/y.png", state="mine", description="/up 16 U2", extra=[1])
    await forward(
        task, event=EVENT, chain=make.chain("http://x"), url=f"{web.url}/in", body="task", label="U2"
    )
    ((_, _, _, sent),) = web.asked
    told = json.loads(sent)
    assert (told["id"], told["status"], told["imageUrl"], told["extra"]) == (
        "17",
        "SUCCESS",
        "http://x/y.png",
        [1],
    )
    assert (told["state"], told["parent_id"], told["root_id"], told["label"]) == ("mine", "16", "17", "U2")
    assert [button["label"] for button in told["buttons"]] == ["U1", "U2", "U3", "U4"]
    assert b"secret" not in sent


async def test_an_odd_payload_is_forwarded_as_it_can_be_read(web: Any, make: Any) -> None:
    """Half a character, a number that is too large, and a mark at the begin."""
    body = make.task("", prompt="cut \ud83d", seed="?").raw.replace(b'"?"', b"1e999")
    task = decode_task(b"\xef\xbb\xbf" + body)
    await forward(task, event=EVENT, chain=make.chain("http://x"), url=f"{web.url}/in")
    ((_, _, _, sent),) = web.asked
    payload = json.loads(sent)["data"]["task"]["payload"]
    assert (payload["prompt"], payload["seed"]) == ("cut \ufffd", None)


@pytest.mark.parametrize(
    "name", ["10_wrapped_in_data", "11_array_of_tasks", "12_json_in_json", "13_task_id_for_id"]
)
async def test_a_wrapped_payload_is_forwarded_without_its_wrapper(web: Any, make: Any, name: str) -> None:
    """Who is told of tasks need not know the wrappers of each upstream; our hook is redacted within JSON text too."""
    body = (Path(__file__).parents[2] / "cases" / f"{name}.json").read_bytes()
    task = decode_task(body.replace(b"a cat", b"https://h/notify/0123456789abcdef"))
    await forward(task, event=EVENT, chain=make.chain("http://x"), url=f"{web.url}/in")
    ((_, _, _, sent),) = web.asked
    payload = json.loads(sent)["data"]["task"]["payload"]
    assert (payload["id"], payload["properties"]) == (task.id, {"finalPrompt": "https://h/notify/[redacted]"})


@pytest.mark.parametrize(
    ("status", "headers", "error", "after_s"),
    [
        (410, {}, GiveUp, None),
        (500, {}, Retry, None),
        (404, {}, Retry, None),
        (302, {"location": "http://elsewhere"}, Retry, None),
        (429, {"retry-after": "30"}, Retry, 30.0),
        (429, {"retry-after": "9" * 400}, Retry, 30 * 24 * 3600),
        (503, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, Retry, None),
    ],
)
async def test_what_the_other_side_answers_is_heeded(
    web: Any, make: Any, status: int, headers: dict[str, str], error: type[Exception], after_s: float | None
) -> None:
    """Gone is gone, later is later, and redirects are not followed."""
    web.answer = lambda _: Response(status_code=status, headers=headers)
    with pytest.raises(error) as raised:
        await forward(make.task(""), event=EVENT, chain=make.chain("http://x"), url=f"{web.url}/t0ken?k=1")
    assert "t0ken" not in str(raised.value)
    assert getattr(raised.value, "after_s", None) == after_s
    assert len(web.asked) == 1


async def test_a_receiver_that_is_not_there_is_tried_again(make: Any) -> None:
    """By the delivery's own retries."""
    with pytest.raises(Retry, match=r"127\.0\.0\.1 cannot be reached"):
        await forward(make.task(""), event=EVENT, chain=make.chain("http://x"), url="http://127.0.0.1:9/x")


@pytest.mark.parametrize("secret", ["plain", "whsec_", "whsec_???", base64.b64encode(KEY).decode()])
async def test_a_secret_that_is_none_is_said_and_not_shown(web: Any, make: Any, secret: str) -> None:
    """Nothing is sent unsigned instead."""
    with pytest.raises(GiveUp, match="must be whsec_") as raised:
        await forward(make.task(""), event=EVENT, chain=make.chain("http://x"), url=web.url, secret=secret)
    assert secret not in str(raised.value).replace("whsec_ followed", "")
    assert web.asked == []


async def test_people_are_told(web: Any) -> None:
    """By Apprise's own JSON service here; several at once."""
    address = web.url.replace("http://", "json://")
    await notify("a cat is done", to=[f"{address}/one", f"{address}/two"], title="hookchain")
    told = [json.loads(body) for _, _, _, body in web.asked]
    assert [(one["message"], one["title"]) for one in told] == [("a cat is done", "hookchain")] * 2


async def test_nothing_is_told_to_nobody(web: Any) -> None:
    """A template that came out empty does so again: it is not tried again, as somebody who is away is."""
    with pytest.raises(GiveUp, match="nothing to send"):
        await notify(" ", to=web.url.replace("http://", "json://"))


async def test_who_is_not_reached_is_told_later(web: Any) -> None:
    """Without the token in the message."""
    web.answer = lambda _: Response(status_code=500)
    with pytest.raises(Retry, match="some of these could not be notified: json://…"):
        await notify("x", to=web.url.replace("http://", "json://") + "/t0ken")


@pytest.mark.parametrize(
    ("to", "says"), [("bogus://t0ken", "bogus://…"), ("t0ken", "an address without ://")]
)
async def test_an_address_that_nobody_knows_is_said_without_its_token(to: str, says: str) -> None:
    """As a rule file is told when it is loaded."""
    with pytest.raises(GiveUp) as raised:
        await notify("x", to=to)
    assert says in str(raised.value)
    assert "t0ken" not in str(raised.value)
