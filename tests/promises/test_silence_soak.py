"""Many chains on four processes and one PostgreSQL, at an upstream with all its manners at once, while processes are killed: nothing
is paid twice, and what a person has to settle is printed, each with its reason. Long with `make soak`; SOAK_CHAINS sets how many.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from storage.schema import SCHEMA
from tests.hostile.desk import Trouble
from tests.hostile.manners import Manners
from tests.hostile.upstream import Hostile
from tests.promises.test_many_processes import Site, submit_all
from tests.support.copies import PostgresCopies
from tests.support.silence import RULES

UPSTREAM = """
[budget]
per_hour = 100_000

[upstreams.main]
url = "{url}"
key = "sk-1"
dialect = "trueai"
concurrency = 12
timeout_s = 4
settle_after_s = 2.0
look_after_s = 0.5
quiet_s = 1.0
"""
ZOOM = """
[[rules]]
name = "zoom"
on = "task.succeeded"
if = "task.action == 'UPSCALE' and chain.depth == 1"
press = "custom_zoom"
"""
TROUBLES: list[Trouble] = [
    "lost",
    "closed",
    "reset",
    "502",
    "504",
    "silence",
    "dropped",
    "unpaid 502",
    "429",
    "queue full",
]
SEED, SHARE = 17, 0.15
"""So many of the submits meet trouble, and so many callbacks are lost."""

MANNERS = Manners(
    relay="both",
    state_on=frozenset({"imagine", "action"}),
    echoes_hook=False,
    list_behind_s=3,
    list_newest=200,
    registers_after_s=6,
    registers_late=frozenset({"change"}),
    loses_at_once=True,
    works_s=0.5,
    skew_s=-90,
    windows_say_prompt=False,
)
UNKNOWN_TO_COPY = 40
"""Submits after the copy was made. The list shows them all: of those it does not show, a person would have to say what became of
them, and nothing would leave until then."""
OPEN = "('', 'NOT_START', 'SUBMITTED', 'IN_PROGRESS')"
SIZES = [
    pytest.param(3, 1, id="3 chains"),
    pytest.param(int(os.environ.get("SOAK_CHAINS", "1000")), 30, id="soak", marks=pytest.mark.soak),
]


@pytest.fixture
def upstream() -> Iterator[Hostile]:
    """With all manners at once, by a seed."""
    made, luck = Hostile(MANNERS, secret="sk-1"), random.Random(SEED)
    lock = threading.Lock()

    def trouble(_kind: str) -> Trouble | None:
        with lock:
            # Half of those that are in trouble are also taken much later than they came: after their sender has given up.
            late = (
                frozenset({"imagine", "action", "modal"}) if luck.random() < SHARE / 2 else frozenset[str]()
            )
            made.change(registers_late=late)
            return luck.choice(TROUBLES) if late or luck.random() < SHARE / 2 else None

    def loses() -> bool:
        with lock:
            return luck.random() < SHARE

    made.desk.chance, made.loses_callback = trouble, loses
    yield made
    made.stop()


def counts(url: str) -> dict[str, int]:
    """How many submissions are in each state."""
    with psycopg.connect(url) as connection:
        found = connection.execute(f"SELECT state, count(*) FROM {SCHEMA}.submissions GROUP BY state")
        return {str(state): int(count) for state, count in found}


def is_at_rest(url: str, chains: int) -> bool:
    """Whether every imagine was asked for, and nothing is under way any more."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            f"SELECT (SELECT count(*) FROM {SCHEMA}.submissions WHERE kind = 'imagine'),"
            f" (SELECT count(*) FROM {SCHEMA}.submissions WHERE state IN ('waiting', 'sending')),"
            f" (SELECT count(*) FROM {SCHEMA}.deliveries WHERE state IN ('waiting', 'running')),"
            f" (SELECT count(*) FROM {SCHEMA}.tasks WHERE chain_id IS NOT NULL AND status IN {OPEN})"
        ).fetchone()
        return row == (chains, 0, 0, 0)


def for_a_person(url: str) -> list[Any]:
    """What nobody knows the end of, with what we say of it."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            f"SELECT kind, label, outcome, reason, id FROM {SCHEMA}.submissions WHERE state = 'uncertain' ORDER BY kind"
        ).fetchall()


@pytest.mark.parametrize(("chains", "kills"), SIZES)
def test_with_all_manners_at_once_nothing_is_paid_twice(
    upstream: Hostile,
    start_server: Any,
    start_worker: Any,
    eventually: Any,
    tmp_path: Path,
    postgres_server: str,
    postgres_url: str,
    chains: int,
    kills: int,
) -> None:
    """While chains are submitted and grow, processes are killed, and a copy of the database is put back in the middle of the long
    run; prints what is left for a person."""
    began, moments = time.monotonic(), random.Random(SEED)
    (tmp_path / "hookchain.toml").write_text(RULES + ZOOM + UPSTREAM.format(url=upstream.url))
    site = Site(start_server, start_worker, postgres_url)
    copies = PostgresCopies(postgres_server, postgres_url)
    addresses = [web.url for web in site.webs]
    submitting = threading.Thread(target=submit_all, args=(addresses, range(chains)), daemon=True)
    submitting.start()
    try:
        for number in range(kills):
            reached = len(upstream.ledger.submits) + moments.randint(1, max(2, 13 * chains // kills))
            eventually(
                lambda reached=reached: (
                    len(upstream.ledger.submits) >= reached or is_at_rest(postgres_url, chains)
                )
            )
            site.kill(number)
            if number == kills // 2 and kills > 2:
                site.restart(copies.make)
                known = len(upstream.ledger.submits) + UNKNOWN_TO_COPY
                eventually(lambda known=known: len(upstream.ledger.submits) >= known)
                site.restart(copies.put_back)
        submitting.join()
        submit_all(addresses, range(chains))  # clients ask again for what the copy lacks
        eventually(lambda: is_at_rest(postgres_url, chains), within_s=120 + 3 * chains)
        looks = upstream.ledger.lists() + 4
        eventually(
            lambda: (
                is_at_rest(postgres_url, chains)
                and (not for_a_person(postgres_url) or upstream.ledger.lists() >= looks)
            )
        )
    finally:
        report(upstream, postgres_url)
        copies.drop()
    assert upstream.ledger.paid_twice() == []
    print(f"{chains} chains, {kills} kills of each kind in {time.monotonic() - began:.0f} s")


def report(upstream: Hostile, url: str) -> None:
    """Print what came, what was paid, and what is left for a person."""
    came, paid = len(upstream.ledger.submits), len(upstream.ledger.paid())
    print(
        f"\n{paid} paid of {came} submits that came, twice: {upstream.ledger.paid_twice()}; {counts(url)}; for a person:"
    )
    for one in for_a_person(url):
        print("  ", *one)
    with psycopg.connect(url) as connection:
        for row in connection.execute(f"SELECT name, paused, pause_reason FROM {SCHEMA}.upstreams"):
            print("   upstream:", *row)
        for row in connection.execute(
            f"SELECT id, action, status FROM {SCHEMA}.tasks WHERE status IN {OPEN}"
        ):
            print("   open:", *row)
