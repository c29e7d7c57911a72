"""Lists of tickets over all clients, and what each client uses, on both databases."""

from __future__ import annotations

import msgspec
import pytest

from storage.clients import keys
from storage.engine import Connection, Database
from storage.reading import client_use, ticket_pages
from storage.reading.ticket_pages import HookState, TicketFilter, TicketState
from storage.records import Ticket
from storage.submissions import submission_queue
from storage.tickets import sql, tickets
from tests.support.staged import stage, wanted


def ticket(number: int, **fields: object) -> Ticket:
    """A ticket that is `number` milliseconds old."""
    return msgspec.structs.replace(
        Ticket(id=f"{number:016d}", client="ann", kind="imagine", upstream="main", created_at_ms=number),
        **fields,
    )


def put(connection: Connection, *made: Ticket) -> None:
    for one in made:
        sql.ADD.first(connection, **msgspec.structs.asdict(one))


def numbers(found: list[Ticket]) -> list[int]:
    return [int(one.id) for one in found]


async def test_tickets_of_all_clients_come_newest_first_page_by_page(database: Database) -> None:
    """Two of the same millisecond are told apart by their ids."""
    await database.write(
        "put",
        lambda c: put(
            c, *(ticket(number, client="ab"[number % 2], created_at_ms=number // 2) for number in range(1, 6))
        ),
    )

    def read(connection: Connection) -> list[list[int]]:
        pages, before = [], None
        while True:
            page = ticket_pages.ticket_page(connection, most=2, before=before)
            pages.append(numbers(page))
            if page.next is None:
                return pages
            before = (int(page.next[0]), str(page.next[1]))

    assert await database.read(read) == [[5, 4], [3, 2], [1]]


REFUSED = "the upstream refused it"


async def _shelf(database: Database) -> None:
    """Open 1 and 2, a window 3, well ended 4 and 5, failed 6 (here), 7 (refused there); 2, 5 and 7 are bob's, at spare."""
    bobs = {"client": "bob", "upstream": "spare"}

    def work(connection: Connection) -> None:
        made = stage(connection, wanted("k", upstream="spare"))
        submission_queue.move(
            connection,
            made.submission_id,
            by="withdraw",
            to="rejected",
            outcome="",
            reason=REFUSED,
            run_at_ms=1,
            now_ms=1,
        )
        put(
            connection,
            ticket(1, hook="http://a.example/x"),
            ticket(2, **bobs),
            ticket(3, is_window=True),
            ticket(4, ended_at_ms=9, hook="http://a.example/x", told_status="SUCCESS"),
            ticket(5, ended_at_ms=9, hook="http://a.example/x", told_status="gone:7", **bobs),
            ticket(6, ended_at_ms=9, fail_reason="withdrawn"),
            ticket(7, ended_at_ms=9, submission_id=made.submission_id, **bobs),
        )

    await database.write("shelf", work)


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (TicketFilter(), [7, 6, 5, 4, 3, 2, 1]),
        (TicketFilter(state="open"), [2, 1]),
        (TicketFilter(state="window"), [3]),
        (TicketFilter(state="ended"), [5, 4]),
        (TicketFilter(state="failed"), [7, 6]),
        (TicketFilter(client="bob"), [7, 5, 2]),
        (TicketFilter(client="bob", state="open"), [2]),
        (TicketFilter(client="bob", state="failed"), [7]),
        (TicketFilter(client="ann", state="window"), [3]),
        (TicketFilter(upstream="spare"), [7, 5, 2]),
        (TicketFilter(upstream="main", state="open"), [1]),
        (TicketFilter(hook="none"), [7, 6, 3, 2]),
        (TicketFilter(hook="waiting"), [1]),
        (TicketFilter(hook="told"), [4]),
        (TicketFilter(hook="dead"), [5]),
        (TicketFilter(client="ann", hook="dead"), []),
    ],
    ids=str,
)
async def test_each_filter_selects_its_tickets(
    database: Database, wish: TicketFilter, expected: list[int]
) -> None:
    """Alone and together."""
    await _shelf(database)
    assert (
        numbers(await database.read(lambda c: ticket_pages.ticket_page(c, most=50, wanted=wish))) == expected
    )


async def test_what_each_client_uses(database: Database) -> None:
    """Its tickets of the day, the open ones, its stored keys and hooks; one with a key alone is there too."""
    await _shelf(database)
    _, stored = await database.write("key", lambda c: keys.add(c, "cat", 1))
    await database.write("used", lambda c: keys.note_uses(c, {stored.hash: 8}))
    found = await database.read(lambda c: client_use.uses(c, client_use.names(c, 10), 3, 10))
    ann, bob, cat = found
    assert [one.name for one in found] == ["ann", "bob", "cat"]
    assert (ann.tickets_today, ann.not_ended, ann.windows, ann.ordered_at_ms, ann.seen_at_ms) == (
        3,
        2,
        1,
        6,
        6,
    )
    assert (bob.tickets_today, bob.not_ended, bob.windows) == (2, 1, 0)
    assert (cat.tickets_today, cat.ordered_at_ms, cat.seen_at_ms) == (0, None, 8)
    assert [key.hint for key in cat.keys] == [stored.hint]
    assert [hook.host for hook in ann.hooks] == ["a.example"]
    assert cat.hooks == ()


async def test_the_states_of_a_filter_are_all_there_are(database: Database) -> None:
    """Each ticket is in one state, and in one state of its hook."""
    await _shelf(database)
    states: tuple[TicketState, ...] = ("open", "window", "ended", "failed")
    hooks: tuple[HookState, ...] = ("none", "waiting", "told", "dead")

    def read(connection: Connection) -> list[list[int]]:
        by_state = [
            ticket_pages.ticket_page(connection, most=9, wanted=TicketFilter(state=one)) for one in states
        ]
        by_hook = [
            ticket_pages.ticket_page(connection, most=9, wanted=TicketFilter(hook=one)) for one in hooks
        ]
        return [sorted(number for page in pages for number in numbers(page)) for pages in (by_state, by_hook)]

    assert await database.read(read) == [[1, 2, 3, 4, 5, 6, 7]] * 2
    assert await database.read(lambda c: tickets.count_open(c, "ann")) == 2
