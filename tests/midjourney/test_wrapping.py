"""Wrapped tasks: one level is removed where exactly one task is inside, and nothing else is ever taken for one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midjourney.decode import decode_task, kept_task
from midjourney.dialects import DIALECTS
from midjourney.errors import Undecodable
from midjourney.lists import decode_list
from midjourney.presses import presses
from midjourney.types import Task
from midjourney.wrapping import unwrapped

TESTS = Path(__file__).parent.parent
CASES = TESTS / "cases"
SAMPLES = json.loads((TESTS / "corpus" / "index.json").read_text())["samples"]
PAYLOADS = [
    json.loads((TESTS / "corpus" / sample["file"]).read_bytes())
    for sample in SAMPLES
    if sample["kind"] in ("callback", "fetch")
]
BOM = b"\xef\xbb\xbf"

Wrapper = Callable[[Any], Any]
WRAPPERS: dict[str, Wrapper] = {
    "data": lambda one: {"code": 1, "description": "成功", "data": one},
    "task": lambda one: {"event": "task.updated", "id": None, "task": one},
    "result": lambda one: {"success": True, "result": one, "timestamp": 1},
    "request id": lambda one: {"id": "req-1", "code": 1, "description": "ok", "data": one, "result": None},
    "array": lambda one: [one],
    "text": lambda one: json.dumps(one, ensure_ascii=False),
}
RENAMED = ("task_id", "taskId")


def body_of(payload: Any) -> bytes:
    return json.dumps(payload).encode()


def renamed(payload: dict[str, Any], name: str) -> dict[str, Any]:
    return {name if key == "id" else key: value for key, value in payload.items()}


def without_raw(task: Task) -> Task:
    return msgspec.structs.replace(task, raw=b"")


payloads = st.sampled_from(PAYLOADS)
wrappers = st.sampled_from([*WRAPPERS.values()])
marks = st.sampled_from([b"", BOM])


@pytest.mark.parametrize(
    "case", sorted(path.name for path in CASES.iterdir() if "completed" not in path.name)
)
@pytest.mark.parametrize("mark", [b"", BOM])
def test_a_small_failing_input_is_read(case: str, mark: bytes) -> None:
    """Each is a finished grid whose four U-buttons can be pressed, with a byte-order mark too."""
    body = mark + (CASES / case).read_bytes()
    task = decode_task(body)
    assert (task.id, task.status, task.final_prompt, task.raw) == (
        "1754700000000001",
        "SUCCESS",
        "a cat",
        body,
    )
    assert task.is_grid
    assert [press.label for press in presses(task, "U*", DIALECTS["mj-plus"])] == ["U1", "U2", "U3", "U4"]
    assert (task.unread_buttons, task.extra) == ("", {})


@given(payloads, wrappers, marks)
def test_a_wrapped_task_is_the_task_inside(payload: dict[str, Any], wrap: Wrapper, mark: bytes) -> None:
    """Whichever recorded task, in whichever wrapper: the same task, its bytes as they came, its fields without the wrapper."""
    plain, body = decode_task(body_of(payload)), mark + body_of(wrap(payload))
    task = decode_task(body)
    assert (without_raw(task), task.raw, task.extra) == (without_raw(plain), body, plain.extra)
    assert kept_task(body) == task
    assert unwrapped(body) == payload


@given(payloads, st.sampled_from(RENAMED), wrappers | st.none())
def test_an_id_may_have_another_name(payload: dict[str, Any], name: str, wrap: Wrapper | None) -> None:
    """`task_id` or `taskId` for `id`, wrapped once or not."""
    plain, other = decode_task(body_of(payload)), renamed(payload, name)
    task = decode_task(body_of(other if wrap is None else wrap(other)))
    assert (without_raw(task), task.extra) == (without_raw(plain), plain.extra)


@given(payloads, wrappers, wrappers, marks)
def test_a_task_wrapped_twice_is_none(
    payload: dict[str, Any], inner: Wrapper, outer: Wrapper, mark: bytes
) -> None:
    """With two levels there would be too many ways to read it; the reason says so."""
    with pytest.raises(Undecodable, match="wrapped more than once"):
        decode_task(mark + body_of(outer(inner(payload))))


@given(payloads, payloads)
def test_two_tasks_are_none(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Whichever was meant, nobody knows."""
    for body in ({"data": one, "task": other}, {"task": one, "result": other}, [one, other]):
        with pytest.raises(Undecodable, match="more than one task"):
            decode_task(body_of(body))


def test_something_beside_a_task_that_may_be_one_too_is_enough() -> None:
    """With an id and a status; an id or a word alone is no task."""
    for other in ({"id": "2", "status": "SUCCESS"}, {"task_id": "2", "status": "?"}):
        with pytest.raises(Undecodable, match="more than one task"):
            decode_task(body_of({"data": PAYLOADS[0], "result": other}))
    harmless: list[Any] = ["2", None, {"id": "2"}, {"status": "ok"}, []]
    for beside in harmless:
        assert decode_task(body_of({"data": PAYLOADS[0], "result": beside})).id == PAYLOADS[0]["id"]


