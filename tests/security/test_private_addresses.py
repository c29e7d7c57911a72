"""Addresses that look public and are not, as an image of a request. None is fetched: a listener sees no connection."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from midjourney.errors import ProtocolError
from midjourney.loading import fetch_image


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    """Something on this machine that nobody may reach."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


SHAPES = [
    "127.0.0.1", "127.1", "127.0.1", "0", "0.0.0.0", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "0177.0.0.1",
    "127.0.0.1.", "localhost", "LOCALHOST.", "x.localhost", "127。0。0。1", "１２７.0.0.1", "①②⑦.0.0.1", "127%2e0%2e0%2e1",
    "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:0001]", "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]", "user@127.0.0.1", "example.com@127.0.0.1", "example.com:80@127.0.0.1", "127.255.255.254",
    "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "[fe80::1]", "[fc00::1]",
]  # fmt: skip


@pytest.mark.parametrize("host", SHAPES)
async def test_no_image_is_fetched_from_inside(listener: socket.socket, host: str) -> None:
    """In every way in which an address can be written."""
    port = listener.getsockname()[1]
    with pytest.raises(ProtocolError):
        await fetch_image(f"http://{host}:{port}/a.png", largest=1000)
    with pytest.raises(BlockingIOError):
        listener.accept()
