"""How a submission comes to be: once per intent, within the budget, at its place in the queue."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import msgspec
from sqlalchemy import Connection, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert  # compiles for SQLite too

from storage import chains, events, schema, upstreams
from storage.locks import many_writers
from storage.prepared import Prepared
from storage.records import ChainUse, Staged, StageResult
from storage.submissions import SUBMISSION_COLUMNS, find, move

submissions = schema.submissions

PLACE_MS = 10_000
"""What one submission that already waits puts the next of its chain back by. So chains take turns, whatever each of
them asks for, and none waits for ever: time goes on for those at the back too."""

PRIORITY_MS = 10**13
"""A priority is a place 300 years ahead of all that have a lower one."""

NEAR = 256
"""Submissions that others may be staging at this moment: so near to a limit of an upstream it is counted alone."""

Refuse = Callable[[ChainUse, Staged], str]
"""Why a chain may not have one more submission, or ""."""

HOUR_MS = 3_600_000
_MOST_AN_HOUR = 100_000


class _Prompted(msgspec.Struct):
    """The part of a request that a chain is looked for by."""

    prompt: str = ""


_prompted = msgspec.json.Decoder(_Prompted)

_by_key = Prepared(select(*SUBMISSION_COLUMNS).where(submissions.c.idempotency_key == bindparam("key")))
_spent = Prepared(
    select(schema.spent.c.submission_id).where(schema.spent.c.idempotency_key == bindparam("key"))
)
_waiting = Prepared(
    select(func.count()).where(submissions.c.chain_id == bindparam("chain"), submissions.c.state == "waiting")
)
_last_hour = Prepared(
    select(func.count()).select_from(
        select(submissions.c.id)
        .where(
            submissions.c.upstream == bindparam("of_upstream"),
            submissions.c.created_at_ms > bindparam("since_ms"),
            submissions.c.state != "refused",
        )
        .limit(_MOST_AN_HOUR)
        .subquery()
    )
)
_asked_again = Prepared(
    update(submissions)
    .where(submissions.c.id == bindparam("submission_id"))
    .values(repeats=submissions.c.repeats + 1)
)
_stage = Prepared(upsert(submissions).on_conflict_do_nothing(index_elements=["idempotency_key"]))


def stage(connection: Connection, staged: Staged, *, refuse: Refuse, now_ms: int) -> StageResult:
    """Keep the duty to make this request, unless the intent has its submission already or the budget says no.

    The unique index is the arbiter, not the look before it. A refusal is told by the signal budget.exceeded. That an
    intent was asked for again is counted: it was not paid for again.
    """
    if (known := _known(connection, staged)) is not None:
        return known
    use = chains.use(connection, staged.chain_id, staged.asked_by) if staged.chain_id else None
    hour = _hour(connection, staged.upstream, now_ms)
    if use is None:
        prompt = _prompted.decode(staged.request).prompt
        chain = chains.create(connection, staged.upstream, "", now_ms, prompt=prompt)
        staged = msgspec.structs.replace(staged, chain_id=chain.id)
        use = ChainUse(submissions=0, by_same_receiver=0)
    use = msgspec.structs.replace(use, last_hour=hour)
    if not refuse(use, staged) and refuse(msgspec.structs.replace(use, last_hour=hour + NEAR), staged):
        use = msgspec.structs.replace(use, last_hour=_exact_hour(connection, staged.upstream, now_ms))
    if reason := refuse(use, staged):
        return _refused(connection, staged, reason, now_ms)
    # Unguessable: the id is part of the hook's path, and a callback that knows it is believed to be about it.
    submission_id = secrets.token_hex(12)
    waiting = _waiting(connection, chain=staged.chain_id).scalar() or 0
    queue_at_ms = now_ms + staged.delay_ms + PLACE_MS * waiting - PRIORITY_MS * staged.priority
    if _stage(connection, **_new_values(staged, submission_id, queue_at_ms, now_ms)).rowcount == 0:
        known = _known(connection, staged)
        assert known is not None, "the key that was in the way is there"
        return known
    chains.count_submission(connection, staged.chain_id)
    return StageResult(submission_id=submission_id, chain_id=staged.chain_id, created=True)


def _hour(connection: Connection, upstream: str, now_ms: int) -> int:
    """Submissions that were asked for at an upstream in the last hour."""
    return _last_hour(connection, of_upstream=upstream, since_ms=now_ms - HOUR_MS).scalar() or 0


def _exact_hour(connection: Connection, upstream: str, now_ms: int) -> int:
    """The same, with nobody else staging there."""
    if many_writers(connection):
        upstreams.held(connection, upstream)
    return _hour(connection, upstream, now_ms)


def _known(connection: Connection, staged: Staged) -> StageResult | None:
    """The submission that the intent has had already, even one that has gone with its chain (storage/retention.py)."""
    row = _by_key(connection, key=staged.idempotency_key).first()
    if row is None:
        spent = _spent(connection, key=staged.idempotency_key).scalar()
        return None if spent is None else StageResult(submission_id=spent, chain_id="", created=False)
    _asked_again(connection, submission_id=row.id)
    return StageResult(submission_id=row.id, chain_id=row.chain_id, created=False)


def _refused(connection: Connection, staged: Staged, reason: str, now_ms: int) -> StageResult:
    """Kept, so that it can be shown, and released by hand; told by the signal budget.exceeded."""
    submission_id = secrets.token_hex(12)
    values = _new_values(staged, submission_id, now_ms, now_ms) | {"state": "refused", "reason": reason}
    _stage(connection, **values)
    events.record(
        connection,
        upstream=staged.upstream,
        task_id=staged.parent_id,
        submission_id=submission_id,
        signal="budget.exceeded",
        source="internal",
        detail=f"{staged.asked_by}: {staged.kind} {staged.label}: {reason}",
        now_ms=now_ms,
    )
    return StageResult(submission_id=submission_id, chain_id=staged.chain_id, created=False, refused=reason)


def _new_values(staged: Staged, submission_id: str, queue_at_ms: int, now_ms: int) -> dict[str, object]:
    values = msgspec.structs.asdict(staged)
    delay_ms = values.pop("delay_ms")
    return values | {
        "id": submission_id,
        "queue_at_ms": queue_at_ms,
        "state": "waiting",
        "outcome": "",
        "reason": "",
        "task_ids": "[]",
        "attempts": 0,
        "forgiven": 0,
        "repeats": 0,
        "run_at_ms": now_ms + delay_ms,
        "started_at_ms": None,
        "created_at_ms": now_ms,
        "updated_at_ms": now_ms,
    }


_reword = Prepared(
    update(submissions)
    .where(submissions.c.id == bindparam("submission_id"))
    .values(request=bindparam("new_request"))
)


def release(connection: Connection, submission_id: str, now_ms: int, *, request: bytes = b"") -> bool:
    """Let a submission go that the budget had refused, with another request where one is given: nobody was sent the
    first. Tells whether it was one."""
    submission = find(connection, submission_id)
    if submission is None or not move(
        connection,
        submission_id,
        from_states=["refused"],
        to="waiting",
        reason="released by hand",
        run_at_ms=now_ms,
        now_ms=now_ms,
    ):
        return False
    if request:
        _reword(connection, submission_id=submission_id, new_request=request)
    chains.count_submission(connection, submission.chain_id)
    return True
