"""Where something of Linux is missing: no wheel of uvloop or httptools, and Windows, which has no fcntl, no resource, and no
signal handlers of a loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY, Process

pytestmark = pytest.mark.process

RULES = (REPOSITORY / "hookchain.toml").read_text()

WINDOWS_LOCKS = """
import ctypes, subprocess, sys, types  # subprocess takes a system that has msvcrt for Windows: it comes first
def locking(handle, mode, count):
    if ctypes.CDLL(None).flock(handle, 2 | 4):
        raise PermissionError(13, "Permission denied")
sys.modules["fcntl"] = None
sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, locking=locking)
"""
NO_SIGNAL_HANDLERS = """
import asyncio.unix_events
def add_signal_handler(*_):
    raise NotImplementedError
asyncio.unix_events._UnixSelectorEventLoop.add_signal_handler = add_signal_handler
"""
WITHOUT = {
    "uvloop": "import sys; sys.modules['uvloop'] = None",
    "httptools": "import sys; sys.modules['httptools'] = None",
    "fcntl": WINDOWS_LOCKS,
    "resource": "import sys; sys.modules['resource'] = None",
}
WITHOUT["all of them"] = "\n".join([*WITHOUT.values(), NO_SIGNAL_HANDLERS])


@pytest.mark.parametrize("what", WITHOUT)
def test_serve_runs_a_chain_and_stops(what: str, start_server: Any, eventually: Any) -> None:
    """With the built-in sandbox: an imagine, its four upscales, SIGTERM."""
    serve = ["-m", "hookchain", "serve", "--port", "0", "--sandbox-speed", "50"]
    server = start_server(toml=RULES, command=serve, without=WITHOUT[what])
    assert server.get("/healthz") == {"status": "ok"}
    server.submit(kind="imagine", prompt="a cat")
    eventually(lambda: len(server.get("/api/tasks?status=SUCCESS")["tasks"]) == 5)
    server.http.close()
    assert server.stop() == 0, server.output
    assert "Traceback" not in server.output


def test_one_process_works_on_a_file_without_fcntl(start_server: Any) -> None:
    """The lock of Windows does the same: the second waits for its turn."""
    start_server(without=WITHOUT["fcntl"])
    second = start_server(without=WITHOUT["fcntl"])
    assert any("takes over when that process ends" in line for line in second.lines), second.output


@pytest.mark.parametrize("what", ["uvloop", "all of them"])
@pytest.mark.parametrize(
    ("arguments", "ready"),
    [(["work"], "this worker has nothing to do"), (["sandbox", "--port", "0"], "sandbox upstream on")],
)
def test_work_and_sandbox_stop_at_a_signal(
    tmp_path: Path, what: str, arguments: list[str], ready: str, eventually: Any
) -> None:
    """With nothing that wakes the loop but the signal."""
    process = Process(
        ["-m", "hookchain", *arguments],
        ready=ready,
        cwd=tmp_path,
        environment={"LOG_LEVEL": "debug"},
        without=WITHOUT[what],
    )
    assert process.stop() in (0, -15), process.output  # a signal may come before anything listens for it
    assert "Traceback" not in process.output
