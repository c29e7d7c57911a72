"""Limits how much of an upstream's payload is stored for one task. Performs no I/O; counts large payloads.

Known tasks have 0.1 to 10 kB, and are stored byte for byte. From a longer one, fields without an attribute in `Task` are removed,
the largest first, and images are cut; the payload lists what was removed, as `hookchain_left_out`. The fields of a task are not cut
otherwise: a task whose own fields are too long is rejected.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from operator import itemgetter

import msgspec

from midjourney.bodies import container_of, parsed
from midjourney.decode import decode_task
from midjourney.errors import Undecodable
from midjourney.lists import Listed, decode_list
from midjourney.redact import shortened
from midjourney.statuses import NO_STATUSES, Status
from midjourney.types import Task
from midjourney.wrapping import KNOWN_FIELDS, bare, fields_of

KEPT_BYTES = 256 * 1024
"""Most bytes stored of one task."""

LEAN_BYTES = 32 * 1024
"""Most bytes stored of one task once its upstream has exceeded `LARGE_BYTES_PER_HOUR`."""

LARGE_BYTES_PER_HOUR = 64 * 1024 * 1024
"""Bytes per hour of an upstream's tasks that are larger than `LEAN_BYTES`; the same as the quota of one hook."""

LONGEST_TEXT = 8 * 1024
"""Characters. A longer text may be an image; prompts have at most 6,000."""

MOST_FIELDS = 1000
"""Fields without an attribute in `Task`; if a long answer has more, none of them is stored. The richest known payload has 40."""

HOUR_S = 3600.0

LEFT_OUT = "hookchain_left_out"
"""The field that describes what was removed from a payload: its original size, and the beginnings of the names of removed fields."""

_TELLING = frozenset(
    {"finalPrompt", "messageContent", "messageHash", "customId", "custom_id", "remix", "notifyHook"}
)
"""Fields, mostly of `properties`, that `Task` reads, or that identify the task's submission."""

_NAMED, _NAME_CHARACTERS = 20, 64
"""How many removed fields are named, and how many characters of each name."""


class Keeping:
    """Applies the limits for one upstream; counts its large payloads per hour."""

    def __init__(
        self, statuses: Mapping[str, Status] = NO_STATUSES, *, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._statuses = statuses
        self._clock_s = clock_s
        self._began_s = clock_s()
        self._large_bytes = 0

    def task(self, body: bytes) -> Task:
        """The task in an answer, with its limited payload. Raises `Undecodable`, also if its own fields are too long."""
        return self._kept(decode_task(body, self._statuses))

    def tasks(self, body: bytes) -> Listed:
        """The tasks in a list; those whose own fields are too long count as not read. Raises `Undecodable` as `decode_list` does."""
        listed = decode_list(body, self._statuses)
        tasks: list[Task] = []
        unread = listed.unread
        for task in listed.tasks:
            try:
                tasks.append(self._kept(task))
            except Undecodable:
                unread += 1
        return Listed(tasks, unread)

    def _kept(self, task: Task) -> Task:
        if len(task.raw) <= LEAN_BYTES:
            return task
        if self._clock_s() - self._began_s >= HOUR_S:
            self._began_s, self._large_bytes = self._clock_s(), 0
        has_room = self._large_bytes + min(len(task.raw), KEPT_BYTES) <= LARGE_BYTES_PER_HOUR
        task = within(task, KEPT_BYTES if has_room else LEAN_BYTES, self._statuses)
        self._large_bytes += len(task.raw) if has_room else 0
        return task


def within(task: Task, most: int, statuses: Mapping[str, Status] = NO_STATUSES) -> Task:
    """The task with a payload of at most `most` bytes. Raises `Undecodable` if its own fields have more."""
    if len(task.raw) <= most:
        return task
    fields = _fields(task.raw)
    fields |= {key: _without_image(fields[key]) for key in KNOWN_FIELDS & fields.keys()}
    properties = container_of(fields.get("properties"))
    left_out: list[str] = []
    room = most - 8 * 1024  # the rest is for the description of the removed fields
    if isinstance(properties, dict):
        own = {key: value for key, value in fields.items() if key in KNOWN_FIELDS and key != "properties"}
        fields["properties"] = _smallest(properties, _TELLING, room - _size(own), left_out)
    fields = _smallest(fields, KNOWN_FIELDS | _TELLING, room, left_out)
    names = [name[:_NAME_CHARACTERS] for name in left_out[:_NAMED]]
    description = {"bytes": len(task.raw), "fields": names, "more": max(0, len(left_out) - _NAMED)}
    raw = msgspec.json.encode(fields | {LEFT_OUT: description})
    if len(raw) > most:
        raise Undecodable(f"a task whose own fields have more than {most} bytes", is_json=True)
    return decode_task(raw, statuses)


def _fields(raw: bytes) -> dict[str, object]:
    """The fields of a whole answer, or of an entry in a list."""
    try:
        return fields_of(raw)
    except Undecodable:
        return bare(parsed(raw))


def _without_image(value: object) -> object:
    return shortened(value) if isinstance(value, str) and len(value) > LONGEST_TEXT else value


def _smallest(
    fields: dict[str, object], always: frozenset[str], room: int, left_out: list[str]
) -> dict[str, object]:
    """The fields in `always`, and as many others as there is room for, the smallest first. Adds the names of the removed ones to
    `left_out`."""
    kept = {key: fields[key] for key in always if key in fields}
    others = [key for key in fields if key not in always]
    if len(others) > MOST_FIELDS:
        left_out += others
        return kept
    room -= _size(kept)
    for key, size in sorted(((key, _size({key: fields[key]})) for key in others), key=itemgetter(1)):
        room -= size
        if room < 0:
            left_out.append(key)
        else:
            kept[key] = fields[key]
    return kept


def _size(fields: dict[str, object]) -> int:
    return len(msgspec.json.encode(fields))
