"""Tasks that call our hook, and of which no callback ever arrived, are found in the upstream's list."""

from __future__ import annotations

from typing import Any

import pytest

from dispatcher.policy.marked_tasks import Known
from dispatcher.policy.sweeping import ours_in
from hooks.hook_tokens import is_own_hook, registered_token, submission_token
from midjourney.decode import decode_task
from midjourney.dialects import DIALECTS
from midjourney.requests import Imagine
from storage.clock import now_ms
from storage.tasks import rows as tasks
from storage.upstreams import hook_salts
from tests.dispatcher.conftest import StubUpstream, U
from tests.dispatcher.test_regressions import nested

PRESS = """
[[rules]]
name = "press"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "U1"
"""
HOOK = f"http://hooks/notify/{registered_token('s', 'main')}"
MARK = "0123456789abcdef01234567"


def grid(task_id: str, hook: str = HOOK, *, ended_ago_s: float = 5, **fields: Any) -> dict[str, Any]:
    """A finished picture of a stranger who registered this hook."""
    ended_ms = now_ms() - int(1000 * ended_ago_s)
    return {
        "id": task_id,
        "status": "SUCCESS",
        "progress": "100%",
        "action": "IMAGINE",
        "prompt": "a cat",
        "submitTime": ended_ms - 1000,
        "finishTime": ended_ms,
        "properties": {"notifyHook": hook},
        "buttons": [
            {"customId": f"{custom_id}-{task_id}", "label": f"U{n}"} for n, custom_id in enumerate(U, 1)
        ],
    } | fields


def show(upstream: StubUpstream, *shown: dict[str, Any]) -> None:
    """Have these tasks, in the list as well."""
    upstream.listed += shown
    upstream.tasks |= {one["id"]: one for one in shown}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new database learns an upstream's history first. What ended a moment before is news here."""
    monkeypatch.setattr("dispatcher.runs.readback.CLOCKS_DIFFER_MS", 60_000)


@pytest.fixture
async def sweeping(bench: Any) -> Any:
    """A bench that sweeps all the time, once a test starts it. It had met the upstream before the test's tasks were made."""
    bench.options |= {"sweep_every_s": 0.1}
    bench.rules(PRESS)
    await bench.start()
    await bench.until(lambda: has_begun(bench))
    return bench


async def has_begun(bench: Any) -> bool:
    return all(readback.began_ms is not None for readback in bench._worker._readbacks.values())


async def swept(bench: Any, times: int = 2) -> None:
    """Until it has read the list so many times more, from the beginning to the end."""
    before = bench.upstream.lists

    async def enough() -> bool:
        return bool(bench.upstream.lists > before + times)

    await bench.until(enough)


async def test_a_task_whose_callbacks_were_all_lost_is_found(sweeping: Any) -> None:
    """The rule runs once, however often the list is read, and whatever callback comes late."""
    show(sweeping.upstream, grid("lost"))
    await sweeping.until_states("accepted")
    events = await sweeping.events(task_id="lost")
    assert [(one.source, one.signal, one.provenance) for one in events] == [
        ("reconcile", "task.succeeded", "polled")
    ]
    fetched = sweeping.upstream.fetched.count("lost")
    await swept(sweeping)
    await sweeping.callback("lost", **{name: value for name, value in grid("lost").items() if name != "id"})
    await sweeping.until_quiet()
    assert sweeping.upstream.pressed() == [f"{U[0]}-lost"]
    assert fetched <= 3  # by the sweep, and before the rule runs


async def test_a_running_task_is_followed_to_its_end(sweeping: Any) -> None:
    """It is known from then on, and polled as others are."""
    sweeping.upstream.listed.append(
        grid("slow", status="IN_PROGRESS", progress="50%", buttons=[], finishTime=None)
    )
    sweeping.upstream.tasks["slow"] = sweeping.upstream.listed[-1]

    async def is_known() -> bool:
        row = await sweeping.database.read(lambda connection: tasks.find(connection, "main", "slow"))
        return row is not None and row.status == "IN_PROGRESS"

    await sweeping.until(is_known)
    await sweeping.callback("slow", **{name: value for name, value in grid("slow").items() if name != "id"})
    await sweeping.until_states("accepted")
    assert sweeping.upstream.pressed() == [f"{U[0]}-slow"]


