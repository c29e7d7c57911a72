"""Pages of tickets over all clients, newest first, by client, state, upstream and by what their hooks were told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
from sqlalchemy import Connection, and_, case, func, or_, select

from midjourney.statuses import TERMINAL
from storage import schema
from storage.reading import keyset, sql_tickets
from storage.reading.cards import FAILED_TASK
from storage.reading.keyset import Listing, Page, equals
from storage.records import Ticket
from storage.tickets.audience import GONE

TicketState = Literal["open", "window", "ended", "failed"]
"""It has not ended; it waits for the client's answer to a window; it has ended well; it has failed."""

HookState = Literal["none", "waiting", "told", "dead"]
"""Its client wants no messages; there is something left to be told; the end was told; messages were given up."""

TicketCursor = tuple[int, str]
"""(created_at_ms, id) of the last ticket of a page."""


class TicketFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Selects tickets that match all given fields; "" matches anything. `upstream` is the account that works on it."""

    client: str = ""
    state: TicketState | Literal[""] = ""
    upstream: str = ""
    hook: HookState | Literal[""] = ""


ALL = TicketFilter()

_tickets = schema.tickets
_submission, _answer = schema.submissions.alias("made"), schema.submissions.alias("answer")
_task, _answered = schema.tasks.alias("its_task"), schema.tasks.alias("its_answered_task")

_REFUSED = ("rejected", "dead", "refused")

# Scalar queries, because PostgreSQL would hash all tasks and submissions for EXISTS.
_status = select(_task.c.status).where(
    _task.c.upstream == _tickets.c.upstream, _task.c.id == _tickets.c.task_id
)
_state = select(_submission.c.state).where(_submission.c.id == _tickets.c.submission_id)
_failed_answered = (
    select(func.count())
    .select_from(_answered)
    .where(_answered.c.submission_id == _answer.c.id, _answered.c.status.in_(FAILED_TASK))
)
# The answer to a modal may make another task, or be refused; the ticket keeps the window's.
_failed_answers = (
    select(func.count())
    .select_from(_answer)
    .where(
        _answer.c.parent_id == _tickets.c.task_id,
        _answer.c.upstream == _tickets.c.upstream,
        _answer.c.kind == "modal",
        _tickets.c.task_id != "",
        or_(_answer.c.state.in_(_REFUSED), _failed_answered.scalar_subquery() > 0),
    )
)
_has_failed = or_(
    _tickets.c.fail_reason != "",
    func.coalesce(_status.scalar_subquery(), "").in_(FAILED_TASK),
    func.coalesce(_state.scalar_subquery(), "").in_(_REFUSED),
    _failed_answers.scalar_subquery() > 0,
)
_HOOK = case(
    (_tickets.c.hook == "", "none"),
    (_tickets.c.told_status.like(f"{GONE}%"), "dead"),
    (_tickets.c.told_status.in_(sorted(TERMINAL)), "told"),
    else_="waiting",
)

_is_open = _tickets.c.ended_at_ms.is_(None)

_TICKETS = Listing(
    table=_tickets,
    record=Ticket,
    order=[_tickets.c.created_at_ms, _tickets.c.id],
    indexed={
        "open_of": lambda client: and_(_tickets.c.client == client, _is_open),
        "is_open": lambda wanted: _is_open if wanted else None,
        "client": equals(_tickets.c.client),
    },
    derived={
        "is_open": _is_open,
        "has_failed": _has_failed,
        "hook": _HOOK,
    },
)


def ticket_page(
    connection: Connection,
    *,
    most: int,
    before: TicketCursor | None = None,
    wanted: TicketFilter = ALL,
) -> Page[Ticket]:
    """Tickets by age, newest first; `before` is (created_at_ms, id) of the last ticket of the previous page."""
    return keyset.read(connection, _TICKETS, most, before, _equal(wanted))


def _equal(wanted: TicketFilter) -> dict[str, object]:
    """The filter in the words of the listing."""
    given: dict[str, object] = {
        name: value for name in ("client", "upstream", "hook") if (value := getattr(wanted, name))
    }
    match wanted.state:
        case "open" | "window":
            given |= {"is_window": wanted.state == "window"}
            client = given.pop("client", None)
            return given | ({"open_of": client} if client is not None else {"is_open": True})
        case "ended" | "failed":
            return given | {"is_open": False, "has_failed": wanted.state == "failed"}
        case _:
            return given


def tickets_of_chain(connection: Connection, chain_id: str) -> Sequence[Ticket]:
    """The tickets of all clients that show a submission of a chain, oldest first."""
    return sql_tickets.OF_CHAIN.all(connection, chain_id=chain_id)
