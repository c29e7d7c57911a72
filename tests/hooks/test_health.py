"""The questions that everybody may ask, and what they cost."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from hooks import health


async def test_readiness_costs_one_commit_a_second(site: Any) -> None:
    """Fifty strangers at once, and fifty one after the other: one write, and all get the same answer."""
    commits: Counter[str] = Counter()
    site.database.observe(lambda stage, name: commits.update([f"{stage} {name}"]))
    answers = await asyncio.gather(*(site.http.get("/readyz") for _ in range(50)))
    answers += [await site.http.get("/readyz") for _ in range(50)]
    assert {one.status_code for one in answers} == {200}
    assert len({one.content for one in answers}) == 1
    assert commits["after ready"] <= 2  # two if the hundred took longer than a second


async def test_an_old_answer_is_not_given(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once its time is over, the database is asked again."""
    monkeypatch.setattr(health, "REMEMBERED_S", 0.0)
    commits: Counter[str] = Counter()
    site.database.observe(lambda stage, name: commits.update([f"{stage} {name}"]))
    for _ in range(2):
        assert (await site.http.get("/readyz")).status_code == 200
    assert commits["after ready"] == 2


async def test_what_everybody_may_ask_commits_nothing(site: Any) -> None:
    """Pages, files, unknown paths and unknown hooks, to a stranger."""
    commits: Counter[str] = Counter()
    site.database.observe(lambda stage, name: commits.update([name]))
    for path in (
        "/healthz",
        "/login",
        "/",
        "/metrics",
        "/api/tasks",
        "/nothing",
        "/notify/unknown",
        site.hook,
    ):
        await site.http.get(path)
    assert not commits


async def test_a_process_whose_writer_has_ended_asks_to_be_started_again(site: Any) -> None:
    """Liveness, since only a new process helps. A callback is not acknowledged."""
    assert (await site.http.get("/healthz")).status_code == 200
    (writer,) = {task for task in asyncio.all_tasks() if task.get_name() == "writer"}
    writer.cancel()
    await asyncio.wait([writer])
    assert (await site.http.get("/healthz")).status_code == 503
    assert (await site.http.post(site.hook, json={"id": "1", "status": "SUCCESS"})).status_code == 503
