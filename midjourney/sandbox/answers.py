"""A submit from its bytes to its answer: decoded, decided, written down, and answered, wrongly where a fault says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from starlette.responses import Response

from midjourney.sandbox.desk import banned
from midjourney.sandbox.engine import Engine, Job
from midjourney.sandbox.faults import HELD_S
from midjourney.sandbox.shapes import answer_shape
from midjourney.sandbox.submits import Submits
from midjourney.sandbox.wire import Answer, Body

_body = msgspec.json.Decoder(Body)

_PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><center><h1>502</h1></center></body></html>"
_LOST = ("timeout", "error", "html", "empty")
"""Faults that strike after the decision."""


class Answers:
    """Every submit of one server."""

    def __init__(self, engine: Engine, submits: Submits, *, speed: float) -> None:
        self._engine = engine
        self._submits = submits
        self._faults = engine.faults
        self._held_s = HELD_S / speed
        self._count = 0

    @property
    def paths(self) -> set[str]:
        """Those that a submit may have, under the prefix."""
        return set(self._submits.by_path)

    async def answer(
        self,
        path: str,
        full_path: str,
        raw: bytes,
        base_url: str,
        now_ms: int,
        *,
        on_decided: Callable[[list[Job]], None],
    ) -> Response:
        """Decide and answer. `on_decided` is told the jobs that have begun, before the answer leaves."""
        self._count += 1
        try:
            body = _body.decode(raw)
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
        self.record(full_path, raw, answer.code, answer.result, now_ms)
        on_decided(self._begun(answer))
        return await self._told(path, body, answer)

    def record(
        self, path: str, raw: bytes, code: int | None, result: str | list[str] | None, at_ms: int
    ) -> None:
        """Write a submit and its answer into the ledger."""
        shown = ",".join(result) if isinstance(result, list) else result
        self._engine.ledger.record(path=path, body=raw, code=code, result=shown, at_ms=at_ms)

    def _refusal(self, path: str, body: Body) -> Answer | None:
        if self._faults.strikes("queue-full", self._count):
            window = self._engine.jobs.get(str(body.task_id)) if path == "submit/modal" else None
            waits = window is not None and window.task.status == "MODAL"
            return self._submits.presses.lose_window(window if waits else None)
        if path == "submit/imagine" and self._faults.strikes("banned", self._count):
            return banned(body.prompt or "", "chosen")
        return None

    def _begun(self, answer: Answer) -> list[Job]:
        """Jobs whose first state is to be told: SUBMITTED. One born finished is told to nobody."""
        ids = answer.result.split(",") if isinstance(answer.result, str) else []
        jobs = [self._engine.jobs[task_id] for task_id in ids if task_id in self._engine.jobs]
        return [job for job in jobs if job.task.status == "SUBMITTED" and job.left]

    async def _told(self, path: str, body: Body, answer: Answer) -> Response:
        lost = [
            fault
            for fault in _LOST
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
        manner = self._engine.manner
        window = body.custom_id or "" if answer.code == 21 else ""
        status, shown = answer_shape(answer, manner, window=window, big_ids=self._faults.has("big-ids"))
        plain = path in manner.text_plain
        return Response(
            msgspec.json.encode(shown),
            status_code=status,
            media_type="text/plain; charset=utf-8" if plain else "application/json",
        )
