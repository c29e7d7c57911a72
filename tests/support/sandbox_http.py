"""A sandbox as its clients see it: by HTTP."""

from __future__ import annotations

from typing import Any

import httpx

PNG = "data:image/png;base64,iVBORw0KGgo="
CHAT_PLUGIN = ("id", "status", "action", "progress", "startTime", "finishTime", "description", "prompt", "failReason", "imageUrl", "state")  # fmt: skip
"""The keys without which mouxangithub/midjourney-proxy-on-wechat stops (`mjapi.py`)."""


def start(start_sandbox: Any, dialect: str) -> httpx.Client:
    options = ("--seed", "1", "--speed", "200", "--queue", "40", "--concurrency", "40", "--dialect", dialect)
    made: httpx.Client = start_sandbox(*options).http
    return made


def fetched(client: httpx.Client, task_id: object) -> Any:
    return client.get(f"/mj/task/{task_id}/fetch").json()


def finished(client: httpx.Client, eventually: Any, task_id: object) -> Any:
    ends = ("SUCCESS", "FAILURE", "CANCEL")
    return eventually(lambda: (task := fetched(client, task_id))["status"] in ends and task)
