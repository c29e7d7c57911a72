"""Handle a submit request: decode it, decide, record it in the ledger, and answer, wrongly if a fault strikes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import msgspec
from msgspec.structs import replace
from starlette.responses import Response

from midjourney.sandbox.admission import banned
from midjourney.sandbox.engine import Engine
from midjourney.sandbox.faults import HELD_S
from midjourney.sandbox.jobs import Job
from midjourney.sandbox.relay import renamed
from midjourney.sandbox.shapes import answer_shape
from midjourney.sandbox.submits import Submits
from midjourney.sandbox.wire import Answer, Body

_body = msgspec.json.Decoder(Body)

_PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><center><h1>502</h1></center></body></html>"
_ANSWER_FAULTS = ("timeout", "error", "html", "empty")
"""Faults that replace the answer after the decision."""


def _with_mode(body: Body, full_path: str) -> Body:
    """The body with the mode that the prefix of its path names: RELAX for `/mj-relax/mj/…` (trueai, `SubmitController.cs`)."""
    match = re.match(r"/(?:mj-)?(fast|turbo|relax)/", full_path)
    return replace(body, mode=match[1].upper()) if match else body


class Answers:
    """Handles the submits of one server."""

    def __init__(self, engine: Engine, submits: Submits, *, speed: float) -> None:
        self._engine = engine
        self._submits = submits
        self._faults = engine.faults
        self._held_s = HELD_S / speed
        self._count = 0

    @property
    def paths(self) -> set[str]:
        """The paths of submits, under the prefix."""
        return set(self._submits.by_path)

    async def answer(
        self,
        path: str,
        full_path: str,
        raw: bytes,
        base_url: str,
        now_ms: int,
        *,
        on_started: Callable[[list[Job]], None],
    ) -> Response:
        """Decide and answer. Calls `on_started` with the jobs that have started, before it sends the answer."""
        self._count += 1
        try:
            body = _with_mode(_body.decode(raw), full_path)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.record(full_path, raw, None, None, now_ms)
            return Response(status_code=400)
        if self._faults.strikes("429", self._count):
            self.record(full_path, raw, 30, None, now_ms)
            return Response(
                msgspec.json.encode({"description": "当前分组负载已饱和，请稍后再试", "code": 30}),
                status_code=429,
                headers={"retry-after": "1"},
                media_type="application/json",
            )
        answer = self._refusal(path, body) or self._submits.by_path[path](body, base_url, now_ms)
        started = self._started_jobs(answer)
        answer = renamed(answer, self._engine)
        self.record(full_path, raw, answer.code, answer.result, now_ms)
        on_started(started)
        return await self._respond(path, body, answer)

    def record(
        self, path: str, raw: bytes, code: int | None, result: str | list[str] | None, at_ms: int
    ) -> None:
        """Write a submit and its answer into the ledger."""
        shown = ",".join(result) if isinstance(result, list) else result
        self._engine.ledger.record(path=path, body=raw, code=code, result=shown, at_ms=at_ms)

    def _refusal(self, path: str, body: Body) -> Answer | None:
        if self._faults.strikes("queue-full", self._count):
            job = self._engine.find(str(body.task_id)) if path == "submit/modal" else None
            is_open = job is not None and job.task.status == "MODAL"
            return self._submits.presses.reject_modal(job if is_open else None)
        if path == "submit/imagine" and self._faults.strikes("banned", self._count):
            return banned(body.prompt or "", "chosen")
        return None

    def _started_jobs(self, answer: Answer) -> list[Job]:
        """Jobs for which the first callback (SUBMITTED) is due. A job that finished at once has no callbacks."""
        ids = answer.result.split(",") if isinstance(answer.result, str) else []
        jobs = [self._engine.jobs[task_id] for task_id in ids if task_id in self._engine.jobs]
        return [job for job in jobs if job.task.status == "SUBMITTED" and job.remaining_steps]

    async def _respond(self, path: str, body: Body, answer: Answer) -> Response:
        lost = [
            fault
            for fault in _ANSWER_FAULTS
            if answer.code in (1, 21, 22) and self._faults.strikes(fault, self._count)
        ]
        match lost[:1]:
            case ["timeout"]:
                await asyncio.sleep(self._held_s)
                return Response(status_code=504)
            case ["error"]:
                return Response(b"Internal Server Error", status_code=500, media_type="text/plain")
            case ["html"]:
                return Response(_PAGE, media_type="text/html")
            case ["empty"]:
                return Response()
            case _:
                pass
        profile = self._engine.profile
        modal_button = body.custom_id or "" if answer.code == 21 else ""
        status, shown = answer_shape(
            answer, profile, path=path, modal_button=modal_button, big_ids=self._faults.has("big-ids")
        )
        plain = path in profile.text_plain
        return Response(
            msgspec.json.encode(shown),
            status_code=status,
            media_type="text/plain; charset=utf-8" if plain else "application/json",
        )
