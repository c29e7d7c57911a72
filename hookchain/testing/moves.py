"""What a test can let happen: a callback, an answer, a signal, the passing of time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from hookchain.testing.asked import Ask, Asked
from hookchain.testing.running import Running
from midjourney.decode import decode_task
from storage.deliveries import chain_stores
from storage.engine import Connection
from storage.events import event_log
from storage.records import SIGNAL_OF_CHANGE, Incoming, StoreChange, Submission, SubmissionState
from storage.submissions import dead_submissions
from storage.submissions.settlements import Settlement, settle_attempt
from storage.tasks import chains
from storage.tasks import rows as tasks
from storage.tasks.chains import Orphan

_STATE_OF: Mapping[str, SubmissionState] = {
    "submission.accepted": "accepted",
    "submission.queued": "accepted",
    "submission.needs_modal": "needs_modal",
    "submission.existed": "existed",
    "submission.rejected": "rejected",
    "submission.uncertain": "uncertain",
    "submission.dead": "dead",
}
"""The state in which a submission is after a signal about it."""


class NeverSent(AssertionError):
    """A test answers a request that never leaves."""


async def callback(running: Running, raw: bytes, upstream: str, of: Ask | None) -> Asked:
    """Receive a callback."""
    if of is not None:
        raw = await _of(running, raw, of)
    incoming = Incoming(
        upstream=upstream,
        task=decode_task(raw, running.server.statuses(upstream)),
        submission_id=of.id if of is not None else "",
        source="callback",
        received_at_ms=running.clock.now_ms,
    )
    recorded = await running.server.database.append(incoming)
    if of is None and running.server.answers.open:
        await _not_made_by_open_requests(running, incoming)
    return Asked(signal=None if recorded.change is None else SIGNAL_OF_CHANGE[recorded.change])


async def _not_made_by_open_requests(running: Running, incoming: Incoming) -> None:
    """Give a task its chain now. The server would wait until every open request has named its task, because this may be one of them;
    the test knows that it is not."""

    def place(connection: Connection) -> None:
        row = tasks.find(connection, incoming.upstream, incoming.task.id)
        if row is not None and row.chain_id is None:
            orphan = Orphan(row.upstream, row.id, row.parent_id)
            chains.adopt_all(connection, [orphan], incoming.received_at_ms)

    await running.server.write("place", place)


async def _of(running: Running, raw: bytes, of: Ask) -> bytes:
    """Let a submission be accepted, with the payload's task. If the kit has accepted it before, the payload gets that task's id."""
    task_id = decode_task(raw).id
    if await _leaves(running, of):
        await _reply(running, of, {"code": 1, "description": "ok", "result": task_id})
        return raw
    made = (await running.server.state()).submissions[of.id].task_ids
    if not made or task_id in made or not set(made) <= running.server.answers.named:
        return raw
    return msgspec.json.encode({**msgspec.json.decode(raw, type=dict[str, object]), "id": made[0]})


async def answer(running: Running, of: Ask, body: Mapping[str, object], status: int) -> Asked:
    """Answer a request."""
    await _must_leave(running, of)
    await _reply(running, of, body, status)
    return Asked(signal=None)


async def window(running: Running, of: Ask, prompt: str, id: str, parent: Mapping[str, object]) -> Asked:
    """Answer a press with a modal, about a picture with these fields."""
    await _must_leave(running, of)
    if parent:
        await _show(running, of, parent)
    properties = {"finalPrompt": prompt}
    await _reply(running, of, {"code": 21, "description": "modal", "result": id, "properties": properties})
    return Asked(signal="submission.needs_modal")


async def _show(running: Running, of: Ask, fields: Mapping[str, object]) -> None:
    """Let the upstream report these fields of the picture that was pressed."""
    now_ms, parent_id = running.clock.now_ms, (await running.server.state()).submissions[of.id].parent_id

    def report(connection: Connection) -> None:
        known, _ = event_log.latest(connection, of.upstream, parent_id)
        payload = msgspec.json.decode(known, type=dict[str, object]) if known else {"id": parent_id}
        shown = event_log.fact(
            upstream=of.upstream,
            signal=None,
            source="reconcile",
            task_id=parent_id,
            payload=msgspec.json.encode({**payload, **fields}),
            now_ms=now_ms,
        )
        event_log.append(connection, shown._replace(advanced=True))

    await running.server.write("report", report)


async def send(
    running: Running, signal: str, upstream: str, task_id: str, of: Ask | None, outcome: str
) -> Asked:
    """Send a signal about a submission, by ending its attempt in that way, or about a task."""
    state = _STATE_OF.get(signal)
    if of is not None and state is not None and await _leaves(running, of, again=True):
        submission = (await running.server.state()).submissions[of.id]
        await _end(
            running, submission, Settlement(state=state, outcome=outcome, reason=outcome, signal=signal)
        )
    else:
        now_ms = running.clock.now_ms
        fact = event_log.fact(
            upstream=upstream,
            signal=signal,
            source="internal",
            task_id=task_id,
            submission_id=of.id if of is not None else "",
            detail=outcome,
            now_ms=now_ms,
        )
        await running.server.write("signal", lambda connection: event_log.append(connection, fact))
    return Asked(signal=signal)


async def _end(running: Running, submission: Submission, settlement: Settlement) -> None:
    """End the attempt at a submission, whose request gets no answer any more."""
    now_ms = running.clock.now_ms
    await running.server.cut_off(submission.id)
    await running.server.write(
        "settle", lambda connection: settle_attempt(connection, submission, settlement, now_ms)
    )


async def store(running: Running, task: str | Ask, upstream: str, content: str | None) -> Asked:
    """Show the store of a chain, or put another content into it before."""
    now_ms = running.clock.now_ms

    def put(connection: Connection) -> str:
        chain_id = task.chain_id if isinstance(task, Ask) else _chain_of(connection, task, upstream, now_ms)
        found = chain_stores.find(connection, chain_id)
        if content is None:
            return found.content
        change = StoreChange(chain_id=chain_id, before=found.version, content=content)
        chain_stores.keep(connection, [change], now_ms)
        return content

    kept: str = await running.server.database.write("store", put)
    return Asked(signal=None, store=msgspec.json.decode(kept, type=dict[str, Any]))


def _chain_of(connection: Connection, task_id: str, upstream: str, now_ms: int) -> str:
    row = tasks.find(connection, upstream, task_id)
    if row is None:
        tasks.put(connection, tasks.blank(upstream, task_id, now_ms))
    parent_id = row.parent_id if row is not None else ""
    return chains.adopt(connection, upstream, task_id, parent_id, now_ms)[0]


async def wait(running: Running, until_ms: int) -> Asked:
    """Let time pass, and do what becomes due."""
    await running.server.settle()
    while running.clock.now_ms < until_ms:
        await _accept(running)
        next_ms = (await running.server.state()).next_ms(running.clock.now_ms)
        running.clock.now_ms = until_ms if next_ms is None else min(next_ms, until_ms)
        await running.server.settle()
    return Asked(signal=None)


async def _accept(running: Running, but: str = "") -> None:
    """Accept all requests that have no answer, except that of a submission."""
    while running.server.answers.accept_all(but):
        await running.server.settle()


async def _leaves(running: Running, of: Ask, *, again: bool = False) -> bool:
    """Let time move until a submission's request has left and waits for its answer; False if it has been answered.

    `again`: one that is dead or rejected is retried, as a person would. Raises `NeverSent`.
    """
    await running.server.settle()
    while of.id not in running.server.answers.open:
        state = await running.server.state()
        submission = state.submissions[of.id]
        if again and submission.state in ("dead", "rejected"):
            await _retry(running, of.id)
            again = False
        elif submission.state in ("waiting", "sending"):
            await _accept(running, of.id)
            next_ms = (await running.server.state()).next_ms(running.clock.now_ms)
            if of.id not in running.server.answers.open and next_ms is None:
                raise NeverSent(
                    f"{of.label} of {of.receiver} is not sent: {submission.reason or submission.state}"
                )
            if of.id not in running.server.answers.open and next_ms is not None:
                running.clock.now_ms = next_ms
        elif submission.state == "refused":
            raise NeverSent(f"{of.label} of {of.receiver} was refused: {submission.reason}")
        else:
            return False
        await running.server.settle()
    return True


async def _must_leave(running: Running, of: Ask) -> None:
    if not await _leaves(running, of):
        submission = (await running.server.state()).submissions[of.id]
        why = (
            "time has moved, and by then it had been accepted"
            if submission.state == "accepted"
            else "it is " + submission.state
        )
        raise NeverSent(
            f"{of.label} of {of.receiver} has its answer already: {why}. Answer it before you wait"
        )


async def _retry(running: Running, submission_id: str) -> None:
    now_ms = running.clock.now_ms
    await running.server.write(
        "retry", lambda connection: dead_submissions.retry(connection, [submission_id], now_ms)
    )


async def _reply(running: Running, of: Ask, body: Mapping[str, object], status: int = 200) -> None:
    running.server.answers.answer(of.id, body, status)
    await running.server.settle()
