"""Other ways to write the same task: wrapped, as text inside, with other names, labels and encodings."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

from tests.hostile.shapes import Buttons, Json

Spelling = Callable[[Json], Json]
"""Writes the fields of a task in another way; it is used in callbacks and in everything that is read."""

Wrapping = Callable[[Json], Any]
"""Puts something around a task; it is used in callbacks and, on demand, in what `fetch` answers."""

Labels = Callable[[Buttons], Buttons]
"""Names the buttons of a task in another way, customIds too."""


# Spellings: the fields of a task.


def as_text_inside(task: Json) -> Json:
    """Buttons and properties as JSON in strings."""
    return task | {name: json.dumps(task[name], ensure_ascii=False) for name in ("buttons", "properties")}


def with_task_id(task: Json) -> Json:
    """`task_id` where others write `id`."""
    return {"task_id" if name == "id" else name: value for name, value in task.items()}


def with_status(**words: str) -> Spelling:
    """Other words for a status: `with_status(SUCCESS="COMPLETED")`."""
    return lambda task: task | {"status": words.get(str(task["status"]), task["status"])}


def unreadable_buttons(task: Json) -> Json:
    """Buttons are there, in a shape that nobody knows."""
    return task | {"buttons": {"rows": [[{"do": one["customId"]} for one in task["buttons"]]]}}


# Wrappings: around a task.


def in_data(task: Json) -> Json:
    """As gateways wrap their answers."""
    return {"code": 1, "description": "成功", "data": task}


def in_task(task: Json) -> Json:
    """As some notifiers name their subject."""
    return {"event": "task.update", "task": task}


def in_array(task: Json) -> list[Json]:
    """An array of one."""
    return [task]


def in_text(task: Json) -> str:
    """JSON in JSON: the body is a string that holds the task."""
    return json.dumps(task, ensure_ascii=False)


def two_in_data(task: Json) -> Json:
    """Two tasks in one envelope: no reading of it is the only possible one."""
    return {"data": [task, task | {"id": task["id"] + "9"}]}


# Labels: the buttons as a relay names them, below customIds of its own.


def _opaque(buttons: Buttons, labels: Callable[[Json], str]) -> Buttons:
    return [
        one | {"customId": f"provider-action-{number}", "label": labels(one), "emoji": ""}
        for number, one in enumerate(buttons, 1)
    ]


def lower_case(buttons: Buttons) -> Buttons:
    """u1, v1, reroll."""
    return _opaque(buttons, lambda one: str(one["label"] or "reroll").lower())


def with_emoji(buttons: Buttons) -> Buttons:
    """🔍 U1, 🎨 V1."""
    signs = {"U": "🔍 ", "V": "🎨 "}
    return _opaque(
        buttons, lambda one: signs.get(str(one["label"])[:1], "") + str(one["label"] or one["emoji"])
    )


def in_chinese(buttons: Buttons) -> Buttons:
    """放大 1, 变化 1, 重绘."""
    words = {"U": "放大 ", "V": "变化 "}
    return _opaque(
        buttons,
        lambda one: words[one["label"][0]] + one["label"][1:] if one["label"][:1] in words else "重绘",
    )


# Encodings: the body on its way.


def encoded(body: bytes, encoding: str) -> bytes:
    """The body as `Content-Encoding` names it. `deflate` is zlib's format; `deflate-raw` is what some send under that name."""
    if encoding == "gzip":
        return gzip.compress(body)
    if encoding == "deflate":
        return zlib.compress(body)
    if encoding == "deflate-raw":
        raw = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return raw.compress(body) + raw.flush()
    assert not encoding, encoding
    return body
