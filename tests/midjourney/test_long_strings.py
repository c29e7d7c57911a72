"""Long strings are taken out of JSON that comes in pieces, and the rest is what any reader of JSON would read."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midjourney import long_strings
from midjourney.blob_texts import Reference
from midjourney.errors import InvalidRequest
from midjourney.long_strings import LongStrings

LONG = 80


class Kept:
    """A sink that keeps its string."""

    def __init__(self, all_of_them: dict[str, bytes]) -> None:
        self._all, self._text = all_of_them, b""

    def write(self, text: bytes) -> None:
        self._text += text

    def end(self) -> str:
        name = str(Reference(hashlib.sha256(self._text).hexdigest(), len(self._text)))
        self._all[name] = self._text
        return name


def read(
    body: bytes, sizes: list[int], texts: dict[str, int] | None = None
) -> tuple[object, dict[str, bytes]]:
    """The object, and the long strings by their names, of a body in pieces of these sizes in turn."""
    long: dict[str, bytes] = {}
    reader, at, turn = LongStrings(lambda: Kept(long), texts or {}), 0, 0
    while at < len(body):
        size = sizes[turn % len(sizes)]
        reader.feed(body[at : at + size])
        at, turn = at + size, turn + 1
    return reader.end(), long


def put_back(value: object, long: dict[str, bytes]) -> object:
    """The value with the long strings in their places."""
    if isinstance(value, dict):
        return {key: put_back(entry, long) for key, entry in value.items()}
    if isinstance(value, list):
        return [put_back(entry, long) for entry in value]
    return long[value].decode() if isinstance(value, str) and value in long else value


# Characters that JSON may escape in more than one way, and none of them halves of a pair.
characters = st.one_of(
    st.characters(exclude_categories=["Cs"]), st.sampled_from('"\\/\b\f\n\r\t\0é漢😀'), st.just("\\u12")
)
strings = st.one_of(st.text(max_size=10), st.lists(characters, max_size=3 * LONG).map("".join))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | strings,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
objects = st.dictionaries(st.text(max_size=8), values, max_size=5)
sizes = st.lists(st.integers(1, 50), min_size=1, max_size=6)


@pytest.fixture(autouse=True)
def strings_are_long_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_strings, "LONGEST_BYTES", LONG)
    monkeypatch.setattr(long_strings, "MOST_LONG_STRINGS", 1000)


def _writes(value: object, ascii_only: bool, slashes: bool) -> bytes:
    text = json.dumps(value, ensure_ascii=ascii_only)
    return (text.replace("/", "\\/") if slashes else text).encode()


@given(objects, sizes, st.booleans(), st.booleans())
def test_an_object_is_what_json_reads(
    value: dict[str, object], cut: list[int], ascii_only: bool, slashes: bool
) -> None:
    """However it is escaped, and wherever the pieces end."""
    body = _writes(value, ascii_only, slashes)
    found, long = read(body, cut)
    assert put_back(found, long) == json.loads(body)
    assert all(len(text) > LONG for text in long.values())


@given(objects, sizes, sizes)
def test_equal_bodies_have_equal_names(value: dict[str, object], cut: list[int], other: list[int]) -> None:
    """A repetition of a body is recognised, even if it is escaped in another way and comes in other pieces."""
    assert read(_writes(value, True, True), cut) == read(_writes(value, False, False), other)


@given(
    objects,
    st.integers(0, 400),
    st.sampled_from([b'"', b"\\", b"\x00", b"{", b"]", b",", b"\\u", b"\xff"]),
    sizes,
)
def test_what_json_refuses_is_refused(
    value: dict[str, object], place: int, wrong: bytes, cut: list[int]
) -> None:
    """A body with a mistake in it is either what JSON reads, or refused."""
    whole = _writes(value, False, False)
    body = whole[:place] + wrong + whole[place:]
    try:
        expected = json.loads(body)
    except (ValueError, RecursionError):
        with pytest.raises(InvalidRequest):
            read(body, cut)
        return
    found, long = read(body, cut)
    assert put_back(found, long) == expected


@pytest.mark.parametrize("cut", [1, 3, 1000])
def test_half_of_a_surrogate_pair_becomes_the_replacement(cut: int) -> None:
    """As for callbacks: a writer that cut a text within a character."""
    body = b'{"a": "%b\\ud83d", "b": "%b\\ude00x", "c": "\\ud83d\\ud83d\\ude00"}' % (b"x" * LONG, b"x" * LONG)
    found, long = read(body, [cut])
    assert put_back(found, long) == {
        "a": "x" * LONG + "\ufffd",
        "b": "x" * LONG + "\ufffdx",
        "c": "\ufffd\U0001f600",
    }


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"a": {"b": [1, "%b' % (b"x" * 100), "a.b[1]"),
        (b'{"a": ["%b\x01"]}' % (b"x" * 100), "a[0]"),
        (b'{"a": "x", "b": "%b\\q"}' % (b"x" * 100), "b"),
        (b'{"a": "%b\xff"}' % (b"x" * 100), "a"),
        (b'{"a": "blob:sha256:%b:12"}' % (b"0" * 64), "a"),
        (b'{"blob:sha256:%b:12": 1}' % (b"0" * 64), "body"),
        (b'{"%b": 1}' % (b"x" * 100), "body"),
        (b'{"state": "%b"}' % (b"x" * 101), "state"),
        (b"[1]", "body"),
        (b'{"a": %b' % (b"[" * 101), "body"),
        (b'{"a": [%b1]}' % (b"1," * 100_000), "body"),
    ],
)
def test_the_field_that_is_wrong_is_named(body: bytes, field: str) -> None:
    """The name of a stored text is refused too: nobody may have a stranger's image sent."""
    with pytest.raises(InvalidRequest) as refused:
        read(body, [64], {"state": 100})
    assert refused.value.field == field


def test_a_client_s_own_text_stays_text() -> None:
    """A state is echoed, so that it is kept as it is; the same name further inside is not that field."""
    body = json.dumps({"state": "s" * 100, "x": {"state": "s" * 100}}).encode()
    found, long = read(body, [7], {"state": 100})
    assert isinstance(found, dict)
    assert found["state"] == "s" * 100
    assert list(long) == [found["x"]["state"]]
