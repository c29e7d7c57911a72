"""A confined process: whatever its work does, the one that asked gets an answer or a reason, and the next answer too."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from dispatcher.confined import keeper
from dispatcher.confined.frames import Refused, framed
from dispatcher.confined.keeper import Broken, Confined, Overran
from tests.conftest import PATIENCE_S, REPOSITORY

pytestmark = pytest.mark.process

JOB = "tests.support.misbehaving"


def confined(**limits: float) -> Confined:
    made = {"memory_bytes": 256 * 1024 * 1024, "processor_s": 1.0, "within_s": PATIENCE_S} | limits
    return Confined(JOB, subject="the work", **made)  # type: ignore[arg-type]  # memory_bytes is an int


@pytest.fixture(scope="module")
def kept() -> Iterator[Confined]:
    made = confined()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("question", "error", "why"),
    [
        (b"spin", Overran, "the work took more than 1 s of processor time"),
        (b"memory", Overran, "the work needs more than 256 MB of memory"),
        (b"crash", Overran, r"the work crashed the process that read it \(SIGSEGV\)"),
        (b"refuse", Refused, "^no$"),
        (b"exit", Broken, r"ended \(exit code 3\); the machine may be short of memory"),
    ],
    ids=str,
)
async def test_what_goes_wrong_has_a_reason_and_the_next_question_an_answer(
    kept: Confined, question: bytes, error: type[Exception], why: str
) -> None:
    """C code that holds the interpreter included."""
    with pytest.raises(error, match=why):
        await kept.ask(question)
    assert int(await kept.ask(b"who")) == kept.pid


@pytest.mark.parametrize(("can_limit", "error"), [(True, Broken), (False, Overran)])
async def test_what_waits_is_ended_at_the_deadline(
    can_limit: bool, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the clock. Where processor time is limited the machine was busy, and the delivery is tried again; on a platform
    without limits this one holds for everything."""
    monkeypatch.setattr(keeper, "CAN_LIMIT", can_limit)
    asked = confined(within_s=0.5)
    with pytest.raises(error, match=r"the work took more than 0.5 s by the clock"):
        await asked.ask(b"sleep")
    assert asked.pid is None


async def test_one_process_answers_all_whatever_loop_they_are_in(kept: Confined) -> None:
    """It is kept; questions wait for each other."""
    here = await asyncio.gather(*(kept.ask(b"who") for _ in range(5)))
    elsewhere = await asyncio.to_thread(lambda: asyncio.run(kept.ask(b"who")))
    assert {*here, elsewhere} == {str(kept.pid).encode()}


async def test_a_process_that_was_ended_between_two_questions_is_replaced(kept: Confined) -> None:
    """By the kernel, say, which ends it before any other process when memory runs out."""
    await kept.ask(b"who")
    assert kept.pid is not None
    with open(f"/proc/{kept.pid}/oom_score_adj") as score:
        assert score.read() == "1000\n"
    first = kept.pid
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert int(await kept.ask(b"who")) != first


async def test_a_process_that_nobody_asks_ends_and_the_next_question_starts_another() -> None:
    """After a minute, and here at once: what it takes is the server's again."""
    asked = confined(idle_s=0.01)
    first = int(await asked.ask(b"who"))
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        ended = os.pidfd_open(first)
        assert await asyncio.to_thread(select.select, [ended], [], [], PATIENCE_S) == ([ended], [], [])
        os.close(ended)
    second = int(await asked.ask(b"who"))
    assert second != first
    asked.close()


async def test_a_process_that_works_is_not_idle() -> None:
    """However long an answer takes."""
    asked = confined(idle_s=0.01, processor_s=0.2)
    with pytest.raises(Overran, match=r"more than 0[.]2 s of processor time"):
        await asked.ask(b"spin")


async def test_a_question_that_nobody_waits_for_is_not_asked() -> None:
    """Its delivery was ended while another question had the process. Else each would take its time for nobody."""
    asked = confined()
    sleeping = asyncio.ensure_future(asked.ask(b"sleep"))
    while asked.pid is None:
        await asyncio.sleep(0.01)  # a thread starts it
    waiting = [asyncio.ensure_future(asked.ask(b"count")) for _ in range(3)]
    await asyncio.sleep(0)
    for one in waiting:
        one.cancel()
    await asyncio.wait(waiting)
    os.kill(asked.pid, signal.SIGKILL)
    with pytest.raises(Broken):
        await sleeping
    assert await asked.ask(b"count") == b"1"
    asked.close()


async def test_it_knows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our environment has keys of upstreams and the address of the database."""
    monkeypatch.setenv("HOOKCHAIN_SECRET", "word")
    asked = confined()
    assert b"word" not in await asked.ask(b"environment")
    asked.close()


def test_it_answers_where_nothing_can_limit_it_and_ends_with_its_input() -> None:
    """As on Windows, which has no `resource`: whoever started it ends it at the deadline."""
    script = "import sys; sys.modules['resource'] = None; from dispatcher.confined import child; sys.exit(child.main())"
    done = subprocess.run(
        [sys.executable, "-c", script, JOB, "1000", "1"],
        input=framed(b"refuse"),
        capture_output=True,
        cwd=REPOSITORY,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, framed(b"-no"), b"")
