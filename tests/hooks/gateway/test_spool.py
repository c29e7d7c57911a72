"""Bodies of orders are received within limits of memory, room and time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hooks.gateway.spool import BadBody, Spool
from midjourney.blob_texts import reference_of
from storage.blobs.store import BlobStore
from tests.hooks.gateway.receiving import IMAGE, Sender, files, scope


async def test_long_strings_become_blobs(store: BlobStore) -> None:
    """And what is sent on is byte for byte what came."""
    body = json.dumps({"base64Array": [IMAGE, "short"], "state": "s" * 60_000, "n": 1}).encode()
    async with Spool(store).spooled(scope(), Sender(body)) as received:
        images = received.fields["base64Array"]
        assert isinstance(images, list)
        reference = reference_of(images[0])
        assert reference is not None
        assert received.blobs == [reference]
        assert (images[1], received.fields["state"], received.fields["n"]) == ("short", "s" * 60_000, 1)
        await received.keep()
        await received.keep()
    assert b"".join([piece async for piece in store.pieces(reference)]) == IMAGE.encode()


async def test_equal_bodies_have_equal_digests(store: BlobStore) -> None:
    """A repetition is recognised if its keys have another order and its strings other escapes; another image is another body."""
    digests = []
    spool = Spool(store)
    for fields, ascii_only in (
        ({"a": "é", "image": IMAGE}, True),
        ({"image": IMAGE, "a": "é"}, False),
        ({"image": IMAGE + "AAAA", "a": "é"}, False),
    ):
        body = json.dumps(fields, ensure_ascii=ascii_only).encode()
        async with spool.spooled(scope(), Sender(body)) as received:
            digests.append(received.digest)
    assert digests[0] == digests[1] != digests[2]


async def test_what_is_not_kept_is_deleted(store: BlobStore) -> None:
    """An order that is refused leaves nothing, and neither does one whose block fails."""
    spool = Spool(store)
    body = json.dumps({"image": IMAGE}).encode()

    async def order() -> None:
        async with spool.spooled(scope(), Sender(body)) as received:
            assert len(files(store)) == 1
            raise LookupError(received.digest)

    with pytest.raises(LookupError):
        await order()
    assert files(store) == []
    assert spool.in_flight_bytes == 0


async def _refused(spool: Spool, scope: dict[str, Any], sender: Sender) -> BadBody:
    with pytest.raises(BadBody) as refused:
        async with spool.spooled(scope, sender):
            pytest.fail("it was accepted")
    assert spool.in_flight_bytes == 0
    return refused.value


async def test_too_large_a_body_is_refused_before_it_is_read(store: BlobStore) -> None:
    """By its declared length; without one, as soon as it is too long."""
    body = json.dumps({"image": IMAGE}).encode()
    spool = Spool(store, submit_limit_bytes=10_000)
    sender = Sender(body)
    assert (await _refused(spool, scope(content_length=str(len(body))), sender)).status == 413
    assert sender.taken == 0
    assert (await _refused(spool, scope(), sender)).status == 413
    assert sender.taken == 3
    assert files(store) == []


async def test_all_bodies_together_have_a_limit(store: BlobStore) -> None:
    """While one is being handled, the next one is asked to come back; then there is room again."""
    body = json.dumps({"image": IMAGE}).encode()
    spool = Spool(store, spool_limit_bytes=len(body) + 10)
    async with spool.spooled(scope(), Sender(body)):
        with pytest.raises(BadBody) as refused:
            async with spool.spooled(scope(content_length=str(len(body))), Sender(body)):
                pytest.fail("it was accepted")
        assert refused.value.status == 503
        assert "retry-after" in refused.value.headers
    async with spool.spooled(scope(content_length=str(len(body))), Sender(body)) as received:
        assert received.blobs


async def test_one_client_leaves_room_for_others(store: BlobStore) -> None:
    """It may have half of the room, declared or sent: what it does not send keeps nobody else out."""
    body = json.dumps({"image": IMAGE}).encode()
    size = len(body) + 10
    spool = Spool(store, submit_limit_bytes=size, spool_limit_bytes=2 * size)
    declared = scope(content_length=str(len(body)))
    async with spool.spooled(declared, Sender(body), "bob"):
        with pytest.raises(BadBody) as refused:
            async with spool.spooled(declared, Sender(body), "bob"):
                pytest.fail("it was accepted")
        assert refused.value.status == 503
        async with spool.spooled(declared, Sender(body), "ann") as received:
            assert received.blobs


async def test_what_was_kept_for_a_refused_order_is_dropped(store: BlobStore) -> None:
    """The disk must not fill with pictures that nobody has ordered."""
    body = json.dumps({"image": IMAGE}).encode()
    async with Spool(store).spooled(scope(), Sender(body)) as received:
        await received.keep()
        assert [piece async for piece in store.pieces(received.blobs[0])]
        await received.release()
        with pytest.raises(LookupError):
            assert [piece async for piece in store.pieces(received.blobs[0])]
    assert files(store) == []


async def test_a_body_that_stalls_is_given_up(store: BlobStore) -> None:
    """So that it takes up no room for ever."""
    refused = await _refused(Spool(store, stalled_s=0.05), scope(), Sender(b'{"a": "', then="stall"))
    assert refused.status == 408
    slow = await _refused(Spool(store, whole_within_s=0.05), scope(), Sender(b'{"a": "', then="stall"))
    assert slow.status == 408


async def test_a_body_that_is_cut_off_is_no_order(store: BlobStore) -> None:
    """The sender has gone away."""
    body = json.dumps({"image": IMAGE}).encode()
    assert (await _refused(Spool(store), scope(), Sender(body, then="leave"))).status == 400
    assert files(store) == []


@pytest.mark.parametrize(
    ("body", "headers", "status", "says"),
    [
        (b"[]", {}, 400, "object"),
        (b'{"a": ', {}, 400, "JSON"),
        (b'{"a": "blob:sha256:%b:1"}' % (b"0" * 64), {}, 400, "a: "),
        (b"{}", {"content_encoding": "gzip"}, 415, "compressed"),
        (b"--x", {"content_type": "multipart/form-data; boundary=x"}, 415, "JSON"),
    ],
)
async def test_what_cannot_be_read_is_refused_by_name(
    store: BlobStore, body: bytes, headers: dict[str, str], status: int, says: str
) -> None:
    """Each refusal says what is wrong."""
    refused = await _refused(Spool(store), scope(**headers), Sender(body))
    assert refused.status == status
    assert says in refused.problem


async def test_no_body_is_an_empty_object(store: BlobStore) -> None:
    """As `cancel` is posted."""
    async with Spool(store).spooled(scope(), Sender(b"")) as received:
        assert received.fields == {}