def test_an_array_of_one_has_nothing_else_in_it() -> None:
    """What stands beside the task may be another one that we do not understand."""
    for entries in ([PAYLOADS[0], None], [PAYLOADS[0], {"id": "2", "status": "SUCCESS"}]):
        with pytest.raises(Undecodable, match="more than one task"):
            decode_task(body_of(entries))


def test_an_envelope_that_may_be_a_task_itself_is_refused() -> None:
    """`{"id", "status"}` around another task; around the same one it only repeats it."""
    inner = {"id": "1", "status": "SUCCESS", "imageUrl": "https://x"}
    for more in ({}, {"progress": "100%", "action": "IMAGINE"}):
        with pytest.raises(Undecodable, match="two tasks"):
            decode_task(body_of({"id": "2", "status": "SUCCESS", "data": inner} | more))
    assert decode_task(body_of({"id": "1", "status": "SUCCESS", "data": inner})).image_url == "https://x"


def test_a_task_is_itself_whatever_it_carries() -> None:
    """webman-php echoes anything in `data`; a bare task is read as ever."""
    outer = {"id": "1", "status": "SUCCESS", "imageUrl": "https://x", "data": PAYLOADS[0]}
    task = decode_task(body_of(outer))
    assert (task.id, task.extra) == ("1", {"data": PAYLOADS[0]})


FOREIGN: dict[str, Any] = {
    "Kling": {"task_id": "k", "task_status": "succeed", "task_result": {"videos": [{"url": "https://x"}]}},
    "Luma behind crazyrouter": {"id": "k1", "status": "succeed", "type": "video", "output": "https://x"},
    "Suno behind crazyrouter": {"id": "s1", "status": "complete"},
    "Suno": {"taskId": "s", "status": "SUCCESS", "type": "GENERATE", "response": {"sunoData": []}},
    "new-api's record of a Suno job": {
        "task_id": "s", "platform": "suno", "action": "MUSIC", "status": "SUCCESS", "fail_reason": "", "progress": "100%",
        "submit_time": 1, "start_time": 2, "finish_time": 3, "properties": {}, "prompt": "a song",
    },
    "Runway behind kie": {"taskId": "r", "state": "success", "imageUrl": "https://x", "videoUrl": "https://x"},
    "new-api's log": {"mj_id": "1", "id": 1, "action": "IMAGINE", "status": "SUCCESS", "image_url": "https://x"},
    "an answer to a submit": {"code": 1, "description": "提交成功", "result": "1320098173412546"},
    "nothing": {},
}  # fmt: skip


@pytest.mark.parametrize("product", FOREIGN)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_foreign_products_are_no_tasks_in_a_wrapper_either(product: str, wrapper: str) -> None:
    """Kling, Luma and Suno come in the same envelopes, with `task_id` and the same statuses."""
    wrapped = WRAPPERS[wrapper](FOREIGN[product])
    if isinstance(wrapped, dict):
        wrapped.pop("id", None)
    with pytest.raises(Undecodable):
        decode_task(body_of(wrapped))


@pytest.mark.parametrize("name", RENAMED)
@pytest.mark.parametrize("product", ["Suno", "new-api's record of a Suno job", "Kling"])
def test_another_name_for_the_id_makes_no_task_of_foreign_products(product: str, name: str) -> None:
    """Nor bare."""
    foreign = {key: value for key, value in FOREIGN[product].items() if key not in RENAMED} | {name: "1"}
    with pytest.raises(Undecodable):
        decode_task(body_of(foreign))


def test_two_names_for_the_id_must_agree() -> None:
    """Nothing is guessed."""
    task = {"status": "SUCCESS", "imageUrl": "https://x", "task_id": "1", "taskId": "1"}
    assert decode_task(body_of(task)).id == "1"
    with pytest.raises(Undecodable, match="differ"):
        decode_task(body_of(task | {"taskId": "2"}))


def test_a_list_is_a_wrapper_already() -> None:
    """Its entries may have another name for the id; a wrapped entry is left out. As JSON text it is read too."""
    entries = [PAYLOADS[0], renamed(PAYLOADS[1], "task_id"), {"data": PAYLOADS[2]}]
    expected = [PAYLOADS[0]["id"], PAYLOADS[1]["id"]]
    for body in (entries, {"code": 1, "data": entries}, json.dumps(entries)):
        assert [task.id for task in decode_list(body_of(body)).tasks] == expected


def test_what_is_no_task_is_shown_as_it_came() -> None:
    """To people, and to other systems."""
    answer = {"code": 1, "result": "1320098173412546", "data": {"task_id": "1"}}
    assert unwrapped(body_of(answer)) == answer
