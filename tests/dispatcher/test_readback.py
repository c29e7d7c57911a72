"""Tasks read back from their upstream: whoever asks learns how it went, also when it went as nobody expected."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from dispatcher.runs.readback import Readback
from dispatcher.runs.verifier import REMEMBERED_BYTES, Verifier
from midjourney.bounded import Answer, Intake
from midjourney.client import Client
from midjourney.dialects import DEFAULT_DIALECT, DIALECTS, Upstream
from midjourney.errors import ProtocolError
from midjourney.types import Task
from storage.tasks.believe import TaskReport
from tests.conftest import PATIENCE_S
from tests.hostile.web import HostileWeb, hostile_web


class Broken(httpx.AsyncBaseTransport):
    """A transport that fails by an error that no library announces."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise RuntimeError(f"broken: {request.url.path}")


@pytest.mark.parametrize("ids", [["1"], ["1", "2", "3"]], ids=["one", "several"])
async def test_an_unexpected_error_keeps_nobody_waiting(ids: list[str]) -> None:
    """Who waits for an answer that cannot come would hold up all tasks of the upstream, until the next start."""
    upstream = Upstream(url="http://upstream.example")
    client = Client(upstream, DIALECTS[DEFAULT_DIALECT], transport=Broken())
    readback = Readback("main", client, lambda: 0)
    async with asyncio.timeout(100):
        answers = await asyncio.gather(*(readback.ask(one) for one in ids), return_exceptions=True)
    assert [type(answer) for answer in answers] == [RuntimeError] * len(ids)
    await readback.aclose()


@pytest.fixture(scope="module")
def hostile() -> Iterator[HostileWeb]:
    """An upstream that means harm."""
    with hostile_web() as web:
        yield web


@pytest.fixture
def uncollected() -> Iterator[None]:
    """The garbage collector does not come by: what is not let go of stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _answers() -> list[Intake | Answer]:
    return [one for one in gc.get_objects() if isinstance(one, Intake | Answer)]


@pytest.mark.parametrize("attack", ["endless", "long id"])
async def test_an_error_that_is_kept_keeps_no_answer(
    hostile: HostileWeb, attack: str, uncollected: None
) -> None:
    """Five bad answers of 4 MB, and who asked holds on to the errors: of the answers nothing is left."""
    client = Client(Upstream(url=hostile.url_of(attack)), DIALECTS["mj-plus"])
    readback = Readback("main", client, lambda: 0)
    kept, earlier = [], {id(one): one for one in _answers()}
    for task_id in "12345":
        with pytest.raises(ProtocolError) as caught:
            await readback.ask(task_id)
        kept.append(caught.value)
        del caught
    # The thread that has decoded an answer lets go of it a moment after it has told how that went.
    async with asyncio.timeout(PATIENCE_S):
        while {id(one) for one in _answers()} - earlier.keys():
            await asyncio.sleep(0.05)
    assert len(kept) == 5
    await readback.aclose()
    await client.aclose()


class Answers:
    """A readback whose upstream knows every task, each as large as it may be."""

    began_ms = 0

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fails = False

    async def ask_with_list(self, task_id: str) -> TaskReport:
        self.asked.append(task_id)
        if self.fails:
            raise ProtocolError("no answer")
        task = Task(id=task_id, status="SUCCESS", raw=b"x" * 1024 * 1024)
        return TaskReport(upstream="main", task_id=task_id, task=task, asked_at_ms=0)


async def _asked(verifier: Verifier, readback: Any, number: int) -> TaskReport:
    event: Any = SimpleNamespace(id=number, task_id=str(number), provenance="polled")
    claimed: Any = SimpleNamespace(event=event, task=None)
    return await verifier._asked(readback, claimed)


async def test_answers_are_remembered_within_their_bound() -> None:
    """Of a hundred answers of 1 MB the newest 16 serve a second delivery; the others are asked for again."""
    verifier, readback = Verifier({}, ()), Answers()
    for number in range(100):
        await _asked(verifier, readback, number)
    before = len(readback.asked)
    for number in range(84, 100):
        await _asked(verifier, readback, number)
    assert len(readback.asked) == before
    kept = [one.result().task for one in verifier._answers.values()]
    assert sum(len(task.raw) for task in kept if task is not None) <= REMEMBERED_BYTES
    await _asked(verifier, readback, 0)
    assert readback.asked[-1] == "0"


async def test_a_question_that_failed_is_asked_again() -> None:
    """Of the failure nothing is remembered."""
    verifier, readback = Verifier({}, ()), Answers()
    readback.fails = True
    with pytest.raises(ProtocolError):
        await _asked(verifier, readback, 1)
    assert verifier._answers == {}
    readback.fails = False
    assert (await _asked(verifier, readback, 1)).task is not None