async def test_what_is_not_ours_or_not_news_is_left_alone(sweeping: Any) -> None:
    """No hook, another's hook, a list that lies about the hook or the task, and what ended long ago: nothing is stored or pressed."""
    upstream = sweeping.upstream
    show(
        upstream,
        grid("no hook", ""),
        grid("other", "http://hooks/notify/" + "x" * 24),
        grid("longer", HOOK + "x"),
        grid("made up", f"{HOOK}/{MARK}"),
        grid("old", ended_ago_s=2 * 86_400),
        grid("ageless", finishTime=None, submitTime=None),
        grid("lied about"),
        grid("unknown"),
        grid("ours"),
    )
    upstream.tasks["lied about"] = grid("lied about", "")
    del upstream.tasks["unknown"]

    async def pressed() -> bool:
        return f"{U[0]}-ours" in upstream.pressed()

    await sweeping.until(pressed)
    await swept(sweeping)
    await sweeping.until_quiet()
    assert upstream.pressed() == [f"{U[0]}-ours"]
    assert {one.task_id for one in await sweeping.events(source="reconcile")} == {"ours"}
    assert {"no hook", "other", "longer", "made up", "old", "ageless"}.isdisjoint(upstream.fetched)
    assert (upstream.fetched.count("lied about"), upstream.fetched.count("unknown")) == (1, 1)


async def test_a_rotated_hook_counts_until_it_is_retired(sweeping: Any) -> None:
    """The salts are in the database."""
    salts = await sweeping.database.write("rotate", lambda connection: hook_salts.rotate(connection, "main"))
    show(
        sweeping.upstream, grid("new", f"http://hooks/notify/{registered_token('s', 'main', salts.present)}")
    )
    await sweeping.until_states("accepted")
    await sweeping.database.write("retire", lambda connection: hook_salts.retire(connection, "main"))
    show(sweeping.upstream, grid("retired"))
    await swept(sweeping)
    await sweeping.until_quiet()
    assert sweeping.upstream.pressed() == [f"{U[0]}-new"]


async def test_a_huge_list_with_what_cannot_be_read_stops_nothing(sweeping: Any) -> None:
    """Ours is found among thousands, beside an entry that is nested too deep."""
    strangers = [grid(f"s{number}", "") for number in range(3000)]
    deep = {"id": "deep", "status": "SUCCESS", "properties": nested(150)}
    sweeping.upstream.listed += [*strangers[:1500], deep, *strangers[1500:]]
    show(sweeping.upstream, *(grid(f"ours {number}") for number in range(120)))
    await sweeping.until_states(*["accepted"] * 120)
    assert len(set(sweeping.upstream.pressed())) == len(sweeping.upstream.pressed()) == 120


async def test_a_list_that_hangs_stops_nothing_else(sweeping: Any) -> None:
    """A callback's rule runs meanwhile, and nobody asks for the list a second time."""
    sweeping.upstream.list_gate.clear()
    await swept(sweeping, times=0)
    lists = sweeping.upstream.lists
    await sweeping.callback(
        "grid", finishTime=now_ms()
    )  # of an old one the list would show what others pressed
    await sweeping.until_states("accepted")
    assert sweeping.upstream.lists == lists
    show(sweeping.upstream, grid("lost"))
    sweeping.upstream.list_gate.set()
    await sweeping.until_states("accepted", "accepted")


@pytest.mark.parametrize("status", [404, 500])
async def test_a_list_that_is_refused_is_asked_for_again(sweeping: Any, status: int) -> None:
    sweeping.upstream.list_status = status
    await swept(sweeping)
    sweeping.upstream.list_status = 200
    show(sweeping.upstream, grid("lost"))
    await sweeping.until_states("accepted")


