"""What follows from why something failed: what is repeated, what is left alone, and what pauses an upstream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from dispatcher.by_hand import commands
from hookchain.testing import Hookchain, grid
from midjourney.dialects import DIALECTS
from midjourney.requests import Imagine, decode_request
from midjourney.types import Task
from storage.engine import Connection
from storage.records import Standing, Submission
from storage.tasks import rows as tasks
from storage.upstreams import pausing, standings

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
REROLL = """
[[rules]]
name = "reroll"
on = "task.failed"
if = "task.failure_kind in ['timeout', 'queue']"
repeat = true
limit = 2
"""
WHOLE = Imagine(
    prompt="a cat", images=("https://example.org/cat.png",), bot_type="NIJI_JOURNEY", extra={"mode": "RELAX"}
)
BLOCKED = "[Blocked] You have been blocked from accessing Midjourney."
ACCOUNT_WORDS = [
    BLOCKED,
    "账号已被临时封锁，请勿使用违规词作图",
    "用户额度不足, 剩余额度: 0",
    "Subscription required",
]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backoff in hundredths of a second."""
    monkeypatch.setattr("dispatcher.policy.outcomes.delay_s", lambda attempt, **_: 0.01)
    monkeypatch.setattr("dispatcher.policy.queue_full.delay_s", lambda attempt, **_: 0.01)
    monkeypatch.setattr("dispatcher.loops.loop.POLL_S", 0.1)


async def ask(bench: Any, *, key: str = "", request: Imagine = WHOLE) -> str:
    """A person asks for a picture; the submission's id."""
    made = await bench.database.write(
        "command",
        lambda connection: commands.submit(
            connection,
            request,
            upstream="main",
            dialect=DIALECTS["trueai"],
            asked_by="api",
            now_ms=1,
            idempotency_key=key,
        ),
    )
    return str(made.submission_id)


async def standing(bench: Any) -> Standing:
    found: dict[str, Standing] = await bench.database.read(standings.every)
    return found.get("main", Standing(name="main"))


def refuse_with(words: str, code: int = 4) -> Any:
    return lambda _path, _body: (200, {"code": code, "description": words, "result": None})


@pytest.mark.parametrize("key", ["", "order-7", "a|b"])
async def test_a_reroll_repeats_the_whole_request(bench: Any, key: str) -> None:
    """Words, images, bot and extra fields, as a new intent at the depth of the first; also of one with a key of its own."""
    bench.rules(REROLL)
    submission_id = await ask(bench, key=key)
    await bench.start()
    (first,) = await bench.until_states("accepted")
    await bench.callback(
        first.task_ids[0], submission_id, status="FAILURE", failReason="任务超时", buttons=[]
    )
    _, second = await bench.until_states("accepted", "accepted")
    assert decode_request(second.request) == WHOLE
    assert (second.depth, second.asked_by, second.chain_id) == (first.depth, "rule:reroll", first.chain_id)
    sent = [{**body, "notifyHook": "", "state": ""} for _, body in bench.upstream.received]
    assert sent[0] == sent[1]


async def test_what_somebody_else_submitted_cannot_be_repeated(bench: Any) -> None:
    """Its request and its images are not known here: that is said, and nothing is bought."""
    bench.rules(REROLL)
    await bench.start()
    await bench.callback("theirs", status="FAILURE", failReason="任务超时", buttons=[])
    await bench.until_quiet()
    (delivery,) = await bench.deliveries()
    assert "cannot repeat it" in delivery.decision
    assert not delivery.fired
    assert bench.upstream.received == []


@pytest.mark.parametrize("way", ["rule", "plugin"])
@pytest.mark.parametrize(
    ("reason", "again"),
    [
        ("任务超时", 1),
        ("[Queue full] Your job queue is full.", 1),
        ("可能包含敏感词", 0),
        (BLOCKED, 0),
        ("[Credits exhausted]", 0),
        ("[Invalid parameter] Invalid value", 0),
        ("[Internal Server Error] …", 0),
    ],
)
def test_the_shipped_reroll_repeats_harmless_failures_only(
    hookchain: Hookchain, way: str, reason: str, again: int
) -> None:
    """By the example's rule, and by the plugin."""
    hookchain.load_rules(
        '[[rules]]\nname = "ask"\non = "task.succeeded"\nif = "chain.depth == 0"\nimagine = "a cat"\n'
    )
    if way == "rule":
        hookchain.load_rules(EXAMPLES / "reroll-on-failure.toml")
    else:
        hookchain.load_plugin("hookchain.plugins.reroll_on_failure")
    (made,) = hookchain.succeed(grid()).asks
    asked = hookchain.fail(grid("failed"), reason, of=made)
    assert [one.request for one in asked.asks] == [made.request] * again


