"""`make bench`: hookchain beside other programs on the same work. `--quick` compares with the committed figures instead; `--all`
measures memory, pages, commands, open pages and PostgreSQL too."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console

import hookchain
from benchmarks import live, memory, pages, postgres, quick, recorded
from benchmarks.contenders import Contender, bare
from benchmarks.contenders import hookchain as ours
from benchmarks.measures import Size
from benchmarks.peers import huey, node_red, prototype, webhook
from benchmarks.processes import CORES, pin, pin_to_all
from benchmarks.side_by_side import by_turns, show

NOTES = """
Medians of rounds by turns, in brackets the lowest and the highest round. Ingest: 64 keep-alive connections, 1.3 to 2.4 kB a callback, \
answered when it is stored; Huey stores by enqueueing, without its consumer; webhook stores nothing. At 20/s: from when a callback was \
due, so waiting counts. Saturated: all callbacks at once over 64 connections, until the last follow-up has arrived. CPU: of all \
processes of a server. Core to itself: the rate for each second in which other programs left the server its core; the ratio is of these, \
so that a busy machine matters less. SQLite with synchronous=FULL everywhere; webhook and the bare route have no database. Verify on: each task is \
read back at the upstream before the rule runs.
"""


INGEST_ONLY = Size(trickled=0, burst=0)


class Arguments(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for on the command line."""

    quick: bool
    all: bool
    rounds: int
    prototype: Path | None
    peers: bool


def main() -> None:
    """Measure and print. Exits with 1 only if `--quick` finds that a figure fell."""
    asked = _asked()
    pinning = pin(1)
    if asked.quick:
        quick.check()
        return
    console = Console(width=160)
    console.print(
        f"hookchain {hookchain.__version__}, {time.strftime('%Y-%m-%d')}, {len(CORES)} cores; "
        f"server on core 0, senders and upstream on core 1: {pinning}\n"
    )
    results, missing = by_turns([*_ours(), *_peers(asked)], Size(), asked.rounds)
    # What has no process to start is missing from the first round on, and has a line of its own.
    show(results, missing, reference="bare Starlette", title="")
    console.print(NOTES)
    _free_cores(asked.rounds)
    if asked.all:
        _the_rest(asked.rounds)


def _asked() -> Arguments:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="compare with the committed figures, in short rounds"
    )
    parser.add_argument(
        "--all", action="store_true", help="measure memory, pages, commands and PostgreSQL too"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prototype", type=Path, help="a directory with ingest.py and pipeline.py")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="install and measure no peers")
    return msgspec.convert(vars(parser.parse_args()), Arguments)


def _ours() -> Sequence[Contender]:
    return (
        ours(name="hookchain, verify off"),
        ours("fetch", name="hookchain, verify on"),
        bare(),
    )


def _peers(asked: Arguments) -> list[Contender]:
    given = prototype.contenders(asked.prototype.resolve()) if asked.prototype else []
    if not asked.peers:
        return given
    return [*given, huey.contender(), node_red.contender(), webhook.contender()]


def _free_cores(rounds: int) -> None:
    """Ingest again with the servers on any core, where a second core can help."""
    pin_to_all()
    contenders = [ours(name="hookchain, verify off", core=None), bare(core=None)]
    results, missing = by_turns(contenders, INGEST_ONLY, rounds)
    show(results, missing, reference="bare Starlette", title="The same with all cores free for all:\n")
    pin(1)


def _the_rest(rounds: int) -> None:
    """What the routes cost without and with parts of ours, and everything that is not about follow-ups."""
    contenders = [
        bare(),
        bare("bounded", name="bare, behind the limits of hooks/http"),
        bare("naive", name="one INSERT and COMMIT a request, no task"),
        ours(name="hookchain, verify off"),
    ]
    results, missing = by_turns(contenders, INGEST_ONLY, rounds)
    show(results, missing, reference="bare Starlette", title="Ingest:\n")
    memory.measure(seconds=60, pictures=24)
    recorded.measure(100_000)
    pages.measure(tasks=100_000, requests=30)
    live.measure(tasks=100_000, seconds=5.0, rounds=6)
    pin_to_all()
    postgres.measure(seconds=4.0, chains=1_000, rows=1_000_000, rounds=rounds)


if __name__ == "__main__":
    main()
