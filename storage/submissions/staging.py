"""Stages submissions: once per intent, within the budgets, at their position in the queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy import Connection

from storage.budgets import charges, counters
from storage.budgets.billing import Charge
from storage.driver.locks import many_writers
from storage.duty.states import SUBMISSION
from storage.events import event_log
from storage.records import ChainUse, Staged, StageResult
from storage.submissions import adoption, hourly, releases, sql, waiting
from storage.submissions.intents import Intents
from storage.tasks import chains

PLACE_MS = 10_000
"""Each waiting submission of a chain moves the chain's next one back by this much. So chains take turns, however much each of
them requests, and none waits for ever, because later submissions of other chains queue behind it."""

PRIORITY_MS = 10**13
"""One step of priority moves a submission 300 years ahead of all with a lower priority."""

Refuse = Callable[[ChainUse, Staged], str]
"""Returns why a rule or plugin may not have one more submission, or "". Not called for people's submissions."""


def stage(connection: Connection, staged: Staged, *, refuse: Refuse, now_ms: int) -> StageResult:
    """Store the duty to make this request: see `stage_all`."""
    return stage_all(connection, [staged], refuse=refuse, now_ms=now_ms)[0]


def stage_all(
    connection: Connection, staged: Sequence[Staged], *, refuse: Refuse, now_ms: int
) -> list[StageResult]:
    """Store the duties to make these requests, in order, unless an intent has its submission already or a budget refuses it.

    The unique index decides, not the query before it. A refusal gives the signal budget.exceeded. A repeated request for the
    same intent is counted, and not paid for again.
    """
    results: list[StageResult] = []
    while len(results) < len(staged):
        results += _stage_some(connection, staged[len(results) :], refuse=refuse, now_ms=now_ms)
    return results


class _New(msgspec.Struct):
    """A submission to be stored: its row, the event about it, if any, and what the caller gets if it was stored."""

    staged: Staged
    row: dict[str, object]
    result: StageResult
    taken: tuple[Charge, ...] = ()
    event: event_log.NewEvent | None = None


def _stage_some(
    connection: Connection, staged: Sequence[Staged], *, refuse: Refuse, now_ms: int
) -> list[StageResult]:
    """Stage the first of these, and those after it up to one that depends on what is not written yet. Returns their results."""
    intents = Intents(connection, staged)
    decided: list[StageResult | _New] = []
    new: list[_New] = []
    for one in staged:
        if intents.repeats_noted(one):
            break
        if (row := intents.submission_of(one)) is not None:
            is_read_again, result = _known(
                connection, one, row, now_ms, is_adopted=intents.is_adopted(one, row)
            )
            decided.append(result)
            if is_read_again:
                break
            continue
        if (spent := intents.spent_by(one)) is not None:
            decided.append(StageResult(submission_id=spent, chain_id="", created=False))
            continue
        reason = "" if one.is_by_hand else _reason(connection, one, intents, refuse, now_ms, is_exact=not new)
        if reason is None:
            break
        made = _decided(connection, _with_chain(connection, one, intents, now_ms), intents, reason, now_ms)
        intents.note(made.staged, str(made.row["state"]))
        new.append(made)
        decided.append(made)
    stored = _store(connection, new, now_ms)
    return [stored[one.result.submission_id] if isinstance(one, _New) else one for one in decided]


def _reason(
    connection: Connection, staged: Staged, intents: Intents, refuse: Refuse, now_ms: int, *, is_exact: bool
) -> str | None:
    """Returns why a rule or plugin may not have this submission, or ""; None if only an exact count can tell, and would not be exact."""
    use = intents.use_for(staged)
    if reason := refuse(use, staged):
        return reason
    most = hourly.at_most(connection, staged.upstream, now_ms)
    if not refuse(msgspec.structs.replace(use, last_hour=most), staged):
        return ""
    if not is_exact:
        return None
    exact = hourly.exactly(connection, staged.upstream, now_ms)
    return refuse(msgspec.structs.replace(use, last_hour=exact), staged)


def _with_chain(connection: Connection, staged: Staged, intents: Intents, now_ms: int) -> Staged:
    """The submission in its chain, or in a new one."""
    if intents.has_chain(staged):
        return staged
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
    return msgspec.structs.replace(staged, chain_id=chain.id)


def _decided(connection: Connection, staged: Staged, intents: Intents, refusal: str, now_ms: int) -> _New:
    """The submission as it is to be stored: refused, known to exist at the upstream, held, or waiting."""
    submission_id = intents.id_for(staged)
    if refusal:
        return _refused(staged, submission_id, refusal, now_ms)
    if (child := intents.existing_child(staged)) is not None:
        return _existed(staged, submission_id, child, now_ms)
    taken: tuple[Charge, ...] | str = ()
    if not staged.approval_id:  # budgets of money are charged once it is approved
        taken = counters.take(connection, charges.bill(connection, staged), now_ms)
    if isinstance(taken, str):
        return _refused(staged, submission_id, taken, now_ms)
    hourly.add(connection, staged.upstream)
    ahead = intents.waiting_in(staged.chain_id)
    queue_at_ms = staged.run_at_ms(now_ms) + PLACE_MS * ahead - PRIORITY_MS * staged.priority
    row = _new_row(staged, submission_id, queue_at_ms, now_ms, taken)
    result = StageResult(submission_id=submission_id, chain_id=staged.chain_id, created=True)
    return _New(staged, row, result, taken)


