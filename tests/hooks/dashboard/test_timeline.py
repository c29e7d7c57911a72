"""The story of a task has its end, however long it is, and says where it has not its beginning."""

from __future__ import annotations

import msgspec
import pytest

from hookchain.cli.decisions import explanation_lines
from hooks.api.gateway_answers import Explained
from storage.reading import explanation
from tests.hooks.conftest import Site
from tests.hooks.dashboard.parts import called


async def test_a_story_that_is_too_long_lacks_its_beginning_and_says_so(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the page, in the API and at the command line."""
    monkeypatch.setattr(explanation, "MOST_EVENTS", 3)
    for percent in (10, 20, 30):
        await called(site, "17", status="IN_PROGRESS", progress=f"{percent}%")
    whole = (await site.http.get("/api/explain/17")).json()
    assert (len(whole["events"]), whole["is_cut"]) == (3, False)
    assert "Only the newest" not in (await site.http.get("/tasks/main/17")).text
    await called(site, "17")
    cut = (await site.http.get("/api/explain/17")).json()
    assert [one["progress"] for one in cut["events"]] == [20, 30, 100]
    assert cut["is_cut"]
    assert "  only its newest 3 events are shown" in explanation_lines(msgspec.convert(cut, Explained))
    page = (await site.http.get("/tasks/main/17")).text
    assert "task.succeeded" in page
    assert "Only the newest events are shown: 3" in page
