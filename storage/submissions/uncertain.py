"""Reads uncertain submissions, without the images in their requests, and the tasks to compare an upstream's list with."""

from __future__ import annotations

from collections.abc import Collection

import msgspec
from sqlalchemy import Connection

from midjourney.types import Status
from storage.records import INTERRUPTED, Uncertain
from storage.submissions import sql_evidence as sql
from storage.tasks import marks
from storage.tasks.polling import LOST, REFUTED

PRESSES = ("action", "change", "simple_change")
"""Kinds whose request names what they press, and holds no image."""

_TAKEN = ("accepted", "queued", "needs_modal")
_MAY_HAVE_MADE = (*_TAKEN, "uncertain", INTERRUPTED)
"""Outcomes of the attempts that may have made a task."""


def uncertain(connection: Connection, most: int) -> dict[str, str]:
    """The ids of up to `most` uncertain submissions, each with its upstream."""
    return dict(sql.UNCERTAIN.all(connection, most=most))


def read(connection: Connection, ids: Collection[str]) -> list[Uncertain]:
    """The submissions with these ids that are still uncertain."""
    if not ids:
        return []
    return sql.UNCERTAIN_AMONG.all(connection, ids=list(ids), presses=list(PRESSES))


class Ours(msgspec.Struct, frozen=True, kw_only=True):
    """A task that one of our submissions made.

    The upstream accepted it between `began_ms`, when the attempt of the first request that may have made it was stored, and
    `known_ms`, when its answer or first callback arrived. `took_ms` is how long its answer took, None without an answer.
    `may_be_gone`: the upstream may have deleted it.
    """

    task_id: str
    submission_id: str
    kind: str
    began_ms: int
    known_ms: int
    took_ms: int | None = None
    may_be_gone: bool = False


def newest_of_ours(connection: Connection, upstream: str, most: int) -> list[Ours]:
    """Our newest tasks at an upstream, ordered by `began_ms`."""
    ours: dict[str, Ours] = {}
    for row in sql.NEWEST_MADE.all(connection, upstream=upstream, most=most, outcomes=list(_MAY_HAVE_MADE)):
        before = ours.get(row.id)
        took_ms = row.took_ms if row.outcome in _TAKEN else None
        ours[row.id] = Ours(
            task_id=row.id,
            submission_id=row.submission_id,
            kind=row.kind,
            began_ms=min(row.began_ms, before.began_ms if before else row.began_ms),
            known_ms=row.created_at_ms,
            took_ms=took_ms if took_ms is not None or before is None else before.took_ms,
            may_be_gone=row.status in (Status.MODAL, LOST, REFUTED),
        )
    return sorted(ours.values(), key=lambda task: task.began_ms)


def marks_of_ours(connection: Connection, upstream: str, payloads: dict[str, bytes]) -> dict[str, list[str]]:
    """For each of these payloads, the submissions at this upstream whose marks it contains."""
    contained = {name: marks.marks_in(payload) for name, payload in payloads.items()}
    wanted = sorted(set().union(*contained.values()))
    known: set[str] = set()
    for first in range(0, len(wanted), 500):
        some = wanted[first : first + 500]
        known.update(sql.OURS_AMONG.all(connection, upstream=upstream, ids=some))
    return {name: sorted(in_payload & known) for name, in_payload in contained.items()}
