"""PgBouncer of Debian's package, which gives each transaction any of its connections to a PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from storage.driver.postgres import parse
from tests.conftest import Process, free_port
from tests.support.program import program

CONFIGURATION = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listens}
unix_socket_dir =
pool_mode = transaction
auth_type = trust
auth_file = {directory}/users
auth_user = postgres
auth_query = SELECT usename, passwd FROM pg_shadow WHERE usename = $1
server_round_robin = 1
max_client_conn = 200
"""
"""As it comes, but for the users, who are those of the server; and each transaction has another connection than the last."""


@contextlib.contextmanager
def running(server_url: str) -> Iterator[str]:
    """The address of a server through a PgBouncer. It runs as the user who may use the server's socket."""
    known = conninfo_to_dict(parse(server_url).conninfo)
    host, port = str(known.get("host") or "127.0.0.1"), known.get("port") or 5432
    directory = Path(tempfile.mkdtemp(prefix="hookchain-pgbouncer-"))
    listens = free_port()
    (directory / "users").write_text('"postgres" ""\n')
    file = directory / "pgbouncer.ini"
    file.write_text(CONFIGURATION.format(host=host, port=port, listens=listens, directory=directory))
    command = [program("pgbouncer"), str(file)]
    if os.geteuid() == 0:
        user = str(Path(host).owner() if host.startswith("/") else "postgres")
        for path in (directory, *directory.iterdir()):
            shutil.chown(path, user)
        command = [program("setpriv"), "--reuid", user, "--regid", user, "--clear-groups", *command]
    process = Process(command, ready="process up", cwd=Path("/"), environment={})
    try:
        yield f"postgresql://{known.get('user', 'postgres')}@127.0.0.1:{listens}/{known.get('dbname', 'postgres')}"
    finally:
        process.kill()
        shutil.rmtree(directory)
