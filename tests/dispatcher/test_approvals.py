"""Rules with `approve`, in the real loops: nothing leaves before a decision, and the message about it goes out once."""

from __future__ import annotations

import json
import tomllib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dispatcher.approvals import deciding
from dispatcher.approvals.wants import wants
from dispatcher.plugins.errors import RuleError
from dispatcher.plugins.receivers import Registry
from dispatcher.plugins.signals import SIGNALS
from dispatcher.rules.load import load_rules
from hooks.approval_tokens import approval_path
from midjourney.requests import Action, Imagine, encode_request
from storage.records import Approval, Submission
from storage.submissions import approvals
from tests.dispatcher.conftest import Bench, U
from tests.support.served import served

RULE = """
[[rules]]
name = "upscale"
on = "task.succeeded"
if = "task.is_grid"
press = ["U1", "U3"]
"""


class Chat:
    """A chat, and a bot's address: what they got, and how they answer."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.status: Callable[[str], int] = lambda _path: 200

    async def take(self, request: Request) -> Response:
        path = request.url.path
        self.got.append((path, json.loads(await request.body()), dict(request.headers)))
        return Response(status_code=self.status(path))

    def texts(self) -> list[str]:
        """The texts of the messages in the chat."""
        return [body["message"] for path, body, _ in self.got if path == "/chat"]

    @property
    def notify(self) -> str:
        """As an Apprise address."""
        return self.url.replace("http://", "json://") + "/chat"


@pytest.fixture
async def chat() -> AsyncIterator[Chat]:
    made = Chat()
    async with served(Starlette(routes=[Route("/{name}", made.take, methods=["POST"])])) as made.url:
        yield made


async def open_approval(bench: Bench) -> Approval:
    """The only approval, once it is there."""

    async def ask() -> Approval | None:
        def read(connection: Any) -> Approval | None:
            chains = {one.chain_id for one in found}
            every = [one for chain_id in chains for one in approvals.of_chain(connection, chain_id)]
            assert len(every) <= 1
            return every[0] if every else None

        found = await bench.submissions()
        answer: Approval | None = await bench.database.read(read)
        return answer

    opened: Approval = await bench.until(ask)
    return opened


async def until_told(bench: Bench, receiver: str, state: str = "done") -> str:
    """The decision of a receiver's delivery, once it is in this state."""

    async def ask() -> str:
        found = [one for one in await bench.deliveries() if one.receiver == receiver and one.state == state]
        return found[0].decision if found else ""

    told: str = await bench.until(ask)
    return told


async def test_nothing_leaves_before_somebody_approves_and_then_all_of_it(bench: Bench) -> None:
    """Both presses, once; the delivery tells that they were held."""
    bench.rules(RULE + "approve = true")
    await bench.start()
    await bench.callback()
    approval = await open_approval(bench)
    assert [one.state for one in await bench.submissions()] == ["held", "held"]
    assert "held until somebody approves them" in await until_told(bench, "rule:upscale")
    assert bench.upstream.received == []
    decided = await deciding.decide(bench.database, approval.id, "released", by="Ann", source="link")
    assert decided is not None
    assert decided.counts
    await bench.until_states("accepted", "accepted")
    assert sorted(bench.upstream.pressed()) == [U[0], U[2]]


async def test_what_is_dropped_is_never_sent(bench: Bench) -> None:
    """Nor when its event comes again; the next grid has an approval of its own."""
    bench.rules(RULE + "approve = true")
    await bench.start()
    await bench.callback()
    approval = await open_approval(bench)
    await deciding.decide(bench.database, approval.id, "dropped", by="", source="dashboard")
    await bench.callback()
    await bench.callback("another")
    await bench.until_states("rejected", "rejected", "held", "held")
    assert bench.upstream.received == []


async def test_the_message_has_the_link_what_is_wanted_its_price_and_the_end(
    bench: Bench, chat: Chat
) -> None:
    """In the chat as a text, and for a bot as a signed message; once each."""
    bench.options["prices"] = {"upscale": 0.05}
    secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"
    forward = f'{{ url = "{chat.url}/bot", secret = "{secret}" }}'
    bench.rules(RULE + f'approve = {{ notify = "{chat.notify}", forward = {forward} }}')
    await bench.start()
    await bench.callback()
    approval = await open_approval(bench)
    await until_told(bench, "rule:upscale/approve")
    await until_told(bench, "rule:upscale/approve/forward")
    (text,) = chat.texts()
    link = f"http://hooks{approval_path('s', approval.id)}"
    assert text.startswith("press U1, U3 (price: 0.1)\na cat\nDecide until 20")
    assert text.endswith(link)
    ((body, headers),) = [(body, headers) for path, body, headers in chat.got if path == "/bot"]
    assert body["type"] == "approval.asked"
    assert body["approval"]["url"] == link
    assert body["data"]["task"]["id"] == "grid"
    assert headers["webhook-id"] == f"msg_{approval.id}-asked"
    assert headers["webhook-signature"].startswith("v1,")
    decisions = [one.decision + one.error for one in await bench.deliveries()]
    assert link.rpartition("/")[2] not in "".join(decisions)


