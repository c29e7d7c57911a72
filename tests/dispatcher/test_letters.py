"""Dead letters in a person's hands: which they are, and that none of them is paid for twice."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

import pytest

from dispatcher.by_hand import dead_letters
from dispatcher.by_hand.commands import CommandError
from dispatcher.by_hand.dead_letters import DeadLetter, DeadLetterFilter
from midjourney.decode import decode_task
from midjourney.dialects import DIALECTS
from midjourney.requests import Action, Imagine, Modal, Request, decode_request
from storage.clock import now_ms
from storage.engine import Database
from storage.reading import pages
from storage.submissions import settlements, submission_queue
from storage.submissions.settlements import Settlement
from storage.tasks import chains
from storage.tasks import rows as tasks
from storage.tasks.believe import Belief, TaskReport, believe
from tests.support import buried, put

TRUEAI = DIALECTS["trueai"]
PNG = "data:image/png;base64,iVBORw0KGgo="


async def bury(database: Database, *letters: Any) -> list[str]:
    """Each a function of the connection that makes one; their ids."""
    return [await database.write("bury", letter) for letter in letters]


async def seven(database: Database) -> dict[str, str]:
    """Letters of both kinds, of two upstreams and two receivers; three of them died in the same millisecond."""
    made = await bury(
        database,
        lambda c: buried.delivery(c, "plugin:a", 10),
        lambda c: buried.submission(c, "first", 11),
        lambda c: buried.delivery(c, "plugin:b", 20, upstream="other", error="KeyError: 'Größe'"),
        lambda c: buried.submission(c, "second", 20, upstream="other"),
        lambda c: buried.delivery(c, "plugin:a", 20, upstream="other"),
        lambda c: buried.submission(c, "third", 30, reason="code 23: Queue 100% FULL"),
        lambda c: buried.delivery(c, "plugin:b", 40, error="100 percent"),
    )
    return dict(zip(["a1", "s1", "b2", "s2", "a2", "s3", "b4"], made, strict=True))


async def listed(database: Database, match: DeadLetterFilter, most: int = 50) -> list[str]:
    """Ids of all pages."""
    found: list[DeadLetter] = []
    while True:
        before = (found[-1].died_at_ms, found[-1].id) if found else None
        page = await database.read(partial(dead_letters.page, match=match, most=most, before=before))
        found += page
        if len(page) < most:
            return [letter.id for letter in found]


@pytest.mark.parametrize("most", [1, 2, 3, 50])
async def test_pages_of_both_kinds_go_on_where_they_ended(database: Database, most: int) -> None:
    """Each letter once, those that died last first, also those that died together."""
    names = {letter_id: name for name, letter_id in (await seven(database)).items()}
    found = [names[one] for one in await listed(database, DeadLetterFilter(), most)]
    assert found == ["b4", "s3", "s2", "a2", "b2", "s1", "a1"]


@pytest.mark.parametrize(
    ("match", "names"),
    [
        (DeadLetterFilter(), {"a1", "s1", "b2", "s2", "a2", "s3", "b4"}),
        (DeadLetterFilter(kind="delivery"), {"a1", "b2", "a2", "b4"}),
        (DeadLetterFilter(kind="submission"), {"s1", "s2", "s3"}),
        (DeadLetterFilter(receiver="plugin:a"), {"a1", "a2"}),
        (DeadLetterFilter(receiver="plugin:a", upstream="other"), {"a2"}),
        (DeadLetterFilter(receiver="plugin:a", kind="submission"), set()),
        (DeadLetterFilter(upstream="other"), {"b2", "s2", "a2"}),
        (DeadLetterFilter(text="queue"), {"s3"}),
        (DeadLetterFilter(text="100%"), {"s3"}),
        (DeadLetterFilter(text="keyerror: 'Größe'"), {"b2"}),
        (DeadLetterFilter(text="FAILED 8"), {"a1", "b2", "a2", "b4"}),
        (DeadLetterFilter(text="no such words"), set()),
    ],
)
async def test_what_matches_is_listed_retried_and_dropped_and_nothing_else(
    database: Database, match: DeadLetterFilter, names: set[str]
) -> None:
    """One bite at a time; the others stay dead, as they were."""
    ids = await seven(database)
    wanted = {ids[name] for name in names}
    assert set(await listed(database, match)) == wanted
    assert await in_bites(database, dead_letters.retry_all, match) == len(wanted)
    assert set(await listed(database, DeadLetterFilter())) == set(ids.values()) - wanted
    assert await in_bites(database, dead_letters.drop_all, DeadLetterFilter()) == 7 - len(wanted)
    dropped = await database.read(lambda c: pages.submission_page(c, most=9, equal={"state": "rejected"}))
    assert {f"submission-{one.id}" for one in dropped} == {ids[s] for s in ("s1", "s2", "s3")} - wanted
    assert {one.outcome for one in dropped} <= {"dropped"}
    states = {one.state for one in await database.read(lambda c: pages.delivery_page(c, most=9))}
    assert states <= {"waiting", "done"}


async def in_bites(database: Database, work: Any, match: DeadLetterFilter) -> int:
    """Two at a time until there are none."""
    count = 0
    while bite := await database.write("bite", lambda c: work(c, match, 50, 2)):
        assert bite <= 2
        count += bite
    return count


async def test_what_dies_again_meanwhile_is_left(database: Database) -> None:
    """Whoever retries all would else go round and round with what dies at once."""
    await seven(database)
    assert await database.write("retry", lambda c: dead_letters.retry_all(c, DeadLetterFilter(), 19)) == 2
    assert await database.write("retry", lambda c: dead_letters.retry_all(c, DeadLetterFilter(), 19)) == 0
    assert len(await listed(database, DeadLetterFilter())) == 5


async def test_a_letter_comes_with_its_event(database: Database) -> None:
    """So that a page can show which task it is about."""
    (letter_id,) = await bury(database, lambda c: buried.delivery(c, "plugin:a", 10, task_id="the-task"))
    found = await database.read(lambda c: dead_letters.find(c, letter_id))
    assert found is not None
    assert found.event is not None
    assert (found.event.task_id, found.event.upstream, found.died_at_ms) == ("the-task", "main", 10)
    assert await database.write("retry", lambda c: dead_letters.retry(c, letter_id, 11))
    assert await database.read(lambda c: dead_letters.find(c, letter_id)) is None
    assert not await database.write("retry", lambda c: dead_letters.retry(c, letter_id, 12))


@pytest.mark.parametrize(
    "wrong", ["", "x", "delivery-", "delivery-²", "delivery-" + "9" * 30, "submission-\0"]
)
async def test_what_is_no_letters_id_is_said(database: Database, wrong: str) -> None:
    """By whatever is done with it."""
    works: list[Any] = [
        lambda c: dead_letters.find(c, wrong),
        lambda c: dead_letters.retry(c, wrong, 1),
        lambda c: dead_letters.drop(c, wrong, 1),
    ]
    for work in works:
        with pytest.raises(CommandError, match="delivery-NUMBER"):
            await database.write("wrong", work)


# What an upstream has is not sent again


async def test_two_people_who_retry_at_once_send_it_once(bench: Any) -> None:
    """One by one and all together, at the same moment: each letter goes out once."""
    refuse = (401, {"description": "no available channel"})  # words that pause no upstream
    bench.upstream.answer = lambda path, body: refuse
    await bench.start()
    for number in range(3):
        await bench.database.write("ask", lambda c, n=number: imagine(c, f"cat {n}"))
    bench.database.wakeups.wake("submissions")
    dead = await bench.until_states(*["dead"] * 3)
    ids = [f"submission-{one.id}" for one in dead]
    sent = len(bench.upstream.received)
    bench.upstream.answer = lambda path, body: (200, {"code": 1, "result": f"t-{body['prompt'][-1]}"})
    at_ms = now_ms()
    retried = await asyncio.gather(
        *(bench.database.write("retry", lambda c, i=i: dead_letters.retry(c, i, at_ms)) for i in ids * 2),
        *(
            bench.database.write("retry", lambda c: dead_letters.retry_all(c, DeadLetterFilter(), at_ms))
            for _ in range(2)
        ),
    )
    assert sum(retried) == 3
    bench.database.wakeups.wake("submissions")
    await bench.until_states(*["accepted"] * 3)
    assert len(bench.upstream.received) == sent + 3


def imagine(connection: Any, prompt: str) -> Any:
    from dispatcher.by_hand import commands

    return commands.submit(
        connection, Imagine(prompt=prompt), upstream="main", dialect=TRUEAI, asked_by="test", now_ms=now_ms()
    )


async def test_the_edited_request_is_what_the_upstream_gets(bench: Any) -> None:
    """Under the same id, with the same key; once, though two people press at the same moment. What it was is kept."""
    bench.upstream.answer = lambda path, body: (
        (200, {"code": 24, "description": "banned prompt"})
        if "bad" in body["prompt"]
        else (200, {"code": 1, "result": "child"})
    )
    await bench.start()
    await bench.database.write("ask", lambda c: imagine(c, "a bad cat"))
    bench.database.wakeups.wake("submissions")
    (before,) = await bench.until_states("rejected")
    mended = Imagine(prompt="a good cat")
    edited = await asyncio.gather(
        *(bench.database.write("edit", lambda c: edit(c, before.id, mended, now_ms())) for _ in range(2))
    )
    assert sorted(edited) == [False, True]
    bench.database.wakeups.wake("submissions")
    (after,) = await bench.until_states("accepted")
    assert [body["prompt"] for _, body in bench.upstream.received] == ["a bad cat", "a good cat"]
    assert (after.id, after.idempotency_key) == (before.id, before.idempotency_key)
    assert (after.attempts, after.forgiven) == (2, 1)
    chain = await bench.database.read(lambda c: chains.find(c, after.chain_id))
    assert chain.prompt == "a good cat"
    (note,) = await bench.events(source="internal")
    assert "a bad cat" in note.detail
    assert not await bench.database.write("edit", lambda c: edit(c, after.id, Imagine(prompt="x"), now_ms()))


def edit(connection: Any, submission_id: str, request: Request, at_ms: int = 50) -> bool:
    return dead_letters.edit_and_retry(
        connection, submission_id.removeprefix("submission-"), request, dialect=TRUEAI, now_ms=at_ms
    )


U1 = Action(task_id="grid", custom_id="MJ::JOB::upsample::1::x")


@pytest.mark.parametrize(
    ("request_", "edited", "says"),
    [
        (Imagine(prompt="x"), Action(task_id="grid", custom_id="U1"), "cannot become 'action'"),
        (Imagine(prompt="x"), Imagine(prompt=" "), "prompt: is empty"),
        (Imagine(prompt="x"), Imagine(prompt="x", images=("data:image/png;base64, 9 characters",)), "images"),
        (U1, Action(task_id="other", custom_id=U1.custom_id), "about task 'grid', not 'other'"),
        (U1, Action(task_id="grid", custom_id="MJ::JOB::upsample::2::x"), "another button"),
        (Modal(task_id="w", prompt="x"), Modal(task_id="v", prompt="x"), "about task 'w', not 'v'"),
    ],
)
async def test_an_intent_cannot_be_edited_into_another(
    database: Database, request_: Request, edited: Request, says: str
) -> None:
    """Another kind, another task, another button would be sent under a key that says it was something else."""
    (letter_id,) = await bury(database, lambda c: buried.submission(c, "k", 10, request=request_))
    with pytest.raises(CommandError, match=says):
        await database.write("edit", lambda c: edit(c, letter_id, edited))
    found = await database.read(lambda c: dead_letters.find(c, letter_id))
    assert found is not None
    assert found.submission is not None
    assert decode_request(found.submission.request) == request_


@pytest.mark.parametrize("state", ["waiting", "sending", "uncertain", "accepted", "refused"])
async def test_only_what_was_refused_is_edited(database: Database, state: Any) -> None:
    """Not what waits, is being sent, may have been taken, or was."""
    (letter_id,) = await bury(database, lambda c: buried.submission(c, "k", 10))
    submission_id = letter_id.removeprefix("submission-")

    await database.write("put", lambda c: put.submission(c, submission_id, state))
    assert not await database.write("edit", lambda c: edit(c, letter_id, Imagine(prompt="other")))
    assert not await database.write("retry", lambda c: dead_letters.retry(c, letter_id, 50))
    found = await database.read(lambda c: submission_queue.find(c, submission_id))
    assert found is not None
    assert (found.state, decode_request(found.request)) == (state, Imagine(prompt="a k"))


@pytest.mark.parametrize("status", ["SUBMITTED", "SUCCESS", "FAILURE"])
@pytest.mark.parametrize("state", ["dead", "rejected"])
async def test_what_called_before_it_was_refused_is_sent_no_more(bench: Any, state: Any, status: str) -> None:
    """Its callback came by its own path while it was sent; then a relay said no. One by one, or all, or edited."""
    answer = (401, b"") if state == "dead" else (200, {"code": 24, "description": "banned"})
    bench.upstream.answer = lambda path, body: answer
    bench.upstream.gate.clear()
    await bench.start()
    await bench.database.write("ask", lambda c: imagine(c, "a cat"))
    bench.database.wakeups.wake("submissions")
    (sending,) = await bench.until_states("sending")
    await bench.callback("child", sending.id, status=status, buttons=[], state=sending.id)
    await bench.until_tied("child")
    bench.upstream.gate.set()
    (dead,) = await bench.until_states(state)
    for work in (
        lambda c: dead_letters.retry(c, f"submission-{dead.id}", now_ms()),
        lambda c: edit(c, dead.id, Imagine(prompt="a dog"), now_ms()),
    ):
        with pytest.raises(CommandError, match="made task child"):
            await bench.database.write("again", work)
    assert (
        await bench.database.write("all", lambda c: dead_letters.retry_all(c, DeadLetterFilter(), now_ms()))
        == 0
    )
    assert [one.state for one in await bench.submissions()] == [state]


async def test_what_may_have_been_taken_once_is_not_edited(database: Database) -> None:
    """Its first attempt ended in silence, its second was refused. A task of the first one's words may run: as it is it may
    be tried again, with other words not."""

    def bury_after_silence(connection: Any) -> str:
        letter_id = buried.submission(connection, "k", 10)
        dead_letters.retry(connection, letter_id, 11)
        (begun,) = submission_queue.begin_attempts(connection, "main", 1, 12)
        silence = Settlement(state="uncertain", outcome="uncertain", reason="time-out")
        settlements.settle_attempt(connection, begun, silence, 13)
        submission_queue.move(
            connection,
            begun.id,
            by="disprove",
            to="waiting",
            reason="sent once more",
            run_at_ms=14,
            now_ms=14,
        )
        (begun,) = submission_queue.begin_attempts(connection, "main", 1, 15)
        refused = Settlement(state="dead", outcome="rejected:auth", reason="HTTP 401")
        settlements.settle_attempt(connection, begun, refused, 16)
        return letter_id

    (letter_id,) = await bury(database, bury_after_silence)
    with pytest.raises(CommandError, match="the outcome of one of its attempts is unknown"):
        await database.write("edit", lambda c: edit(c, letter_id, Imagine(prompt="other")))
    assert await database.write("retry", lambda c: dead_letters.retry(c, letter_id, 50))


@pytest.mark.parametrize(
    ("status", "again"),
    [("MODAL", True), ("NOT_START", True), ("IN_PROGRESS", False), ("SUCCESS", False), ("FAILURE", False)],
)
async def test_a_window_that_was_answered_is_not_answered_again(
    database: Database, status: str, again: bool
) -> None:
    """Plus bills a second answer too. Whether there was one the window alone tells: its answer carries no mark."""

    def window(connection: Any) -> str:
        row = tasks.blank("main", "w", 1)
        tasks.hold(connection, "main", ["w"], 1)
        tasks.put(
            connection, type(row)(**{n: getattr(row, n) for n in row.__struct_fields__} | {"status": status})
        )
        return buried.submission(connection, "k", 10, request=Modal(task_id="w", prompt="bad"))

    (letter_id,) = await bury(database, window)
    works: list[Any] = [
        lambda c: edit(c, letter_id, Modal(task_id="w", prompt="good", mask=PNG)),
        lambda c: dead_letters.retry(c, letter_id, 50),
    ]
    if again:
        assert await database.write("edit", works[0])
        return
    for work in works:
        with pytest.raises(CommandError, match="no longer needs an answer"):
            await database.write("again", work)
    assert await database.write("all", lambda c: dead_letters.retry_all(c, DeadLetterFilter(), 50)) == 0


async def test_a_press_whose_window_was_lost_is_pressed_again(database: Database) -> None:
    """Its window is its child, and nobody answered that: it was free."""

    def lost(connection: Any) -> str:
        letter_id = buried.submission(connection, "k", 10, request=U1)
        dead_letters.retry(connection, letter_id, 11)
        (begun,) = submission_queue.begin_attempts(connection, "main", 1, 12)
        opened = Settlement(
            state="needs_modal", outcome="needs_modal", reason="21", task_ids=("w",), child_status="MODAL"
        )
        settlements.settle_attempt(connection, begun, opened, 13)
        submission_queue.move(
            connection,
            begun.id,
            by="repeat",
            to="dead",
            outcome="window_lost",
            reason="its window w was deleted",
            run_at_ms=14,
            now_ms=14,
        )
        return letter_id

    (letter_id,) = await bury(database, lost)
    with pytest.raises(CommandError, match="cannot be sent again"):
        await database.write("edit", lambda c: edit(c, letter_id, U1))
    assert await database.write("retry", lambda c: dead_letters.retry_all(c, DeadLetterFilter(), 50)) == 1


@pytest.mark.parametrize("state", ["dead", "rejected"])
async def test_what_the_upstream_shows_at_the_moment_of_a_retry_counts(
    database: Database, state: Any
) -> None:
    """Whichever comes first, what the upstream has is not left waiting to be sent."""
    for number in range(15):
        (letter_id,) = await bury(
            database, lambda c, n=number: buried.submission(c, f"k{n}", 10, state=state)
        )
        submission_id = letter_id.removeprefix("submission-")
        payload = {"id": f"t{number}", "status": "SUBMITTED", "action": "IMAGINE", "state": submission_id}
        task = decode_task(json.dumps(payload).encode())
        report = TaskReport(upstream="main", task_id=task.id, task=task, asked_at_ms=20)
        again: Any = (
            partial(dead_letters.retry, letter_id=letter_id, now_ms=30)
            if number % 2
            else partial(edit, submission_id=letter_id, request=Imagine(prompt="other"), at_ms=30)
        )
        outcomes: tuple[Any, Any] = await asyncio.gather(
            database.write("believe", partial(believe, report=report, now_ms=20)),
            database.write("again", again),
            return_exceptions=True,
        )
        assert isinstance(outcomes[0], Belief)
        assert isinstance(outcomes[1], bool | CommandError)
        found = await database.read(partial(submission_queue.find, submission_id=submission_id))
        assert found is not None
        assert found.state in ("accepted", "rejected")
