"""Dead letters in a person's hands: one, or all that match; tried again as they are, mended, or dropped.

For the API, the pages and the command line alike. Whoever asks for all of them asks again, in another transaction,
until nothing is left: with the same `now_ms`, so that what dies again meanwhile is not sent round and round.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dispatcher.commands import CommandError, check
from dispatcher.intent import has_own_key, key_of
from midjourney.dialects import Dialect
from midjourney.redact import shown_body
from midjourney.requests import Request, decode_request, encode_request, kind_of, parent_of
from storage import chains, events, letters, locks, retries, settlements, submissions
from storage.engine import Connection
from storage.letters import Kind, Letter, Match, Place
from storage.records import Submission
from storage.windows import WINDOW_LOST

BITE = 1000
"""Letters that one transaction takes."""

_LONGEST_NUMBER = 18
"""Digits of a row's number: SQLite counts to 2^63."""


def page(
    connection: Connection, match: Match, *, most: int, before: tuple[int, str] | None = None
) -> list[Letter]:
    """Dead letters that match, those that died last first; `before` is (died_at_ms, id) of the last one of the page before.

    Raises `CommandError` for a `before` that no page gave.
    """
    place = None if before is None else Place(before[0], *_parsed(before[1], status=422))
    return letters.page(connection, match, most=most, before=place)


def find(connection: Connection, letter_id: str) -> Letter | None:
    """One dead letter, or None. Raises `CommandError` for what is no id of one."""
    return letters.find(connection, *_parsed(letter_id))


def retry(connection: Connection, letter_id: str, now_ms: int) -> bool:
    """Try it again, with all its attempts; tells whether it was dead (or a submission that was rejected).

    Raises `CommandError` where an upstream has the submission all the same.
    """
    kind, key = _parsed(letter_id)
    if kind == "delivery":
        return retries.retry_deliveries(connection, [int(key)], now_ms) == 1
    if retries.retry_submissions(connection, [str(key)], now_ms):
        return True
    _refuse_what_is_taken(connection, str(key))
    return False


def drop(connection: Connection, letter_id: str, now_ms: int) -> bool:
    """Give it up for good; tells whether it was dead. It stays as what it was, and says so."""
    kind, key = _parsed(letter_id)
    if kind == "delivery":
        return retries.drop_deliveries(connection, [int(key)], now_ms) == 1
    return retries.drop_submissions(connection, [str(key)], now_ms) == 1


def retry_all(connection: Connection, match: Match, now_ms: int, most: int = BITE) -> int:
    """Try up to `most` again that match and had died by `now_ms`, the oldest first; how many. A match that is empty
    means all. What an upstream has is left where it is."""
    numbers, ids = _bite(connection, match, now_ms, most, to_retry=True)
    again = retries.retry_deliveries(connection, numbers, now_ms)
    return again + retries.retry_submissions(connection, ids, now_ms)


def drop_all(connection: Connection, match: Match, now_ms: int, most: int = BITE) -> int:
    """Give up to `most` up for good that match and had died by `now_ms`; how many."""
    numbers, ids = _bite(connection, match, now_ms, most, to_retry=False)
    dropped = retries.drop_deliveries(connection, numbers, now_ms)
    return dropped + retries.drop_submissions(connection, ids, now_ms)


def edit_and_retry(
    connection: Connection, submission_id: str, request: Request, *, dialect: Dialect, now_ms: int
) -> bool:
    """Send a dead or rejected submission again with a mended request; tells whether it was one.

    It stays the same intent, with its key: nobody took it, and whoever asks for it once more is told of this one. So
    the kind, the task and the button stay; words, images and `extra` may change. An event keeps what it was before.

    Raises `CommandError` when the request is wrong or of another intent, and when it is not certain that no upstream
    took the submission as it was.
    """
    found = submissions.find(connection, submission_id)
    if found is None or found.state not in ("dead", "rejected"):
        return False
    check(request, dialect)
    before = decode_request(found.request)
    _check_same_intent(found, before, request)
    locks.chain(connection, found.chain_id)  # before the submission, as everybody does
    if not retries.mend(connection, found.id, encode_request(request), now_ms):
        _refuse_what_is_taken(connection, found.id)
        return False
    if not found.parent_id:
        chains.reword(connection, found.chain_id, getattr(request, "prompt", ""))
    events.record(
        connection,
        upstream=found.upstream,
        task_id=found.parent_id,
        submission_id=found.id,
        signal=None,
        source="internal",
        detail=f"edited by hand; before: {shown_body(msgspec.json.decode(found.request))}",
        now_ms=now_ms,
    )
    return True


def _check_same_intent(found: Submission, before: Request, request: Request) -> None:
    kind, parent_id = kind_of(request), parent_of(request)
    if kind != found.kind:
        raise CommandError(f"submission {found.id} is of kind {found.kind!r}, and cannot become {kind!r}")
    if parent_id != found.parent_id:
        raise CommandError(
            f"submission {found.id} is about task {found.parent_id or 'none'!r}, not {parent_id or 'none'!r}"
        )
    if has_own_key(request) and key_of(found.upstream, before) != key_of(found.upstream, request):
        raise CommandError(
            f"submission {found.id} is {found.label!r} of task {found.parent_id}; another button is another "
            "submission: ask for that one"
        )


def _refuse_what_is_taken(connection: Connection, submission_id: str) -> None:
    """Say why a submission cannot be sent again that could be by its state. Raises `CommandError`."""
    found = submissions.find(connection, submission_id)
    if found is None or found.state not in ("dead", "rejected"):
        return
    if children := settlements.children(connection, submission_id):
        why = f"the upstream has it: task {children[0]} came of it"
    elif retries.was_answered(connection, submission_id):
        why = f"its window {found.parent_id} waits for no answer any more"
    elif found.outcome == WINDOW_LOST:
        why = f"its window {found.parent_id} is gone; press the button again"
    else:
        why = (
            "nobody knows how one of its attempts ended, and an upstream may have it as it was; "
            "retry it as it is, or submit another"
        )
    raise CommandError(f"submission {submission_id} stays as it is: {why}", status=409)


def _bite(
    connection: Connection, match: Match, now_ms: int, most: int, *, to_retry: bool
) -> tuple[Sequence[int], Sequence[str]]:
    numbers = letters.dead_deliveries(connection, match, by_ms=now_ms, most=most)
    ids = letters.dead_submissions(
        connection, match, by_ms=now_ms, most=most - len(numbers), to_retry=to_retry
    )
    return numbers, ids


def _parsed(letter_id: str, *, status: int = 404) -> tuple[Kind, int | str]:
    """The kind and the key. Raises `CommandError` for what no letter can have."""
    kind, _, key = letter_id.partition("-")
    if kind == "delivery" and key.isascii() and key.isdigit() and len(key) <= _LONGEST_NUMBER:
        return "delivery", int(key)
    if kind == "submission" and key and "\0" not in key:
        return "submission", key
    raise CommandError("a dead letter's id is delivery-NUMBER or submission-ID", status=status)


__all__ = [
    "BITE",
    "Letter",
    "Match",
    "drop",
    "drop_all",
    "edit_and_retry",
    "find",
    "page",
    "retry",
    "retry_all",
]
