"""The client of one upstream: sends submissions, reads tasks, and classifies the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import httpx
import msgspec

from midjourney.blob_images import examined_in
from midjourney.blob_texts import Blobs, Examined, Reference, blob_in
from midjourney.bounded import Answer
from midjourney.codes import Outcome, Verdict, classify
from midjourney.connections import LIST_BYTES, Connections, MayLeave
from midjourney.decode import decode_answer
from midjourney.dialects import Dialect, Upstream
from midjourney.errors import InvalidRequest, Undecodable, UpstreamRefused
from midjourney.image_data import image_of_text
from midjourney.keeping import KEPT_BYTES, Keeping
from midjourney.links import images_of, near_of
from midjourney.lists import Listed
from midjourney.loading import with_images_loaded
from midjourney.presses import is_upscale
from midjourney.redact import beginning_of, redacted_text, shown_body, without_secrets, without_secrets_in
from midjourney.requests import Imagine, Request, kind_of
from midjourney.streamed import json_body
from midjourney.streamed_forms import form_body
from midjourney.types import Task
from midjourney.wire import FORMS, wire_body, wire_path

LONGEST_RETRY_AFTER_S = 86_400.0
"""The longest wait that a server may request; more is an error of the server."""

LONGEST_SHOWN = 300
"""Characters of an answer that an error shows."""

Read = TypeVar("Read")

Timed = Callable[[str], AbstractContextManager[object]]
"""A context that measures how long a request of some kind takes."""

Pace = Callable[[], Awaitable[None]]
"""Returns when the upstream's rate limit allows a read: the limit counts reads as well as submissions."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a submission: the HTTP status, the body as received, and its classification.

    `message` describes everything for people: what was sent, the answer, and, if the answer names one, the wrong field; without
    secrets.
    """

    status: int
    body: bytes
    verdict: Verdict
    message: str


class Client:
    """The client of one upstream. Close it with `aclose`. `pace` is awaited before tasks are read; `timed` measures each request
    as "submit", "upload", "fetch", "list", "list_by_condition" or "image_seed". `blobs` has the long texts that requests refer to."""

    def __init__(
        self,
        upstream: Upstream,
        dialect: Dialect,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        pace: Pace | None = None,
        timed: Timed = nullcontext,
        blobs: Blobs | None = None,
    ) -> None:
        self.upstream = upstream
        self.dialect = dialect
        self._pace = pace
        self._timed = timed
        self._keeping = Keeping(dialect.statuses)
        self._connections = Connections(upstream, dialect, transport=transport)
        self._near = near_of(upstream)
        self._blobs = blobs

    async def submit(
        self,
        request: Request,
        *,
        notify_hook: str = "",
        state: str = "",
        mode: str = "",
        may_leave: MayLeave | None = None,
    ) -> Reply:
        """Send one submission, once, in a speed mode. The only call that costs money.

        Images at private links are loaded first, and blobs are read once: a damaged one never leaves. `may_leave` is called at the last moment, when there is a connection to write to.
        Raises `InvalidRequest` before anything is sent, `NotSent` if the upstream cannot have received it, `NoAnswer` if it may
        have.
        """
        request = await with_images_loaded(request, self._near)
        request, examined = await examined_in(request, self._blobs)
        body = wire_body(request, self.dialect, notify_hook=notify_hook, state=state, mode=mode)
        path, kind = wire_path(request, self.dialect, mode), kind_of(request)
        if kind in FORMS and body is not None:
            content: object = form_body(body, FORMS[kind], examined, self._blobs)
        else:
            content = self._content(body, examined)
        with self._timed("submit"):
            answer = await self._connections.send("POST", path, content, may_leave=may_leave)
        # Some upstreams repeat the key or the hook in their errors: neither must be stored, logged or shown.
        told = without_secrets_in(answer.content, self.upstream.key, notify_hook)
        verdict = classify(
            kind,
            answer.status,
            told,
            bare_21_existed=kind in self.dialect.existed_on or is_upscale(request),
            retry_after_s=_retry_after_s(answer.headers),
        )
        message = self._message(path, body, answer, verdict)
        return Reply(status=answer.status, body=told, verdict=verdict, message=message)

    def _content(self, body: object, examined: Mapping[Reference, Examined]) -> object:
        """The body as it is sent: its blobs are read while it is written."""
        if not examined or self._blobs is None:
            return body
        return json_body(msgspec.json.encode(body), examined, self._blobs)

    async def upload(self, images: list[str]) -> list[str]:
        """Upload images to where Midjourney can load them; returns their URLs, in the same order.

        Raises `InvalidRequest` for anything but an image, `UpstreamRefused` if the upload fails, and as `fetch` does.
        """
        path = self._path("upload")
        carrier, examined = await examined_in(Imagine(prompt="", images=tuple(images)), self._blobs)
        written = [
            image if blob_in(image) else image_of_text(image).data_url for _, image in images_of(carrier)
        ]
        body: dict[str, object] = {"base64Array": written}
        content = self._content(body, examined)
        with self._timed("upload"):
            answer = await self._connections.send("POST", path, content)
        try:
            decoded = decode_answer(answer.content)
        except Undecodable as error:
            raise self._refused(answer, path, body, why=error.reason) from error
        if answer.status != 200 or decoded.code not in (0, 1, 200) or len(decoded.ids) != len(images):
            raise self._refused(answer, path, body)
        return list(decoded.ids)

    async def fetch(self, task_id: str) -> Task | None:
        """The present task at the upstream, or None if it does not know the id.

        Unknown means an empty 200 (novicezk, Plus), a 204 (trueai), or a 400 or 200 with code 4 (new-api and gateways). An id that
        cannot be part of a path is unknown without a request.
        Raises `UpstreamRefused` for any other error, `NotSent` or `NoAnswer` if there was no answer.
        """
        try:
            path = self._path("fetch", task_id)
        except InvalidRequest as error:
            if error.field == "task_id":
                return None
            raise
        await self._may_ask()
        with self._timed("fetch"):
            answer = await self._connections.send("GET", path)
        if answer.status in (200, 204) and not answer.content.strip():
            return None
        if answer.status in (200, 400, 404) and _says_unknown(answer.content):
            return None
        if answer.status != 200:
            raise self._refused(answer, path)
        try:
            return await self._read(self._keeping.task, answer.content)
        except Undecodable as error:
            raise self._refused(answer, path, why=error.reason) from error

    async def refresh(self, task_id: str) -> str:
        """The present URL of a task's image, because Discord's URLs expire. "" if the task has none, or is unknown."""
        task = await self.fetch(task_id)
        return "" if task is None else task.image_url

    async def image_seed(self, task_id: str) -> str:
        """The seed of a finished image. It may take a minute: Plus and trueai request it from Discord.

        Raises `UpstreamRefused` if there is none, and as `fetch` does.
        """
        path = self._path("image_seed", task_id)
        with self._timed("image_seed"):
            answer = await self._connections.send("GET", path)
        try:
            decoded = decode_answer(answer.content)
        except Undecodable as error:
            raise self._refused(answer, path, why=error.reason) from error
        if answer.status != 200 or decoded.code not in (0, 1, 200) or not decoded.ids:
            raise self._refused(answer, path)
        return decoded.ids[0]

    async def list_by_condition(self, task_ids: list[str]) -> list[Task]:
        """The ones of these tasks that the upstream knows, in any order. Raises as `fetch` does."""
        return list((await self._tasks("list_by_condition", "POST", {"ids": task_ids})).tasks)

    async def list_all(self) -> Listed:
        """The tasks that the upstream holds: all of them (novicezk, Plus), or the latest 100 (trueai v11). One that cannot be read
        does not hide the others, but is counted.

        Raises as `fetch` does, and `InvalidRequest` if the dialect has no such list (relays over new-api).
        """
        return await self._tasks("list", "GET")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connections.aclose()

    def _path(self, kind: str, task_id: str = "") -> str:
        if not self.dialect.has(kind):
            raise InvalidRequest("kind", f"dialect {self.dialect.name} has no {kind.replace('_', '-')}")
        return self.dialect.path(kind, task_id)

    async def _may_ask(self) -> None:
        if self._pace is not None:
            await self._pace()

    async def _tasks(self, kind: str, method: str, body: object = None) -> Listed:
        path = self._path(kind)
        await self._may_ask()
        with self._timed(kind):
            answer = await self._connections.send(method, path, body, largest_bytes=LIST_BYTES)
        if answer.status != 200:
            raise self._refused(answer, path, body)
        try:
            return await self._read(self._keeping.tasks, answer.content)
        except Undecodable as error:
            raise self._refused(answer, path, body, why=error.reason) from error

    async def _read(self, decode: Callable[[bytes], Read], content: bytes) -> Read:
        """Decode an answer; a long one in a thread, because it takes 0.1 s, which would block the event loop."""
        return decode(content) if len(content) <= KEPT_BYTES else await asyncio.to_thread(decode, content)

    def _refused(self, answer: Answer, path: str, body: object = None, *, why: str = "") -> UpstreamRefused:
        """The error for an answer; `why` it cannot be used, if its status does not say that."""
        shown = self._shown(answer)
        if why:
            shown = f"the answer cannot be used, {beginning_of(why, LONGEST_SHOWN)}: {shown}"
        sent = f" to {path} {shown_body(body)}" if body is not None else f" to {path}"
        return UpstreamRefused(f"{shown}{sent}", status=answer.status, body=shown)

    def _shown(self, answer: Answer) -> str:
        text = beginning_of(without_secrets(answer.text, self.upstream.key), LONGEST_SHOWN).strip()
        return f"HTTP {answer.status}: {text or 'an empty body'}"

    def _message(self, path: str, body: dict[str, object] | None, answer: Answer, verdict: Verdict) -> str:
        reason = redacted_text(verdict.reason)
        if verdict.outcome not in (Outcome.REJECTED, Outcome.UNCERTAIN):
            return reason
        named = [field for field in body or {} if field.lower() in reason.lower()]
        field = f"; the field is {named[0]}" if named else ""
        return f"{reason}{field}; sent POST {path} {shown_body(body)}; HTTP {answer.status}"


def _says_unknown(body: bytes) -> bool:
    """True if an answer is the envelope with code 4 that new-api and gateways give for an unknown task."""
    try:
        return len(body) < 4096 and decode_answer(body).code == 4
    except Undecodable:
        return False


def _retry_after_s(headers: httpx.Headers) -> float | None:
    """Seconds from Retry-After. Its date form is not supported, because no server of the family sends it."""
    value = headers.get("retry-after", "")
    return min(float(value), LONGEST_RETRY_AFTER_S) if value.isascii() and value.isdigit() else None
