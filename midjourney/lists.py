"""Decodes lists of tasks. Each entry stands for itself: one that cannot be read leaves the others readable, and is counted, because
such a list must not prove that a task is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from midjourney.bodies import understood
from midjourney.decode import lenient_task
from midjourney.errors import Undecodable
from midjourney.nesting import cut
from midjourney.statuses import NO_STATUSES, Status
from midjourney.types import Task
from midjourney.wrapping import bare

_entries_of = msgspec.json.Decoder(
    list[msgspec.Raw] | dict[str, msgspec.Raw] | str | int | float | bool | None
)
"""Decodes each entry separately, so that an error in one does not affect the others."""


class Listed(msgspec.Struct, frozen=True):
    """The tasks in a list, and how many of its entries may be tasks, but could not be read."""

    tasks: Sequence[Task]
    unread: int = 0


def decode_list(body: bytes, statuses: Mapping[str, Status] = NO_STATUSES) -> Listed:
    """The tasks in a `list` or `list-by-condition` answer. Entries that are not tasks are skipped, as are unknown ids; those that
    are nested too deep, or have no usable id, are counted.

    `statuses` as in `decode_task`. Raises `Undecodable` if the answer is not a JSON array.
    """
    body, mark = cut(body)
    entries = understood(body, _entries_of.decode)
    if isinstance(entries, str):  # JSON text
        body, mark = cut(entries.encode("utf-8", "replace"))
        entries = understood(body, _entries_of.decode)
    elif isinstance(entries, dict):  # one gateway wraps its lists
        inner = next((entries[key] for key in ("data", "result") if key in entries), b"null")
        entries = understood(bytes(inner), _entries_of.decode)
    if not isinstance(entries, list):
        raise Undecodable("a list of tasks was expected", is_json=True)
    tasks: list[Task] = []
    unread = 0
    for raw in entries:
        entry = bytes(raw)
        if mark and mark in entry:
            unread += 1
            continue
        try:
            value = understood(entry)
        except Undecodable:
            unread += 1
            continue
        try:
            fields = bare(value)
        except Undecodable:  # another product's job, or null for an unknown id
            continue
        try:
            tasks.append(lenient_task(fields, entry, statuses))
        except Undecodable:
            unread += 1
    return Listed(tasks, unread)
