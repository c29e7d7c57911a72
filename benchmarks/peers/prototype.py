"""A prototype outside this repository: `ingest.py` (a receiver without the durable steps) and `pipeline.py` (with them).

They run from their own directory in the peers' environment. `apart/limits.py` is the one module that `ingest.py` imports and
does not bring.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.contenders import Contender, Running
from benchmarks.peers import installed
from benchmarks.processes import free_port, started, wait_for


def contenders(directory: Path) -> list[Contender]:
    """What there is in the prototype's directory."""
    aiohttp = {"STORE": "values", "SYNC": "FULL", "FRAME": "asgi", "CACHE_KB": "8192"}
    durable = {"SEND": "httpx", "SYNC": "FULL"}
    return [
        _contender("prototype", directory, "ingest", aiohttp, "DISPATCH"),
        _contender("prototype, durable steps", directory, "pipeline", durable, "FOLLOW"),
    ]


def _contender(
    name: str, prototype: Path, module: str, settings: Mapping[str, str], upstream: str
) -> Contender:
    if not (prototype / f"{module}.py").exists():
        return Contender(name=name, missing=f"not measured: the directory has no {module}.py")
    try:
        python = installed.python()
    except installed.MissingError as error:
        return Contender(name=name, missing=str(error))

    @contextlib.contextmanager
    def start(directory: Path, upstream_port: int, follows: bool) -> Iterator[Running]:
        port = free_port()
        path = f"{prototype}:{installed.APART}"
        environment = {**settings, "DB": str(directory / "prototype.db"), "PYTHONPATH": path}
        if follows:
            environment[upstream] = f"http://127.0.0.1:{upstream_port}/follow"
        server = [str(python), "-B", "-m", "uvicorn", f"{module}:app", "--port", str(port), "--no-access-log"]
        with started([*server, "--log-level", "error"], directory, environment) as process:
            wait_for(port, process)
            yield Running(port=port, process_ids=(process.pid,), path="/hook")

    return Contender(name=name, start=start, kept_in=("prototype.db", "events"))
