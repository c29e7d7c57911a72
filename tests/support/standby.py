"""Two PostgreSQL servers on loopback: a primary that answers a commit when its standby has it, and that standby."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from tests.conftest import PATIENCE_S, free_port
from tests.support.program import program

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "dynamic_shared_memory_type": "mmap",  # in the data directory, and so removed with it
    "fsync": "off",  # processes are killed here, not machines
    "hot_standby": "on",
}
STANDBY = "standby"


class Server:
    """One of the two. As root we start it as the user that Debian's package makes: PostgreSQL refuses to run as root."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """This server alone."""
        return f"postgresql://postgres@{self.address}/postgres"

    def run(self, name: str, *options: str) -> None:
        """One of PostgreSQL's programs, to its end."""
        ended = subprocess.run(
            [program(name), *options], **_as_its_user(), capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr

    def start(self, **settings: str) -> None:
        """Returns when it takes connections."""
        given = [f"--{name}={value}" for name, value in (SETTINGS | settings).items()]
        with (self.data.parent / f"{self.data.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program("postgres"), "-D", str(self.data), f"--port={self.port}", *given],
                stdout=log,
                stderr=log,
                **_as_its_user(),
            )
        self.ask("SELECT 1")

    def ask(self, question: str) -> Any:
        """The first value, once the server answers and it is not nothing."""
        began = time.monotonic()
        while True:
            with (
                contextlib.suppress(psycopg.OperationalError),
                psycopg.connect(self.url, autocommit=True) as it,
            ):
                row = it.execute(question.encode()).fetchone()
                if row is not None:
                    return row[0]
            assert time.monotonic() - began < PATIENCE_S, question
            time.sleep(0.05)  # another process: nothing of it can be awaited

    def signal(self, number: int) -> None:
        """To all of its processes: each is a group of its own."""
        if self._process is not None and self._process.poll() is None:
            pid = self._process.pid
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for one in (pid, *map(int, children)):
                with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                    os.kill(one, number)

    def kill(self) -> None:
        """kill -9 of all its processes, as when its machine loses power."""
        shared = (self.data / "postmaster.pid").read_text().split()
        self.signal(signal.SIGKILL)
        self.wait()
        subprocess.run(["ipcrm", "-m", shared[-2]], check=False)  # nobody else removes it

    def stop(self) -> None:
        """As it is stopped in an emergency; it removes its shared memory."""
        self.signal(signal.SIGCONT)
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self.wait()

    def wait(self) -> None:
        assert self._process is not None
        self._process.wait(PATIENCE_S)


class Pair:
    """A primary and its synchronous standby."""

    def __init__(self, directory: Path) -> None:
        self.primary = Server(directory / "primary")
        self.standby = Server(directory / "standby")

    @property
    def url(self) -> str:
        """Both servers, as an operator writes them."""
        return f"postgresql://postgres@{self.primary.address},{self.standby.address}/postgres"

    def start(self) -> None:
        """Returns when each commit at the primary waits for the standby."""
        self.primary.run(
            "initdb", "-D", str(self.primary.data), "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8"
        )
        self.primary.start(synchronous_standby_names=STANDBY)
        source = f"{self.primary.url}?application_name={STANDBY}"
        self.standby.run(
            "pg_basebackup", "-R", "-N", "-c", "fast", "-D", str(self.standby.data), "-d", source
        )
        self.standby.start()
        self.primary.ask("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'")

    def fail_over(self) -> None:
        """The primary is gone, and the standby is made the primary."""
        self.primary.kill()
        assert self.standby.ask("SELECT pg_promote()") is True

    def stop(self) -> None:
        """Both, if they run."""
        self.primary.stop()
        self.standby.stop()


@contextlib.contextmanager
def running() -> Iterator[Pair]:
    """A pair for the time of a `with` block."""
    program("initdb")
    # Not below pytest's own directory, which is closed to the user that the servers run as.
    directory = Path(tempfile.mkdtemp(prefix="hookchain-standby-"))
    if os.geteuid() == 0:
        shutil.chown(directory, "postgres")
    pair = Pair(directory)
    try:
        pair.start()
        yield pair
    finally:
        pair.stop()
        shutil.rmtree(directory)


def _as_its_user() -> dict[str, Any]:
    return (
        {"user": "postgres", "group": "postgres", "extra_groups": [], "cwd": "/"}
        if os.geteuid() == 0
        else {"cwd": "/"}
    )
