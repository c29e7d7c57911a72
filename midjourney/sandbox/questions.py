"""Handlers of questions about tasks and accounts. They change nothing."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from midjourney.sandbox.engine import Engine
from midjourney.sandbox.faults import SHORT_BATCH
from midjourney.sandbox.gate import Handler, json_response
from midjourney.sandbox.jobs import Job
from midjourney.sandbox.shown import Shown
from midjourney.sandbox.wire import Answer, Message

_PICTURED = frozenset({"IMAGINE", "VARIATION", "UPSCALE", "BLEND", "PAN", "ZOOM"})
"""The actions whose seed Plus 3.7.5 finds (`TaskController.java`)."""

_DATES = ("submitTime", "startTime", "finishTime")
_LATEST = 100
"""The most tasks in trueai's list."""


class Ids(msgspec.Struct, frozen=True):
    """A list of ids; null is an empty one. Jackson makes strings of numbers (novicezk, Plus); Go's `[]string` (new-api) and
    System.Text.Json (trueai) refuse them."""

    ids: list[str | int] | None = None


class Query(msgspec.Struct, frozen=True, rename="camel"):
    """The page of tasks that a request asks for (Plus 3.7.5, `TaskQueryDTO.java`)."""

    page_size: int = 10
    page_number: int = 0
    status: str | None = None
    status_set: set[str] | None = None
    action: str | None = None
    ids: set[str | int] | None = None
    prompt: str | None = None
    description: str | None = None
    state: str | None = None


