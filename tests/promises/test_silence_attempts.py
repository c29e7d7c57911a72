"""What we conclude about one attempt: nothing from how another one ended, and nothing while the server may still be busy with it.

Issue 17, lines 2 and 5: the upstream takes a request 24 s later than it came, whether its sender lives or not, and it deletes
windows when its queue is full. Its clock is the test's: nobody waits for those 24 s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.tasks import Task
from tests.support.silence import SilentSite

pytestmark = pytest.mark.process


@pytest.fixture
def start(database_url: str, tmp_path: Path) -> Iterator[Callable[..., SilentSite]]:
    """Start a server at one upstream with manners, named `main`."""
    started: list[SilentSite] = []

    def start(**manners: Any) -> SilentSite:
        site = SilentSite(tmp_path, {"DATABASE_URL": database_url})
        site.add("main", **manners)
        site.start()
        started.append(site)
        return site

    yield start
    for site in started:
        site.stop()


def kill_and_start(site: SilentSite) -> None:
    """kill -9, and another process in its place."""
    site.server.http.close()
    site.server.kill()
    site.start()


def test_what_a_killed_process_sent_may_be_taken_much_later(start: Any, eventually: Any) -> None:
    """Four presses are at a server that takes them 24 s later: they are not sent again in between, nor afterwards."""
    site = start(registers_after_s=24, registers_late=frozenset({"action"}))
    upstream = site.upstreams["main"]
    older = site.running("main", "an older cat")
    grid = site.running("main", "a cat")
    upstream.clock.advance(60)
    site.finish("main", grid)
    upstream.ledger.until(lambda: len(upstream.ledger.came("action")) == 4)
    kill_and_start(site)
    # Something that came later is in the list, with its mark: the list is fresh, and it does not show the four.
    newer = site.running("main", "a newer cat")
    site.looked("main", 3)
    upstream.clock.advance(25)
    upstream.ledger.until(lambda: len(upstream.ledger.paid("upsample")) >= 4)
    eventually(lambda: site.states("main") == ["accepted"] * 4)
    upstream.clock.advance(60)
    assert upstream.ledger.paid_twice() == []
    assert len(upstream.ledger.came("action")) == 4
    assert (older.status, newer.status) == ("SUBMITTED", "SUBMITTED")


def press_custom_zoom(site: SilentSite, eventually: Any) -> Task:
    """Press Custom Zoom of a picture that others made."""
    upstream = site.upstreams["main"]
    upstream.finished_grid("a stranger's cat", pressed=("U1",))
    [single] = [task for task in upstream.shelf.all() if task.action == "UPSCALE"]
    upstream.tell(single, site.hook("main"))
    eventually(lambda: site.server.http.get(f"/api/tasks/main/{single.id}").is_success)
    site.server.submit(kind="press", task_id=single.id, button="Custom Zoom", upstream="main")
    return single


@pytest.mark.parametrize("again", ["queue full", "429"])
def test_a_window_that_was_deleted_tells_nothing_about_the_next(
    start: Any, eventually: Any, again: Any
) -> None:
    """Its answer meets a full queue, which deletes it; the press is repeated, and meets trouble too. The chain goes on."""
    site = start()
    upstream = site.upstreams["main"]
    upstream.next_submit("queue full", of="modal")
    upstream.next_submit("none", of="action")
    upstream.next_submit(again, of="action")
    press_custom_zoom(site, eventually)
    eventually(lambda: len(upstream.ledger.paid("CustomZoom")) == 1)
    eventually(lambda: "accepted" in site.states("main", "modal"))
    assert upstream.ledger.paid_twice() == []