@pytest.mark.parametrize("words", ACCOUNT_WORDS)
async def test_a_refusal_for_the_account_pauses_the_upstream(bench: Any, words: str) -> None:
    """Five wait: one is sent, the others stay until a person resumes. It is said once."""
    bench.options["concurrency"] = 1
    bench.upstream.answer = refuse_with(words)
    for number in range(5):
        await ask(bench, key=str(number))
    with capture_logs() as logs:
        await bench.start()
        await bench.until_states("rejected", *["waiting"] * 4)
    stopped = await standing(bench)
    assert stopped.paused
    assert words[:20] in stopped.pause_reason
    assert "a cat" not in stopped.pause_reason  # the request is not the upstream's word
    assert stopped.switched_at_ms > 0
    assert len(bench.upstream.received) == 1
    said = [one for one in logs if one["event"] == "upstream paused"]
    assert [(one["upstream"], one["cure"]) for one in said] == [("main", "hookchain resume main")]

    bench.upstream.answer = lambda _path, body: (
        200,
        {"code": 1, "result": f"t{len(bench.upstream.received)}"},
    )
    now_ms = stopped.switched_at_ms + 1
    await bench.database.write("resume", lambda connection: standings.resume(connection, "main", now_ms))
    await bench.until_states("rejected", *["accepted"] * 4)
    assert (await standing(bench)).pause_reason == ""


async def test_a_key_that_is_not_accepted_pauses_the_upstream(bench: Any) -> None:
    """HTTP 401, whatever it says."""
    bench.options["concurrency"] = 1
    bench.upstream.answer = lambda _path, _body: (401, b"")
    await ask(bench, key="1")
    await ask(bench, key="2")
    await bench.start()
    await bench.until_states("dead", "waiting")
    assert (await standing(bench)).pause_reason.startswith("account: ")


@pytest.mark.parametrize("words", ["无可用的账号实例", "可能包含敏感词", "参数错误", "系统异常"])
async def test_other_refusals_pause_nothing(bench: Any, words: str) -> None:
    """Not even an outage of accounts that passes by itself."""
    bench.upstream.answer = refuse_with(words)
    for number in range(3):
        await ask(bench, key=str(number))
    await bench.start()
    await bench.until_states(*["rejected"] * 3)
    assert not (await standing(bench)).paused


async def sent(bench: Any) -> Submission:
    """A submission of ours that was accepted."""
    await ask(bench)
    await bench.start()
    (made,) = await bench.until_states("accepted")
    await bench.stop()
    return made  # type: ignore[no-any-return]


async def confirm(bench: Any, submission: Submission | None, reason: str, *, at_ms: int) -> bool:
    """The upstream confirms that a task failed."""
    row = msgspec.structs.replace(
        tasks.blank("main", "t", 1), submission_id=None if submission is None else submission.id
    )
    task = Task(id="t", status="FAILURE", fail_reason=reason)

    def work(connection: Connection) -> bool:
        return pausing.on_confirmed_failure(connection, row, task, at_ms)

    return bool(await bench.database.write("confirm", work))


async def test_a_confirmed_failure_of_ours_pauses_the_upstream_once(bench: Any) -> None:
    """The second says nothing new; nor does what was sent before a person resumed."""
    ours = await sent(bench)
    later_ms = (ours.started_at_ms or 0) + 1000
    assert await confirm(bench, ours, BLOCKED, at_ms=later_ms)
    assert (await standing(bench)).pause_reason == f"account: {BLOCKED}"
    assert not await confirm(bench, ours, BLOCKED, at_ms=later_ms + 1)
    await bench.database.write("resume", lambda one: standings.resume(one, "main", later_ms + 2))
    assert not await confirm(bench, ours, BLOCKED, at_ms=later_ms + 3)
    assert not (await standing(bench)).paused


async def test_a_failure_of_somebody_elses_task_or_of_another_kind_pauses_nothing(bench: Any) -> None:
    """Their tasks are none of our account's business; a moderated prompt is no matter of the account's."""
    ours = await sent(bench)
    later_ms = (ours.started_at_ms or 0) + 1000
    assert not await confirm(bench, None, BLOCKED, at_ms=later_ms)
    assert not await confirm(bench, ours, "可能包含敏感词", at_ms=later_ms)
    assert not await confirm(bench, ours, "实例不可用", at_ms=later_ms)
    assert not (await standing(bench)).paused


async def test_a_person_who_paused_it_is_not_overruled(bench: Any) -> None:
    """It stays paused by hand, and its reason is theirs."""
    ours = await sent(bench)
    await bench.database.write("pause", lambda one: standings.pause(one, "main", 1))
    assert not await confirm(bench, ours, BLOCKED, at_ms=(ours.started_at_ms or 0) + 1000)
    assert (await standing(bench)).pause_reason == ""


async def test_a_callback_alone_pauses_nothing(bench: Any) -> None:
    """Anybody who knows the hook can send one; the upstream, when asked, says that the task runs."""
    submission_id = await ask(bench)
    await bench.start()
    (made,) = await bench.until_states("accepted")
    bench.upstream.tasks[made.task_ids[0]] = {
        "id": made.task_ids[0],
        "action": "IMAGINE",
        "status": "IN_PROGRESS",
        "progress": "10%",
    }
    await bench.callback(
        made.task_ids[0], submission_id, forged=True, status="FAILURE", failReason=BLOCKED, buttons=[]
    )
    await bench.until_quiet()
    assert not (await standing(bench)).paused
