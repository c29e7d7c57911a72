"""A payload comes out as it was received, however it is stored."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.payloads import STEPS, callback
from storage.payload_dictionary import DICTIONARY
from storage.payloads import CHECKSUM, VERSION, as_received, packed, unpacked

CORPUS = sorted((Path(__file__).parents[1] / "corpus").glob("*.json"))
LOOKS_PACKED = packed(b"a" * 1000)[:7]
REPEATED = b"\0" * 1_000_000


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.stem)
def test_what_vendors_send_comes_out_as_it_was(file: Path) -> None:
    """As it is recorded, and as it is written without and with spaces."""
    recorded = file.read_bytes()
    bodies = [recorded]
    if file.suffix == ".json" and recorded.lstrip()[:1] in (b"{", b"["):
        known = json.loads(recorded)
        bodies += [json.dumps(known, separators=(",", ":")).encode(), json.dumps(known, indent=2).encode()]
    for body in bodies:
        assert unpacked(as_received(body)) == body
        assert unpacked(packed(as_received(body))) == body
        assert len(packed(body)) <= len(body)


@given(st.one_of(st.binary(max_size=3000), st.binary(max_size=300).map(lambda tail: LOOKS_PACKED + tail)))
@example(b"")
@example(VERSION)
@example(LOOKS_PACKED)
@example(packed(b"a" * 1000))
@example(packed(packed(REPEATED)))
def test_any_bytes_come_out_as_they_were(payload: bytes) -> None:
    """Also those that begin like a packed value, or are one: a sender may know our format."""
    stored = as_received(payload)
    assert unpacked(stored) == payload
    assert unpacked(packed(stored)) == payload


@given(st.binary(max_size=2000))
@example(REPEATED)
def test_what_is_packed_is_not_packed_again(payload: bytes) -> None:
    """A replay copies the packed value, and packing begins anew after ids were given again. A million zeros could be packed
    twice."""
    once = packed(as_received(payload))
    assert packed(once) == once


def test_a_callback_of_the_benchmark_takes_less_than_a_third() -> None:
    bodies = [callback("1700000000000001", status, percent) for status, percent in STEPS]
    assert sum(len(packed(body)) for body in bodies) < sum(map(len, bodies)) / 3


def test_a_damaged_value_is_an_error_and_not_another_payload() -> None:
    value = packed(callback("1700000000000001", "SUCCESS", 100))
    changed = bytearray(value)
    changed[-20] ^= 1
    for damaged in (value[:-1], value[:40], value + b"x", bytes(changed)):
        with pytest.raises(zlib.error):
            unpacked(damaged)


def test_the_dictionary_is_the_one_that_packed_what_is_stored() -> None:
    """With a changed one nothing that is stored could be read. A better one needs a version of its own."""
    assert zlib.adler32(DICTIONARY).to_bytes(4, "big") == CHECKSUM
    assert len(DICTIONARY) == 5702
