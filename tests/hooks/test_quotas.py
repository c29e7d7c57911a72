"""A hook has a quota: over it only bodies are dropped, and what was acknowledged is still asked about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hooks.quotas import HOUR_S, Quota, Quotas
from tests.hooks.conftest import site_of


async def test_over_its_bytes_a_hook_keeps_ids_and_has_the_upstream_asked(new_database: Path) -> None:
    """Every callback is answered 200; four kilobytes of bodies are kept, and all twenty tasks."""
    async with site_of(new_database, HOOKCHAIN_QUOTAS_BYTES_PER_HOUR="4096") as site:
        for number in range(20):
            body = b'{"id":"t%d","status":"SUCCESS","prompt":"%s"}' % (number, b"p" * 1000)
            assert (await site.http.post(site.hook, content=body)).status_code == 200
        assert len((await site.http.get("/api/events")).json()["events"]) == 3
        (upstream,) = (await site.http.get("/api/upstreams")).json()["upstreams"]
        assert (upstream["quota"]["tasks"], upstream["quota"]["asked_instead"]) == (3, 17)
        asked = await site.database.read(_asked)
        assert {f"t{number}" for number in range(3, 20)} <= asked
        assert len((await site.http.get("/api/tasks?limit=50")).json()["tasks"]) == 20


async def test_an_equal_body_is_kept_and_counted_once(new_database: Path) -> None:
    """Two bodies that come fifty times each: two are kept, all hundred are events, and another task still has room."""
    async with site_of(new_database, HOOKCHAIN_QUOTAS_BYTES_PER_HOUR="100000") as site:
        early = b'{"id":"t","status":"IN_PROGRESS","progress":"10%","prompt":"' + b"p" * 10_000 + b'"}'
        late = b'{"id":"t","status":"SUCCESS","prompt":"' + b"p" * 10_000 + b'"}'
        for body in [early, late] * 50:
            assert (await site.http.post(site.hook, content=body)).status_code == 200
        events = (await site.http.get("/api/events?limit=200")).json()["events"]
        assert [bool(one["payload"]) for one in events].count(True) == 2
        assert len(events) == 100
        assert {one["detail"] for one in events if not one["payload"]} == {
            f"the same body as event {one['id']}" for one in events if one["payload"]
        }
        (upstream,) = (await site.http.get("/api/upstreams")).json()["upstreams"]
        assert (upstream["quota"]["asked_instead"], upstream["quota"]["kept_bytes"] < 80_000) == (0, True)


def _asked(connection: Any) -> set[str]:
    found = connection.exec_driver_sql("SELECT id FROM tasks WHERE ask_at_ms IS NOT NULL")
    return set(found.scalars())


async def test_quarantine_has_the_quota_too_and_goes_first_when_space_is_short(new_database: Path) -> None:
    """What is no task is not kept over the quota, nor on a full disk; a callback still is."""
    async with site_of(new_database, HOOKCHAIN_QUOTAS_TASKS_PER_HOUR="3") as site:
        answers = [await site.http.post(site.hook, content=b"odd %d" % number) for number in range(5)]
        assert [one.status_code for one in answers] == [400] * 5
        assert len((await site.http.get("/api/quarantine")).json()["quarantine"]) == 3
    async with site_of(new_database, HOOKCHAIN_QUOTAS_SPARE_BYTES=str(1024**4)) as site:
        assert (await site.http.post(site.hook, content=b"odd")).status_code == 507
        callback = {"id": "7", "status": "SUCCESS"}
        assert (await site.http.post(site.hook, json=callback)).status_code == 200
        assert len((await site.http.get("/api/quarantine")).json()["quarantine"]) == 3


def test_a_quota_is_one_hook_s_and_one_hour_s() -> None:
    """Another hook is not held to what this one has used; a submission's own hook has a sixteenth."""
    now_s = 0.0
    quotas = Quotas(Quota(bytes_per_hour=160_000, tasks_per_hour=16), clock_s=lambda: now_s)
    quotas.keep("main", "", 159_000, is_new=False)
    assert quotas.is_over("main", "", 2_000)
    assert not quotas.is_over("other", "", 2_000)
    assert quotas.is_over("main", "s1", 10_001)
    quotas.keep("main", "s1", 600, is_new=True)
    assert quotas.is_over("main", "s1", 600)
    now_s = HOUR_S
    assert not quotas.is_over("main", "", 2_000)
