"""`hookchain …` as a process, forked from one that has loaded it already: to load takes most of a start.

The process is as real as any: it has its own id, and signals and `kill -9` meet it alone. What only the interpreter's own
start can show, tests/hookchain/test_cli.py, tests/deploy/test_procfile.py and the tutorial show.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TextIO

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["hookchain.cli.serve", "hookchain.cli.sandbox"])


class Forked:
    """What `subprocess.Popen` is, as far as tests need it; standard output and error are one."""

    def __init__(self, arguments: list[str], *, cwd: Path, environment: Mapping[str, str]) -> None:
        ours, theirs = _context.Pipe(duplex=False)
        self._process = _context.Process(
            target=_run, args=(arguments, cwd, dict(environment), theirs), daemon=True
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


def _run(arguments: list[str], cwd: Path, environment: dict[str, str], output: Connection) -> None:
    for number in (1, 2):
        os.dup2(output.fileno(), number)
    output.close()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["hookchain", *arguments]
    from hookchain.cli import main

    main()
