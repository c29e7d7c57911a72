"""Recognises that this database is a restored copy, and tracks what it lacks at each upstream.

The check of an upstream lasts until everything sent there since the copy was made is accounted for, or until a person resumes the
upstream. Until then the upstream is paused, for all processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import Connection

from midjourney.types import Task
from storage import settings
from storage.driver import server_identity
from storage.records import Staged
from storage.submissions import adoption, request_count
from storage.submissions.adoption import Adopted, MarkedTask
from storage.submissions.request_count import Count, Generation
from storage.tasks import aliases, history, marks
from storage.tasks import rows as tasks
from storage.tasks.polling import LOST, REFUTED
from storage.upstreams import pausing, sql, standings

PREFIX = "restored: "
"""The beginning of the reason of such a pause."""

ASKING = (
    f"{PREFIX}a copy of the database was restored. hookchain asks this upstream what was submitted since the copy was made, "
    "and resumes it once that is known"
)

FOR_CERTAIN = 2**62
"""A `sent_at_ms` after any resume: a person who resumed the upstream before did not know about the restore."""


class RestoreCheck(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the check of one upstream.

    `missing`: how many requests that may have made a task were begun after the copy; None if they were not counted. `found`: how
    many of them are accounted for. `newest`: our newest task that the copy knows. `hides`: the list shows tasks of ours without
    marks, and others that may be ours as well. `paused_for`: why the upstream was paused in the copy ("" if by a person), None if
    it was not; it stays paused for that reason after the check.
    """

    since_ms: int
    missing: int | None = None
    found: int = 0
    newest: str = ""
    hides: bool = False
    paused_for: str | None = None


class UnknownSubmission(msgspec.Struct, frozen=True, kw_only=True):
    """A callback arrived on the hook of a submission that the database lacks, or has not sent."""

    mark: str
    task_id: str


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of examining an upstream's list. `remaining` is the check if it goes on."""

    adopted: int
    remaining: RestoreCheck | None
    resumed: bool = False


_SERVER = "server"

_checks, _unknown = msgspec.json.Decoder(RestoreCheck), msgspec.json.Decoder(UnknownSubmission)


def compare(
    connection: Connection, beside: Generation | None, names: Iterable[str], now_ms: int
) -> Generation:
    """Compare the database's counts with the file beside it, and start a check of each upstream at which more was sent than the
    database knows. Returns the generation that both must hold from then on."""
    kept = request_count.find(connection)
    names = [name for name in names if _was_used(connection, name)]
    if kept is None:
        if beside is None or not names:
            agreed = request_count.new()  # a new database, or one of a release that did not count
        else:
            kept, agreed = Generation(lineage=beside.lineage), beside
    elif beside is None or beside.lineage != kept.lineage:
        for name in names:
            start_check(
                connection, name, None, now_ms
            )  # moved here, or restored where the file was lost as well
        agreed = kept
    else:
        agreed = Generation(
            lineage=kept.lineage,
            counts={
                name: max(
                    kept.counts.get(name, Count()),
                    beside.counts.get(name, Count()),
                    key=lambda count: (count.begun, count.undone),
                )
                for name in kept.counts | beside.counts
            },
        )
    if kept is not None:
        for name, count in agreed.counts.items():
            known = kept.counts.get(name, Count())
            if name in names and count.begun > known.begun:
                made = (count.begun - count.undone) - (known.begun - known.undone)
                start_check(connection, name, max(made, 0), now_ms)
    request_count.keep(connection, agreed)
    return agreed


def forget_generation(connection: Connection) -> None:
    """Stop counting, because the file beside the database cannot be written."""
    request_count.forget(connection)


def compare_server(connection: Connection, names: Iterable[str], now_ms: int) -> None:
    """Start a check of each upstream if this database was last on another PostgreSQL server, or was put there anew."""
    before, present = settings.value(connection, _SERVER), server_identity.identity(connection)
    if not present or present == before:
        return
    settings.keep(connection, _SERVER, present)
    for name in names if before is not None else ():
        if _was_used(connection, name):
            start_check(connection, name, None, now_ms)


def start_check(
    connection: Connection, upstream: str, missing: int | None, now_ms: int, *, newest: str | None = None
) -> None:
    """Start or extend the check of an upstream, and pause it until it is known what was submitted there."""
    before = find(connection, upstream)
    if before is None:
        newest = newest if newest is not None else _newest_of_ours(connection, upstream)
        standing = standings.every(connection).get(upstream)
        paused_for = standing.pause_reason if standing is not None and standing.paused else None
        before = RestoreCheck(since_ms=now_ms, missing=0, newest=newest, paused_for=paused_for)
    both = None if missing is None or before.missing is None else before.missing + missing
    _keep(connection, upstream, msgspec.structs.replace(before, since_ms=now_ms, missing=both))
    if not pausing.pause_for_failure(connection, upstream, ASKING, now_ms, sent_at_ms=FOR_CERTAIN):
        # The upstream was paused already; a person who resumes it must know about the restore.
        pausing.replace_reason(connection, upstream, "", ASKING)


def find(connection: Connection, upstream: str) -> RestoreCheck | None:
    """The check of an upstream, or None. It ends when a person resumes the upstream."""
    kept = settings.value(connection, _key(upstream))
    return None if kept is None else _checks.decode(kept)


def note_unknown(connection: Connection, upstream: str, unknown: UnknownSubmission) -> None:
    """Store that a submission is unknown here, or was not sent from here, so that a worker examines the upstream."""
    settings.keep(connection, _unknown_key(upstream), msgspec.json.encode(unknown).decode())


def unknown_at(connection: Connection, upstream: str) -> UnknownSubmission | None:
    """The unknown submission that was noted since the upstream was last examined, or None."""
    kept = settings.value(connection, _unknown_key(upstream))
    return None if kept is None else _unknown.decode(kept)


