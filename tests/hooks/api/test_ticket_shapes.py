"""The story of a ticket from its rows: accounts that an order moved between, and windows that an upstream opened."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from sqlalchemy import update

from dispatcher.tickets.clients import Client
from hooks.api.ticket_shapes import story_shape, ticket_shape
from hooks.api.tickets import STATES
from midjourney.decode import decode_task
from storage import ingest, schema
from storage.engine import Connection, Database
from storage.events import event_log
from storage.reading import ticket_pages, ticket_story
from storage.reading.ticket_pages import TicketFilter
from storage.records import Incoming, Ticket
from storage.tickets import moves
from storage.tickets import sql as tickets_sql
from storage.tickets.known import known
from storage.tickets.tickets import key_of_window
from tests.support.staged import stage, wanted

ID = "1764000000000001"


def put(connection: Connection, **fields: Any) -> None:
    made = Ticket(id=ID, client="ann", kind="imagine", upstream="main", created_at_ms=5)
    tickets_sql.ADD.first(connection, **msgspec.structs.asdict(msgspec.structs.replace(made, **fields)))


async def shape(database: Database) -> Any:
    """What the API answers, as JSON has it."""
    story = await database.read(lambda connection: ticket_story.story(connection, ID, 99))
    assert story is not None
    return msgspec.to_builtins(story_shape(story, Client(name="ann")))


async def test_an_order_that_moved_twice_shows_all_three_accounts(database: Database) -> None:
    """Oldest first; each has the key of the one whose place it took."""

    def work(connection: Connection) -> None:
        last = stage(connection, wanted("first", asked_by="person:client ann"), 1).submission_id
        for number, account in enumerate(("second", "third")):
            key = moves.key_of_move(account, last)
            move = wanted(key, upstream=account, asked_by="person:client ann")
            last = stage(connection, move, 2 + number).submission_id
        put(connection, submission_id=last, upstream="third", chosen="the first of its pool")

    await database.write("test", work)
    found = await shape(database)
    assert [one["upstream"] for one in found["submissions"]] == ["main", "second", "third"]
    assert (found["upstream"], found["joined"], found["chosen"]) == ("third", False, "the first of its pool")


@pytest.mark.parametrize("written", ["other|moved|{id}|0", "main|moved|{id}|1", "main|moved|{id}|0"])
async def test_a_key_that_looks_like_a_move_misleads_nobody(database: Database, written: str) -> None:
    """Another account's, one that repeats, and one that names itself, which would go on for ever."""

    def work(connection: Connection) -> None:
        made = stage(connection, wanted("first"), 1).submission_id
        table = schema.submissions
        key = written.format(id=made)
        connection.execute(update(table).where(table.c.id == made).values(idempotency_key=key))
        put(connection, submission_id=made)

    await database.write("test", work)
    assert len((await shape(database))["submissions"]) == 1


async def test_a_window_of_the_upstream_tells_when_it_opened_and_who_answered(database: Database) -> None:
    """It opened after the client was told that its order is accepted, so hookchain answers it with the text in it."""

    def opens(connection: Connection) -> str:
        made = stage(connection, wanted("press", asked_by="person:client ann"), 5)
        put(connection, submission_id=made.submission_id, kind="action")
        opened = event_log.fact(
            upstream="main",
            signal="submission.needs_modal",
            source="answer",
            submission_id=made.submission_id,
            now_ms=7,
        )
        event_log.append(connection, opened)
        return made.submission_id

    made = await database.write("test", opens)
    assert (await shape(database))["window"] == {
        "opened_by": "upstream",
        "opened_at": "1970-01-01T00:00:00.007Z",
        "answered_by": None,
        "answered_at": None,
    }

    def answers(connection: Connection) -> None:
        table = schema.submissions
        opener = update(table).where(table.c.id == made)
        connection.execute(opener.values(state="needs_modal", outcome="needs_modal", task_ids='["window"]'))
        row = {
            "upstream": "main",
            "id": "window",
            "status": "MODAL",
            "progress": 0,
            "action": "",
            "submission_id": made,
            "parent_id": "",
            "depth": 0,
            "created_at_ms": 7,
            "updated_at_ms": 7,
            "misses": 0,
        }
        connection.execute(schema.tasks.insert().values(row))
        stage(
            connection,
            msgspec.structs.replace(
                wanted("answer", asked_by=f"window:{ID}"), kind="modal", parent_id="window"
            ),
            8,
        )

    await database.write("test", answers)
    found = await shape(database)
    assert (found["window"]["answered_by"], found["window"]["answered_at"]) == (
        "hookchain",
        "1970-01-01T00:00:00.008Z",
    )
    assert [one["kind"] for one in found["submissions"]] == ["imagine", "modal"]


async def test_a_window_of_the_gateway_is_known_by_its_press(database: Database) -> None:
    """The press is staged when the client has answered."""

    def work(connection: Connection) -> None:
        made = stage(connection, wanted(key_of_window("main", ID), asked_by="person:client ann"), 9)
        put(connection, submission_id=made.submission_id, kind="action", answer=b"{}")

    await database.write("test", work)
    assert (await shape(database))["window"] == {
        "opened_by": "hookchain",
        "opened_at": "1970-01-01T00:00:00.005Z",
        "answered_by": "client",
        "answered_at": "1970-01-01T00:00:00.009Z",
    }


