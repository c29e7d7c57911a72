"""Which blobs there are, and what uses them.

A blob has a row before it has a text, and loses both in one transaction: whoever stores it again meanwhile waits for that row.

It is kept for `KEPT_MS` after it was stored, and after the end of each submission that uses it. A crash between a blob and its submission
therefore leaves a blob that is dropped a day later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from midjourney.blob_texts import Reference, references_in
from midjourney.requests import Request
from storage.blobs import sql
from storage.driver.locks import many_writers
from storage.duty.states import SUBMISSION
from storage.engine import Connection

KEPT_MS = 24 * 3_600_000

LOOKED_AT_EVERY_MS = 3_600_000
"""How often it is asked whether a used blob is used still."""

PIECE_BYTES = 128 * 1024
"""The length of a row's piece. psycopg holds a value about twice."""


class BlobMissing(Exception):
    """A submission refers to a blob that is not kept any more."""


def add(connection: Connection, references: Sequence[Reference], now_ms: int) -> None:
    """Note that these blobs are being stored."""
    for one in sorted(references, key=str):
        sql.ADD(connection, sha256=one.sha256, size=one.size, until_ms=now_ms + KEPT_MS)


def add_piece(connection: Connection, reference: Reference, number: int, piece: bytes) -> None:
    """Store one piece of a blob."""
    sql.ADD_PIECE(connection, sha256=reference.sha256, number=number, piece=piece)


def piece(connection: Connection, reference: Reference, number: int) -> bytes | None:
    """One piece of a blob; None if there is no such piece."""
    return sql.PIECE.first(connection, sha256=reference.sha256, number=number)


def use(connection: Connection, request: Request, submission_id: str) -> None:
    """Keep the blobs of a request for as long as its submission needs them: call it in the transaction that stages the submission.

    Raises `BlobMissing`.
    """
    references = references_in(request)
    if not references:
        return
    hashes = {one.sha256 for one in references}
    if missing := hashes - set(sql.HOLD.all(connection, hashes=sorted(hashes))):
        raise BlobMissing(f"blob:sha256:{min(missing)} is not stored any more: send the image again")
    for one in sorted(hashes):
        sql.USE(connection, sha256=one, used_by=submission_id)


def release(connection: Connection, references: Sequence[Reference], now_ms: int) -> None:
    """Let the blobs of an order that was refused be dropped by the next pruning, unless something uses them.

    Another order that has stored one of them, and is not staged yet, is then refused with `BlobMissing`, and can be sent again.
    """
    sql.PROLONG(connection, hashes=sorted({one.sha256 for one in references}), until_ms=now_ms)


def known(connection: Connection, hashes: Sequence[str]) -> set[str]:
    """Those of these blobs that have a row."""
    return set(sql.KNOWN.all(connection, hashes=hashes))


def drop_unused(connection: Connection, now_ms: int, most: int, remove: Callable[[str], None]) -> int:
    """Look at up to `most` blobs whose time is over, and drop those that nothing uses; returns how many were looked at.

    `remove` deletes a file, and may be called for one that stays known if the commit fails: nothing used it.
    """
    old = sql.OLD.all(connection, now_ms=now_ms, most=most)
    if not old:
        return 0
    sql.END_USES(connection, hashes=old, open=list(SUBMISSION.open), since_ms=now_ms - KEPT_MS)
    used = set(sql.USED.all(connection, hashes=old))
    if used:
        sql.PROLONG(connection, hashes=sorted(used), until_ms=now_ms + LOOKED_AT_EVERY_MS)
    gone = [one for one in old if one not in used]
    if gone:
        sql.DROP(connection, hashes=gone)
        if many_writers(connection):
            sql.DROP_PIECES(connection, hashes=gone)
    for one in gone:
        remove(one)
    return len(old)
