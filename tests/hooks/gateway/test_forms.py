"""A multipart form is the same order as JSON with the same content; what is wrong with one is said by name."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.tickets.orders import KIND_OF_PATH, request_of
from hooks.gateway.form_fields import form_of
from hooks.gateway.forms import Form
from hooks.gateway.spool import BadBody, Spool
from midjourney.blob_texts import reference_of
from midjourney.errors import InvalidRequest
from midjourney.requests import Blend, Imagine, Video
from storage.blobs.store import BlobStore
from tests.hooks.gateway.receiving import Sender, files, scope

SMALL = b"\x89PNG\r\n\x1a\n" + b"a small picture"
LARGE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 200
Part = tuple[str, Any]


def url_of(image: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(image).decode()


def written(*parts: Part, boundary: str = "a-boundary") -> tuple[bytes, dict[str, Any]]:
    """A form as httpx writes it, and the scope that announces it."""
    request = httpx.Request(
        "POST",
        "http://gateway",
        files=list(parts),
        headers={"content-type": f"multipart/form-data; boundary={boundary}"},
    )
    return request.read(), scope(content_type=request.headers["content-type"])


def text(value: str) -> tuple[None, bytes]:
    return None, value.encode()


async def received(store: BlobStore, path: str, *parts: Part, size: int = 5000) -> Mapping[str, object]:
    """The fields of a form that comes in pieces of this size. Blobs are replaced by their text."""
    body, about = written(*parts)
    async with Spool(store).spooled(about, Sender(body, size), form=form_of(path)) as spooled:
        await spooled.keep()
        return {name: await _in_full(store, value) for name, value in spooled.fields.items()}


async def _in_full(store: BlobStore, value: object) -> object:
    if isinstance(value, list):
        return [await _in_full(store, one) for one in value]
    reference = reference_of(value)
    return value if reference is None else b"".join([one async for one in store.pieces(reference)]).decode()


@pytest.mark.parametrize("size", [1, 7, 5000, 10**6])
async def test_files_become_what_json_holds(store: BlobStore, size: int) -> None:
    """Several parts of one name are a list, in their order; large and small ones; however the form is cut into pieces."""
    fields = await received(
        store,
        "submit/blend",
        ("base64Array", ("one.png", LARGE, "application/octet-stream")),
        ("base64Array", ("two.png", SMALL, "image/gif")),
        ("dimensions", text("square")),
        size=size,
    )
    assert fields == {"base64Array": [url_of(LARGE), url_of(SMALL)], "dimensions": "square"}
    request = request_of("blend", fields)
    assert isinstance(request, Blend)
    assert (request.images, request.dimensions) == ((url_of(LARGE), url_of(SMALL)), "SQUARE")


@pytest.mark.parametrize(
    ("path", "name", "field"),
    [
        ("submit/imagine", "image", "base64Array"),
        ("submit/imagine", "images[]", "base64Array"),
        ("submit/imagine", "base64Array[0]", "base64Array"),
        ("submit/upload-discord-images", "base64", "base64Array"),
        ("submit/describe", "image", "base64"),
        ("submit/edits", "image", "image"),
        ("submit/edits", "mask", "maskBase64"),
        ("submit/modal", "maskBase64", "maskBase64"),
        ("submit/video", "endImage", "endImage"),
        ("insight-face/swap", "source", "sourceBase64"),
        ("insight-face/swap", "TargetBase64", "targetBase64"),
    ],
)
async def test_each_path_names_its_files(store: BlobStore, path: str, name: str, field: str) -> None:
    """By the names of its JSON, by short ones, and with brackets; ASP.NET ignores the case of letters, and so does hookchain."""
    fields = await received(store, path, (name, ("a", SMALL, "image/png")))
    assert fields == {field: [url_of(SMALL)] if field == "base64Array" else url_of(SMALL)}


async def test_texts_have_the_types_of_their_fields(store: BlobStore) -> None:
    """Numbers, booleans and objects; what hookchain does not know stays a text, and is sent on; an empty input says nothing."""
    fields = await received(
        store,
        "submit/video",
        ("prompt", text("7")),
        ("index", text("2")),
        ("taskId", text("0741798445574458")),
        ("loop", text("True")),
        ("batchSize", text("")),
        ("accountFilter", text('{"modes": ["FAST"]}')),
        ("new", text("3")),
        ("state", text("é" * 30_000)),
    )
    assert fields == {
        "prompt": "7",
        "index": 2,
        "taskId": "0741798445574458",
        "loop": True,
        "accountFilter": {"modes": ["FAST"]},
        "new": "3",
        "state": "é" * 30_000,
    }
    request = request_of("video", fields)
    assert isinstance(request, Video)
    assert (request.index, request.loop, request.extra["new"]) == (2, True, "3")


async def test_parts_within_an_object_are_put_together(store: BlobStore) -> None:
    """trueai's forms write `accountFilter` so; the mode decides what an order costs."""
    fields = await received(
        store,
        "submit/imagine",
        ("prompt", text("a cat")),
        ("AccountFilter.Modes[0]", text("RELAX")),
        ("AccountFilter.Modes[1]", text("FAST")),
        ("accountFilter.instanceId", text("1")),
        ("accountFilter.remix", text("true")),
    )
    assert fields["accountFilter"] == {"modes": ["RELAX", "FAST"], "instanceId": "1", "remix": True}