def task(connection: Connection, name: str, told_status: str, **fields: Any) -> None:
    """A task as the upstream tells it, confirmed; `fields` are what its row has besides."""
    told = {"id": name, "status": told_status, "action": "IMAGINE"}
    ingest.ingest(
        connection,
        [
            Incoming(
                upstream="main",
                task=decode_task(msgspec.json.encode(told)),
                submission_id="",
                source="reconcile",
                received_at_ms=6,
            )
        ],
        set(),
    )
    table = schema.tasks
    connection.execute(update(table).where(table.c.id == name).values(misses=0, **fields))


def answered(connection: Connection, label: str, state: str) -> str:
    """A press whose window was answered by a modal in this state; the id of the modal."""
    opener = stage(connection, wanted(f"press {label}"), 5).submission_id
    table = schema.submissions
    opened = {"state": "needs_modal", "outcome": "needs_modal", "task_ids": f'["window {label}"]'}
    connection.execute(update(table).where(table.c.id == opener).values(**opened))
    task(connection, f"window {label}", "MODAL", submission_id=opener)
    modal = msgspec.structs.replace(wanted(f"answer {label}"), kind="modal", parent_id=f"window {label}")
    answer = stage(connection, modal, 8).submission_id
    connection.execute(update(table).where(table.c.id == answer).values(state=state))
    put(connection, id=label, submission_id=opener, task_id=f"window {label}", ended_at_ms=9)
    return answer


async def test_the_filter_by_state_agrees_with_the_state_that_is_shown(database: Database) -> None:
    """Failed there, cancelled, lost; by the task, by the answer to its window, and by another task that this made; and well ended."""

    def work(connection: Connection) -> None:
        for status in ("SUCCESS", "FAILURE", "CANCEL"):
            task(connection, f"t-{status}", status)
            put(connection, id=status, task_id=f"t-{status}", ended_at_ms=9)
        task(connection, "t-lost", "IN_PROGRESS", status="LOST", finished_at_ms=8)
        put(connection, id="lost", task_id="t-lost", ended_at_ms=9)
        put(connection, id="open")
        put(connection, id="window", is_window=True)
        put(connection, id="withdrawn", ended_at_ms=9, fail_reason="withdrawn")
        answered(connection, "refused", "rejected")
        table = schema.submissions
        for label, status in (("made a failure", "FAILURE"), ("made a success", "SUCCESS")):
            answer = answered(connection, label, "accepted")
            task(connection, f"new {label}", status, submission_id=answer)
            made = update(table).where(table.c.id == answer)
            connection.execute(made.values(task_ids=f'["new {label}"]'))

    await database.write("test", work)

    def read(connection: Connection) -> tuple[dict[str, str], dict[str, str]]:
        selected: dict[str, str] = {
            one.id: state
            for state in STATES
            for one in ticket_pages.ticket_page(connection, most=50, wanted=TicketFilter(state=state))
        }
        seen = known(connection, ticket_pages.ticket_page(connection, most=50), 99)
        return selected, {one.ticket.id: ticket_shape(one, Client(name="ann")).state for one in seen}

    selected, shown = await database.read(read)
    assert selected == shown
    assert {name for name, state in shown.items() if state == "failed"} == {
        "FAILURE",
        "CANCEL",
        "lost",
        "withdrawn",
        "refused",
        "made a failure",
    }
    assert {name for name, state in shown.items() if state == "ended"} == {"SUCCESS", "made a success"}


async def test_the_mark_of_a_ticket_changes_with_what_is_shown(database: Database) -> None:
    """A page that follows a ticket is drawn again when its submission, its events, or the messages to its hook have changed."""
    made = await database.write("test", lambda c: stage(c, wanted("k"), 1).submission_id)
    await database.write("test", lambda c: put(c, submission_id=made, hook="http://a.example/"))

    async def mark() -> tuple[object, ...]:
        return await database.read(lambda c: ticket_story.version(c, ID))

    marks = [await mark()]
    table = schema.submissions
    accepted = update(table).where(table.c.id == made).values(state="accepted", updated_at_ms=9)
    fact = event_log.fact(
        upstream="main", signal="submission.accepted", source="answer", submission_id=made, now_ms=9
    )
    changes = [
        lambda c: c.execute(accepted),
        lambda c: event_log.append(c, fact),
        lambda c: tickets_sql.TELL(c, id=ID, status="SUBMITTED", progress=0),
        lambda c: tickets_sql.END(c, ids=[ID], now_ms=10, fail_reason=""),
    ]
    for change in changes:
        await database.write("test", change)
        marks.append(await mark())
    assert len(set(map(repr, marks))) == len(changes) + 1
    assert await database.read(lambda c: ticket_story.version(c, "nobody")) == ()
