"""What a replay that nobody forced may request: what was not requested before.

A press has a key of its own, whatever a rule's text says meanwhile. A prompt is known by its words, which may have changed since: they may
count the chain's tasks, or the rule was edited. So a replay requests nothing of a kind that the same receiver has requested about the
same task before.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from storage.driver.statements import Query
from storage.records import Event, Staged

_HAVE_OWN_KEYS = frozenset({"action", "change", "simple_change", "modal", "cancel"})

REQUESTED = Query(
    """
    SELECT id FROM submissions
    WHERE parent_id = :parent_id AND kind = :kind AND asked_by = :asked_by
    LIMIT 1
    """,
    str,
)


def not_requested_before(
    connection: Connection, event: Event, staged: Sequence[Staged]
) -> tuple[tuple[Staged, ...], str]:
    """What remains of the requests of a run, and a note about what does not, "" if all of it does."""
    if event.source != "replay" or event.generation:
        return tuple(staged), ""
    known = {
        one.kind
        for one in staged
        if one.kind not in _HAVE_OWN_KEYS
        and REQUESTED.first(connection, parent_id=one.parent_id, kind=one.kind, asked_by=one.asked_by)
    }
    if not known:
        return tuple(staged), ""
    kept = tuple(one for one in staged if one.kind not in known)
    return (
        kept,
        f"not requested again, because this is a replay: {', '.join(sorted(known))}; --force pays for it",
    )
