"""What the benchmarks measure, at a tiny size: that each gives figures, and notices what a server loses."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from benchmarks.contenders import Contender, Running, bare, hookchain
from benchmarks.delay import delayed
from benchmarks.measures import Size
from benchmarks.side_by_side import by_turns, cell, ratios, show
from benchmarks.upstream import Arrivals

TINY = Size(ingest_s=0.05, trickled=2, burst=5)


@pytest.mark.process
def test_two_servers_by_turns_give_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Every figure of ours, ingest and answers of the bare route, and a line for a peer that is not there."""
    absent = Contender(name="a peer", missing="not measured: npm is not installed")
    results, missing = by_turns([hookchain(), bare(), absent], TINY, rounds=1)
    assert missing == {"a peer": "not measured: npm is not installed"}
    (ours,), (reference,) = results["hookchain"], results["bare Starlette"]
    assert ours.ingest_rate
    assert ours.answer
    assert ours.follow_up
    assert ours.follow_up_rate
    assert ours.resident_mb
    assert reference.ingest_core_rate
    assert reference.follow_up_rate is None
    assert ratios([ours], [reference]) == [(ours.ingest_core_rate or 0) / reference.ingest_core_rate]
    capsys.readouterr()
    show(results, missing, reference="bare Starlette", title="")
    assert "| not measured: npm is not installed" in capsys.readouterr().out


@pytest.mark.process
def test_a_server_that_loses_callbacks_gets_no_figures() -> None:
    """It answered, but its table is empty."""

    @contextmanager
    def start(directory: Path, upstream_port: int, follows: bool) -> Iterator[Running]:
        with closing(sqlite3.connect(directory / "kept.db")) as connection:
            connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY)")
        honest = bare().start
        assert honest is not None
        with honest(directory, upstream_port, follows) as server:
            yield server

    forgetful = Contender(name="forgetful", start=start, kept_in=("kept.db", "events"))
    results, missing = by_turns([forgetful], Size(ingest_s=0.05, trickled=0, burst=0), rounds=2)
    assert results == {"forgetful": []}
    assert "callbacks and kept 0" in missing["forgetful"]


def test_a_cell_is_a_median_with_its_spread() -> None:
    """One round has no spread."""
    assert cell([0.5, 0.4, 0.9], 2) == "0.50 (0.40–0.90)"
    assert cell([1234.0], 0) == "1,234"
    assert cell([], 2) == ""


async def test_follow_ups_that_do_not_arrive_end_the_measurement() -> None:
    """With how many are missing. What came twice is counted, and its first arrival kept."""
    arrivals = Arrivals()
    arrivals.note("1")
    first = arrivals["1"]
    arrivals.note("1")
    assert (arrivals["1"], arrivals.repeated) == (first, 1)
    await arrivals.reach(1, within_s=60)
    with pytest.raises(RuntimeError, match="2 of 3 follow-ups did not arrive within 0 s"):
        await arrivals.reach(3, within_s=0.01)


@pytest.mark.process
async def test_the_proxy_delays_each_way_and_keeps_the_order() -> None:
    """An echo takes both ways; what is sent in pieces arrives as it was sent."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(6))
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server:
        with delayed(str(server.sockets[0].getsockname()[1]), 30) as (port, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            began_s = time.monotonic()
            for piece in (b"ab", b"cd", b"ef"):
                writer.write(piece)
                await asyncio.sleep(0)
            assert await reader.read() == b"abcdef"
            assert time.monotonic() - began_s >= 0.06
            writer.close()