def examine(
    connection: Connection,
    upstream: str,
    listed: Sequence[Task],
    marked: list[MarkedTask],
    answers: list[Staged],
    *,
    is_list: bool,
    is_whole: bool = True,
    settled_ms: int,
    now_ms: int,
) -> CheckResult:
    """Adopt the submissions that the upstream shows, and decide whether they are all that is missing.

    If requests were counted, all of them must be found. Otherwise the list must show the newest task that the copy knew, a second
    examination, `settled_ms` after the first, must find nothing more, because lists lag and are cut short, and the list must not
    show tasks of ours without marks beside others that the copy does not know. `is_whole`: all its entries could be read.
    """
    settings.forget(connection, _unknown_key(upstream))
    was_used = _was_used(connection, upstream)
    newest, hides = _newest_of_ours(connection, upstream), _may_hide_ours(connection, upstream, listed)
    adopted = adoption.adopt(connection, upstream, marked, now_ms)
    answered = adoption.adopt_answers(connection, upstream, answers, now_ms)
    present = find(connection, upstream)
    if present is None and adopted.total and was_used:
        # The upstream shows submissions of ours that the database lacks.
        start_check(connection, upstream, None, now_ms, newest=newest)
        present = find(connection, upstream)
    if present is None:
        return CheckResult(adopted=adopted.total, remaining=None)
    # Only finished tasks: a running one may belong to another client, and its end would be news to our rules.
    history.keep(connection, upstream, [task for task in listed if task.is_finished], now_ms)
    left = _after(msgspec.structs.replace(present, hides=present.hides or hides), adopted, now_ms)
    if left.missing is not None:
        is_known = left.found >= left.missing
    else:
        reaches = not left.newest or left.newest in _names(connection, upstream, listed)
        is_known = (
            is_list and is_whole and reaches and not left.hides and now_ms - left.since_ms >= settled_ms
        )
    if is_known:
        resumed = _end(connection, upstream, left, now_ms)
        return CheckResult(adopted=adopted.total + answered, remaining=None, resumed=resumed)
    _keep(connection, upstream, left)
    pausing.replace_reason(connection, upstream, PREFIX, reason_of(left, is_list=is_list))
    return CheckResult(adopted=adopted.total + answered, remaining=left)


def drop_if_resumed(connection: Connection, upstream: str) -> bool:
    """End the check of an upstream that a person has resumed; True if that is the case."""
    standing = standings.every(connection).get(upstream)
    if standing is not None and standing.paused:
        return False
    settings.forget(connection, _key(upstream))
    return True


def _was_used(connection: Connection, upstream: str) -> bool:
    return sql.ANY_SUBMISSION.first(connection, upstream=upstream) is not None


def _newest_of_ours(connection: Connection, upstream: str) -> str:
    return sql.NEWEST_OF_OURS.first(connection, upstream=upstream, unknown=["", LOST, REFUTED]) or ""


def _may_hide_ours(connection: Connection, upstream: str, listed: Sequence[Task]) -> bool:
    """True if a list shows tasks of ours without marks, and others that the database does not know, which may be ours too."""
    others = aliases.names(connection, upstream, [task.id for task in listed])
    names = {task.id: others.get(task.id, task.id) for task in listed}
    rows = tasks.find_all(connection, upstream, list(names.values())) if names else {}
    known = [(task, rows[names[task.id]]) for task in listed if names[task.id] in rows]
    ours = [task for task, row in known if row.submission_id is not None]
    return len(known) < len(listed) and any(
        not marks.marked_by(connection, upstream, task.raw) for task in ours
    )


def _names(connection: Connection, upstream: str, listed: Sequence[Task]) -> set[str]:
    shown = {task.id for task in listed}
    return shown | set(aliases.names(connection, upstream, shown).values())


def _after(before: RestoreCheck, adopted: Adopted, now_ms: int) -> RestoreCheck:
    """The check after adopting. If requests were not counted, its time starts anew whenever something more was found."""
    since_ms = now_ms if adopted.total and before.missing is None else before.since_ms
    return msgspec.structs.replace(before, since_ms=since_ms, found=before.found + adopted.total)


def reason_of(left: RestoreCheck, *, is_list: bool) -> str:
    """The reason of the pause for people, in at most 300 characters."""
    if left.missing is not None:
        what = f"{left.missing} requests were begun after it was made, and the upstream shows {left.found} of them"
    elif is_list:
        what = (
            f"the upstream shows {left.found} submissions that the copy lacks, and its list may not show all"
        )
    else:
        what = f"{left.found} submissions that the copy lacks were found, and this upstream has no list to show the others"
    return (
        f"{PREFIX}a copy of the database was restored; {what}. Look there for the rest: hookchain may submit "
        "what is missing again once you resume"
    )


def _end(connection: Connection, upstream: str, check: RestoreCheck, now_ms: int) -> bool:
    """End the check; True if the upstream is resumed, False if it was also paused for another reason."""
    settings.forget(connection, _key(upstream))
    standing = standings.every(connection).get(upstream)
    if standing is None or not standing.paused or not standing.pause_reason.startswith(PREFIX):
        return False  # paused by a person since, or because of a problem with its account
    if check.paused_for is not None:
        pausing.replace_reason(connection, upstream, PREFIX, check.paused_for)
        return False
    standings.resume(connection, upstream, now_ms)
    return True


def _keep(connection: Connection, upstream: str, left: RestoreCheck) -> None:
    settings.keep(connection, _key(upstream), msgspec.json.encode(left).decode())


def _key(upstream: str) -> str:
    return f"restored:{upstream}"


def _unknown_key(upstream: str) -> str:
    return f"sign:{upstream}"