def _store(connection: Connection, new: Sequence[_New], now_ms: int) -> dict[str, StageResult]:
    """Insert submissions; returns their results, by id. One whose intent another process has stored by now is known."""
    if not new:
        return {}
    rows = [one.row for one in new]
    if many_writers(connection):
        rows.sort(key=lambda row: str(row["id"]))  # in all processes, to avoid deadlocks
    inserted = set(sql.STAGE.all_of_rows(connection, rows))
    stored = [one for one in new if one.result.submission_id in inserted]
    chains.count_submissions(
        connection, [(one.staged.chain_id, one.staged.is_by_hand) for one in stored if one.result.created]
    )
    if events := [one.event for one in stored if one.event is not None]:
        event_log.append(connection, *events)
    results = {one.result.submission_id: one.result for one in stored}
    for one in new:
        if one.result.submission_id not in inserted:
            counters.move(connection, one.taken, -1)
            intents = Intents(connection, [one.staged])
            row = intents.submission_of(one.staged)
            assert row is not None, "a row with the conflicting key exists"
            is_adopted = intents.is_adopted(one.staged, row)
            _, results[one.result.submission_id] = _known(
                connection, one.staged, row, now_ms, is_adopted=is_adopted
            )
    return results


def _known(
    connection: Connection, staged: Staged, row: sql.Known, now_ms: int, *, is_adopted: bool
) -> tuple[bool, StageResult]:
    """Return the submission that the intent has; True if it changed what is read before intents are decided."""
    if is_adopted:
        return True, adoption.recognise(connection, staged, row.id)
    if row.state == "refused" and staged.is_by_hand:
        why = releases.press_again(connection, row.id, now_ms, by=staged.asked_by)
        return True, StageResult(
            submission_id=row.id, chain_id=row.chain_id, created=False, refused=why, released=not why
        )
    if row.state == "held" and staged.is_by_hand:
        no_room = releases.take_over(connection, row.id, now_ms, by=staged.asked_by)
        if no_room is not None:
            return True, StageResult(
                submission_id=row.id,
                chain_id=row.chain_id,
                created=False,
                refused=no_room,
                released=not no_room,
            )
        row = Intents(connection, [staged]).submission_of(staged) or row  # somebody decided a moment ago
    is_changed, again = waiting.ask_again(connection, staged, row, now_ms, priority_ms=PRIORITY_MS)
    if again is not None:
        return True, again
    sql.COUNT_REPEAT(connection, id=row.id)
    note = waiting.asked_before(staged, row, now_ms)
    return is_changed, StageResult(submission_id=row.id, chain_id=row.chain_id, created=False, note=note)


def _existed(staged: Staged, submission_id: str, child: str, now_ms: int) -> _New:
    """One whose task exists already: nothing is sent, and nothing paid."""
    reason = f"task {child} was made by this button before"
    row = _new_row(staged, submission_id, now_ms, now_ms) | {
        "state": SUBMISSION.new("stage", "existed"),
        "outcome": "existed",
        "reason": reason,
        "task_ids": msgspec.json.encode([child]).decode(),
    }
    result = StageResult(submission_id=submission_id, chain_id=staged.chain_id, created=False)
    event = event_log.fact(
        upstream=staged.upstream,
        task_id=child,
        submission_id=submission_id,
        signal="submission.existed",
        source="evidence",
        status="existed",
        detail=reason,
        now_ms=now_ms,
    )
    return _New(staged, row, result, event=event)


def _refused(staged: Staged, submission_id: str, reason: str, now_ms: int) -> _New:
    """One that is stored as refused, so that it can be shown and released by hand (storage/submissions/releases.py), with the signal
    budget.exceeded."""
    row = _new_row(staged, submission_id, now_ms, now_ms)
    row |= {"state": SUBMISSION.new("stage", "refused"), "reason": reason}
    result = StageResult(submission_id=submission_id, chain_id=staged.chain_id, created=False, refused=reason)
    event = event_log.fact(
        upstream=staged.upstream,
        task_id=staged.parent_id,
        submission_id=submission_id,
        signal="budget.exceeded",
        source="internal",
        detail=f"{staged.asked_by}: {staged.kind} {staged.label}: {reason}",
        now_ms=now_ms,
    )
    return _New(staged, row, result, event=event)


def _new_row(
    staged: Staged,
    submission_id: str,
    queue_at_ms: int,
    now_ms: int,
    taken: tuple[Charge, ...] = (),
) -> dict[str, object]:
    values = msgspec.structs.asdict(staged)
    del values["delay_ms"], values["not_before_ms"]
    return values | {
        "terms": staged.terms or None,
        "id": submission_id,
        "queue_at_ms": queue_at_ms,
        "state": SUBMISSION.new("stage", "held" if staged.approval_id else "waiting"),
        "outcome": "",
        "reason": "",
        "task_ids": "[]",
        "attempts": 0,
        "forgiven": 0,
        "repeats": 0,
        "run_at_ms": staged.run_at_ms(now_ms),
        "started_at_ms": None,
        "created_at_ms": now_ms,
        "updated_at_ms": now_ms,
        **charges.kept(taken),
    }
