"""Real parts for tests: databases in files, servers and sandboxes as processes."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import hypothesis
import pytest
import structlog
from sqlalchemy.engine import make_url

from storage.driver import sqlite
from storage.engine import Database
from storage.migrate import migrate
from tests.support import installed, postgres
from tests.support.forked import Forked

pytest_plugins = ["tests.support.selection"]

T = TypeVar("T")

# How long an example takes is the machine's matter: one that is busy elsewhere for 0.2 s is no mistake of ours.
UNHURRIED = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("same examples", UNHURRIED, derandomize=True)
hypothesis.settings.register_profile("new examples", UNHURRIED)


def pytest_configure(config: pytest.Config) -> None:
    """The same examples in each run, so that a change is judged by the same tests; the long tests look for new ones."""
    is_soak = config.option.markexpr == "soak"
    hypothesis.settings.load_profile("new examples" if is_soak else "same examples")
    # Without this, rich would show source in colours for each frame of each error that a test provokes: 0.3 s of processor an error.
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])


# No test cuts the power (nor do the servers of tests/support/postgres.py write for that), and a disk takes up to 10 ms a commit.
# It is in this process alone: what tests start writes as it does everywhere.
DURABLE = sqlite.SYNCHRONOUS
sqlite.SYNCHRONOUS = "OFF"

CORPUS = Path(__file__).parent / "corpus"
REPOSITORY = Path(__file__).parent.parent
PATIENCE_S = 300.0
"""Where only a hang takes so long: a busy machine may be ten times slower than a quiet one."""

MEASURING = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
"""What makes coverage measure the processes that tests start."""


@pytest.fixture
def corpus() -> Callable[[str], bytes]:
    """The bytes of a recorded payload, by its file name."""
    return lambda name: (CORPUS / name).read_bytes()


@pytest.fixture(scope="session")
def postgres_itself() -> Iterator[str]:
    """A PostgreSQL that is there for the tests: TEST_DATABASE_URL, or one of our own."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    with postgres.running(durable=False) as server:
        yield server.url


@pytest.fixture(scope="session")
def postgres_server(postgres_itself: str) -> Iterator[str]:
    """That PostgreSQL; through PgBouncer, if TEST_PGBOUNCER is set."""
    if not os.environ.get("TEST_PGBOUNCER"):
        yield postgres_itself
        return
    from tests.support import pgbouncer  # it needs the processes of this file

    with pgbouncer.running(postgres_itself) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """A database with the schema of this release, emptied for each test: making one takes much longer."""
    with postgres.fresh_database(postgres_server) as url:
        migrate(url)
        yield url


@pytest.fixture(scope="session")
def postgres_emptied(postgres_template: str) -> Iterator[postgres.Emptied]:
    """What empties that database."""
    with contextlib.closing(postgres.Emptied(postgres_template)) as emptied:
        yield emptied


@pytest.fixture
def postgres_url(
    request: pytest.FixtureRequest,
    postgres_template: str,
    postgres_emptied: postgres.Emptied,
    postgres_itself: str,
) -> str:
    """An empty PostgreSQL database with the schema of this release."""
    postgres_emptied.empty()
    if request.node.get_closest_marker("unpooled") is None:
        return postgres_template
    name = make_url(postgres_template).database
    return make_url(postgres_itself).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path, new_file: Path) -> str:
    """An empty database with the schema of this release, of either kind."""
    if request.param == "postgres":
        url: str = request.getfixturevalue("postgres_url")
        return url
    shutil.copy(new_file, tmp_path / "hookchain.db")
    return f"sqlite:///{tmp_path}/hookchain.db"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open database, of either kind."""
    opened = Database(database_url)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def rows_are_held_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody who holds a row, or waits for one, is hung up on while a test looks at what the others do."""
    for limit in ("postgres.IDLE_IN_TRANSACTION_S", "writer.LOCKED_S", "writer.HANGS_S"):
        monkeypatch.setattr(f"storage.driver.{limit}", int(PATIENCE_S))


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine that runs the tests has set, they do not see it."""
    for name in os.environ:
        if name.startswith(("HOOKCHAIN_", "MJ_")) or name in ("PORT", "HOST", "DATABASE_URL", "LOG_LEVEL"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this repository, as it is now."""
    return installed.build_wheel(tmp_path_factory.mktemp("wheel"))


