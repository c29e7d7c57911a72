"""Dead letters: deliveries and submissions that ran out of attempts, in pages and by filter.

storage/deliveries/dead_deliveries.py and storage/submissions/dead_submissions.py retry or discard them.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, or_, select, tuple_

from midjourney.types import Status
from storage import schema
from storage.driver.decoder import decoder_of
from storage.driver.text_match import has_part
from storage.reading import sql
from storage.reading.columns import columns_in
from storage.reading.sql import DeadDelivery
from storage.records import Delivery, Event, Submission
from storage.tasks.polling import LOST

submissions, deliveries, events = schema.submissions, schema.deliveries, schema.events

_its_event = events.alias("its_event")
_child, _window = schema.tasks.alias("child"), schema.tasks.alias("its_window")

# The upstream took the submission: see storage/submissions/dead_submissions.py, which retries by the same condition.
_was_taken = or_(
    exists().where(_child.c.submission_id == submissions.c.id, _child.c.status.not_in((Status.MODAL, LOST))),
    and_(
        submissions.c.kind == "modal",
        exists().where(
            _window.c.upstream == submissions.c.upstream,
            _window.c.id == submissions.c.parent_id,
            _window.c.status.not_in(("", Status.NOT_START, Status.MODAL, LOST)),
        ),
    ),
)

Kind = Literal["delivery", "submission"]


class DeadLetterFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Selects dead letters that match all given fields. `text` is a part of the error, the reason or the decision, in upper or
    lower case. Submissions have no `receiver`, so that a given one selects only deliveries."""

    kind: Literal["", "delivery", "submission"] = ""
    receiver: str = ""
    upstream: str = ""
    text: str = ""

    @property
    def is_empty(self) -> bool:
        """True if no field is given, so that it selects all dead letters."""
        return not (self.kind or self.receiver or self.upstream or self.text)

    def takes(self, kind: Kind) -> bool:
        """True if it can select dead letters of this kind."""
        return self.kind in ("", kind) and not (kind == "submission" and self.receiver)


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead delivery ("delivery-7") with its event, or a dead submission ("submission-…")."""

    id: str
    kind: Kind
    died_at_ms: int
    delivery: Delivery | None = None
    submission: Submission | None = None
    event: Event | None = None


class DeadLetterCursor(msgspec.Struct, frozen=True):
    """The end of a page. Among those that died in the same millisecond, submissions come first; `key` is the id within the kind."""

    died_at_ms: int
    kind: Kind
    key: int | str


_delivery_letters = select(*columns_in(deliveries, Delivery), *columns_in(events, Event)).select_from(
    deliveries.outerjoin(events, events.c.id == deliveries.c.event_id)
)
_submission_letters = select(*columns_in(submissions, Submission))
_delivery_of, _submission_of = decoder_of(DeadDelivery), decoder_of(Submission)


def page(
    connection: Connection, match: DeadLetterFilter, *, most: int, before: DeadLetterCursor | None = None
) -> list[DeadLetter]:
    """A page of matching dead letters, the last to die first."""
    kinds: list[tuple[Kind, Any, Any, Any]] = [
        ("submission", _submission_letters, submissions, lambda row: _submission_letter(_submission_of(row))),
        ("delivery", _delivery_letters, deliveries, lambda row: _delivery_letter(_delivery_of(row))),
    ]
    letters: list[list[DeadLetter]] = []
    for kind, query, table, letter_of in kinds:
        if match.takes(kind):
            order = (table.c.updated_at_ms.desc(), table.c.id.desc())
            chosen = select(table.c.id).where(*_dead(match, kind), *_after(table, kind, before))
            # The ids are chosen before their events are read.
            keys = chosen.order_by(*order).limit(most).subquery("chosen")
            rows = connection.execute(query.join(keys, keys.c.id == table.c.id).order_by(*order))
            letters.append([letter_of(row) for row in rows])
    newest = heapq.merge(*letters, key=lambda letter: (letter.died_at_ms, letter.kind), reverse=True)
    return list(itertools.islice(newest, most))


def count(connection: Connection, match: DeadLetterFilter) -> int:
    """The number of matching dead letters."""
    kinds: list[tuple[Kind, Any]] = [("submission", submissions), ("delivery", deliveries)]
    return sum(
        connection.execute(select(func.count()).select_from(table).where(*_dead(match, kind))).scalar_one()
        for kind, table in kinds
        if match.takes(kind)
    )


def find(connection: Connection, kind: Kind, key: int | str) -> DeadLetter | None:
    """One dead letter, or None."""
    if kind == "delivery":
        delivery = sql.DEAD_DELIVERY.first(connection, id=key)
        return None if delivery is None else _delivery_letter(delivery)
    submission = sql.DEAD_SUBMISSION.first(connection, id=key)
    return None if submission is None else _submission_letter(submission)


def dead_deliveries(connection: Connection, match: DeadLetterFilter, *, by_ms: int, most: int) -> list[int]:
    """Ids of matching deliveries that had died by `by_ms`, oldest first; locked until the transaction ends."""
    if not match.takes("delivery"):
        return []
    query = select(deliveries.c.id).where(*_dead(match, "delivery"), deliveries.c.updated_at_ms <= by_ms)
    return list(connection.execute(_oldest(query, deliveries, most)).scalars())


def dead_submissions(
    connection: Connection, match: DeadLetterFilter, *, by_ms: int, most: int, to_retry: bool
) -> list[str]:
    """The same for submissions. `to_retry`: without those that an upstream is known to have taken."""
    if not match.takes("submission"):
        return []
    query = select(submissions.c.id).where(
        *_dead(match, "submission"),
        submissions.c.updated_at_ms <= by_ms,
        *([~_was_taken] if to_retry else []),
    )
    return list(connection.execute(_oldest(query, submissions, most)).scalars())


def _dead(match: DeadLetterFilter, kind: Kind) -> Iterable[ColumnElement[bool]]:
    if kind == "delivery":
        yield deliveries.c.state == "dead"
        if match.receiver:
            yield deliveries.c.receiver == match.receiver
        if match.upstream:
            yield exists().where(
                _its_event.c.id == deliveries.c.event_id, _its_event.c.upstream == match.upstream
            )
        if match.text:
            texts = (deliveries.c.error, deliveries.c.decision)
            yield or_(*(has_part(column, match.text) for column in texts))
    else:
        yield submissions.c.state == "dead"
        if match.upstream:
            yield submissions.c.upstream == match.upstream
        if match.text:
            yield has_part(submissions.c.reason, match.text)


def _after(table: Any, kind: Kind, before: DeadLetterCursor | None) -> Iterable[ColumnElement[bool]]:
    """The condition for what comes after the end of a page, whose last letter may have been of the other kind."""
    if before is None:
        return
    if kind == before.kind:
        yield tuple_(table.c.updated_at_ms, table.c.id) < (before.died_at_ms, before.key)
    elif kind == "submission":
        yield table.c.updated_at_ms < before.died_at_ms
    else:
        yield table.c.updated_at_ms <= before.died_at_ms


def _oldest(query: Select[Any], table: Any, most: int) -> Select[Any]:
    query = query.order_by(table.c.updated_at_ms, table.c.id).limit(most)
    return query.with_for_update(of=table, skip_locked=True)


def _delivery_letter(dead: DeadDelivery) -> DeadLetter:
    return DeadLetter(
        id=f"delivery-{dead.delivery.id}",
        kind="delivery",
        died_at_ms=dead.delivery.updated_at_ms,
        delivery=dead.delivery,
        event=dead.event,
    )


def _submission_letter(submission: Submission) -> DeadLetter:
    return DeadLetter(
        id=f"submission-{submission.id}",
        kind="submission",
        died_at_ms=submission.updated_at_ms,
        submission=submission,
    )
