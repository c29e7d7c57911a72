"""HTTP/1.1 as clients really send it, over raw sockets against a real server."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from hookchain.cli.http_server import Server, bound
from tests.conftest import PATIENCE_S

BODY = b'{"id": "1", "status": "SUCCESS"}'
OFFER = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
LENGTH = b"content-length: %d\r\n\r\n%s" % (len(BODY), BODY)
CHUNKS = b"transfer-encoding: chunked\r\n\r\n8\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (
    BODY[:8],
    len(BODY) - 8,
    BODY[8:],
)


async def echo(request: Request) -> JSONResponse:
    """What was understood."""
    body = (await request.body()).decode()
    return JSONResponse(
        [request.method, request.url.path, request.url.query, body, request.headers.get("x-own")]
    )


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server as `hookchain serve` runs it, which tells what it understood."""
    sock, ready = bound("127.0.0.1", 0), asyncio.Event()
    server = Server(Starlette(routes=[Route("/{any:path}", echo, methods=["GET", "POST"])]), ready.set)
    running = asyncio.create_task(server.serve(sockets=[sock]))
    await ready.wait()
    yield sock.getsockname()[1]
    server.should_exit = True
    await running
    sock.close()


class Client:
    """A connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> list[str | None]:
        """The body of the next answer, which has a length."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert head.startswith("http/1.1 200"), head
        length = next(line for line in head.splitlines() if line.startswith("content-length:"))
        understood: list[str | None] = json.loads(await self.reader.readexactly(int(length.split(":")[1])))
        return understood


def request(rest: bytes, offer: bytes = OFFER) -> bytes:
    return b"POST /notify/x?a=1 HTTP/1.1\r\nhost: here\r\n" + offer + b"x-own: kept\r\n" + rest


UNDERSTOOD = ["POST", "/notify/x", "a=1", BODY.decode(), "kept"]


@pytest.mark.parametrize("rest", [LENGTH, CHUNKS], ids=["content-length", "chunked"])
@pytest.mark.parametrize(
    "offer", [OFFER, b"connection: upgrade\r\nupgrade: websocket\r\n"], ids=["h2c", "websocket"]
)
async def test_a_body_behind_an_offer_to_upgrade_arrives(port: int, rest: bytes, offer: bytes) -> None:
    """In one segment, and cut at any place; and the connection can be used again."""
    whole = request(rest, offer)
    for cut in range(0, len(whole), 5):
        client = Client(*await asyncio.open_connection("127.0.0.1", port))
        client.writer.write(whole[:cut])
        await client.writer.drain()
        await asyncio.sleep(0)
        client.writer.write(whole[cut:])
        assert await client.answer() == UNDERSTOOD, cut
        client.writer.write(request(LENGTH, b""))
        assert await client.answer() == UNDERSTOOD, cut
        client.writer.close()


async def test_requests_that_follow_one_another_at_once_are_answered_in_order(port: int) -> None:
    """With an offer in each, in one segment."""
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    client.writer.write(request(LENGTH) + request(CHUNKS) + request(LENGTH, b"") + request(CHUNKS))
    for _ in range(4):
        assert await client.answer() == UNDERSTOOD
    client.writer.close()


@pytest.mark.parametrize(
    "head",
    [
        b"CONNECT other:443 HTTP/1.1\r\nhost: other:443\r\n\r\n",
        b"nonsense\r\n\r\n",
        request(b"content-length: x\r\n\r\n"),
    ],
)
async def test_what_is_not_a_request_is_refused(port: int, head: bytes) -> None:
    """Once, and the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    assert (await reader.read()).startswith(b"HTTP/1.1 4")
    writer.close()


JAVA = """
import java.net.URI;
import java.net.http.*;

public class Sender {
    public static void main(String[] arguments) throws Exception {
        var client = HttpClient.newHttpClient();
        for (int count = 0; count < 3; count++) {
            var request = HttpRequest.newBuilder(URI.create(arguments[0])).header("content-type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString("{\\"id\\": \\"" + count + "\\", \\"status\\": \\"SUCCESS\\"}")).build();
            System.out.println(client.send(request, HttpResponse.BodyHandlers.ofString()).statusCode());
        }
    }
}
"""


@pytest.mark.process
@pytest.mark.parametrize("client", ["java", "curl"])
def test_callbacks_of_clients_that_offer_h2c_are_kept(
    client: str, start_server: object, tmp_path: Path
) -> None:
    """Java's own HttpClient, as the servers of this family use it, and curl that would like HTTP/2."""
    if shutil.which(client) is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"no {client} is installed")
    server = start_server()  # type: ignore[operator]
    if client == "java":
        (tmp_path / "Sender.java").write_text(JAVA)
        command = ["java", str(tmp_path / "Sender.java"), server.hook]
    else:
        body = ["-d", '{"id": "0", "status": "SUCCESS"}', "-H", "content-type: application/json"]
        command = ["curl", "-sS", "--http2", "-o", "/dev/null", "-w", "%{http_code}\n", *body, server.hook]
    sent = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE_S, check=True
    ).stdout.split()
    assert set(sent) == {"200"}
    assert {task["id"] for task in server.get("/api/tasks")["tasks"]} == {
        str(number) for number in range(len(sent))
    }
    assert server.get("/api/quarantine")["quarantine"] == []
