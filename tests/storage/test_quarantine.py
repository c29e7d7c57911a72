"""Quarantine keeps what a person needs, and no more: no secrets, the beginning of a flood, an equal body once."""

from __future__ import annotations

import pytest

from dispatcher.by_hand import readmit
from dispatcher.by_hand.commands import CommandError
from storage.engine import Database
from storage.events import quarantine
from storage.events.quarantine import KEPT_BYTES, SHOWN_BYTES, QuarantineFilter, UnreadableBody
from storage.records import Quarantined
from storage.tasks import rows as tasks

FLOOD = b"[" + b"1," * 500_000 + b"1]"
HOOK = "https://mine.example/notify/abcdefghijklmnopqrstuvwxyz012345"


async def keep(database: Database, body: bytes, at_ms: int = 10, **changes: str) -> int:
    """Keep a body; its id."""
    about = {"upstream": "main", "submission_id": "", "content_type": "application/json", "reason": "no task"}
    entry = UnreadableBody(**about | changes, body=body, received_at_ms=at_ms)
    return await database.write("keep", lambda connection: quarantine.keep(connection, entry))


async def found(database: Database, entry_id: int) -> Quarantined:
    """An entry that is there."""
    entry = await database.read(lambda connection: quarantine.find(connection, entry_id))
    assert entry is not None
    return entry


async def test_of_a_large_body_the_beginning_is_kept(database: Database) -> None:
    """With its true size; a list gives back less still."""
    entry = await found(database, await keep(database, FLOOD))
    assert (entry.body, entry.body_bytes, entry.is_cut) == (FLOOD[:KEPT_BYTES], len(FLOOD), True)
    (listed,) = await database.read(
        lambda connection: quarantine.page(connection, QuarantineFilter(), most=9)
    )
    assert listed.body == FLOOD[:SHOWN_BYTES]


async def test_an_equal_body_is_kept_once_and_counted(database: Database) -> None:
    """Of one hook. The same body at another submission's hook is another callback."""
    first = await keep(database, FLOOD, 10)
    assert {await keep(database, FLOOD, at_ms) for at_ms in (11, 12)} == {first}
    entry = await found(database, first)
    assert (entry.count, entry.received_at_ms, entry.last_at_ms) == (3, 10, 12)
    assert await keep(database, FLOOD, submission_id="another") != first


@pytest.mark.parametrize(
    "body",
    [
        b'{"id": 7, "properties": {"notifyHook": "%s"}}' % HOOK.encode(),
        b'{"id": 7, "properties": {"notify\\u0048ook": "%s"}}' % HOOK.encode(),
        b'{"id": 7, "notifyHook": "%s", "notifyHook": ""}' % HOOK.encode(),
        b"id=7&notifyHook=%s" % HOOK.encode(),
        b'\xff\xfe not text, "notifyHook": "%s' % HOOK.encode(),
    ],
)
async def test_no_secret_is_kept(database: Database, body: bytes) -> None:
    """As JSON, with a key in escapes, a key that stands twice, a form, and bytes that are no text."""
    entry = await found(database, await keep(database, body))
    assert HOOK.rpartition("/")[2].encode() not in entry.body
    assert b"7" in entry.body or entry.body.startswith(b"\xff\xfe")


async def test_what_has_no_secret_is_kept_byte_for_byte(database: Database) -> None:
    """Blanks, odd numbers and broken characters: what a newer release may understand."""
    body = b' {"id" : 123456789012345678901234567890 , "x":"\xff" '
    assert (await found(database, await keep(database, body))).body == body


async def test_a_redacted_body_comes_in_all_the_same(database: Database) -> None:
    """Its hook is nobody's to read: `hookchain quarantine retry` makes the task of it that it was."""
    body = b'{"id":"7","status":"SUCCESS","properties":{"notifyHook":"%s"}}' % HOOK.encode()
    task = await readmit.retry(database, await keep(database, body), 20)
    assert task is not None
    row = await database.read(lambda connection: tasks.find(connection, "main", "7"))
    assert row is not None
    assert row.status == "SUCCESS"


async def test_a_cut_body_is_never_read_as_if_it_were_whole(database: Database) -> None:
    """The first 64 kB may be a task by themselves: the error says how to give the whole body, which then comes in."""
    task = b'{"id":"7","status":"SUCCESS","progress":"100%"}'
    entry_id = await keep(database, task + b" " * KEPT_BYTES + b"and more")
    with pytest.raises(CommandError, match=f"quarantine retry {entry_id} --body FILE; the entry stays"):
        await readmit.retry(database, entry_id, 20)
    assert await readmit.retry_all(database, QuarantineFilter(), 20) == readmit.Readmitted(count=0, left=1)
    assert await readmit.retry(database, entry_id, 20, body=task) is not None


async def test_reasons_and_types_are_cut(database: Database) -> None:
    """They are the sender's words."""
    entry = await found(database, await keep(database, b"x", reason="r" * 9_000, content_type="t" * 9_000))
    assert (len(entry.reason), len(entry.content_type)) == (500, 500)


@pytest.mark.parametrize(
    ("rows", "size", "left"), [(2, 0, [b"body 3", b"body 4"]), (0, 12, [b"body 3", b"body 4"]), (0, 0, 5)]
)
async def test_the_oldest_go_beyond_its_limits(
    database: Database, rows: int, size: int, left: object
) -> None:
    """Of rows and of bytes, some at a time; 0 is no limit."""
    for number in range(5):
        await keep(database, b"body %d" % number)
    while await database.write("trim", lambda c: quarantine.trim(c, most_rows=rows, most_bytes=size, most=1)):
        pass
    kept = await database.read(lambda connection: quarantine.page(connection, QuarantineFilter(), most=9))
    assert len(kept) == (left if isinstance(left, int) else len(left))  # type: ignore[arg-type]
    assert isinstance(left, int) or [one.body for one in kept][::-1] == left