async def test_a_submission_that_the_database_lacks_is_adopted(sweeping: Any) -> None:
    """It has our own hook: a copy was restored, and the upstream is treated as after a callback that says so."""
    token = submission_token("s", "main", MARK)
    show(sweeping.upstream, grid("ours", f"http://hooks/notify/{token}/{MARK}", state=MARK))
    found = await sweeping.until_state(MARK, "accepted")
    assert (found.task_ids, found.asked_by) == (("ours",), "restored")
    await swept(sweeping)
    assert sweeping.upstream.received == []


async def test_a_submission_that_only_a_list_shows_stops_nothing(sweeping: Any) -> None:
    """The task is read back before the upstream counts as restored, which would pause it."""
    token = submission_token("s", "main", MARK)
    sweeping.upstream.listed.append(grid("invented", f"http://hooks/notify/{token}/{MARK}", state=MARK))
    await swept(sweeping)
    show(sweeping.upstream, grid("ours"))
    await sweeping.until_states("accepted")
    assert sweeping.upstream.pressed() == [f"{U[0]}-ours"]
    assert sweeping.upstream.fetched.count("invented") == 1


async def test_the_task_of_a_known_submission_is_left_to_others(bench: Any) -> None:
    """Its answer may still come."""
    bench.options |= {"sweep_every_s": 0.1, "settle_after_s": 3600.0}
    bench.upstream.gate.clear()
    bench.upstream.keeps_list = True
    await bench.start()
    made = await bench.ask(Imagine(prompt="a cat"))
    await bench.until_state(made, "sending")
    await swept(bench)
    assert [one.state for one in await bench.submissions()] == ["sending"]
    bench.upstream.gate.set()
    await bench.until_state(made, "accepted")


async def test_without_the_setting_no_list_is_swept(bench: Any) -> None:
    """Lists are read for other reasons, at the start and before a press; nothing is taken from them."""
    bench.rules(PRESS)
    await bench.start()
    await bench.until(lambda: has_begun(bench))
    show(bench.upstream, grid("lost"))
    assert "sweep" not in {loop.name for loop in bench._worker._loops}
    await bench.callback("grid")
    await bench.until_states("accepted")
    assert [body["taskId"] for _, body in bench.upstream.received] == ["grid"]


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_two_processes_take_a_task_in_once(sweeping: Any) -> None:
    """One of them sweeps; were it both, the second would find nothing new."""
    other = sweeping.worker()
    await other.start()
    try:
        for number in range(20):
            show(sweeping.upstream, grid(f"lost {number}"))
        await sweeping.until_states(*["accepted"] * 20)
        await swept(sweeping)
        await sweeping.until_quiet()
    finally:
        await other.stop()
    assert len(sweeping.upstream.pressed()) == 20
    assert len(await sweeping.events(signal="task.succeeded")) == 20


@pytest.mark.parametrize(
    "raw",
    [
        HOOK,
        HOOK.replace("/", "\\/"),
        "https://relay/hook/" + HOOK.replace("/", "%2F").replace(":", "%3A"),
    ],
    ids=["plain", "escaped slashes", "within a relay's hook"],
)
def test_a_hook_is_recognised_however_it_is_written(raw: str) -> None:
    """And that of a submission is another thing."""
    known = Known(
        upstream="main",
        dialect=DIALECTS["mj-plus"],
        secret="m",
        is_own_hook=lambda *given: is_own_hook("s", *given),
    )
    body = '{"id":"1","status":"SUBMITTED","action":"IMAGINE","properties":{"notifyHook":"%s"}}'
    token = registered_token("s", "main")
    [found] = ours_in([decode_task((body % raw).encode())], known, {token}, 0)
    assert found.mark == ""
    own = f"http://hooks/notify/{submission_token('s', 'main', MARK)}/{MARK}"
    for written in (own, own.replace("/", "\\/"), own.replace("/", "%2F").replace(":", "%3A")):
        [found] = ours_in([decode_task((body % written).encode())], known, {token}, 0)
        assert found.mark == MARK
    assert ours_in([decode_task((body % raw).encode())], known, set(), 0) == []