class Questions:
    """Answers from the tasks of an engine."""

    def __init__(self, engine: Engine, shown: Shown, account: dict[str, object]) -> None:
        self._engine = engine
        self._profile = engine.profile
        self._shown = shown
        self._account = account
        self.by_path: dict[str, tuple[str, Handler]] = {
            "task/list-by-condition": ("POST", self._list_some),
            "task/list-by-ids": ("POST", self._list_displayed),
            "task/query": ("POST", self._query),
            "task/list": ("GET", self._list_all),
            "task/queue": ("GET", self._queue),
            "task/{id}/fetch": ("GET", self._fetch),
            "task/{id}/refresh": ("GET", self._fetch),
            "task/{id}/image-seed": ("GET", self._image_seed),
            "account/list": ("GET", self._accounts),
            "account/query": ("POST", self._query_accounts),
            "account/{id}/fetch": ("GET", self._fetch_account),
        }

    async def _fetch(self, request: Request) -> Response:
        task_id = request.path_params["id"]
        job = self._engine.find(task_id)
        if job is not None:
            return json_response(self._shown.answer(job, task_id))
        match self._profile.unknown_task:
            case "204":
                return Response(status_code=204)
            case "400":
                return _refused_by_relay("task_no_found")
            case "code 4":
                return json_response({"code": 4, "description": "任务不存在"})
            case _:
                return Response()

    async def _list_some(self, request: Request) -> Response:
        found = await self._found(request)
        return found if isinstance(found, Response) else json_response(found)

    async def _list_displayed(self, request: Request) -> Response:
        """The same, with the words that Plus's own pages show."""
        found = await self._found(request)
        if isinstance(found, Response) or self._profile.shape != "plus":
            return found if isinstance(found, Response) else json_response(found)
        return json_response([task | {"displays": _displays(task)} for task in found])

    async def _found(self, request: Request) -> list[dict[str, object]] | Response:
        """The known tasks among the ids of a request, newest first, not in its order; or the answer to something else."""
        try:
            wanted = msgspec.json.decode(await request.body(), type=Ids).ids or []
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._unreadable()
        if self._profile.ids == "strings" and any(isinstance(task_id, int) for task_id in wanted):
            return self._unreadable()
        ids = dict.fromkeys(str(task_id) for task_id in wanted)
        known = {task_id: job for task_id in ids if (job := self._engine.find(task_id)) is not None}
        latest = sorted(known.items(), key=lambda item: item[1].task.submit_time, reverse=True)
        tasks = [self._shown.answer(job, task_id) for task_id, job in latest]
        is_short = self._engine.faults.strikes("short-batch", self._engine.ledger.questions.total())
        return tasks[:SHORT_BATCH] if is_short else tasks

    def _unreadable(self) -> Response:
        """The answer to a body of another form: trueai's has HTTP 200 (`Program.cs`, line 229)."""
        match self._profile.shape:
            case "go":
                return _refused_by_relay("do_request_failed")
            case "tru":
                return json_response({"success": False, "code": -1, "message": "参数异常"})
            case _:
                return Response(status_code=400)

    async def _query(self, request: Request) -> Response:
        try:
            asked = msgspec.json.decode(await request.body() or b"{}", type=Query, strict=False)
        except msgspec.DecodeError:
            return Response(status_code=400)
        tasks = [self._shown.answer(job) for job in self._latest() if _matches(job, asked)]
        return json_response(_page(tasks, asked.page_number, asked.page_size))

    async def _list_all(self, _request: Request) -> Response:
        """All tasks, newest first."""
        jobs = self._latest()
        return json_response(
            [self._shown.answer(job) for job in (jobs[:_LATEST] if self._profile.shape == "tru" else jobs)]
        )

    async def _queue(self, _request: Request) -> Response:
        return json_response([self._shown.answer(job) for job in self._engine.unfinished()])

    async def _image_seed(self, request: Request) -> Response:
        """The seed of a picture, or why there is none, in the words of each server's `TaskController`."""
        job = self._engine.find(request.path_params["id"])
        is_trueai = self._profile.shape == "tru"
        if job is None:
            if self._profile.unknown_task == "400":
                return _refused_by_relay("task_no_found")
            if is_trueai:
                return json_response(Answer(code=3, description="关联任务不存在或已失效"), 404)
            return json_response(Message(code=3, description="数据未找到"))
        if is_trueai and job.task.status != "SUCCESS":
            return json_response(Answer(code=4, description="关联任务状态错误"), 400)
        if not is_trueai and job.task.action not in _PICTURED:
            return json_response(Message(code=4, description="该任务类型不支持获取图片seed"))
        if job.task.status != "SUCCESS":
            return json_response(Message(code=4, description="该任务状态错误"))
        seed = str(int(job.uuid[:8], 16))
        kind = Answer if is_trueai else Message
        return json_response(kind(code=1, description="成功", result=seed))

    async def _accounts(self, _request: Request) -> Response:
        return json_response([self._account])

    async def _query_accounts(self, _request: Request) -> Response:
        return json_response(_page([self._account], 0, 10))

    async def _fetch_account(self, request: Request) -> Response:
        return (
            json_response(self._account) if request.path_params["id"] == self._account["id"] else Response()
        )

    def _latest(self) -> list[Job]:
        return list(reversed(self._engine.jobs.values()))


def _matches(job: Job, asked: Query) -> bool:
    task = job.task
    return (
        asked.status in (None, task.status)
        and (asked.status_set is None or task.status in asked.status_set)
        and asked.action in (None, task.action)
        and (asked.ids is None or task.id in {str(task_id) for task_id in asked.ids})
        and (asked.prompt or "") in (task.prompt or "")
        and (asked.description or "") in task.description
        and asked.state in (None, task.state)
    )


def _page(items: list[dict[str, object]], number: int, size: int) -> object:
    """A page as Spring Data writes it."""
    content = items[number * size : (number + 1) * size]
    pages = math.ceil(len(items) / size) if size else 1
    return {
        "content": content,
        "totalElements": len(items),
        "totalPages": pages,
        "number": number,
        "size": size,
        "numberOfElements": len(content),
        "first": number == 0,
        "last": number + 1 >= pages,
        "empty": not content,
    }


def _displays(task: dict[str, object]) -> dict[str, str]:
    """Dates, and words for the action and the status (`DomainHelper.java`)."""
    dates = {key: value for key in _DATES if isinstance(value := task[key], int)}
    return {
        key: f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}" for key, at_ms in dates.items()
    } | {key: str(task[key]) for key in ("action", "status")}


def _refused_by_relay(description: str) -> Response:
    return json_response({"description": f"{description} ", "type": "upstream_error", "code": 4}, 400)
