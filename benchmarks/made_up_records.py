"""The records of months of use, made up: tasks with their callbacks, submissions, deliveries, quarantined bodies and traffic."""

from __future__ import annotations

import hashlib
import json
import random
from itertools import product
from typing import Any

from sqlalchemy import Table

from benchmarks.payloads import callback
from storage import schema
from storage.meter import MINUTE_MS, SERIES

SPAN_MS = 60 * 24 * 3_600_000
"""Age of the oldest records."""

STARTED = 1
"""How far running tasks are, in percent."""

_TRACEBACK = "Traceback (most recent call last):\n" + '  File "plugins/mine.py", line 7, in upload\n' * 30
_SUBJECTS = ("a cat", "a dog", "an old man", "two children", "a heron", "a fox")
_WORDS = (
    "on a wall in the rain",
    "under a plum tree",
    "by the harbour",
    "at dawn",
    "behind a window",
    "in tall grass",
    "watercolour",
    "soft light",
    "muted colours",
    "high detail",
    "ink on paper",
    "35mm film",
)

Rows = dict[Table, list[dict[str, Any]]]


class RowMaker:
    """Makes rows with consecutive numbers and random content."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.chance = random.Random(7)
        self.rows: Rows = {}
        self._events = 0
        self.tasks = 0

    def add(self, table: Table, **values: Any) -> None:
        """Add a row to a table."""
        self.rows.setdefault(table, []).append(values)

    def taken(self) -> Rows:
        """The rows since the last call."""
        rows, self.rows = self.rows, {}
        return rows

    def prompt(self) -> str:
        """A prompt of midjourney's kind; hardly any two are equal."""
        words = self.chance.sample(_WORDS, 6)
        number = self.chance.randrange(10**6)
        return f"{self.chance.choice(_SUBJECTS)} {', '.join(words)}, no. {number} --ar 3:2 --v 7.0 --s 250"

    def task_id(self, at_ms: int) -> str:
        """The id of a new task."""
        self.tasks += 1
        return f"{at_ms}{self.tasks:06d}"

    def event(self, at_ms: int, **values: Any) -> int:
        """Add an event; returns its id."""
        self._events += 1
        self.add(
            schema.events,
            id=self._events,
            upstream="main",
            pending=False,
            detail="",
            received_at_ms=at_ms,
            generation=0,
            **values,
        )
        return self._events


def add_task(
    maker: RowMaker,
    chain_id: str,
    task_id: str,
    parent: str,
    at_ms: int,
    prompt: str,
    *,
    is_live: bool,
    status: str = "SUCCESS",
    label: str = "imagine",
) -> None:
    """Add a task of a chain with its submission, its callbacks and what receivers did about them."""
    action, end_ms = ("UPSCALE" if parent else "IMAGINE"), at_ms + 38_000
    submission_id = add_submission(maker, chain_id, parent, task_id, at_ms, label, prompt=prompt)
    status = "IN_PROGRESS" if is_live else status
    is_over = status in ("SUCCESS", "FAILURE")
    maker.add(
        schema.tasks,
        upstream="main",
        id=task_id,
        status=status,
        progress=100 if is_over else STARTED,
        action=action,
        chain_id=chain_id,
        submission_id=submission_id,
        parent_id=parent,
        depth=1 if parent else 0,
        created_at_ms=at_ms,
        updated_at_ms=end_ms,
        finished_at_ms=end_ms if is_over else None,
        misses=0,
        prompt=prompt,
    )
    steps = [("SUBMITTED", 0, "task.submitted"), ("IN_PROGRESS", STARTED, "task.started")]
    steps += [] if is_live else [(status, 100, {"SUCCESS": "task.succeeded"}.get(status, "task.failed"))]
    for step, (state, percent, signal) in enumerate(steps):
        event_id = maker.event(
            at_ms + step * 19_000,
            task_id=task_id,
            submission_id=submission_id,
            source="callback",
            signal=signal,
            action=action,
            status=state,
            progress=percent,
            advanced=True,
            payload=callback(task_id, state, percent, action=action, prompt=prompt),
        )
        if signal == "task.succeeded":
            for receiver in ("rule:upscale", "plugin:archive"):
                _add_delivery(maker, event_id, receiver, task_id, end_ms, fired=not parent)


