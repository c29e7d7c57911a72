"""Each test runs on asyncio's event loop and on uvloop's."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop

from midjourney.slices import in_slices
from midjourney.tls import trusted
from midjourney.transport.fast import Transport
from tests.support.program import program

Make = Callable[..., httpx.AsyncBaseTransport]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """See pytest-asyncio."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost, and its key."""
    openssl = program("openssl")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = [
        openssl,
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    command += ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:TRUE"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """What a server needs to be localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes transports of ours, which trust the usual authorities, or those in a file."""
    made: list[httpx.AsyncBaseTransport] = []

    def transport(trusts: Path | None = None, **limits: Any) -> httpx.AsyncBaseTransport:
        context = trusted() if trusts is None else ssl.create_default_context(cafile=str(trusts))
        made.append(Transport(httpx.Limits(**{"keepalive_expiry": 60.0, **limits}), context))
        return made[-1]

    yield transport
    for one in made:
        await one.aclose()


@pytest.fixture(params=["ours", "httpx"])
async def transport(request: pytest.FixtureRequest, make: Make) -> AsyncIterator[httpx.AsyncBaseTransport]:
    """Ours, and httpx's own, which it must agree with."""
    if request.param == "ours":
        yield make()
        return
    other = in_slices(httpx.AsyncHTTPTransport(verify=trusted()))
    yield other
    await other.aclose()
