"""The Procfile, run for real: `release`, `web` and `worker` with PORT and a PostgreSQL; stopped, started, nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import PATIENCE_S, REPOSITORY, free_port
from tests.deploy.recipes import procfile
from tests.support.postgres import fresh_database

TOKEN = "a long token that nobody guesses"


class Procfile:
    """honcho over the repository's Procfile, in a directory that has nothing but it and a hookchain.toml."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self.url = f"http://127.0.0.1:{environment['PORT']}"
        self.lines: list[str] = []
        self._environment = environment
        honcho = Path(sys.executable).parent / "honcho"
        self._honcho = [str(honcho), "-f", str(REPOSITORY / "Procfile"), "-d", str(directory)]
        self._process: subprocess.Popen[str] | None = None

    def release(self) -> str:
        """What the platform runs before the new processes start."""
        done = subprocess.run(
            [*self._honcho, "run", *procfile()["release"].split()],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> None:
        """Web and worker, as the platform does."""
        self._process = subprocess.Popen(
            [*self._honcho, "start", "web", "worker"],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        deadline = time.monotonic() + PATIENCE_S
        while not self._ready():
            assert time.monotonic() < deadline, "\n".join(self.lines)
            time.sleep(0.1)  # other processes: nothing of them can be awaited

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self.lines.append(line.rstrip())

    def _ready(self) -> bool:
        try:
            answer = httpx.get(f"{self.url}/readyz", trust_env=False, timeout=PATIENCE_S)
        except httpx.HTTPError:
            return False
        return answer.status_code == 200 and sum("worker started; rules" in line for line in self.lines) > 0

    def stop(self) -> None:
        """SIGTERM to all."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(PATIENCE_S)
            self._reader.join(PATIENCE_S)


@pytest.fixture(scope="session")
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which `python` has the wheel of this repository, and nothing of the checkout.

    DEPLOY_PYTHON names an interpreter that has it already (CI: in a virtual environment of its own); without one the
    wheel is built and put beside the libraries that the tests run with.
    """
    path = os.environ["PATH"]
    if python := os.environ.get("DEPLOY_PYTHON"):
        return {"PATH": f"{Path(python).parent}{os.pathsep}{path}"}
    work = tmp_path_factory.mktemp("wheel")
    wheel: Path = request.getfixturevalue("wheel")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(work / "site")
    return {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{path}", "PYTHONPATH": str(work / "site")}


@pytest.fixture
def deployed(tmp_path: Path, installed: dict[str, str], start_sandbox: Any, postgres_server: str) -> Any:
    """A database that nobody has migrated, an upstream, and the processes; rules by a file, everything else by variables."""
    sandbox = start_sandbox("--speed", "10")
    directory = tmp_path / "app"
    directory.mkdir()
    (directory / "hookchain.toml").write_text((REPOSITORY / "hookchain.toml").read_text())
    with fresh_database(postgres_server) as url:
        environment = installed | {
            "PORT": str(free_port()),
            "DATABASE_URL": url.replace("postgresql://", "postgres://"),
            "HOOKCHAIN_UPSTREAM_URL": sandbox.url,
            "HOOKCHAIN_UPSTREAM_QUIET_S": "1",
            "HOOKCHAIN_ADMIN_TOKEN": TOKEN,
        }
        processes = Procfile(directory, environment)
        yield processes, sandbox
        processes.stop()


def test_the_procfile_runs_a_chain_through_a_restart(deployed: Any, eventually: Any) -> None:
    """Chains are begun, everything is stopped by SIGTERM in the middle, started again, and comes to its end."""
    processes, sandbox = deployed
    assert "revision" in processes.release()
    processes.start()
    with httpx.Client(
        base_url=processes.url,
        headers={"authorization": f"Bearer {TOKEN}"},
        trust_env=False,
        timeout=PATIENCE_S,
    ) as http:
        for number in range(6):
            http.post(
                "/api/submissions", json={"kind": "imagine", "prompt": f"cat {number}"}
            ).raise_for_status()
        eventually(lambda: len(sandbox.accepted("/action")) >= 2)
        processes.stop()
        assert "revision" in processes.release()
        processes.start()

        def ended() -> list[dict[str, Any]]:
            tasks = http.get("/api/tasks?status=SUCCESS&limit=200").json()["tasks"]
            return [task for task in tasks if task["chain_id"]]

        eventually(lambda: len(ended()) == 30)
    pressed = Counter((body["taskId"], body["customId"]) for body in sandbox.accepted("/action"))
    assert len(sandbox.accepted("/imagine")) == 6
    assert (len(pressed), set(pressed.values())) == (24, {1})
    output = "\n".join(processes.lines)
    assert "Traceback" not in output
    assert "a token" not in output
