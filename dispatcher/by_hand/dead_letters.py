"""Dead letters: lists them, retries one or all that match, edits or drops them, for the API, the pages and the command line.

To retry or drop all letters, callers repeat the call, each in a new transaction, until nothing is left. They pass the same `now_ms`
each time, so that a letter that dies again meanwhile is not retried for ever.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dispatcher.by_hand.commands import CommandError, check
from dispatcher.policy.intent import has_own_key, key_of
from midjourney.dialects import Dialect
from midjourney.redact import shown_body
from midjourney.requests import Request, decode_request, encode_request, kind_of, parent_of
from storage.deliveries import dead_deliveries
from storage.driver import locks
from storage.engine import Connection
from storage.events import event_log
from storage.reading import dead_letters
from storage.reading.dead_letters import DeadLetter, DeadLetterCursor, DeadLetterFilter, Kind
from storage.records import MODAL_LOST, Submission
from storage.submissions import children, dead_submissions, submission_queue
from storage.tasks import chains

BATCH = 1000
"""The most letters per transaction."""

_LONGEST_NUMBER = 18
"""The most digits of a row's number: SQLite counts to 2^63."""


def page(
    connection: Connection, match: DeadLetterFilter, *, most: int, before: tuple[int, str] | None = None
) -> list[DeadLetter]:
    """Matching dead letters, the newest first. `before` is (died_at_ms, id) of the last letter of the previous page.

    Raises `CommandError` for an invalid `before`.
    """
    cursor = None if before is None else DeadLetterCursor(before[0], *_parsed(before[1], status=422))
    return dead_letters.page(connection, match, most=most, before=cursor)


def find(connection: Connection, letter_id: str) -> DeadLetter | None:
    """One dead letter, or None. Raises `CommandError` for an invalid id."""
    return dead_letters.find(connection, *_parsed(letter_id))


def retry(connection: Connection, letter_id: str, now_ms: int) -> bool:
    """Retry a letter with all its attempts. Returns False if it was not dead (or a rejected submission).

    Raises `CommandError` if an upstream has, or may have, accepted the submission.
    """
    kind, key = _parsed(letter_id)
    if kind == "delivery":
        return dead_deliveries.retry(connection, [int(key)], now_ms) == 1
    if dead_submissions.retry(connection, [str(key)], now_ms):
        return True
    _refuse_what_is_taken(connection, str(key))
    return False


def drop(connection: Connection, letter_id: str, now_ms: int) -> bool:
    """Discard a letter for good. Returns False if it was not dead. The row stays, marked as dropped."""
    kind, key = _parsed(letter_id)
    if kind == "delivery":
        return dead_deliveries.drop(connection, [int(key)], now_ms) == 1
    return dead_submissions.drop(connection, [str(key)], now_ms) == 1


def retry_all(connection: Connection, match: DeadLetterFilter, now_ms: int, most: int = BATCH) -> int:
    """Retry up to `most` matching letters that had died by `now_ms`, the oldest first, and return their number. An empty filter
    matches all. Submissions that an upstream has accepted are left alone."""
    numbers, ids = _batch(connection, match, now_ms, most, to_retry=True)
    retried = dead_deliveries.retry(connection, numbers, now_ms)
    return retried + dead_submissions.retry(connection, ids, now_ms)


def drop_all(connection: Connection, match: DeadLetterFilter, now_ms: int, most: int = BATCH) -> int:
    """Discard up to `most` matching letters that had died by `now_ms`, and return their number."""
    numbers, ids = _batch(connection, match, now_ms, most, to_retry=False)
    dropped = dead_deliveries.drop(connection, numbers, now_ms)
    return dropped + dead_submissions.drop(connection, ids, now_ms)


