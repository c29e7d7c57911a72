"""Images on their way into a submission: from anywhere, of a known type, not too large, and from no private address."""

from __future__ import annotations

import asyncio
import base64
import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midjourney.addresses import is_at
from midjourney.image_data import BadImage, NotAnImage, image_of_bytes, image_of_text
from midjourney.loading import fetch_image, load_image, read_image

PNG = b"\x89PNG\r\n\x1a\n rest"
KINDS = {
    "image/png": PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0 rest",
    "image/gif": b"GIF89a rest",
    "image/webp": b"RIFF\x00\x00\x00\x00WEBP rest",
}


def anybodys(_address: str) -> bool:
    """The sites of these tests are on loopback."""
    return True


class Site:
    """A web server that answers with what a test puts there, and keeps the request lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.answer = b""
        self.sent = 0
        self.url = ""

    def say(self, status: int, body: bytes, *headers: str) -> None:
        head = "\r\n".join([f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *headers, "", ""])
        self.answer = head.encode() + body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.lines.append(head.splitlines()[0])
        if self.answer:
            writer.write(self.answer)
        else:  # a body without an end
            writer.write(b"HTTP/1.1 200 X\r\n\r\n" + PNG)
            try:
                while True:
                    writer.write(b"x" * 65536)
                    await writer.drain()
                    self.sent += 65536
            except ConnectionError:
                return
        writer.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield made
    server.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_the_bytes_tell_the_type(kind: str, tmp_path: Path) -> None:
    """Not the file's name; and every way to give an image gives the same one."""
    data = KINDS[kind]
    path = tmp_path / "picture.pdf"
    path.write_bytes(data)
    encoded = base64.b64encode(data).decode()
    for source in (data, path, encoded, f"data:{kind};base64,{encoded}", encoded.rstrip("=")):
        found = await load_image(source)
        assert (found.media_type, found.data) == (kind, data)
        assert found.data_url == f"data:{kind};base64,{encoded}"


@pytest.mark.parametrize("data", [b"", b"%PDF-1.7", b"<svg>", b"<html>", b"RIFF0000WAVE"])
async def test_what_is_no_image_is_refused(data: bytes, tmp_path: Path) -> None:
    """And the message names the file."""
    path = tmp_path / "x.png"
    path.write_bytes(data)
    with pytest.raises(BadImage, match=r"x\.png"):
        await read_image(path)


def test_the_largest_size_is_the_largest() -> None:
    """One byte more is too many, told in bytes."""
    assert image_of_bytes(PNG, largest=len(PNG)).data == PNG
    with pytest.raises(BadImage, match=f"has {len(PNG)} bytes; at most {len(PNG) - 1}"):
        image_of_bytes(PNG, largest=len(PNG) - 1)
    with pytest.raises(BadImage, match="at most 10"):
        image_of_text("A" * 5000, largest=10)


@pytest.mark.parametrize("source", ["/nowhere/cat.png", "not base64!", "data:image/png,plain"])
async def test_what_cannot_be_read_says_why(source: str) -> None:
    """With what was given."""
    with pytest.raises(BadImage, match=r"a file as a Path|without ;base64"):
        await load_image(source)


async def test_a_directory_is_no_image(tmp_path: Path) -> None:
    """The system's own words."""
    with pytest.raises(BadImage, match="cannot be read"):
        await load_image(tmp_path)


@given(st.binary(max_size=200))
def test_an_image_survives_being_written(rest: bytes) -> None:
    """As a data URL and as base64, in either alphabet."""
    image = image_of_bytes(PNG + rest)
    assert image_of_text(image.data_url) == image_of_text(image.base64) == image
    assert image_of_text(base64.urlsafe_b64encode(image.data).decode()) == image


async def test_an_address_is_fetched_with_its_query_byte_for_byte(site: Site) -> None:
    """Discord signs it, and a lost & at its end is a 403."""
    site.say(200, PNG)
    target = "/a%20b/x.png?ex=65b7%2F&is=65a4&hm=2e2d%7e&"
    assert (await fetch_image(site.url + target, may_be_private=anybodys)).data == PNG
    assert site.lines == [f"GET {target} HTTP/1.1"]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "224.0.0.1",
    ],
)
async def test_private_addresses_are_not_fetched(host: str) -> None:
    """In whatever spelling; no request leaves."""
    with pytest.raises(BadImage, match=r"in a private network|is unknown|never fetched"):
        await fetch_image(f"http://{host}/x.png?secret=1")


async def test_a_redirect_is_checked_too(site: Site) -> None:
    """It may not lead where no address may, nor for ever."""
    site.say(302, b"", "location: file:///etc/passwd")
    with pytest.raises(BadImage, match="not an http:// or https://"):
        await fetch_image(site.url, may_be_private=anybodys)
    site.say(302, b"", "location: /again")
    with pytest.raises(BadImage, match="redirects more than 3"):
        await fetch_image(site.url, may_be_private=anybodys)


