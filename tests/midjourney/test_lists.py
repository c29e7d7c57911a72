"""One entry of a list that cannot be read hides none of the others, and is counted."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midjourney.errors import Undecodable
from midjourney.lists import decode_list
from midjourney.nesting import DEEPEST, cut, is_too_deep


def task(task_id: object, **fields: object) -> bytes:
    return json.dumps({"id": task_id, "status": "SUCCESS", "action": "IMAGINE"} | fields).encode()


def deep(task_id: str, levels: int) -> bytes:
    """A task with a property that is nested so deep."""
    return task(task_id, properties="?").replace(b'"?"', b'{"a":' * levels + b"1" + b"}" * levels)


@pytest.mark.parametrize("around", [b"[%b]", b'{"data": [%b]}', b'{"code": 1, "result": [%b], "junk": 1}'])
@pytest.mark.parametrize("levels", [150, 5000, 100_000])
def test_a_task_that_is_nested_too_deep_is_skipped(around: bytes, levels: int) -> None:
    listed = decode_list(around % b",".join([task("1"), deep("2", levels), task("3"), deep("4", levels)]))
    assert ([one.id for one in listed.tasks], listed.unread) == (["1", "3"], 2)
    as_text = json.dumps((around % b",".join([deep("2", levels), task("1")])).decode()).encode()
    if around == b"[%b]":
        listed = decode_list(as_text)
        assert ([one.id for one in listed.tasks], listed.unread) == (["1"], 1)


def test_what_is_deep_beside_the_list_does_not_matter() -> None:
    """No task is hidden in it."""
    listed = decode_list(b'{"junk": %b, "data": [%b]}' % (b"[" * 150 + b"]" * 150, task("1")))
    assert ([one.id for one in listed.tasks], listed.unread) == (["1"], 0)


def test_what_stands_for_a_cut_value_cannot_be_imitated() -> None:
    """A prompt that has the same words is read."""
    words = "nested too deep, nested too deep!"
    listed = decode_list(b"[" + b",".join([task("1", prompt=words), deep("2", 150)]) + b"]")
    assert ([one.prompt for one in listed.tasks], listed.unread) == ([words], 1)


@pytest.mark.parametrize(
    ("entry", "unread"),
    [
        (b"null", 0),
        (b"[]", 0),
        (b'{"id": "1"}', 0),
        (b'{"task_id": "suno-1", "status": "SUCCESS"}', 0),
        (task(True), 1),
        (task(""), 1),
        (task("x" * 300), 1),
        (task("1", prompt="?").replace(b"?", b"\xff"), 1),
    ],
)
def test_only_what_may_be_a_task_counts(entry: bytes, unread: int) -> None:
    """Not an unknown id, nor the job of another product."""
    listed = decode_list(b"[" + entry + b"," + task("2") + b"]")
    assert ([one.id for one in listed.tasks], listed.unread) == (["2"], unread)


@pytest.mark.parametrize("body", [b"[" * 200, b"[" + b"[" * 200 + b"]" * 200, b"]" * 200 + b"[" * 200])
def test_a_deep_body_that_is_no_json_is_no_list(body: bytes) -> None:
    with pytest.raises(Undecodable):
        decode_list(body)


def test_a_flood_of_brackets_is_refused_in_time() -> None:
    """Far more than 8,000 tasks have: it is not looked through entry by entry."""
    body = b"[" + b",".join([deep("1", 150)] * 15_000) + b"]"
    began_s = time.process_time()
    with pytest.raises(Undecodable, match="nested deeper"):
        decode_list(body)
    assert time.process_time() - began_s < 5


_json = st.recursive(
    st.text('[]{}"\\ab', max_size=5) | st.integers(),
    lambda inside: (
        st.lists(inside, max_size=3) | st.dictionaries(st.text('[]{}"a', max_size=3), inside, max_size=3)
    ),
    max_leaves=20,
)


@given(_json, st.integers(0, 2 * DEEPEST), st.integers(0, 2 * DEEPEST))
def test_what_is_cut_is_json_of_the_allowed_depth(value: object, first: int, second: int) -> None:
    """Brackets in texts do not count; what is not too deep stays as it was."""
    inner = json.dumps(value).encode()
    body = b"[%b,%b,%b]" % (
        inner,
        b"[" * first + inner + b"]" * first,
        b'{"a":' * second + inner + b"}" * second,
    )
    shorter, mark = cut(body)
    assert not is_too_deep(shorter)
    assert (shorter == body) == (mark == b"") == (not is_too_deep(body))
    assert json.loads(shorter)[0] == value