def edit_and_retry(
    connection: Connection, submission_id: str, request: Request, *, dialect: Dialect, now_ms: int
) -> bool:
    """Send a dead or rejected submission again with an edited request. Returns False if it is neither.

    It stays the same intent with the same key: no upstream accepted it, and whoever asks for it again gets this submission.
    So the kind, the task and the button stay; prompt, images and `extra` may change. An event stores the old request.

    Raises `CommandError` if the request is invalid or a different intent, and if an upstream may have accepted the
    original.
    """
    submission = submission_queue.find(connection, submission_id)
    if submission is None or submission.state not in ("dead", "rejected"):
        return False
    check(request, dialect)
    before = decode_request(submission.request)
    _check_same_intent(submission, before, request)
    locks.chains(connection, [submission.chain_id])  # always locked before the submission
    if not dead_submissions.edit(connection, submission.id, encode_request(request), now_ms):
        _refuse_what_is_taken(connection, submission.id)
        return False
    if not submission.parent_id:
        chains.set_prompt(connection, submission.chain_id, getattr(request, "prompt", ""))
    event_log.append(
        connection,
        event_log.fact(
            upstream=submission.upstream,
            task_id=submission.parent_id,
            submission_id=submission.id,
            signal=None,
            source="internal",
            detail=f"edited by hand; before: {shown_body(msgspec.json.decode(submission.request))}",
            now_ms=now_ms,
        ),
    )
    return True


def _check_same_intent(submission: Submission, before: Request, request: Request) -> None:
    kind, parent_id = kind_of(request), parent_of(request)
    if kind != submission.kind:
        raise CommandError(
            f"submission {submission.id} is of kind {submission.kind!r}; its kind cannot become {kind!r}"
        )
    if parent_id != submission.parent_id:
        raise CommandError(
            f"submission {submission.id} is about task {submission.parent_id or 'none'!r}, not {parent_id or 'none'!r}"
        )
    if has_own_key(request) and key_of(submission.upstream, before) != key_of(submission.upstream, request):
        raise CommandError(
            f"submission {submission.id} is {submission.label!r} of task {submission.parent_id}; to press another button, "
            "make a new submission"
        )


def _refuse_what_is_taken(connection: Connection, submission_id: str) -> None:
    """Raise `CommandError` for a dead or rejected submission that must not be sent again; the message says why."""
    submission = submission_queue.find(connection, submission_id)
    if submission is None or submission.state not in ("dead", "rejected"):
        return
    if made := children.known(connection, submission_id):
        why = f"the upstream has accepted it and made task {made[0]}"
    elif dead_submissions.was_answered(connection, submission_id):
        why = f"its modal {submission.parent_id} no longer needs an answer"
    elif submission.outcome == "moved":
        why = "another account has done it since"
    elif submission.outcome == "withdrawn":
        why = "its client was told that nothing is charged for it"
    elif submission.outcome == MODAL_LOST:
        why = f"its modal {submission.parent_id} no longer exists; press the button again"
    else:
        why = (
            "the outcome of one of its attempts is unknown, so the upstream may have accepted the original; "
            "retry it unchanged, or make a new submission"
        )
    raise CommandError(f"submission {submission_id} cannot be sent again: {why}", status=409)


def _batch(
    connection: Connection, match: DeadLetterFilter, now_ms: int, most: int, *, to_retry: bool
) -> tuple[Sequence[int], Sequence[str]]:
    numbers = dead_letters.dead_deliveries(connection, match, by_ms=now_ms, most=most)
    ids = dead_letters.dead_submissions(
        connection, match, by_ms=now_ms, most=most - len(numbers), to_retry=to_retry
    )
    return numbers, ids


def _parsed(letter_id: str, *, status: int = 404) -> tuple[Kind, int | str]:
    """The kind and the key. Raises `CommandError` for an invalid id."""
    kind, _, key = letter_id.partition("-")
    if kind == "delivery" and key.isascii() and key.isdigit() and len(key) <= _LONGEST_NUMBER:
        return "delivery", int(key)
    if kind == "submission" and key and "\0" not in key:
        return "submission", key
    raise CommandError("the id of a dead letter must be delivery-NUMBER or submission-ID", status=status)


__all__ = [
    "BATCH",
    "DeadLetter",
    "DeadLetterFilter",
    "drop",
    "drop_all",
    "edit_and_retry",
    "find",
    "page",
    "retry",
    "retry_all",
]
