"""The servers that are measured side by side: each is started with the same work to do, as a process of its own on core 0."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from benchmarks.targets import HOOK, ROOT, target, watched_target

PRESS_ONE = """
[[rules]]
name = "press-one"
on = "task.succeeded"
if = "task.is_grid"
press = "U1"

[upstreams.main]
concurrency = 32
"""
"""The rule that each peer does in its own way: press one button of each finished grid, with up to 32 requests under way."""


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A server that listens: where callbacks go, the processes that it consists of, and their core, None if they may use any."""

    port: int
    process_ids: tuple[int, ...]
    path: str = HOOK
    core: int | None = 0


Start = Callable[[Path, int, bool], AbstractContextManager[Running]]
"""Starts a server in an empty directory. The second argument is the upstream's port; the third says whether it sends follow-ups."""


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    """A server to measure, or the reason why it is not: then the table has this line instead of figures.

    `stores`: it can be sent any number of callbacks, most of which ask for nothing. `follows`: it can send follow-ups. `kept_in`: the
    SQLite file and the table with a row for each callback that it answered.
    """

    name: str
    start: Start | None = None
    missing: str = ""
    stores: bool = True
    follows: bool = True
    kept_in: tuple[str, str] | None = None


def bare(kind: str = "bare", *, name: str = "bare Starlette", core: int | None = 0) -> Contender:
    """A Starlette route that reads the body and answers: what all ratios refer to. `kind`: another server of `targets.py`."""

    @contextlib.contextmanager
    def start(directory: Path, _upstream_port: int, _follows: bool) -> Iterator[Running]:
        with target(kind, directory, core=core) as (port, process_id):
            yield Running(port=port, process_ids=(process_id,), core=core)

    return Contender(name=name, start=start, follows=False)


def hookchain(
    verify: str = "trust", *, name: str = "hookchain", checkout: Path = ROOT, core: int | None = 0
) -> Contender:
    """A checkout's server on SQLite. `verify`: "trust", or "fetch" to read each task back before a receiver runs."""

    @contextlib.contextmanager
    def start(directory: Path, upstream_port: int, follows: bool) -> Iterator[Running]:
        if follows:
            (directory / "hookchain.toml").write_text(f'{PRESS_ONE}verify = "{verify}"\n')
        with watched_target(directory, upstream_port=upstream_port, checkout=checkout, core=core) as server:
            yield Running(port=server[0], process_ids=(server[1],), core=core)

    return Contender(name=name, start=start, kept_in=("hookchain.db", "events"))
