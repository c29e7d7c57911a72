"""Looks up the submissions of intents that the caller named with Idempotency-Key: what became of each, and of its task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import Connection

from storage.records import Submission, TaskRow
from storage.submissions import adoption, sql
from storage.tasks import marks
from storage.tasks import rows as tasks


class Keyed(msgspec.Struct, frozen=True, kw_only=True):
    """The submission of an intent, and the newest task that it made. Of a submission that was removed with its chain, only `removed`
    is known: its id."""

    submission: Submission | None = None
    task: TaskRow | None = None
    removed: str = ""


def of_keys(connection: Connection, keys: Mapping[str, str]) -> dict[str, Keyed]:
    """The known ones of these intents, by key. `keys` gives the upstream of each."""
    adopted = _adopted_keys(connection, keys)
    either = [*keys, *adopted]
    found = {
        adopted.get(spent.idempotency_key, spent.idempotency_key): Keyed(removed=spent.submission_id)
        for spent in sql.SPENT_BY.all(connection, keys=either)
    }
    submissions = sql.WITH_KEYS.all(connection, keys=either)
    made = _newest_tasks(connection, submissions)
    for submission in submissions:
        key = adopted.get(submission.idempotency_key, submission.idempotency_key)
        found[key] = Keyed(submission=submission, task=made.get(submission.id))
    return found


def _adopted_keys(connection: Connection, keys: Mapping[str, str]) -> dict[str, str]:
    """The keys that the submissions of these intents have if they were adopted by their marks alone, each with its intent's key."""
    if not marks.are_made(connection):
        return {}
    return {
        adoption.adopted_key(upstream, marks.of_intent(connection, upstream, key)): key
        for key, upstream in keys.items()
    }


def _newest_tasks(connection: Connection, submissions: Sequence[Submission]) -> dict[str, TaskRow]:
    """By submission: the last of its tasks that is known."""
    newest: dict[str, TaskRow] = {}
    for upstream in {submission.upstream for submission in submissions}:
        of_upstream = [submission for submission in submissions if submission.upstream == upstream]
        names = {task_id for submission in of_upstream for task_id in submission.task_ids}
        rows = tasks.find_named(connection, upstream, names) if names else {}
        for submission in of_upstream:
            known = [rows[task_id] for task_id in submission.task_ids if task_id in rows]
            if known:
                newest[submission.id] = known[-1]
    return newest
