"""POST /api/submissions: stages a submission for a program, once for each intent or Idempotency-Key."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.requests import Request

from dispatcher.by_hand import commands, pressing
from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.plugins.submit_options import (
    Again,
    Delay,
    Priority,
    delay_s,
    invalid_option,
    meant_or_nearest,
)
from hooks.api import answers, shapes
from hooks.api.answers import Pressed
from hooks.problems import Problem
from midjourney.errors import InvalidRequest
from midjourney.links import Near, check_images
from midjourney.requests import KINDS, parent_of
from midjourney.requests import Request as Submission
from storage import clock
from storage.engine import Connection, Database
from storage.reading import pages
from storage.records import StageResult
from storage.submissions import submission_queue


class Press(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="press", forbid_unknown_fields=True
):
    """A press of the button with this name: "U1", "U*", "custom_zoom"."""

    task_id: str
    button: str


class SubmitOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the body that is not the request itself: where it goes, when, and whether a repeated request is meant."""

    upstream: str = ""
    again: Again = 0
    priority: Priority = 0
    after: Delay | str = 0.0
    mode: str = ""


SubmitRequest = Submission | Press

NOT_FROM_CALLERS = frozenset({"zoom"})
"""Fields of stored requests that only plugins set: nothing would answer the modal."""


class Submitting:
    """The handler that stages submissions; `places` are the upstreams by name."""

    def __init__(self, database: Database, places: Mapping[str, UpstreamHandle]) -> None:
        self._database = database
        self._places = places

    async def submit(self, request: Request) -> tuple[int, answers.Submission | Pressed]:
        """Stage a submission: 202 if it is new, 200 if the intent (or the Idempotency-Key) already had one."""
        requested, options = _decode(await request.body())
        task_id = requested.task_id if isinstance(requested, Press) else _parent(requested)
        upstream = await self._upstream_of(options.upstream, task_id)
        if not isinstance(requested, Press):
            _check_images(requested, self._places[upstream].near)
        key = request.headers.get("idempotency-key", "")
        now_ms = clock.now_ms()

        def stage(connection: Connection) -> list[StageResult]:
            if isinstance(requested, Press):
                return commands.press(
                    connection,
                    requested.task_id,
                    requested.button,
                    upstream=upstream,
                    dialect=self._places[upstream].dialect,
                    asked_by="api",
                    now_ms=now_ms,
                    again=options.again,
                    priority=options.priority,
                    after_s=delay_s(options.after),
                    mode=options.mode,
                )
            return [
                commands.submit(
                    connection,
                    requested,
                    upstream=upstream,
                    dialect=self._places[upstream].dialect,
                    asked_by="api",
                    now_ms=now_ms,
                    idempotency_key=key,
                    again=options.again,
                    priority=options.priority,
                    after_s=delay_s(options.after),
                    mode=options.mode,
                )
            ]

        staged = await pressing.stage_with_readback(self._database, self._places[upstream], stage)
        self._database.wakeups.wake("events", "submissions")
        made = await self._database.read(
            lambda connection: [submission_queue.find(connection, result.submission_id) for result in staged]
        )
        created = any(result.created or result.released for result in staged)
        shown = [shapes.submission_shape(submission) for submission in made if submission is not None]
        if not shown:
            raise Problem(
                409, "This was submitted before, and has since been removed ([retention] chain_days)"
            )
        if all(result.refused for result in staged):
            raise Problem(429, staged[0].refused, submissions=shown)
        body = shown[0] if not isinstance(requested, Press) else Pressed(submissions=shown)
        return (202 if created else 200), body

    async def _upstream_of(self, named: str, task_id: str) -> str:
        if named:
            if named not in self._places:
                raise Problem(
                    422, f"There is no upstream {named!r}; known upstreams: {', '.join(sorted(self._places))}"
                )
            return named
        if task_id:
            having = await self._database.read(
                lambda connection: pages.upstreams_of_task(connection, task_id)
            )
            known = [name for name in having if name in self._places]
            if not known and len(self._places) == 1:
                # The upstream may know the task, and will be asked.
                return next(iter(self._places))
            if not known:
                raise Problem(404, f"There is no task {task_id!r} at any configured upstream")
            if len(known) > 1:
                raise Problem(
                    422,
                    f"Several upstreams have a task {task_id!r}; name one as `upstream`: {', '.join(known)}",
                )
            return known[0]
        return "main" if "main" in self._places else next(iter(self._places))


def _decode(body: bytes) -> tuple[SubmitRequest, SubmitOptions]:
    """Return the request and the options beside it. Raises `Problem` 400 or 422."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, object])
        if mistake := invalid_option(fields):
            raise Problem(422, mistake)
        options = msgspec.convert(fields, SubmitOptions)
    except msgspec.ValidationError as error:
        raise Problem(422, str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"The body is not JSON: {error}") from error
    request = {key: value for key, value in fields.items() if key not in SubmitOptions.__struct_fields__}
    if mistake := _unknown_field(request):
        raise Problem(422, mistake)
    try:
        return msgspec.convert(request, SubmitRequest), options
    except msgspec.ValidationError as error:
        raise Problem(422, f"{error}; `kind` must be press, {', '.join(KINDS)}") from error


def _unknown_field(request: Mapping[str, object]) -> str:
    """Describe the first field that a request of its kind does not have, with the nearest one; "" if all are known."""
    kind = request.get("kind")
    form: type[msgspec.Struct] | None = Press if kind == "press" else KINDS.get(kind)  # type: ignore[call-overload]
    if form is None:
        return ""
    known = {"kind", *form.__struct_fields__, *SubmitOptions.__struct_fields__} - NOT_FROM_CALLERS
    for name in request:
        if name not in known:
            return f"Unknown field {name!r} of kind {kind}.{meant_or_nearest(name, known)}"
    return ""


def _parent(requested: Submission) -> str:
    try:
        return parent_of(requested)
    except InvalidRequest as error:
        raise Problem(422, str(error)) from error


def _check_images(requested: Submission, near: Near) -> None:
    try:
        check_images(requested, near)
    except InvalidRequest as error:
        raise Problem(422, str(error)) from error
