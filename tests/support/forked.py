"""`hookchain …` as a process, forked from one that has loaded it already: to load takes most of a start. So is a program of a
test that runs the same modules.

The process is as real as any: it has its own id, and signals and `kill -9` meet it alone. What only the interpreter's own
start can show, tests/hookchain/test_namesakes.py, tests/deploy/test_procfile.py and the tutorial show.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TextIO

from hookchain.namesakes import PACKAGES
from tests.support import stepping

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.support.preloaded"])


class Forked:
    """What `subprocess.Popen` is, as far as tests need it; standard output and error are one.

    `without` is a program that takes something away before anything of ours is loaded, and uvicorn.
    """

    def __init__(
        self, arguments: list[str], *, cwd: Path, environment: Mapping[str, str], without: str = ""
    ) -> None:
        sys.audit("os.fork")  # another process does it for this one: see tests/support/selection.py
        ours, theirs = _context.Pipe(duplex=False)
        self._process = _context.Process(
            target=_run, args=(arguments, cwd, dict(environment), without, theirs), daemon=True
        )
        self._process.start()
        theirs.close()
        self.stdout: TextIO = os.fdopen(os.dup(ours.fileno()), encoding="utf-8")
        ours.close()
        pid = self._process.pid
        assert pid is not None
        self.pid: int = pid

    def send_signal(self, number: int) -> None:
        """To it, while it runs."""
        if self._process.is_alive():
            os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9."""
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """Its exit code, minus the number of the signal that ended it. Raises `subprocess.TimeoutExpired`."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("hookchain", timeout)
        return self._process.exitcode


def run(
    arguments: list[str], *, cwd: Path, environment: Mapping[str, str], timeout: float, unread: bool = False
) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run` does: its exit code, and what it wrote, once it has ended. `unread`: its standard output is a pipe
    whose reader has ended."""
    sys.audit("os.fork")
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as until_it_runs:
        written = [Path(directory, "stdout"), Path(directory, "stderr")]
        broken = until_it_runs.enter_context(_broken_pipe()) if unread else None
        process = _context.Process(
            target=_run_into, args=(arguments, cwd, dict(environment), written, broken)
        )
        process.start()
        until_it_runs.close()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(arguments, timeout)
        return subprocess.CompletedProcess(
            arguments, process.exitcode, *(file.read_text() for file in written)
        )


def _broken_pipe() -> Connection:
    reader, writer = _context.Pipe(duplex=False)
    reader.close()
    return writer


def _run_into(
    arguments: list[str],
    cwd: Path,
    environment: dict[str, str],
    written: list[Path],
    broken: Connection | None,
) -> None:
    for number, file in enumerate(written, 1):
        with file.open("wb") as opened:
            os.dup2(opened.fileno(), number)
    if broken is not None:
        os.dup2(broken.fileno(), 1)
        broken.close()
    _command(arguments, cwd, environment)


_LOADED_AGAIN = {*PACKAGES, "hookchain", "uvicorn"}


def _run(
    arguments: list[str], cwd: Path, environment: dict[str, str], without: str, output: Connection
) -> None:
    for number in (1, 2):
        os.dup2(output.fileno(), number)
    output.close()
    if without:
        for name in list(sys.modules):
            if name.partition(".")[0] in _LOADED_AGAIN:
                del sys.modules[name]
        exec(without, {})
    _command(arguments, cwd, environment)


def _command(arguments: list[str], cwd: Path, environment: dict[str, str]) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    stepping.follow(environment)
    if arguments[0].endswith(".py"):
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
        return
    sys.argv = ["hookchain", *arguments]
    from hookchain.cli import main

    main()