async def test_a_redirect_leads_out_of_an_upstream_as_it_leads_out_of_anywhere(site: Site) -> None:
    """What is its own may be inside a network; where it sends us to may not."""
    site.say(302, b"", f"location: {site.url.replace('127.0.0.1', 'localhost')}/other")
    with pytest.raises(BadImage, match="in a private network"):
        await fetch_image(site.url, may_be_private=lambda address: is_at(site.url, address))
    assert len(site.lines) == 1


@pytest.mark.parametrize(
    ("url", "address", "same"),
    [
        ("http://mj.lan:8080/mj", "http://mj.lan:8080/a.png?b=c", True),
        ("http://mj.lan", "http://MJ.lan:80/a.png", True),
        ("https://mj.lan:443", "https://mj.lan/a.png", True),
        ("http://mj.lan:8080", "http://mj.lan:8081/a.png", False),
        ("http://mj.lan:8080", "https://mj.lan:8080/a.png", False),
        ("http://mj.lan", "http://mj.lan@10.0.0.1/a.png", False),
        ("http://mj.lan", "http://mj.lan.example.com/a.png", False),
        ("", "/a.png", False),
        ("http://mj.lan", "http://mj.lan:999999/", False),
        ("http://mj.lan", "http://[mj.lan", False),
    ],
)
def test_an_address_is_at_the_same_scheme_host_and_port_or_elsewhere(
    url: str, address: str, same: bool
) -> None:
    """However they are written."""
    assert is_at(url, address) is same


@pytest.mark.parametrize(
    "address",
    [
        "http://[::1",
        "http://x:999999/a.png",
        "http://b\u00fccher.invalid:99999999/a.png",
        "http:///a.png",
        "http://127.0.0.1:9/\x00\x7f.png",
        "data:image/png;base64," + "A" * 100_000,
    ],
)
async def test_what_is_no_address_says_so(address: str) -> None:
    """Callbacks bring them: whatever stands there is a bad image, told in a line."""
    with pytest.raises(BadImage) as raised:
        await fetch_image(address, may_be_private=anybodys)
    assert len(str(raised.value)) < 400


async def test_what_begins_like_no_image_is_not_read(site: Site) -> None:
    """A video of hundreds of megabytes; nor is what says that it is too large."""
    site.answer = b"HTTP/1.1 200 X\r\ncontent-length: 300000000\r\n\r\n\0\0\0\x20ftypisom"
    with pytest.raises(NotAnImage, match="is not a PNG"):
        await fetch_image(f"{site.url}/a", may_be_private=anybodys, largest=400_000_000)
    site.answer = b"HTTP/1.1 200 X\r\ncontent-length: 300000000\r\n\r\n" + PNG
    with pytest.raises(BadImage, match="more than 1000 bytes"):
        await fetch_image(f"{site.url}/a", may_be_private=anybodys, largest=1000)


@pytest.mark.parametrize("kind", ["multipart/x-mixed-replace; boundary=x", "video/mp4", "Text/Event-Stream"])
async def test_what_says_that_it_is_a_stream_is_not_read(site: Site, kind: str) -> None:
    """Though it begins as an image does."""
    site.say(200, PNG, f"content-type: {kind}")
    with pytest.raises(NotAnImage, match=kind.split(";")[0].lower()):
        await fetch_image(f"{site.url}/a", may_be_private=anybodys)


async def test_nothing_packed_is_unpacked(site: Site) -> None:
    """A thousandth of it would have come: none was asked for."""
    site.say(200, gzip.compress(PNG), "content-encoding: gzip")
    with pytest.raises(NotAnImage):
        await fetch_image(f"{site.url}/a", may_be_private=anybodys)


async def test_a_body_without_an_end_is_cut(site: Site) -> None:
    """As soon as it is too large."""
    with pytest.raises(BadImage, match="more than 200000 bytes"):
        await fetch_image(site.url, largest=200_000, may_be_private=anybodys)


@pytest.mark.parametrize(
    ("status", "body"), [(404, b"This content is no longer available."), (200, b"<html>")]
)
async def test_what_is_not_there_says_so(site: Site, status: int, body: bytes) -> None:
    """Without the query string, which may be a credential."""
    site.say(status, body)
    with pytest.raises(BadImage) as raised:
        await fetch_image(f"{site.url}/x.png?hm=secret", may_be_private=anybodys)
    assert "hm=secret" not in str(raised.value)
    assert "/x.png" in str(raised.value)


async def test_an_address_with_a_password_is_not_fetched() -> None:
    """It would end up in logs."""
    with pytest.raises(BadImage, match="user name") as raised:
        await load_image("http://me:pass@example.com/x.png")
    assert "pass" not in str(raised.value)
