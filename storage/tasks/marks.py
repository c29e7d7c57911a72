"""Marks: the id of a submission, sent in its `state` and hook URL, by which hookchain recognises its task.

An id has 24 hex digits and cannot be guessed, so that it is proof wherever the upstream shows it. Relays replace `state`, or the
hook, or both.

It is derived from the submission's intent and a secret of the database: 16 digits from these, and 8 more from those 16. So a
restored copy that lacks a submission gives the same intent the same mark, and can tell its own marks from those of another
installation.
"""

from __future__ import annotations

import hmac
import re
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine

from storage import settings
from storage.records import Submission
from storage.submissions import submission_queue
from storage.tasks import sql

_STATE = re.compile(r"([0-9a-f]{24})(?: |$)")
_ANYWHERE = re.compile(rb"(?<![0-9a-f])[0-9a-f]{24}(?![0-9a-f])")


_SECRET = "marks"
_secrets: WeakKeyDictionary[Engine, str] = WeakKeyDictionary()
"""By engine; the secret of a database never changes, and the cache saves a query for each submission."""


def without_mark(state: str) -> str:
    """The `state` as its submitter set it, without our mark in front."""
    return _STATE.sub("", state, count=1) if _STATE.match(state) else state


SOME = 20
"""The number of our newest tasks that are examined to learn whether an upstream shows marks."""


def mark_in_state(state: str) -> str:
    """The mark at the beginning of a task's `state`, or ""."""
    mark = _STATE.match(state)
    return mark[1] if mark else ""


def secret(connection: Connection) -> str:
    """The secret from which the marks of this database are derived. Generated on the first call, and copied with the database."""
    cached = _secrets.get(connection.engine)
    if cached is not None:
        return cached
    stored = settings.value(connection, _SECRET)
    if stored is None:  # not cached until it is committed: this transaction may fail
        return settings.make(connection, _SECRET)
    _secrets[connection.engine] = stored
    return stored


def are_made(connection: Connection) -> bool:
    """True if this database has its secret, and `secret` will not have to write one."""
    return connection.engine in _secrets or settings.value(connection, _SECRET) is not None


def of_intent(connection: Connection, upstream: str, idempotency_key: str) -> str:
    """The id of the submission that this intent has, or will have."""
    return mark_of(secret(connection), upstream, idempotency_key)


def mark_of(secret: str, upstream: str, idempotency_key: str) -> str:
    """The mark of an intent, 24 hex digits."""
    first = _digits(secret, f"intent\0{idempotency_key}", 16)
    return first + _digits(secret, f"mark\0{upstream}\0{first}", 8)


def is_of(secret: str, upstream: str, mark: str) -> bool:
    """True if a mark was derived from this secret, for a submission at this upstream."""
    return hmac.compare_digest(_digits(secret, f"mark\0{upstream}\0{mark[:16]}", 8), mark[16:])


def _digits(secret: str, text: str, count: int) -> str:
    # In one call: a tenth of the time that `hmac.new` takes, and each intent needs two.
    return hmac.digest(secret.encode(), text.encode(), "sha256").hex()[:count]


def marks_in(payload: bytes) -> set[str]:
    """Everything in a payload that may be a mark."""
    return {mark.decode() for mark in _ANYWHERE.findall(payload)}


def marked_by(connection: Connection, upstream: str, payload: bytes) -> list[Submission]:
    """The submissions at this upstream whose marks a payload contains."""
    submissions = (submission_queue.find(connection, mark) for mark in sorted(marks_in(payload)))
    return [
        submission for submission in submissions if submission is not None and submission.upstream == upstream
    ]


def are_shown(connection: Connection, upstream: str) -> bool:
    """True if this upstream has recently shown the mark of one of our tasks."""
    newest = sql.NEWEST_OF_OURS.all(connection, upstream=upstream, most=SOME)
    return any(shown.submission_id.encode() in shown.payload for shown in newest)
