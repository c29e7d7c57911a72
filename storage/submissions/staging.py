"""Stages submissions: once per intent, within the budgets, at their position in the queue."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from sqlalchemy import Connection

from storage.budgets import charges, counters
from storage.budgets.billing import Charge
from storage.duty.states import SUBMISSION
from storage.events import event_log
from storage.records import ChainUse, Staged, StageResult
from storage.submissions import adoption, hourly, releases, sql
from storage.tasks import chains, marks

PLACE_MS = 10_000
"""Each waiting submission of a chain moves the chain's next one back by this much. So chains take turns, however much each of
them requests, and none waits for ever, because later submissions of other chains queue behind it."""

PRIORITY_MS = 10**13
"""One step of priority moves a submission 300 years ahead of all with a lower priority."""

Refuse = Callable[[ChainUse, Staged], str]
"""Returns why a rule or plugin may not have one more submission, or "". Not called for people's submissions."""


def stage(connection: Connection, staged: Staged, *, refuse: Refuse, now_ms: int) -> StageResult:
    """Store the duty to make this request, unless the intent has its submission already or a budget refuses it.

    The unique index decides, not the query before it. A refusal gives the signal budget.exceeded. A repeated request for the
    same intent is counted, and not paid for again.
    """
    if (known := _known(connection, staged, now_ms)) is not None:
        return known
    use = chains.use(connection, staged.chain_id, staged.asked_by) if staged.chain_id else None
    if use is None:
        details = charges.details_of(staged.request)
        chain = chains.create(
            connection,
            staged.upstream,
            "",
            now_ms,
            prompt=details.prompt,
            state=details.state,
            client=staged.client,
        )
        staged = msgspec.structs.replace(staged, chain_id=chain.id)
        use = ChainUse(submissions=0, by_same_receiver=0)
    if not staged.is_by_hand and (reason := _reason(connection, staged, use, refuse, now_ms)):
        return _refused(connection, staged, reason, now_ms)
    if (child := _existing_child(connection, staged)) is not None:
        return _existed(connection, staged, child, now_ms)
    taken = counters.take(connection, charges.bill(connection, staged), now_ms)
    if isinstance(taken, str):
        return _refused(connection, staged, taken, now_ms)
    # Unguessable: the id is part of the hook's path, and a callback that knows it counts as evidence for the submission.
    submission_id = marks.of_intent(connection, staged.upstream, staged.idempotency_key)
    waiting = sql.COUNT_WAITING.one(connection, chain_id=staged.chain_id)
    queue_at_ms = now_ms + staged.delay_ms + PLACE_MS * waiting - PRIORITY_MS * staged.priority
    values = _new_values(staged, submission_id, queue_at_ms, now_ms, taken)
    if sql.STAGE(connection, **values) == 0:
        counters.move(connection, taken, -1)
        known = _known(connection, staged, now_ms)
        assert known is not None, "a row with the conflicting key exists"
        return known
    chains.count_submission(connection, staged.chain_id, by_hand=staged.is_by_hand)
    hourly.add(connection, staged.upstream)
    return StageResult(submission_id=submission_id, chain_id=staged.chain_id, created=True)


def _reason(connection: Connection, staged: Staged, use: ChainUse, refuse: Refuse, now_ms: int) -> str:
    """Returns why a rule or plugin may not have this submission, or ""."""
    if reason := refuse(use, staged):
        return reason
    most = hourly.at_most(connection, staged.upstream, now_ms)
    if not refuse(msgspec.structs.replace(use, last_hour=most), staged):
        return ""
    exact = hourly.exactly(connection, staged.upstream, now_ms)
    return refuse(msgspec.structs.replace(use, last_hour=exact), staged)


def _known(connection: Connection, staged: Staged, now_ms: int) -> StageResult | None:
    """The submission that the intent already has, even one that was dropped with its chain (storage/ended_chains.py); or the one
    that presses the same thing in this chain under an alias of its task."""
    keys = [staged.idempotency_key, adoption.key_of(connection, staged)]
    row = sql.KNOWN_BY_KEYS.first(connection, keys=keys)
    if row is None and staged.thing and staged.chain_id:
        row = sql.KNOWN_BY_THING.first(connection, chain_id=staged.chain_id, thing=staged.thing)
    if row is None:
        spent = sql.SPENT_BY.first(connection, keys=keys)
        return None if spent is None else StageResult(submission_id=spent, chain_id="", created=False)
    if row.idempotency_key == keys[1]:
        return adoption.recognise(connection, staged, row.id)
    if row.state == "refused" and staged.is_by_hand:
        why = releases.press_again(connection, row.id, now_ms, by=staged.asked_by)
        return StageResult(
            submission_id=row.id, chain_id=row.chain_id, created=False, refused=why, released=not why
        )
    sql.COUNT_REPEAT(connection, id=row.id)
    return StageResult(submission_id=row.id, chain_id=row.chain_id, created=False)


def _existing_child(connection: Connection, staged: Staged) -> str | None:
    """The task that this button made when another client pressed it, as the upstream itself reported; None if there is none."""
    if staged.kind not in ("action", "change", "simple_change") or not staged.is_first:
        return None
    custom_id = staged.thing.partition("|")[0]
    made_by = [name for name in (custom_id, staged.label) if name]
    return sql.MADE_ELSEWHERE.first(
        connection, parent_id=staged.parent_id, upstream=staged.upstream, made_by=made_by
    )


def _existed(connection: Connection, staged: Staged, child: str, now_ms: int) -> StageResult:
    """Store it as one whose task exists already: nothing is sent, and nothing paid."""
    submission_id = marks.of_intent(connection, staged.upstream, staged.idempotency_key)
    reason = f"task {child} was made by this button before"
    values = _new_values(staged, submission_id, now_ms, now_ms)
    values |= {
        "state": SUBMISSION.new("stage", "existed"),
        "outcome": "existed",
        "reason": reason,
        "task_ids": msgspec.json.encode([child]).decode(),
    }
    if sql.STAGE(connection, **values):
        event_log.record(
            connection,
            upstream=staged.upstream,
            task_id=child,
            submission_id=submission_id,
            signal="submission.existed",
            source="evidence",
            status="existed",
            detail=reason,
            now_ms=now_ms,
        )
    return StageResult(submission_id=submission_id, chain_id=staged.chain_id, created=False)


def _refused(connection: Connection, staged: Staged, reason: str, now_ms: int) -> StageResult:
    """Store it as refused, so that it can be shown and released by hand (storage/submissions/releases.py), with the signal
    budget.exceeded."""
    submission_id = marks.of_intent(connection, staged.upstream, staged.idempotency_key)
    values = _new_values(staged, submission_id, now_ms, now_ms)
    values |= {"state": SUBMISSION.new("stage", "refused"), "reason": reason}
    if sql.STAGE(connection, **values) == 0:
        known = _known(connection, staged, now_ms)
        assert known is not None, "a row with the conflicting key exists"
        return known
    event_log.record(
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


def _new_values(
    staged: Staged, submission_id: str, queue_at_ms: int, now_ms: int, taken: tuple[Charge, ...] = ()
) -> dict[str, object]:
    values = msgspec.structs.asdict(staged)
    delay_ms = values.pop("delay_ms")
    return values | {
        "id": submission_id,
        "queue_at_ms": queue_at_ms,
        "state": SUBMISSION.new("stage", "waiting"),
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
        **charges.kept(taken),
    }
