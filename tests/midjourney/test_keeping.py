"""What is kept of a task that its upstream tells at length: all that rules need, and little else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from midjourney.decode import decode_task
from midjourney.errors import Undecodable
from midjourney.keeping import KEPT_BYTES, LARGE_BYTES_PER_HOUR, LEAN_BYTES, LEFT_OUT, Keeping

BUTTONS = [{"customId": f"MJ::JOB::upsample::{one}::0000abcd", "label": f"U{one}"} for one in range(1, 5)]
TASK: dict[str, Any] = {
    "id": "1798000000000000001",
    "status": "SUCCESS",
    "action": "IMAGINE",
    "progress": "100%",
    "prompt": "猫" * 6000,
    "imageUrl": "https://cdn.example/a.png",
    "buttons": BUTTONS,
    "properties": {"finalPrompt": "a cat --v 7", "notifyHook": "https://hooks.example/notify/token"},
    "width": 1024,
}
FLOODS: dict[str, dict[str, Any]] = {
    "one large field": {"maskBase64": "iVBORw0KGgo" * 300_000},
    "a hundred fields": {f"k{one}": "v" * 9_000 for one in range(100)},
    "many small fields": {f"k{one}": "v" * 8 for one in range(150_000)},
    "large properties": {"properties": TASK["properties"] | {f"k{one}": "v" * 900 for one in range(3_000)}},
    "an image for a picture": {"imageUrl": "data:image/png;base64," + "iVBORw0KGgo" * 300_000},
    "names without end": {f"{one}" + "n" * 30_000: 1 for one in range(100)},
}


def body_of(**fields: Any) -> bytes:
    """A task as an upstream writes it."""
    return json.dumps(TASK | fields, ensure_ascii=False).encode()


@pytest.mark.parametrize("flood", FLOODS)
def test_a_long_answer_is_kept_within_its_bound_and_believed(flood: str) -> None:
    """Status, buttons and prompt are as they were, the payload reads the same again, and says what is not in it."""
    body = body_of(**FLOODS[flood])
    task = Keeping().task(body)
    whole = decode_task(body)
    assert len(task.raw) <= KEPT_BYTES < len(body)
    assert decode_task(task.raw) == task
    for field in ("id", "status", "action", "progress", "prompt", "buttons", "properties"):
        assert getattr(task, field) == getattr(whole, field)
    assert task.image_url[:20] == whole.image_url[:20]
    assert TASK["properties"]["notifyHook"].encode() in task.raw
    told = task.extra[LEFT_OUT]
    assert isinstance(told, dict)
    assert told["bytes"] == len(body)
    assert told["fields"] or flood == "an image for a picture"
    assert ("width" in task.extra) == (flood != "many small fields")


def test_an_answer_of_a_usual_size_is_kept_byte_for_byte() -> None:
    """However it is spaced, and although nothing is left of the hour."""
    keeping = Keeping()
    for _ in range(400):
        keeping.task(body_of(maskBase64="x" * 200_000))
    body = json.dumps(TASK, indent=3, ensure_ascii=False).encode()
    assert keeping.task(body).raw == body


def test_a_task_whose_own_fields_are_too_long_is_not_believed() -> None:
    """Cutting a prompt would have another picture made; in a list the others are read."""
    body = body_of(prompt="a cat, " * 50_000)
    with pytest.raises(Undecodable, match=f"own fields have more than {KEPT_BYTES} bytes"):
        Keeping().task(body)
    found = Keeping().tasks(b"[" + body + b"," + body_of(id="2") + b"]")
    assert ([task.id for task in found.tasks], found.unread) == (["2"], 1)


def test_what_one_upstream_says_at_length_has_a_quota() -> None:
    """Over it each task is kept in 32 kB, until the hour is over."""
    now_s = 0.0
    keeping = Keeping(clock_s=lambda: now_s)
    body = body_of(maskBase64="x" * 200_000)
    sizes = [len(keeping.task(body).raw) for _ in range(400)]
    assert sum(size for size in sizes if size > LEAN_BYTES) <= LARGE_BYTES_PER_HOUR
    assert sizes[0] == len(body)
    assert sizes[-1] <= LEAN_BYTES
    assert keeping.task(body).buttons == decode_task(body).buttons
    now_s = 3600.0
    assert len(keeping.task(body).raw) == len(body)
