"""What each recorded payload means: one file each in tests/golden, reviewed by eye against the payload's source.

`python tests/midjourney/test_golden.py` writes them anew; the difference is to be read before it is committed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from midjourney.codes import classify
from midjourney.decode import decode_task
from midjourney.errors import Undecodable
from midjourney.lists import decode_list
from midjourney.types import Task

CORPUS = Path(__file__).parent.parent / "corpus"
GOLDEN = Path(__file__).parent.parent / "golden"
SAMPLES: list[dict[str, Any]] = json.loads((CORPUS / "index.json").read_text())["samples"]

STATUS = {
    "chatany-access-code-401.json": 401,
    "newapi-error-do-request-failed.json": 400,
    "newapi-error-task-no-found.json": 400,
    "trueai-constructed-action-unknown-task.json": 404,
}
"""HTTP statuses other than 200, of samples that are not wrapped."""


def reading(sample: dict[str, Any]) -> Any:
    """What we make of a sample: a task, tasks, or the meaning of an answer to `action` and to `change`."""
    body = (CORPUS / sample["file"]).read_bytes()
    if sample["kind"] in ("callback", "fetch"):
        return task_reading(decode_task(body))
    if sample["kind"] == "list":
        try:
            return [task_reading(task) for task in decode_list(body).tasks]
        except Undecodable as error:
            return {"no tasks": error.reason}
    wrapped = json.loads(body)
    status = STATUS.get(sample["file"], 200)
    if isinstance(wrapped, dict) and "_wrapper" in wrapped:
        status, body = wrapped["http_status"], wrapped["body"].encode()
    asked = {kind: answer_reading(kind, status, body) for kind in ("imagine", "action", "change")}
    return {"to all": asked["imagine"]} if len({json.dumps(one) for one in asked.values()}) == 1 else asked


def task_reading(task: Task) -> dict[str, Any]:
    """Every attribute that says something; times in milliseconds."""
    found = {
        "id": task.id,
        "status": task.status,
        "is_finished": task.is_finished,
        "action": task.action,
        "progress": task.progress,
        "prompt": task.prompt,
        "final_prompt": task.final_prompt,
        "description": task.description,
        "state": task.state,
        "image_url": task.image_url,
        "fail_reason": task.fail_reason,
        "times_ms": [task.submit_time_ms, task.start_time_ms, task.finish_time_ms],
        "pressed_on": task.pressed_on,
        "image_number": task.image_number,
        "is_grid": task.is_grid,
        "is_swapped": task.is_swapped,
        "buttons": [
            f"{button.name} = {button.kind}{'' if button.index is None else f' {button.index}'}: {button.custom_id}"
            for button in task.buttons
        ],
        "extra": sorted(task.extra),
    }
    return {
        name: value for name, value in found.items() if value is not False and value not in ("", None, [])
    }


def answer_reading(kind: Any, status: int, body: bytes) -> dict[str, Any]:
    """Outcome, ids, why, and the code as it was understood."""
    verdict = classify(kind, status, body, bare_21_existed=kind == "change")
    return {
        "code": None if verdict.answer is None else verdict.answer.code,
        "outcome": verdict.outcome,
        "refusal": verdict.refusal,
        "ids": list(verdict.ids),
        "reason": verdict.reason,
    }


@pytest.mark.parametrize("sample", [pytest.param(sample, id=sample["file"]) for sample in SAMPLES])
def test_a_payload_means_what_its_source_says(sample: dict[str, Any]) -> None:
    """As it was reviewed."""
    expected = json.loads((GOLDEN / sample["file"]).read_text())
    assert json.loads(json.dumps(reading(sample))) == expected


def test_every_payload_has_its_reading() -> None:
    """And no reading is left of one that is gone."""
    assert {path.name for path in GOLDEN.iterdir()} == {sample["file"] for sample in SAMPLES}


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for one in SAMPLES:
        text = json.dumps(reading(one), ensure_ascii=False, indent=1)
        (GOLDEN / one["file"]).write_text(text + "\n", encoding="utf-8")
