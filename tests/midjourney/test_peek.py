"""The id of a task in a body whose rest was not read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midjourney.peek import PEEK_BYTES, first_id


@pytest.mark.parametrize(
    ("start", "found"),
    [
        (b'{"id": "17", "status": "SUC', "17"),
        (b' {\n"prompt":"a \\"cat\\", {[", "id" : 1705301507336856, "', "1705301507336856"),
        (b'{"properties": {"id": "inner"}, "list": [{"id": "x"}], "id": "17", "image": "data:', "17"),
        (b'{"properties": {"id": "inner"}, "image": "data:image/png;base64,AAAA', ""),
        (b'{"prompt": "\\"id\\": \\"forged\\", "', ""),
        (b'{"prompt": "id", "status": "x", "a', ""),
        (b'{"id": "17', ""),
        (b'{"id": 17', ""),
        (b'{"id": {"id": "17"}, "', ""),
        (b'{"id": 1.5, "', ""),
        (b'{"id": true, "', ""),
        (b'{"id": "a\\u0000b", "', ""),
        (b'{"id": "%s", "' % (b"x" * 256), ""),
        (b'[{"id": "17"}, "', ""),
        (b'"id": "17", "', ""),
        (b"<html>", ""),
        (b"", ""),
        (b'{"a": "%s", "id": "17", "' % (b"x" * PEEK_BYTES), ""),
    ],
)
def test_the_outermost_id_is_found(start: bytes, found: str) -> None:
    """And no other one; one that is cut counts for nothing."""
    assert first_id(start) == found


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.just("id"), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), ANY_JSON, max_size=5), st.integers(0, 2**63), st.booleans())
def test_it_agrees_with_a_whole_decoder(fields: dict[str, object], task_id: int, escaped: bool) -> None:
    """Whatever stands before the id, cut anywhere behind it."""
    fields.pop("id", None)
    body = json.dumps(fields | {"id": task_id, "image": "x"}, ensure_ascii=escaped).encode()
    assert first_id(body[:-3]) == str(task_id)


@given(st.binary(max_size=300))
def test_any_bytes_are_read(start: bytes) -> None:
    """To an id, or to none."""
    assert len(first_id(start)) <= 255
