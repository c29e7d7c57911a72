"""The same work with Huey, as its documentation shows it: a route that enqueues, and a consumer that sends follow-ups.

It runs in the peers' environment, where `benchmarks` cannot be imported. UPSTREAM is the address that follow-ups go to.
"""

from __future__ import annotations

import json
import os
from functools import cache

import httpx
from huey import SqliteHuey  # type: ignore[import-not-found]  # installed in the peers' environment only
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

huey = SqliteHuey(filename="huey.db", fsync=True, results=False)


@cache
def _client() -> httpx.Client:
    return httpx.Client(trust_env=False, limits=httpx.Limits(max_connections=32))


@huey.task(retries=3, retry_delay=2)  # type: ignore[untyped-decorator]  # as above
def handle(body: str) -> None:
    """Press the first button of a finished grid."""
    task = json.loads(body)
    if task["status"] == "SUCCESS" and task["action"] == "IMAGINE":
        press = {"taskId": task["id"], "customId": task["buttons"][0]["customId"]}
        _client().post(os.environ["UPSTREAM"], json=press).raise_for_status()


async def _hook(request: Request) -> JSONResponse:
    body = (await request.body()).decode()
    # It is answered when the queue has it on disk. Enqueueing blocks.
    await run_in_threadpool(handle, body)
    return JSONResponse({"kept": True})


app = Starlette(routes=[Route("/hook", _hook, methods=["POST"])])
