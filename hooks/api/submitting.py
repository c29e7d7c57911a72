"""POST /api/submissions: asking for a submission by a program, once for an intent or an Idempotency-Key."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from starlette.requests import Request

from dispatcher import commands
from hooks.api import shapes
from hooks.problems import Problem
from midjourney.dialects import Dialect
from midjourney.errors import InvalidRequest
from midjourney.requests import KINDS, parent_of
from midjourney.requests import Request as Submission
from storage import queries, submissions
from storage.engine import Database
from storage.records import StageResult


class Press(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="press", forbid_unknown_fields=True
):
    """A press by the button's name: "U1", "U*", "custom_zoom"."""

    task_id: str
    button: str


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a submission's body that is not the request: where it goes, when, and whether it is wanted again."""

    upstream: str = ""
    again: int = 0
    priority: Annotated[int, msgspec.Meta(ge=-100, le=100)] = 0
    after: Annotated[float, msgspec.Meta(ge=0, le=30 * 24 * 3600)] = 0.0


Wanted = Submission | Press
_asked = msgspec.json.Decoder(Asked)


class Submitting:
    """The handler over one database; `dialects` is what each upstream speaks."""

    def __init__(self, database: Database, dialects: Mapping[str, Dialect]) -> None:
        self._database = database
        self._dialects = dialects

    async def submit(self, request: Request) -> tuple[int, Any]:
        """Ask for a submission: 202 when it is new, 200 when the intent (or the Idempotency-Key) had one already."""
        wanted, asked = _wanted(await request.body())
        task_id = wanted.task_id if isinstance(wanted, Press) else _parent(wanted)
        upstream = await self._upstream_of(asked.upstream, task_id)
        key = request.headers.get("idempotency-key", "")
        now_ms = time.time_ns() // 1_000_000

        def stage(connection: Any) -> list[StageResult]:
            if isinstance(wanted, Press):
                return commands.press(
                    connection,
                    wanted.task_id,
                    wanted.button,
                    upstream=upstream,
                    dialect=self._dialects[upstream],
                    asked_by="api",
                    now_ms=now_ms,
                    again=asked.again,
                    priority=asked.priority,
                    after_s=asked.after,
                )
            return [
                commands.submit(
                    connection,
                    wanted,
                    upstream=upstream,
                    dialect=self._dialects[upstream],
                    asked_by="api",
                    now_ms=now_ms,
                    idempotency_key=key,
                    again=asked.again,
                    priority=asked.priority,
                    after_s=asked.after,
                )
            ]

        staged = await self._database.write("command", stage)
        self._database.wakeups.wake("events", "submissions")
        made = await self._database.read(
            lambda connection: [submissions.find(connection, one.submission_id) for one in staged]
        )
        created = any(one.created for one in staged)
        shown = [shapes.submission_shape(submission) for submission in made if submission is not None]
        if not shown:
            raise Problem(
                409, "this was submitted before, and has been removed since ([retention] chain_days)"
            )
        body = shown[0] if not isinstance(wanted, Press) else {"submissions": shown}
        return (202 if created else 200), body

    async def _upstream_of(self, named: str, task_id: str) -> str:
        if named:
            if named not in self._dialects:
                raise Problem(422, f"no upstream {named!r}; there are: {', '.join(sorted(self._dialects))}")
            return named
        if task_id:
            having = await self._database.read(
                lambda connection: queries.upstreams_of_task(connection, task_id)
            )
            known = [name for name in having if name in self._dialects]
            if not known:
                raise Problem(404, f"no task {task_id!r} at any configured upstream")
            if len(known) > 1:
                raise Problem(422, f"task {task_id!r} is at {', '.join(known)}: say which as `upstream`")
            return known[0]
        return "main" if "main" in self._dialects else next(iter(self._dialects))


def _wanted(body: bytes) -> tuple[Wanted, Asked]:
    """The request and what stands beside it. Raises `Problem` 400 or 422."""
    try:
        asked = _asked.decode(body)
        fields = msgspec.json.decode(body)
    except msgspec.ValidationError as error:
        raise Problem(422, str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"the body is not JSON: {error}") from error
    request = {key: value for key, value in fields.items() if key not in Asked.__struct_fields__}
    try:
        return msgspec.convert(request, Wanted), asked
    except msgspec.ValidationError as error:
        raise Problem(422, f"{error}; `kind` is press, {', '.join(KINDS)}") from error


def _parent(wanted: Submission) -> str:
    try:
        return parent_of(wanted)
    except InvalidRequest as error:
        raise Problem(422, str(error)) from error