async def test_a_long_text_is_a_picture_too(store: BlobStore) -> None:
    """Some clients put their data URL into a text part."""
    fields = await received(store, "submit/describe", ("base64", text(url_of(LARGE))))
    assert fields == {"base64": url_of(LARGE)}


async def test_an_input_without_a_file_is_no_field(store: BlobStore) -> None:
    """A page posts an empty part without a file name for it."""
    body = (
        b'--x\r\ncontent-disposition: form-data; name="image"; filename=""\r\ncontent-type: application/octet-stream\r\n\r\n\r\n'
        b'--x\r\ncontent-disposition: form-data; name="prompt"\r\n\r\na cat\r\n--x--\r\n'
    )
    about = scope(content_type="multipart/form-data; boundary=x")
    async with Spool(store).spooled(about, Sender(body), form=form_of("submit/imagine")) as spooled:
        assert spooled.fields == {"prompt": "a cat"}
        request = request_of("imagine", spooled.fields)
    assert isinstance(request, Imagine)


async def test_the_digest_is_that_of_the_content(store: BlobStore) -> None:
    """A client that repeats an order writes a new boundary, and other file names: it is the same order, as JSON too. Another picture,
    or another order of pictures, is another order."""
    spool = Spool(store)

    async def digest(body: bytes, about: dict[str, Any]) -> str:
        async with spool.spooled(about, Sender(body), form=form_of("submit/blend")) as spooled:
            return spooled.digest

    def blend(*images: bytes, boundary: str = "one", name: str = "a.png") -> tuple[bytes, dict[str, Any]]:
        parts = [("base64Array", (name, image, "image/png")) for image in images]
        return written(*parts, ("state", text("s")), boundary=boundary)

    first = await digest(*blend(LARGE, SMALL))
    assert await digest(*blend(LARGE, SMALL, boundary="two", name="b.png")) == first
    as_json = json.dumps({"state": "s", "base64Array": [url_of(LARGE), url_of(SMALL)]}).encode()
    assert await digest(as_json, scope()) == first
    assert await digest(*blend(SMALL, LARGE)) != first
    assert await digest(*blend(LARGE, SMALL + b"!")) != first


