"""A server of ours against an upstream that leaves it in doubt, under any interleaving: lists that lag or are short, marks on some
kinds only, lost answers, late submits, ids that change, callbacks that never come, kill -9.

By the upstream's ledger nothing is paid twice, ever. And what a person has to settle in the end truly could not be known from
what that upstream shows. All of it runs in one event loop whose minutes take no time (tests/support/virtual.py).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.hostile.desk import Trouble
from tests.hostile.inside import Inside
from tests.hostile.manners import Manners
from tests.hostile.tasks import Task
from tests.support.inside import Server, without_logs
from tests.support.virtual import Times, VirtualLoop, clocks_of

T = TypeVar("T")

TOML = """
[upstreams.main]
url = "http://upstream.test"
key = "sk-1"
dialect = "trueai"
concurrency = 8
timeout_s = 10

[[rules]]
name = "upscale-two"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = ["U1", "U2"]

[[rules]]
name = "zoom"
on = "task.succeeded"
if = "task.action == 'UPSCALE' and chain.depth == 1"
press = "custom_zoom"

[[rules]]
name = "answer-modal"
on = "submission.needs_modal"
modal = "{{ modal.prompt }} --zoom 1.8"
"""

MANNERS = st.fixed_dictionaries(
    {
        "list_behind_s": st.sampled_from([0, 0, 5, 20]),
        "list_oldest": st.sampled_from([None, None, None, 8]),
        "list_newest": st.sampled_from([None, None, None, 5]),
        "state_on": st.sampled_from([None, None, frozenset({"imagine"}), frozenset()]),
        "echoes_hook": st.booleans(),
        "registers_after_s": st.sampled_from([0, 0, 3, 24]),
        "loses_at_once": st.booleans(),
        "list_says": st.sampled_from(["", "", "", "404", "500", "silence"]),
        "fetch_says": st.sampled_from(["", "", "", "404"]),
        "relay": st.sampled_from(["", "", "both"]),
        "jobs": st.sampled_from([None, None, 2]),
        "works_s": st.sampled_from([0, 2, 30]),
        "is_silent": st.booleans(),
    }
)
CLOCK_STEPS, RESTORES = True, True
"""Whether the server claims to withstand these: a wall clock that is set, and an older database put back."""

TROUBLES: list[Trouble] = [
    "lost",
    "closed",
    "reset",
    "502",
    "504",
    "silence",
    "dropped",
    "unpaid 502",
    "unpaid silence",
    "queue full",
    "429",
]
LOOKS, LOOK_EVERY_S = 40, 30
"""In the end nothing goes wrong for up to so many times so long: longer than the longest pause between two looks of the server."""


class Silence(RuleBasedStateMachine):
    """One server over one file, one upstream, and their clocks."""

    empty_file: Path

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        shutil.copy(self.empty_file, self.directory.name)
        self.times = Times()
        self.loop = VirtualLoop(self.times)
        self.imagined = 0
        self.file = Path(self.directory.name, self.empty_file.name)
        self.kept = Path(self.directory.name, "kept.db")

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Let the loop run until this is done."""
        with clocks_of(self.times), without_logs():
            return self.loop.run_until_complete(work)

    @initialize(manners=MANNERS)
    def start(self, manners: dict[str, Any]) -> None:
        asyncio.set_event_loop(self.loop)
        self.upstream = Inside(Manners(**manners), self.loop, self.times.true_s)
        self.server = Server(Path(self.directory.name), self.upstream, TOML)
        self.do(self.server.start())

    def teardown(self) -> None:
        try:
            if hasattr(self, "server"):
                try:
                    self.do(self._look_in_the_end())
                finally:
                    self.do(self._end())
        finally:
            self.loop.close()
            asyncio.set_event_loop(None)
            self.directory.cleanup()

    async def _end(self) -> None:
        await self.server.kill()
        await self.upstream.stop()

    # What happens.

    @rule()
    def imagine(self) -> None:
        """Somebody asks for a picture, which grows a chain of seven submissions."""
        self.do(self._imagine())

    async def _imagine(self) -> None:
        self.imagined += 1
        body = {"kind": "imagine", "prompt": f"cat {self.imagined}"}
        await self.server.ask("POST", "/api/submissions", body)

    @rule(
        kind=st.sampled_from(["imagine", "action", "modal"]),
        trouble=st.sampled_from(TROUBLES),
        times=st.integers(1, 3),
    )
    def trouble(self, kind: str, trouble: Trouble, times: int) -> None:
        """Something goes wrong with the next submits of a kind."""
        self.upstream.next_submit(trouble, of=kind, times=times)

    @rule(seconds=st.sampled_from([0.3, 1, 3, 10, 40]))
    def time_passes(self, seconds: float) -> None:
        self.do(asyncio.sleep(seconds))

    @rule(seconds=st.sampled_from([0, 0.1, 5, 60]))
    def kill(self, seconds: float) -> None:
        """kill -9, and another process after a while."""
        self.do(self._kill(seconds))

    async def _kill(self, seconds: float) -> None:
        await self.server.kill()
        await asyncio.sleep(seconds)
        await self.server.start()

    @rule(is_lost=st.booleans())
    def callbacks(self, is_lost: bool) -> None:
        """Callbacks get lost, or come again from now on."""
        self.server.loses_callbacks = is_lost

    @rule(behind_s=st.sampled_from([0, 20]), says=st.sampled_from(["", "500"]))
    def list_changes(self, behind_s: float, says: Any) -> None:
        """The list gets slower, or quicker, or breaks for a while."""
        self.upstream.change(list_behind_s=behind_s, list_says=says)

    @rule()
    def stranger(self) -> None:
        """Somebody else uses the same account."""
        self.upstream.finished_grid("a stranger's cat")

    @precondition(lambda self: self.upstream.shelf.all())
    @rule(number=st.integers(0, 99))
    def rename(self, number: int) -> None:
        """A task of an upstream gets another id."""
        tasks = self.upstream.shelf.all()
        self.upstream.rename(tasks[number % len(tasks)])

    @precondition(lambda self: CLOCK_STEPS)
    @rule(by_s=st.sampled_from([-3600, -30, 30, 3600]))
    def clock_is_set(self, by_s: float) -> None:
        """This machine's wall clock, ahead or back; nobody else's."""
        self.times.stepped_s += by_s

    @precondition(lambda self: RESTORES)
    @rule()
    def copy(self) -> None:
        """Somebody keeps a copy of the database."""
        with closing(sqlite3.connect(self.file)) as ours, closing(sqlite3.connect(self.kept)) as kept:
            ours.backup(kept)

    @precondition(lambda self: RESTORES and self.kept.exists())
    @rule()
    def put_back(self) -> None:
        """The process ends, and the copy is put in the place of the database."""
        self.do(self.server.kill())
        for suffix in ("-wal", "-shm"):
            self.file.with_name(self.file.name + suffix).unlink(missing_ok=True)
        shutil.copy(self.kept, self.file)
        self.do(self.server.start())

    # What must be true.

    @invariant()
    def nothing_is_paid_twice(self) -> None:
        if hasattr(self, "upstream"):
            assert self.upstream.ledger.paid_twice() == []

    async def _look_in_the_end(self) -> None:
        """Whatever could be known is known once things are calm, and a picture that came later went through."""
        self.upstream.no_more_troubles()
        self.server.loses_callbacks = False
        self.upstream.change(list_says="", registers_after_s=0)
        await asyncio.sleep(60)
        await self._imagine()
        found: list[Any] = []
        left: list[Any] = []
        looks, before = 0, (0, 0)
        while looks < LOOKS:  # without anything new: a queue of two places works for an hour
            await asyncio.sleep(LOOK_EVERY_S)
            found = (await self.server.ask("GET", "/api/submissions?limit=500"))["submissions"]
            open_states = ("sending",) if await self._asks_a_person() else ("sending", "waiting")
            left = [one for one in found if one["state"] in open_states or self._is_left(one, found)]
            if not left:
                break
            now = (len(found), len(left))
            looks, before = (looks + 1 if now == before else 0), now
        for one in found:
            note(f"{one['kind']} {one['label']} {one['state']} {one['id']} {one['reason']}")
        assert self.upstream.ledger.paid_twice() == []
        assert left == []

    async def _asks_a_person(self) -> bool:
        """Whether nothing leaves until a person has looked at the upstream: a copy was put back, and a request that began after it
        was made has no task there."""
        (upstream,) = (await self.server.ask("GET", "/api/upstreams"))["upstreams"]
        is_asking: bool = upstream["paused"] and upstream["pause_reason"].startswith("restored:")
        return is_asking

    def _is_left(self, submission: Any, all_of_them: list[Any]) -> bool:
        if submission["state"] != "uncertain" or not self._could_be_known(submission):
            return False
        # Without an older task, nothing shows that the list reaches back to before the request.
        taken = [one for one in all_of_them if one["state"] in ("accepted", "needs_modal")]
        is_oldest = all(one["created_at"] >= submission["created_at"] for one in taken)
        return self._is_taken(submission) or not is_oldest

    def _is_taken(self, submission: Any) -> bool:
        return submission["kind"] == "modal" or any(
            task.state == submission["id"] for task in self.upstream.shelf.all()
        )

    def _could_be_known(self, submission: Any) -> bool:
        """Whether the upstream shows what became of a submission: the mark of a task that it made, a window that has moved on,
        or a whole list with marks on tasks of its kind and none for this."""
        manners, shelf = self.upstream.manners, self.upstream.shelf
        if submission["kind"] == "modal":
            windows = [task for task in shelf.all() if submission["parent_id"] in task.names]
            return any(self._has_moved_on(task) for task in windows)
        taken = [task for task in shelf.all() if task.state == submission["id"]]
        if taken:
            return any(self._shows_its_mark(task) for task in taken)
        is_whole = manners.list_oldest is None and manners.list_newest is None and not manners.list_says
        shows_marks = manners.echoes_hook or manners.state_on is None
        # A stranger's picture may be the one that was asked for: it carries no mark of ours, and nor might this. It is no press,
        # where the list shows what the upstream calls those.
        has_strangers = any(not task.kind for task in shelf.all())
        is_no_press = any(task.kind == "action" and self._is_listed(task) for task in shelf.all())
        is_told = not has_strangers or (submission["kind"] == "action" and is_no_press)
        return is_whole and shows_marks and is_told and submission["attempts"] == 1

    def _has_moved_on(self, task: Task) -> bool:
        is_read = not self.upstream.manners.fetch_says or self._is_listed(task)
        return task.status not in ("MODAL", "NOT_START") and is_read

    def _shows_its_mark(self, task: Task) -> bool:
        manners = self.upstream.manners
        has_mark = manners.echoes_hook or manners.state_on is None or task.kind in manners.state_on
        return has_mark and self._is_listed(task)

    def _is_listed(self, task: Task) -> bool:
        manners = self.upstream.manners
        listed = self.upstream.shelf.listed(manners)[: manners.list_oldest][::-1][: manners.list_newest]
        return not manners.list_says and task in listed


def machine(examples: int, steps: int) -> Any:
    """The test case of so many runs."""
    case = Silence.TestCase
    case.settings = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    return case


@pytest.mark.parametrize(
    ("examples", "steps"),
    [(5, 12), pytest.param(int(os.environ.get("SOAK_EXAMPLES", "400")), 40, marks=pytest.mark.soak)],
    ids=["in seconds", "thousands of steps"],
)
def test_nothing_is_paid_twice_and_what_stays_uncertain_could_not_be_known(
    new_file: Path, examples: int, steps: int
) -> None:
    """Under any interleaving of what goes wrong."""
    Silence.empty_file = new_file
    machine(examples, steps)("runTest").runTest()
