"""Where `archive` and `split_grid` keep files: a folder or bucket, and behind it a path that each event fills in.

Only what is behind the folder is a template, so that nothing that is filled in chooses the folder.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from dispatcher.plugins.chain import Chain
from dispatcher.plugins.errors import RuleError
from dispatcher.rules.expressions import Evaluator, Names, compile_template
from dispatcher.rules.variables import Variables
from midjourney.types import Task
from storage.records import Event

_PARTS = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}|/|[^/{]+|\{", re.DOTALL)
_OPENING = ("{{", "{%", "{#")

TIMES = ("day", "month", "year", "hour")
"""Names for when a task ended, in the time zone of the settings: "2026-11-30", "2026-11", "2026" and "22"."""

NAMES = (*TIMES, "prompt")
"""Names that only a path has."""

_EARLIEST_MS = 1_640_995_200_000
"""2022: no task is older. Some servers send 0, or a wrong clock's time."""

_SOON_MS = 24 * 3600 * 1000
"""How far another clock may be ahead."""

Path = Callable[[Chain, Names], Awaitable[tuple[str, ...]]]
"""Fills in a path, as `archive` takes it."""


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """A folder or bucket with prefix, and the path in it."""

    to: str
    path: Path


def destination_of(written: str, evaluator: Evaluator, variables: Variables) -> Destination:
    """Take apart what a rule says. Raises `RuleError` if it can never be valid."""
    segments = _segments(written)
    first = next((at for at, one in enumerate(segments) if _is_template(one)), None)
    if first is None:
        return Destination(to=written, path=_no_path)
    to = "/".join(segments[:first])
    if not to.strip("/") or to.endswith((":/", ":")):
        raise RuleError(
            f"{written!r} begins with a template, so that its folder is unknown; write a folder first, such as "
            "pictures/{{ day }}/{{ task.prompt | slug }}"
        )
    rest = segments[first:]
    if any(one.strip() in (".", "..") for one in rest):
        raise RuleError(f"{written!r} leads out of its folder: leave out the part with dots only")
    kept = [one for one in rest[:-1] if one] + rest[-1:]
    templates = [
        compile_template(one, evaluator, variables, texts=NAMES, may_be_cut=True) if one else None
        for one in kept
    ]

    async def fill(chain: Chain, names: Names) -> tuple[str, ...]:
        known = {**names, **_known(names["task"], names["event"], chain.zone)}
        return tuple([await template(known) if template is not None else "" for template in templates])

    return Destination(to=to, path=fill)


async def _no_path(_chain: Chain, _names: Names) -> tuple[str, ...]:
    return ()


def _segments(written: str) -> list[str]:
    """Split at each / that is not in an expression."""
    segments = [""]
    for part in _PARTS.findall(written):
        if part == "/":
            segments.append("")
        else:
            segments[-1] += part
    return segments


def _is_template(segment: str) -> bool:
    return any(mark in segment for mark in _OPENING)


def _known(task: Task, event: Event, zone: str) -> Mapping[str, str]:
    """The names that only paths have. The time does not depend on when an event is handled, so that the same task gets the same path."""
    ended_ms = task.finish_time_ms or 0
    is_likely = _EARLIEST_MS <= ended_ms <= event.received_at_ms + _SOON_MS
    at = datetime.fromtimestamp((ended_ms if is_likely else event.received_at_ms) / 1000, ZoneInfo(zone))
    return {
        "day": f"{at:%Y-%m-%d}",
        "month": f"{at:%Y-%m}",
        "year": f"{at:%Y}",
        "hour": f"{at:%H}",
        "prompt": task.prompt,
    }