def _started(
    arguments: list[str], cwd: Path, environment: dict[str, str], without: str
) -> subprocess.Popen[str] | Forked:
    if arguments[:2] == ["-m", "hookchain"]:
        return Forked(arguments[2:], cwd=cwd, environment=environment, without=without)
    if arguments[0].endswith(".py"):
        return Forked(arguments, cwd=cwd, environment=environment)
    program = [] if os.access(arguments[0], os.X_OK) else [sys.executable]
    return subprocess.Popen(
        [*program, *arguments],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def client(url: str) -> httpx.Client:
    """For a server of ours, without TLS: to read certificate authorities takes longer than most requests."""
    return httpx.Client(base_url=url, timeout=PATIENCE_S, trust_env=False, verify=False)


class Process:
    """A command of ours that runs until it is stopped; it is ready when it has printed `ready`."""

    def __init__(
        self, arguments: list[str], *, ready: str, cwd: Path, environment: dict[str, str], without: str = ""
    ) -> None:
        self.lines: list[str] = []
        self._ready = threading.Event()
        self._pattern = re.compile(ready)
        environment = (
            {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(REPOSITORY)} | MEASURING | environment
        )
        self._process = _started(arguments, cwd, environment, without)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._ready.wait(PATIENCE_S):
            self.kill()
            raise AssertionError(f"{arguments} did not become ready:\n{self.output}")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip())
            if self._pattern.search(line):
                self._ready.set()
        self._ready.set()  # its end is news too

    @property
    def output(self) -> str:
        """All it has printed so far."""
        return "\n".join(self.lines)

    def find(self, pattern: str) -> str:
        """The first group of the first line that matches."""
        for line in self.lines:
            if found := re.search(pattern, line):
                return found[1]
        raise AssertionError(f"nothing matches {pattern!r} in:\n{self.output}")

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self.wait()

    def end(self) -> None:
        """Nobody needs it any more.

        A server of ours is killed: before its ordinary end it answers for a second on connections that are open, and a test that is
        about that says `stop`. What measures coverage is written at an ordinary end only, and other programs have children.
        """
        if self.is_running and (MEASURING or not isinstance(self._process, Forked)):
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        self.kill()

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self, timeout: float = PATIENCE_S) -> int:
        """Its exit code, once it has ended."""
        code = self._process.wait(timeout)
        self._reader.join(timeout)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """True until it has ended."""
        return self._process.poll() is None


class Sandbox(Process):
    """`hookchain sandbox` on a free port."""

    def __init__(self, cwd: Path, *options: str) -> None:
        super().__init__(
            ["-m", "hookchain", "sandbox", "--port", "0", *options],
            ready="sandbox upstream on",
            cwd=cwd,
            environment={},
        )
        self.url = self.find(r"(http://\S+)")
        self.http = client(self.url)

    def ledger(self) -> dict[str, Any]:
        """What it really accepted."""
        found: dict[str, Any] = self.http.get("/sandbox/ledger").json()
        return found

    def accepted(self, path: str) -> list[dict[str, Any]]:
        """Bodies of the submits to this path that made a task, or opened a window."""
        return [
            entry["body"]
            for entry in self.ledger()["submissions"]
            if entry["path"].endswith(path) and entry["code"] in (1, 21, 22)
        ]