async def test_a_chat_that_fails_is_tried_again_alone(bench: Bench, chat: Chat) -> None:
    """The bot is not told twice, and the approval can be decided all the while."""
    failures = iter([500])
    chat.status = lambda path: next(failures, 200) if path == "/chat" else 200
    bench.rules(RULE + f'approve = {{ notify = "{chat.notify}", forward = "{chat.url}/bot" }}')
    await bench.start()
    await bench.callback()
    approval = await open_approval(bench)
    assert await until_told(bench, "rule:upscale/approve") == "notified 1"
    assert len(chat.texts()) == 2
    assert [path for path, _, _ in chat.got].count("/bot") == 1
    assert approval.is_open


async def test_nobody_is_asked_about_what_is_decided(bench: Bench, chat: Chat) -> None:
    """A person was faster than a chat that was away."""
    chat.status = lambda _path: 500
    bench.rules(RULE + f'approve = {{ notify = "{chat.notify}" }}')
    await bench.start()
    await bench.callback()
    approval = await open_approval(bench)

    async def failed() -> bool:
        return len(chat.got) == 1

    await bench.until(failed)
    await deciding.decide(bench.database, approval.id, "dropped", by="", source="api")
    chat.status = lambda _path: 200
    assert await until_told(bench, "rule:upscale/approve") == "not sent: it was dropped before"
    assert len(chat.got) == 1


async def test_a_yes_counts_although_its_rule_is_gone(bench: Bench) -> None:
    """It is a yes to what was shown."""
    bench.rules(RULE + "approve = true")
    await bench.start()
    await bench.callback()
    approval = await open_approval(bench)
    await bench.stop()
    for signal in SIGNALS.values():
        signal._clear_state()
    await bench.start(Registry(SIGNALS))
    await deciding.decide(bench.database, approval.id, "released", by="", source="link")
    await bench.until_states("accepted", "accepted")


@pytest.mark.parametrize(("otherwise", "state"), [("drop", "rejected"), ("send", "accepted")])
async def test_at_its_end_happens_what_the_rule_wants(bench: Bench, otherwise: str, state: str) -> None:
    """By the loop, once over two workers."""
    bench.rules(RULE + f'approve = {{ expires = 10, else = "{otherwise}" }}')
    await bench.start()
    await bench.callback()
    approval = await open_approval(bench)

    def hasten(connection: Any) -> None:
        connection.exec_driver_sql(
            f"UPDATE {'' if connection.dialect.name == 'sqlite' else 'hookchain_data.'}approvals "
            f"SET expires_at_ms = {approval.asked_at_ms}"
        )

    await bench.database.write("test", hasten)
    await bench.until_states(state, state)
    found = await bench.database.read(lambda connection: approvals.find(connection, approval.id))
    assert found is not None
    assert (found.decided_by, found.decided_from) == ("", "expiry")
    assert len(bench.upstream.received) == (2 if otherwise == "send" else 0)


async def test_a_person_who_presses_it_does_not_wait_for_the_answer(bench: Bench) -> None:
    """It is pressed once; the other stays held."""
    bench.rules(RULE + "approve = true")
    await bench.start()
    await bench.callback()
    await open_approval(bench)
    await bench.ask(Action(task_id="grid", custom_id=U[0]))
    await bench.until_states("accepted", "held")
    assert bench.upstream.pressed() == [U[0]]


def made(kind: str, label: str, request: Any) -> Submission:
    values: dict[str, Any] = dict.fromkeys(Submission.__struct_fields__, "")
    values |= {"kind": kind, "label": label, "upstream": "main", "request": encode_request(request)}
    return Submission(**values)


def test_what_is_wanted_is_told_in_plain_words() -> None:
    """With the price if one is known, and with the beginning of a long prompt."""
    presses = [made("action", f"U{n}", Action(task_id="t", custom_id=U[n - 1])) for n in (1, 2)]
    dream = made("imagine", "imagine", Imagine(prompt="a " * 300))
    assert wants(presses, {}) == "press U1, U2"
    assert wants(presses, {"main": {"upscale": 0.25}}) == "press U1, U2 (price: 0.5)"
    assert wants([*presses, dream], {}) == f"press U1, U2; imagine: {'a ' * 100}…"
    assert wants([], {}) == "nothing any more"


def test_the_texts_of_other_keys_know_no_approval() -> None:
    """Its link would be nobody's."""
    for text in (
        RULE + 'notify = { to = "json://127.0.0.1:9", text = "{{ approval.url }}" }',
        RULE.replace('"task.is_grid"', '"approval.url"'),
    ):
        with pytest.raises(RuleError, match="unknown name 'approval'"):
            load_rules(tomllib.loads(text)["rules"], file="rules.toml", text=text, directory=Path("/nowhere"))


async def test_the_message_may_name_the_customer(bench: Bench, chat: Chat) -> None:
    """The first task of the chain is read for it, as for the rule."""
    text = "{{ chain.state }}: {{ root.prompt }} {{ approval.url }}"
    bench.rules(RULE + f'approve = {{ notify = "{chat.notify}", text = "{text}" }}')
    await bench.start()
    await bench.callback(state="acme")
    await until_told(bench, "rule:upscale/approve")
    (told,) = chat.texts()
    assert told.startswith("acme: a cat http")
