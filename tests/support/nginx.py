"""nginx of Debian's package, in front of a server of ours on this machine, and a forwarder of TCP."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import Process, free_port
from tests.support.program import program

CONFIGURATION = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr notice;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
    {servers}
}}
"""

RECIPES = {
    # The default of nginx since 1.29.7, https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_http_version
    "plain": 'proxy_http_version 1.1; proxy_set_header Connection "";',
    # https://nginx.org/en/docs/http/websocket.html
    "websocket": (
        "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
        "proxy_set_header Connection $connection_upgrade;"
    ),
    # As guides for server-sent events have it.
    "events": (
        'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_cache off; '
        "chunked_transfer_encoding off;"
    ),
    # What nginx before 1.29.7 does by itself: HTTP/1.0.
    "older": "",
}
"""What stands in `location /` beside `proxy_pass`. None of them sends forwarding headers."""


@contextlib.contextmanager
def running(directory: Path, server_url: str) -> Iterator[dict[str, str]]:
    """The address of the server through each of the recipes."""
    ports = {name: free_port() for name in RECIPES}
    servers = "\n".join(
        f"server {{ listen 127.0.0.1:{ports[name]}; location / {{ proxy_pass {server_url}; {recipe} }} }}"
        for name, recipe in RECIPES.items()
    )
    file = directory / "nginx.conf"
    file.write_text(CONFIGURATION.format(directory=directory, servers=servers))
    command = [program("nginx"), "-p", str(directory), "-c", str(file), "-e", "stderr"]
    process = Process(command, ready="start worker|using the", cwd=directory, environment={})
    try:
        yield {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    finally:
        process.end()


class _Forward(socketserver.BaseRequestHandler):
    """One connection, both ways, until each side is done."""

    there: tuple[str, int]

    def handle(self) -> None:
        """Carry it."""
        with socket.create_connection(self.there) as other:
            back = threading.Thread(target=_pump, args=(other, self.request))
            back.start()
            _pump(self.request, other)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def forwarder(server_url: str) -> Iterator[str]:
    """The address of a TCP forwarder, such as `socat` or `ssh -R`: it changes no byte."""
    host, _, port = server_url.removeprefix("http://").partition(":")
    handler = type("Forward", (_Forward,), {"there": (host, int(port))})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
