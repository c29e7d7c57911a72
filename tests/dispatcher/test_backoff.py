"""How long to wait before the next try."""

from __future__ import annotations

import time
from typing import Any

from dispatcher.policy.backoff import delay_s, jittered_ms
from dispatcher.policy.outcomes import NOT_SENT_ATTEMPTS, after_not_sent
from hookchain import task_succeeded
from storage.records import Submission

FEWEST, MOST = 0.8, 1.2
"""Of a delay, by luck."""


def test_waits_double_up_to_an_hour() -> None:
    """2 s after the first try that failed; attempt 2000 is no overflow."""
    assert [delay_s(attempt) for attempt in (1, 2, 3, 4)] == [2, 4, 8, 16]
    assert [delay_s(attempt) for attempt in (11, 12, 2000)] == [2048, 3600, 3600]
    assert [delay_s(attempt, first_s=1, ceiling_s=3) for attempt in (1, 2, 3)] == [1, 2, 3]


def test_waits_are_spread_by_a_fifth_either_way() -> None:
    """So that those that failed together do not come back together."""
    assert [jittered_ms(10, luck=luck) for luck in (0, 0.5, 1)] == [8_000, 10_000, 12_000]


def submission(tries: int) -> Submission:
    values: dict[str, Any] = dict.fromkeys(Submission.__struct_fields__, 0) | {"attempts": tries}
    return Submission(**values)


def test_what_did_not_leave_waits_two_seconds_then_four() -> None:
    """Counted by how often it was tried."""
    waits = [after_not_sent(submission(n), "", now_ms=0, luck=0.5).run_at_ms for n in (1, 2, 3)]
    assert waits == [2_000, 4_000, 8_000]


def test_what_never_leaves_is_given_up() -> None:
    """After as many tries as there are, and not one more."""
    states = [
        after_not_sent(submission(n), "", now_ms=0, luck=0.5).state
        for n in (NOT_SENT_ATTEMPTS - 1, NOT_SENT_ATTEMPTS)
    ]
    assert states == ["waiting", "dead"]


async def test_a_receiver_that_failed_waits_two_seconds(bench: Any) -> None:
    """Before its second run; what counts is when it is due, as it was written down."""

    @task_succeeded.connect
    async def fails(action: str, **_: Any) -> None:
        raise ValueError("no")

    await bench.start()
    await bench.callback()

    async def tried() -> bool:
        return any(one.decision for one in await bench.deliveries())

    await bench.until(tried)
    (one,) = await bench.deliveries()
    assert one.attempts == 1
    assert one.updated_at_ms <= time.time() * 1000
    assert 1000 * 2 * FEWEST <= one.run_at_ms - one.updated_at_ms <= 1000 * 2 * MOST