class HookchainServer(Process):
    """`hookchain serve` on a free port, in a directory of its own."""

    def __init__(
        self, cwd: Path, environment: dict[str, str], command: list[str] | None = None, without: str = ""
    ) -> None:
        super().__init__(
            command or ["-m", "hookchain", "serve", "--port", "0"],
            ready="rules and plugins:|no rules and no plugins|^hookchain: ",
            cwd=cwd,
            environment=environment,
            without=without,
        )
        if any(line.startswith("hookchain: ") for line in self.lines):
            self.wait()  # it said why it ends
        if self.is_running:
            self.url = self.find(r"listens on (http://\S+)")
            self.http = client(self.url)

    @property
    def hook(self) -> str:
        """The notifyHook to register."""
        return self.find(r"notifyHook to register at \S+: (https?://\S+)")

    def get(self, path: str) -> Any:
        """What the API answers."""
        answer = self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def submit(self, **body: Any) -> Any:
        """Ask for a submission through the API."""
        answer = self.http.post("/api/submissions", json=body)
        assert answer.status_code == 202, answer.text
        return answer.json()


class HookchainWorker(Process):
    """`hookchain work`."""

    def __init__(self, cwd: Path, environment: dict[str, str]) -> None:
        super().__init__(
            ["-m", "hookchain", "work"],
            ready="worker started; rules and plugins:",
            cwd=cwd,
            environment=environment,
        )


def free_port() -> int:
    """For a command that must be told its port: one below those that the system gives away, so that it stays free."""
    for _ in range(100):
        port = 20_000 + secrets.randbelow(12_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")


def _eventually(question: Callable[[], T], *, within_s: float = PATIENCE_S) -> T:
    began = time.monotonic()
    while True:
        answer = question()
        if answer:
            return answer
        waited_s = time.monotonic() - began
        assert waited_s < within_s, f"not within {within_s} s; the last answer was {answer!r}"
        # Another process: nothing of it can be awaited, and asking slows it.
        time.sleep(min(max(0.05, waited_s / 10), 0.5))


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Ask another process until it says yes; fails after a while."""
    return _eventually


@pytest.fixture
def start_sandbox(tmp_path: Path) -> Iterator[Callable[..., Sandbox]]:
    """Start a sandbox with command-line options."""
    started: list[Sandbox] = []

    def start(*options: str) -> Sandbox:
        started.append(Sandbox(tmp_path, *options))
        return started[-1]

    yield start
    for process in started:
        process.http.close()
        process.end()


@pytest.fixture(scope="session")
def new_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the schema of this release: copied, it spares each server a third of its start, and each test 50 ms."""
    file = tmp_path_factory.mktemp("template") / "hookchain.db"
    migrate(f"sqlite:///{file}")
    return file


@pytest.fixture
def new_database(tmp_path: Path, new_file: Path) -> Path:
    """A directory with an empty SQLite database of this release, as servers look for it there."""
    shutil.copy(new_file, tmp_path / "hookchain.db")
    return tmp_path


@pytest.fixture
def start_server(tmp_path: Path, new_file: Path) -> Iterator[Callable[..., HookchainServer]]:
    """Start a server over one database, with a hookchain.toml and environment variables."""
    started: list[HookchainServer] = []
    shutil.copy(new_file, tmp_path / "hookchain.db")

    def start(
        *, toml: str = "", command: list[str] | None = None, without: str = "", **environment: str
    ) -> HookchainServer:
        if toml:
            (tmp_path / "hookchain.toml").write_text(toml)
        started.append(
            HookchainServer(tmp_path, {"HOOKCHAIN_SECRET": "a test's secret"} | environment, command, without)
        )
        return started[-1]

    yield start
    for process in started:
        if hasattr(process, "http"):
            process.http.close()
        process.end()


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[Callable[..., HookchainWorker]]:
    """Start a worker with environment variables, in the directory of the servers."""
    started: list[HookchainWorker] = []

    def start(**environment: str) -> HookchainWorker:
        started.append(HookchainWorker(tmp_path, {"HOOKCHAIN_SECRET": "a test's secret"} | environment))
        return started[-1]

    yield start
    for process in started:
        process.end()