HEAD = b'--x\r\ncontent-disposition: form-data; name="prompt"\r\n\r\n'


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (HEAD + b"a cat", "cut off"),
        (HEAD + b"a cat\r\n--x", "cut off"),
        (HEAD + b"a cat\r\n--x\r\n", "cut off"),
        (b'{"prompt": "a cat"}', "not a form"),
        (b"--x\r\ncontent-type: text/plain\r\n\r\na\r\n--x--\r\n", "a part has no name"),
        (b"--x\r\ncontent-disposition: form-data\r\n\r\na\r\n--x--\r\n", "a part has no name"),
        (b'--x\r\ncontent-disposition: form-data; name="\xff"\r\n\r\na\r\n--x--\r\n', "not UTF-8"),
        (b'--x\r\ncontent-disposition: form-data; name="%b"\r\n\r\na\r\n--x--\r\n' % (b"a" * 101), "longer"),
        (b"--x\r\nx: " + b"a" * 1024 * 1024, "header size"),
        (b"--x\r\n" + b"x: y\r\n" * 9, "header count"),
        ((HEAD + b"\r\n") * 10_000 + b"--x--\r\n", "100 parts"),
        (HEAD + b"\xff\r\n--x--\r\n", "prompt: is not UTF-8"),
        (HEAD + b"\xc3\r\n--x--\r\n", "prompt: is not UTF-8"),
        (HEAD + b"a" * 40_000 + b"\r\n--x--\r\n", "prompt: has more than"),
        (b"".join(HEAD.replace(b"prompt", b"a%d" % n) + b"a" * 8000 + b"\r\n" for n in range(50)), "131072"),
        (b"".join(HEAD.replace(b"prompt", b"a%d" % n) + b"a" * 9000 + b"\r\n" for n in range(50)), "32 long"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_malformed_form_is_refused(store: BlobStore, body: bytes, says: str) -> None:
    """And leaves nothing."""
    refused = await _refused(store, "submit/imagine", body)
    assert refused.status == 400
    assert says in refused.problem
    assert len(refused.problem) < 200
    assert files(store) == []


@pytest.mark.parametrize(
    ("content_type", "status", "says"),
    [
        ("multipart/form-data", 400, "boundary"),
        ("multipart/form-data; boundary=", 400, "boundary"),
        (f"multipart/form-data; boundary={'x' * 1000}", 400, "oundary"),
        ("multipart/mixed; boundary=x", 415, "form-data"),
    ],
)
async def test_a_form_needs_a_boundary(store: BlobStore, content_type: str, status: int, says: str) -> None:
    refused = await _refused(store, "submit/imagine", HEAD + b"a cat\r\n--x--\r\n", content_type)
    assert (refused.status, says in refused.problem) == (status, True)


async def test_other_paths_take_no_forms(store: BlobStore) -> None:
    """A question has no files."""
    refused = await _refused(store, "task/list-by-condition", HEAD + b"a cat\r\n--x--\r\n")
    assert refused.status == 415


@pytest.mark.parametrize(
    ("path", "name", "content", "says"),
    [
        ("submit/imagine", "avatar", SMALL, "avatar: no file is expected here; the files of this path are: base64Array"),
        ("submit/shorten", "image", SMALL, "image: no file is expected here; the files of this path are: none"),
        ("submit/describe", "image", b"<html>this is a page</html>", "image: the file is not a PNG, JPEG, WebP or GIF"),
        ("submit/describe", "image", b"", "image: the file is empty"),
        ("submit/describe", "image", b"BM", "image: the file is not a PNG, JPEG, WebP or GIF"),
    ],
)  # fmt: skip
async def test_a_file_that_is_not_expected_is_refused_by_name(
    store: BlobStore, path: str, name: str, content: bytes, says: str
) -> None:
    body, _ = written((name, ("a.png", content, "image/png")), boundary="x")
    assert (await _refused(store, path, body)).problem == says


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("base64", "blob:sha256:" + "0" * 64 + ":1", "base64: names a stored text"),
        ("accountFilter", "FAST", "accountFilter: not JSON"),
        ("accountFilter", "[1]", "accountFilter: must be a JSON object"),
    ],
)
async def test_a_text_that_cannot_be_read_is_refused_by_name(
    store: BlobStore, name: str, value: str, says: str
) -> None:
    body, _ = written((name, text(value)), boundary="x")
    assert (await _refused(store, "submit/imagine", body)).problem.startswith(says)


