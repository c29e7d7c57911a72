"""Huey with a SQLite queue and fsync: a web process that enqueues, and a consumer process with four threads. Both on core 0."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from benchmarks.contenders import Contender, Running
from benchmarks.peers import installed
from benchmarks.processes import free_port, started, wait_for

NAME = "Huey, SQLite with fsync"


def contender() -> Contender:
    """Huey from PyPI."""
    try:
        python = installed.python()
    except installed.MissingError as error:
        return Contender(name=NAME, missing=str(error))

    @contextlib.contextmanager
    def start(directory: Path, upstream_port: int, follows: bool) -> Iterator[Running]:
        port = free_port()
        environment = {
            "PYTHONPATH": str(installed.APART),
            "UPSTREAM": f"http://127.0.0.1:{upstream_port}/mj/submit/action",
        }
        web = [str(python), "-m", "uvicorn", "huey_app:app", "--port", str(port), "--no-access-log"]
        # A consumer polls: every ten milliseconds is the shortest pause that does not fill a core.
        consumer = [
            str(python.parent / "huey_consumer"),
            "huey_app.huey",
            "-w",
            "4",
            "-k",
            "thread",
            "-d",
            "0.01",
            "-m",
            "0.01",
            "-q",
        ]
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(started([*web, "--log-level", "error"], directory, environment))
            wait_for(port, first)
            processes = [first]
            if follows:
                processes.append(stack.enter_context(started(consumer, directory, environment)))
            yield Running(port=port, process_ids=tuple(process.pid for process in processes), path="/hook")

    return Contender(name=NAME, start=start, kept_in=("huey.db", "task"))
