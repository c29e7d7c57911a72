"""A task and an answer as a server of some manner writes them."""

from __future__ import annotations

from typing import Any

import msgspec

from midjourney.sandbox.manners import Manner
from midjourney.sandbox.wire import Answer, Task

_PLUS_ONLY = ("buttons", "imageWidth", "imageHeight")
_GO_PROPERTIES = ("finalPrompt", "finalZhPrompt")


def task_shape(task: Task, manner: Manner, *, big_ids: bool = False) -> dict[str, Any]:
    """The JSON of a task. `big_ids`: its id as a number, above what a double holds."""
    shown: dict[str, Any] = msgspec.to_builtins(task)
    match manner.shape:
        case "nov":
            for name in _PLUS_ONLY:
                shown.pop(name)
        case "tru":
            shown |= _trueai(task)
        case "go":
            shown = _go(shown)
        case "plus":
            pass
    return shown | ({"id": int(task.id)} if big_ids else {})


def _trueai(task: Task) -> dict[str, Any]:
    """Some of the further keys of v11's callback (75 in all, nulls included); the only one with a parent's id."""
    links = [{"url": task.image_url}] if task.image_url and task.status == "SUCCESS" else []
    return {
        "parentId": task.properties.get("parentId"),
        "botType": task.properties.get("botType"),
        "mode": "FAST",
        "imageUrls": links,
        "thumbnailUrl": task.image_url,
        "videoUrls": links if task.action == "VIDEO" else [],
        "jobId": task.properties.get("messageHash"),
        "seed": None,
        "displays": {},
        "clientIp": "127.0.0.1",
    }


def _go(shown: dict[str, Any]) -> dict[str, Any]:
    """new-api's struct: "" and 0 for what is absent, "" before its first poll, two properties, three more columns."""
    properties = {key: shown["properties"].get(key) or "" for key in _GO_PROPERTIES}
    waits = shown["status"] == "NOT_START"
    written = {
        key: (0 if key.endswith("Time") else "") if value is None else value
        for key, value in shown.items()
        if key not in ("imageWidth", "imageHeight")
    }
    return written | {
        "status": "" if waits else shown["status"],
        "properties": properties if properties["finalPrompt"] else None,
        "customId": "",
        "botType": "",
        "maskBase64": "",
        "videoUrl": "",
    }


def answer_shape(
    answer: Answer, manner: Manner, *, window: str = "", big_ids: bool = False
) -> tuple[int, Any]:
    """HTTP status and JSON of an answer. `window` is the customId of the button that opened one."""
    code, result = answer.code, answer.result
    if manner.refuses_with_400 and code not in (1, 21, 22):
        return 400, {
            "description": f"{answer.description} {result or ''}",
            "type": "upstream_error",
            "code": code,
        }
    if manner.shape == "tru" and code == 3:
        return 404, msgspec.to_builtins(answer)
    kept = window.startswith(("MJ::Inpaint", "MJ::CustomZoom"))
    if manner.rewrites and (code == 22 or (code == 21 and not kept)):
        code = 1
    as_number = (manner.integer_results or big_ids) and isinstance(result, str) and result.isdigit()
    return 200, msgspec.to_builtins(answer) | {
        "code": code,
        "result": int(str(result)) if as_number else result,
    }