async def test_a_form_has_the_limits_of_all_bodies(store: BlobStore) -> None:
    """Of size, of time, and of room for all of them; and one whose sender goes away leaves nothing."""
    body, about = written(("image", ("a.png", LARGE, "image/png")))
    form = form_of("submit/describe")

    async def status(spool: Spool, sender: Sender) -> int:
        with pytest.raises(BadBody) as refused:
            async with spool.spooled(about, sender, form=form):
                pytest.fail("it was accepted")
        assert (spool.in_flight_bytes, files(store)) == (0, [])
        return refused.value.status

    assert await status(Spool(store, submit_limit_bytes=10_000), Sender(body)) == 413
    assert await status(Spool(store, submit_limit_bytes=10_000, spool_limit_bytes=9_000), Sender(body)) == 503
    assert await status(Spool(store, stalled_s=0.05), Sender(body[:-20], then="stall")) == 408
    assert await status(Spool(store, whole_within_s=0.05), Sender(body[:-20], then="stall")) == 408
    assert await status(Spool(store), Sender(body[:-20], then="leave")) == 400


async def test_an_encoded_part_is_refused(store: BlobStore) -> None:
    """Old mail programs encode parts; hookchain would take the base64 for the file."""
    body = HEAD.replace(b"\r\n\r\n", b"\r\ncontent-transfer-encoding: base64\r\n\r\n") + b"YQ==\r\n--x--\r\n"
    assert "Content-Transfer-Encoding" in (await _refused(store, "submit/imagine", body)).problem


async def test_a_file_with_an_extended_name_alone_is_a_file(store: BlobStore) -> None:
    """RFC 7578 forbids it, and some libraries write it."""
    part = b"--x\r\ncontent-disposition: form-data; name=\"base64\"; filename*=UTF-8''%e2%82%ac.png\r\n\r\n"
    sender = Sender(part + SMALL + b"\r\n--x--\r\n")
    about = scope(content_type="multipart/form-data; boundary=x")
    async with Spool(store).spooled(about, sender, form=form_of("submit/describe")) as spooled:
        assert spooled.fields == {"base64": url_of(SMALL)}


async def test_a_text_in_another_encoding_is_refused(store: BlobStore) -> None:
    """Read as UTF-8 it could be another prompt, which would be paid for."""
    body = HEAD.replace(b"\r\n\r\n", b"\r\ncontent-type: text/plain; charset=gbk\r\n\r\n")
    refused = await _refused(store, "submit/imagine", body + b"\xc3\xa8\r\n--x--\r\n")
    assert "send texts in UTF-8" in refused.problem


async def _refused(
    store: BlobStore, path: str, body: bytes, content_type: str = "multipart/form-data; boundary=x"
) -> BadBody:
    spool = Spool(store)
    with pytest.raises(BadBody) as refused:
        async with spool.spooled(scope(content_type=content_type), Sender(body), form=form_of(path)):
            pytest.fail("it was accepted")
    assert spool.in_flight_bytes == 0
    return refused.value


@given(st.binary(max_size=300), st.integers(1, 60), st.sampled_from(sorted(KIND_OF_PATH)))
def test_no_form_is_more_than_refused(body: bytes, size: int, path: str) -> None:
    """Whatever comes is fields, or is refused."""
    form = form_of(path)
    assert form is not None
    for before in (b"", HEAD, HEAD.replace(b'"prompt"', b'"image"; filename="a"')):
        reader = Form(b"x", form, _no_sink, {})
        whole = before + body
        with contextlib.suppress(InvalidRequest):
            for start in range(0, len(whole), size):
                reader.feed(whole[start : start + size])
            assert isinstance(reader.end(), dict)


def _no_sink() -> Any:
    raise AssertionError("nothing here is long")
