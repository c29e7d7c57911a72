"""The JSON of tasks and answers, as the server of a profile writes it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from midjourney.sandbox.profiles import ServerProfile
from midjourney.sandbox.wire import Answer, Task

_PLUS_ONLY = ("buttons", "imageWidth", "imageHeight")
_GO_PROPERTIES = ("finalPrompt", "finalZhPrompt")
_SWAP = "insight-face/swap"
_MESSAGES = frozenset({_SWAP, "submit/upload-discord-images"})
"""Submits whose answer has no properties in Plus 3.7.5: it is a `Message`, not a `SubmitResultVO`."""


def task_shape(
    task: Task, profile: ServerProfile, *, mode: str, videos: Sequence[str] = (), big_ids: bool = False
) -> dict[str, object]:
    """The JSON of a task. `videos`: their URLs. `big_ids`: write its id as a number too large for a double."""
    shown: dict[str, object] = msgspec.to_builtins(task)
    match profile.shape:
        case "nov":
            for name in _PLUS_ONLY:
                shown.pop(name)
        case "tru":
            shown |= _trueai(task, mode)
        case "go":
            shown = _go(shown, task)
        case "plus":
            pass
    if videos:
        shown["videoUrls"] = [{"url": address} for address in videos]
    return shown | ({"id": int(task.id)} if big_ids else {})


def _trueai(task: Task, mode: str) -> dict[str, object]:
    """Some of the additional keys in callbacks of trueai v11 (75 keys in all, including nulls). Only trueai sends a parent id."""
    links = [{"url": task.image_url}] if task.image_url and task.status == "SUCCESS" else []
    return {
        "parentId": task.properties.get("parentId"),
        "botType": task.properties.get("botType"),
        "mode": mode,
        "imageUrls": links,
        "thumbnailUrl": task.image_url,
        "videoUrls": [],
        "jobId": task.properties.get("messageHash"),
        "seed": None,
        "displays": {},
        "clientIp": "127.0.0.1",
    }


def _go(shown: dict[str, object], task: Task) -> dict[str, object]:
    """The struct of new-api: "" and 0 for absent values, only two properties, and further columns. A failure is at 100%."""
    properties = {key: task.properties.get(key) or "" for key in _GO_PROPERTIES}
    written = {
        key: (0 if key.endswith("Time") else "") if value is None else value
        for key, value in shown.items()
        if key not in ("imageWidth", "imageHeight")
    }
    return written | {
        "progress": "100%" if task.status == "FAILURE" else written["progress"],
        "buttons": shown["buttons"] if task.status else None,
        "properties": properties if properties["finalPrompt"] else None,
        "customId": "",
        "botType": "",
        "maskBase64": "",
        "videoUrl": "",
    }


def answer_shape(
    answer: Answer, profile: ServerProfile, *, path: str, modal_button: str = "", big_ids: bool = False
) -> tuple[int, object]:
    """HTTP status and JSON of the answer to a submit. `modal_button`: the customId of the button that opened a modal, or ""."""
    code, result = answer.code, answer.result
    if profile.refuses_with_400 and code not in (1, 21, 22):
        return 400, {
            "description": f"{answer.description} {result or ''}",
            "type": "upstream_error",
            "code": code,
        }
    if profile.shape == "tru" and code == 3:
        return 404, msgspec.to_builtins(answer)
    keeps_21 = modal_button.startswith(("MJ::Inpaint", "MJ::CustomZoom"))
    if profile.rewrites_codes and (code == 22 or (code == 21 and not keeps_21)):
        code = 1
    as_number = (profile.integer_results or big_ids) and isinstance(result, str) and result.isdigit()
    shown: dict[str, object] = msgspec.to_builtins(answer)
    if path in _MESSAGES and profile.shape != "tru":
        # new-api decodes the answer to a face swap and writes it again, with all four keys.
        shown.pop("properties")
        shown |= {"properties": None} if profile.shape == "go" and path == _SWAP else {}
    return 200, shown | {"code": code, "result": int(str(result)) if as_number else result}
