"""Dead letters: deliveries and submissions that ran out of attempts, in pages, and by what they have in common.

What a person makes of them: storage/retries.py.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, or_, select

from storage import schema
from storage.deliveries import columns_of, part_of
from storage.records import Delivery, Event, Submission
from storage.retries import TAKEN
from storage.submissions import SUBMISSION_COLUMNS, submission_of
from storage.wording import has_part

submissions, deliveries, events = schema.submissions, schema.deliveries, schema.events

_its_event = events.alias("its_event")

Kind = Literal["delivery", "submission"]


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters: all that agree with whatever is given. `text` is part of the error, the reason or the decision, in
    capitals or not. A submission has no `receiver`: one that is given leaves deliveries only."""

    kind: Literal["", "delivery", "submission"] = ""
    receiver: str = ""
    upstream: str = ""
    text: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether it names nothing, and so means all."""
        return not (self.kind or self.receiver or self.upstream or self.text)

    def takes(self, kind: Kind) -> bool:
        """Whether letters of this kind can be among them."""
        return self.kind in ("", kind) and not (kind == "submission" and self.receiver)


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead delivery ("delivery-7"), with the event it was for, or a dead submission ("submission-…")."""

    id: str
    kind: Kind
    died_at_ms: int
    delivery: Delivery | None = None
    submission: Submission | None = None
    event: Event | None = None


class Place(msgspec.Struct, frozen=True):
    """Where a page ended. Of what died in one millisecond submissions come first; `key` is the id within the kind."""

    died_at_ms: int
    kind: Kind
    key: int | str


_delivery_letters = select(*columns_of(deliveries, Delivery), *columns_of(events, Event)).select_from(
    deliveries.outerjoin(events, events.c.id == deliveries.c.event_id)
)
_submission_letters = select(*SUBMISSION_COLUMNS)


def page(connection: Connection, match: Match, *, most: int, before: Place | None = None) -> list[Letter]:
    """Dead letters that match, those that died last first."""
    kinds: list[tuple[Kind, Any, Any, Any]] = [
        ("submission", _submission_letters, submissions, _submission_letter),
        ("delivery", _delivery_letters, deliveries, _delivery_letter),
    ]
    found: list[list[Letter]] = []
    for kind, query, table, letter_of in kinds:
        if match.takes(kind):
            query = query.where(*_dead(match, kind), *_after(table, kind, before))
            query = query.order_by(table.c.updated_at_ms.desc(), table.c.id.desc()).limit(most)
            found.append([letter_of(row) for row in connection.execute(query)])
    newest = heapq.merge(*found, key=lambda letter: (letter.died_at_ms, letter.kind), reverse=True)
    return list(itertools.islice(newest, most))


def count(connection: Connection, match: Match) -> int:
    """How many match."""
    kinds: list[tuple[Kind, Any]] = [("submission", submissions), ("delivery", deliveries)]
    return sum(
        connection.execute(select(func.count()).select_from(table).where(*_dead(match, kind))).scalar_one()
        for kind, table in kinds
        if match.takes(kind)
    )


def find(connection: Connection, kind: Kind, key: int | str) -> Letter | None:
    """One dead letter, or None."""
    if kind == "delivery":
        row = connection.execute(
            _delivery_letters.where(deliveries.c.id == key, deliveries.c.state == "dead")
        ).first()
        return None if row is None else _delivery_letter(row)
    row = connection.execute(
        _submission_letters.where(submissions.c.id == key, submissions.c.state == "dead")
    ).first()
    return None if row is None else _submission_letter(row)


def dead_deliveries(connection: Connection, match: Match, *, by_ms: int, most: int) -> list[int]:
    """Ids of deliveries that match and had died by then, oldest first; nobody else's until the transaction ends."""
    if not match.takes("delivery"):
        return []
    query = select(deliveries.c.id).where(*_dead(match, "delivery"), deliveries.c.updated_at_ms <= by_ms)
    return list(connection.execute(_oldest(query, deliveries, most)).scalars())


def dead_submissions(
    connection: Connection, match: Match, *, by_ms: int, most: int, to_retry: bool
) -> list[str]:
    """The same for submissions. `to_retry`: without those that an upstream has."""
    if not match.takes("submission"):
        return []
    query = select(submissions.c.id).where(
        *_dead(match, "submission"), submissions.c.updated_at_ms <= by_ms, *([~TAKEN] if to_retry else [])
    )
    return list(connection.execute(_oldest(query, submissions, most)).scalars())


def _dead(match: Match, kind: Kind) -> Iterable[ColumnElement[bool]]:
    if kind == "delivery":
        yield deliveries.c.state == "dead"
        if match.receiver:
            yield deliveries.c.receiver == match.receiver
        if match.upstream:
            yield exists().where(
                _its_event.c.id == deliveries.c.event_id, _its_event.c.upstream == match.upstream
            )
        if match.text:
            told = (deliveries.c.error, deliveries.c.decision)
            yield or_(*(has_part(column, match.text) for column in told))
    else:
        yield submissions.c.state == "dead"
        if match.upstream:
            yield submissions.c.upstream + "" == match.upstream  # not by its index: few of them are dead
        if match.text:
            yield has_part(submissions.c.reason, match.text)


def _after(table: Any, kind: Kind, before: Place | None) -> Iterable[ColumnElement[bool]]:
    """What comes after the end of a page, which may have been a letter of the other kind."""
    if before is None:
        return
    earlier = table.c.updated_at_ms < before.died_at_ms
    if kind == before.kind:
        yield or_(earlier, and_(table.c.updated_at_ms == before.died_at_ms, table.c.id < before.key))
    else:
        yield earlier if kind == "submission" else table.c.updated_at_ms <= before.died_at_ms


def _oldest(query: Select[Any], table: Any, most: int) -> Select[Any]:
    query = query.order_by(table.c.updated_at_ms, table.c.id).limit(most)
    return query.with_for_update(of=table, skip_locked=True)


def _delivery_letter(row: Any) -> Letter:
    found = row._mapping
    delivery = Delivery(**part_of(found, deliveries, Delivery))
    return Letter(
        id=f"delivery-{delivery.id}",
        kind="delivery",
        died_at_ms=delivery.updated_at_ms,
        delivery=delivery,
        event=None if found["events_id"] is None else Event(**part_of(found, events, Event)),
    )


def _submission_letter(row: Any) -> Letter:
    submission = submission_of(row)
    return Letter(
        id=f"submission-{submission.id}",
        kind="submission",
        died_at_ms=submission.updated_at_ms,
        submission=submission,
    )
