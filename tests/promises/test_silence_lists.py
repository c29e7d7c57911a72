"""What we conclude from an upstream's list, or from none: never that something was not taken, unless that is shown.

Issue 17, lines 1, 3, 4 and 7. Answers are lost after the upstream took what was asked of it; its ledger tells what was paid.
One server for all cases, and an upstream for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.migrate import migrate
from tests.support import postgres
from tests.support.silence import SilentSite

pytestmark = pytest.mark.process

NO_LISTS: list[Any] = ["404", "silence"]
LOSSES: list[Any] = ["closed", "504", "silence"]
ONE = frozenset({"imagine"})


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SilentSite]:
    """The server and its upstreams, over a database of either kind."""
    directory = tmp_path_factory.mktemp("silence")
    if request.param == "sqlite":
        yield from started(directory, {})
        return
    with postgres.fresh_database(request.getfixturevalue("postgres_server")) as url:
        migrate(url)
        yield from started(directory, {"DATABASE_URL": url})


def started(directory: Path, environment: dict[str, str]) -> Iterator[SilentSite]:
    site = SilentSite(directory, environment)
    site.add("behind", list_behind_s=20)
    site.add("oldest", list_oldest=8)
    site.add("bare", state_on=ONE, echoes_hook=False)
    site.add("unmarked", state="replaced", echoes_hook=False)
    for how in LOSSES:
        # Whoever waited for the end of this before looking for marks would wait for ever.
        site.add(f"lost_{how}", settle_after_s=3600, timeout_s=1 if how == "silence" else 30)
    for says in NO_LISTS:
        site.add(f"list_{says}", list_says=says, timeout_s=3)
    for number in range(3):
        site.add(f"hanging_{number}", list_says="silence", fetch_says="silence", timeout_s=3600)
    site.add("beside_hanging")
    site.start()
    try:
        yield site
    finally:
        site.stop()


def test_a_list_that_is_20_s_behind_disproves_nothing(site: SilentSite, eventually: Any) -> None:
    """It shows the grid, and not yet its upscales; once it does, all four are known."""
    upstream = site.upstreams["behind"]
    site.four_lost_presses("behind", "closed")
    site.looked("behind", 2)
    assert len(upstream.ledger.came("action")) == 4
    upstream.clock.advance(60)
    eventually(lambda: site.states("behind") == ["accepted"] * 4)
    assert upstream.ledger.paid_twice() == []


def test_a_list_of_the_oldest_only_disproves_nothing(site: SilentSite) -> None:
    """It shows the grid that was pressed, and nothing newer than that."""
    upstream = site.upstreams["oldest"]
    for _ in range(7):
        upstream.finished_grid("a stranger's", ago_s=600)
    site.four_lost_presses("oldest", "closed")
    site.looked("oldest", 2)
    assert site.states("oldest") == ["uncertain"] * 4
    assert len(upstream.ledger.came("action")) == 4


@pytest.mark.parametrize("name", ["bare", "unmarked"])
def test_a_list_without_marks_of_this_kind_disproves_nothing(
    site: SilentSite, eventually: Any, name: str
) -> None:
    """Imagines carry their `state` there, upscales do not; or nothing does."""
    upstream = site.upstreams[name]
    site.four_lost_presses(name, "closed")
    site.looked(name, 2)
    assert set(site.states(name)) <= {"uncertain", "accepted"}
    assert len(upstream.ledger.came("action")) == 4
    assert upstream.ledger.paid_twice() == []


@pytest.mark.parametrize("how", LOSSES)
def test_a_lost_answer_is_found_as_soon_as_the_list_shows_its_mark(
    site: SilentSite, eventually: Any, how: Any
) -> None:
    """Proof needs no waiting: only a disproof has to wait until no server can still be busy with the request."""
    upstream = site.upstreams[f"lost_{how}"]
    site.four_lost_presses(f"lost_{how}", how)
    eventually(lambda: site.states(f"lost_{how}") == ["accepted"] * 4)
    assert upstream.ledger.paid_twice() == []


@pytest.mark.parametrize("says", NO_LISTS)
def test_where_there_is_no_list_the_tasks_that_we_know_prove(
    site: SilentSite, eventually: Any, says: Any
) -> None:
    """Three windows are answered, the answers are lost, and callbacks tell of SUCCESS: nothing is left for a person."""
    name = f"list_{says}"
    upstream = site.upstreams[name]
    upstream.next_submit("closed", of="modal", times=3)
    for number in range(3):
        grid = upstream.finished_grid(f"a stranger's {number}", pressed=("U1",))
        [single] = [one for one in upstream.shelf.all() if one.parent_id == grid.id]
        press: dict[str, Any] = {"kind": "press", "task_id": single.id, "button": "Custom Zoom"}
        upstream.tell(single, site.hook(name))
        eventually(
            lambda name=name, single=single: site.server.http.get(f"/api/tasks/{name}/{single.id}").is_success
        )
        site.server.submit(**press, upstream=name)
    upstream.ledger.until(lambda: len(upstream.ledger.paid("CustomZoom")) == 3)
    windows = [task for task in upstream.shelf.all() if "CustomZoom" in task.custom_id]
    for window in windows:
        eventually(lambda window=window: window.has_ended)
        site.tell(name, window)
    eventually(lambda: site.states(name, "modal") == ["accepted"] * 3)
    assert upstream.ledger.paid_twice() == []


def test_an_upstream_that_hangs_holds_up_no_other(site: SilentSite, eventually: Any) -> None:
    """Three say nothing when they are asked about lost answers; the fourth is asked all the same, and tells."""
    for number in range(3):
        site.upstreams[f"hanging_{number}"].next_submit("closed", of="imagine")
        site.server.submit(kind="imagine", prompt="a cat", upstream=f"hanging_{number}")
        eventually(lambda number=number: site.states(f"hanging_{number}", "imagine") == ["uncertain"])
    upstream = site.upstreams["beside_hanging"]
    upstream.next_submit("closed", of="imagine")
    site.server.submit(kind="imagine", prompt="a cat", upstream="beside_hanging")
    eventually(lambda: site.states("beside_hanging", "imagine") == ["accepted"], within_s=60)
    assert upstream.ledger.paid_twice() == []