def add_submission(
    maker: RowMaker,
    chain_id: str,
    parent: str,
    task_id: str,
    at_ms: int,
    label: str,
    *,
    state: str = "accepted",
    prompt: str = "",
) -> str:
    """Add a submission with its attempt, and its answer if it has a task; returns its id."""
    submission_id = hex_id(f"{chain_id} {parent} {task_id} {label}", 24)
    request: dict[str, Any] = {"kind": "imagine", "prompt": prompt}
    if parent:
        custom_id = f"MJ::JOB::upsample::1::{submission_id}"
        request = {"kind": "action", "task_id": parent, "custom_id": custom_id}
    maker.add(
        schema.submissions,
        id=submission_id,
        idempotency_key=f"main|{submission_id}",
        chain_id=chain_id,
        upstream="main",
        kind=request["kind"],
        label=label,
        request=json.dumps(request).encode(),
        parent_id=parent,
        depth=1 if parent else 0,
        asked_by="rule:upscale" if parent else "person:api",
        lane="",
        priority=0,
        queue_at_ms=at_ms,
        state=state,
        outcome="" if state == "refused" else "accepted" if task_id else "timeout",
        reason="" if task_id else "the upstream did not answer within 30 s",
        task_ids=json.dumps([task_id] if task_id else []),
        attempts=1,
        forgiven=0,
        repeats=0,
        run_at_ms=at_ms,
        started_at_ms=at_ms,
        created_at_ms=at_ms,
        updated_at_ms=at_ms + 40,
    )
    answer = b'{"code":1,"description":"Submit success","result":"%s","properties":{}}' % task_id.encode()
    maker.add(
        schema.attempts,
        submission_id=submission_id,
        number=1,
        started_at_ms=at_ms,
        finished_at_ms=at_ms + 40,
        http_status=200 if task_id else None,
        outcome="accepted" if task_id else "timeout",
        reason="",
        answer=answer if task_id else b"",
    )
    if task_id:
        maker.event(
            at_ms + 40,
            task_id=task_id,
            submission_id=submission_id,
            source="answer",
            signal="submission.accepted",
            action="",
            status="",
            progress=None,
            advanced=False,
            payload=answer,
        )
    return submission_id


def _add_delivery(
    maker: RowMaker, event_id: int, receiver: str, task_id: str, at_ms: int, *, fired: bool
) -> None:
    chance = maker.chance.random()
    state = "dead" if chance < 0.001 else "waiting" if chance < 0.0011 else "done"
    maker.add(
        schema.deliveries,
        event_id=event_id,
        receiver=receiver,
        lane=f"main|{task_id}",
        state=state,
        attempts=1 if state == "done" else 9,
        excused=0,
        run_at_ms=maker.now_ms + SPAN_MS if state == "waiting" else at_ms,
        fired=fired and state == "done",
        decision="asked for U1, U2, U3, U4" if fired else "did not fire: task.is_grid is false",
        error="" if state == "done" else _TRACEBACK,
        created_at_ms=at_ms,
        updated_at_ms=at_ms + 12,
    )


def add_loose(maker: RowMaker, at_ms: int) -> None:
    """Add a task of another client, which belongs to no chain."""
    task_id, prompt = maker.task_id(at_ms), maker.prompt()
    maker.add(
        schema.tasks,
        upstream="main",
        id=task_id,
        status="SUCCESS",
        progress=100,
        action="IMAGINE",
        chain_id=None,
        submission_id=None,
        parent_id="",
        depth=0,
        created_at_ms=at_ms,
        updated_at_ms=at_ms + 40_000,
        finished_at_ms=at_ms + 40_000,
        misses=0,
        prompt=prompt,
    )
    for state, percent, signal in (("SUBMITTED", 0, "task.submitted"), ("SUCCESS", 100, "task.succeeded")):
        maker.event(
            at_ms + percent * 400,
            task_id=task_id,
            submission_id="",
            source="callback",
            signal=signal,
            action="IMAGINE",
            status=state,
            progress=percent,
            advanced=True,
            payload=callback(task_id, state, percent, prompt=prompt),
        )


def add_others(maker: RowMaker) -> None:
    """Add quarantined bodies, and eight days of traffic figures."""
    for number in range(200):
        maker.add(
            schema.quarantine,
            upstream="main",
            submission_id="",
            content_type="text/html",
            reason="the body is no JSON object",
            body=b"<html>" + b"x" * 3000,
            received_at_ms=maker.now_ms - number * 60_000,
        )
    first = maker.now_ms // MINUTE_MS
    for minute, series in product(range(8 * 1440), SERIES):
        maker.add(
            schema.traffic,
            minute_ms=(first - minute) * MINUTE_MS,
            series=series,
            happened=maker.chance.randrange(500),
            total_us=400_000,
            slowest_us=9_000,
        )


def hex_id(text: str, length: int) -> str:
    """An id of hex digits, the same for the same text."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]
