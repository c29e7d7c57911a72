"""A copy of the database is put back after chains ran. What was paid for since is found at the upstream, or the upstream is paused
and a person told; the upstream's ledger shows nothing twice.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from storage import clock
from storage.engine import Connection, Database
from storage.upstreams import list_facts, standings
from storage.upstreams.list_facts import ListFacts
from tests.conftest import free_port
from tests.hostile.tasks import Task
from tests.hostile.upstream import Hostile
from tests.support import postgres
from tests.support.copies import Copies, FileCopies, PostgresCopies
from tests.support.witness import UPSCALES, is_quiet, labels_of, presses_of, wait_for_an_honest_chain

CHAINS = 5


@pytest.fixture
def file_copies(tmp_path: Path) -> FileCopies:
    return FileCopies(tmp_path / "hookchain.db")


@pytest.fixture
def postgres_copies(postgres_server: str) -> Iterator[PostgresCopies]:
    with postgres.fresh_database(postgres_server) as url:
        copies = PostgresCopies(postgres_server, url)
        yield copies
        copies.drop()


@pytest.fixture(params=["sqlite", "postgres"])
def copies(request: pytest.FixtureRequest) -> Copies:
    """Copies of a database of either kind."""
    found: Copies = request.getfixturevalue("file_copies" if request.param == "sqlite" else "postgres_copies")
    return found


class Site:
    """A server of ours that is stopped, restored and started again, at one upstream."""

    def __init__(self, serve: Any, eventually: Any, upstream: Hostile, copies: Copies) -> None:
        self._serve, self._eventually, self._copies = serve, eventually, copies
        self.upstream = upstream
        self.environment = {"DATABASE_URL": copies.url}
        self._port = free_port()  # the same each time: callbacks find their way
        self.server = self.start()

    def start(self) -> Any:
        command = ["-m", "hookchain", "serve", "--port", str(self._port)]
        self.server = self._serve(self.upstream, SETTLED, command=command, **self.environment)
        return self.server

    def imagine(self, count: int = CHAINS) -> list[Task]:
        """Submit, and wait until the upstream has all."""
        before = self._grids()
        for number in range(count):
            self.server.submit(kind="imagine", prompt=f"cat {len(before) + number}")
        self._eventually(lambda: len(self._grids()) == len(before) + count)
        self._eventually(lambda: is_quiet(self.server))
        return self._grids()[len(before) :]

    def _grids(self) -> list[Task]:
        return [task for task in self.upstream.shelf.all() if task.action == "IMAGINE"]

    def finish(self, grids: list[Task]) -> None:
        """Let the pictures end, and wait for their upscales."""
        self.upstream.change(holds=False)
        for grid in grids:
            self.upstream.go_on(grid)
        self._eventually(lambda: all(len(presses_of(self.upstream, one)) == 4 for one in grids))
        self.upstream.caller.wait_until_none_is_due()
        self._eventually(lambda: is_quiet(self.server))

    def copy(self) -> None:
        """Stop, copy, start."""
        self.server.stop()
        self._copies.make()
        self.start()

    def restore(self, *, whole: bool = False) -> None:
        """Stop, put the copy back, start. `whole`: nothing but the upstream tells then that it is a copy."""
        self.server.stop()
        (self._copies.put_back_whole if whole else self._copies.put_back)()
        self.start()

    def keep_waiting(self, count: int) -> list[str]:
        """Submit while the upstream is paused; the ids."""
        self.server.http.post("/api/upstreams/main/pause")
        return [str(self.server.submit(kind="imagine", prompt=f"waiting {n}")["id"]) for n in range(count)]

    def send_after_a_copy(self) -> list[Task]:
        """Copy it while three submissions wait, then send them; returns their tasks, which go on without a word."""
        self.finish(self.imagine(1))
        self.keep_waiting(3)
        self.copy()
        self.upstream.change(holds=True, is_silent=True)
        return self.let_go()

    def let_go(self) -> list[Task]:
        """Send what waits; returns the tasks that it made."""
        before = self._grids()
        self.server.http.post("/api/upstreams/main/resume")
        self._eventually(lambda: not self.server.get("/api/submissions?state=waiting")["submissions"])
        self._eventually(lambda: not self.server.get("/api/submissions?state=sending")["submissions"])
        return self._grids()[len(before) :]

    def main(self) -> Any:
        [main] = self.server.get("/api/upstreams")["upstreams"]
        return main

    def is_told(self) -> bool:
        main = self.main()
        return "copy of the database was restored; " in (main["pause_reason"] or "")


SETTLED = """
timeout_s = 2
settle_after_s = 0.5

[[rules]]
name = "upscale-all"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "U*"
"""


@pytest.fixture
def site(serve: Any, eventually: Any, start_hostile: Any, copies: Copies) -> Any:
    """Start a site at an upstream with manners."""
    return lambda **manners: Site(serve, eventually, start_hostile(**manners), copies)


@pytest.mark.parametrize(
    "manners",
    [
        pytest.param({}, id="hook and state are shown"),
        pytest.param({"echoes_hook": False}, id="state is shown"),
        pytest.param({"state": "replaced"}, id="the hook is shown"),
    ],
)
def test_what_was_pressed_after_the_copy_is_not_pressed_again(
    site: Any, eventually: Any, manners: dict[str, Any]
) -> None:
    """The copy was made while five pictures were drawn; twenty presses followed. Put back, it has the pictures end once more."""
    at = site(holds=True, **manners)
    at.upstream.change(holds=False)
    at.finish(at.imagine(1))
    at.upstream.change(holds=True)
    grids = at.imagine()
    at.copy()
    at.finish(grids)
    assert len(at.upstream.ledger.paid("action")) == 24
    for button in (button for grid in grids for button in grid.buttons):
        button["style"] = 2  # relays do not tell that it was pressed
    at.restore()
    eventually(lambda: not at.main()["paused"])
    wait_for_an_honest_chain(at.server, at.upstream, eventually)
    assert at.upstream.ledger.pressed_twice() == []
    assert [labels_of(presses_of(at.upstream, grid)) for grid in grids] == [UPSCALES] * CHAINS
    assert len(at.upstream.ledger.paid("imagine")) == 6
    assert "does not send them again" in at.server.output
    chain = at.server.get(f"/api/tasks/main/{grids[0].id}")["chain_id"]
    found = at.server.get(f"/api/chains/{chain}")
    assert len(found["submissions"]) == 5


def test_what_waited_in_the_copy_was_sent_since(site: Any, eventually: Any) -> None:
    """The copy was made while three submissions waited; they were sent. It knows them, and takes them for unsent."""
    at = site()
    at.finish(at.imagine(1))
    at.server.http.post("/api/upstreams/main/pause")
    for number in range(3):
        at.server.submit(kind="imagine", prompt=f"waiting {number}")
    at.copy()
    at.server.http.post("/api/upstreams/main/resume")
    eventually(lambda: len(at.upstream.ledger.paid("action")) == 16)
    at.upstream.caller.wait_until_none_is_due()
    eventually(lambda: is_quiet(at.server))
    at.restore()
    eventually(lambda: not at.server.get("/api/submissions?state=waiting")["submissions"])
    at.server.http.post("/api/upstreams/main/resume")
    wait_for_an_honest_chain(at.server, at.upstream, eventually)
    assert len(at.upstream.ledger.paid("imagine")) == 4
    assert at.upstream.ledger.pressed_twice() == []


def test_what_left_in_the_last_moment_before_the_copy_was_put_back(site: Any, eventually: Any) -> None:
    """The list shows it later than the server starts: only the file beside it, or the database server, tells that this is a copy."""
    at = site()
    at.send_after_a_copy()
    at.upstream.change(list_behind_s=2)
    at.restore()
    eventually(lambda: not at.server.get("/api/submissions?state=waiting")["submissions"])
    assert len(at.upstream.ledger.paid("imagine")) == 4


def test_a_callback_of_a_submission_that_was_not_sent_is_a_sign(site: Any, eventually: Any) -> None:
    """A volume was put back, and the list shows nothing: a callback comes by the hook of a submission that still waits here."""
    at = site()
    made = at.send_after_a_copy()
    for task in made:
        at.upstream.hide(task)
    at.restore(whole=True)
    path = made[0].hook.partition("/notify/")[2]
    at.upstream.call_back(f"{at.server.url}/notify/{path}", made[0])
    eventually(at.is_told)
    assert at.server.get(f"/api/submissions/{path.partition('/')[2]}")["state"] == "accepted"
    eventually(lambda: [one["why"] for one in at.main()["refused"]] == ["unknown_submission"])


def test_a_start_waits_for_a_list_that_is_known_to_be_late(
    site: Any, eventually: Any, copies: Copies
) -> None:
    """A volume was put back, and no callback comes. What is due is not sent before the list can show what was sent already."""
    at = site()
    at.send_after_a_copy()
    at.upstream.change(list_behind_s=2)
    at.server.stop()
    copies.put_back_whole()
    asyncio.run(written(copies.url, resumed_and_late))
    at.start()
    eventually(lambda: not at.server.get("/api/submissions?state=waiting")["submissions"])
    assert len(at.upstream.ledger.paid("imagine")) == 4


def resumed_and_late(connection: Connection) -> None:
    """Nothing keeps the upstream from getting what is due, and its list was seen to be late by three seconds."""
    standings.resume(connection, "main", clock.now_ms())
    list_facts.keep(connection, "main", ListFacts(lags_ms=(3_000,) * 3))


async def written(url: str, work: Callable[[Connection], None]) -> None:
    """Change a database that nobody is connected to."""
    database = Database(url)
    await database.open()
    await database.write("test", work)
    await database.close()


def test_a_client_that_asks_again_after_the_restore_is_told_what_it_had(site: Any, eventually: Any) -> None:
    """Its Idempotency-Key gives the same submission: its id is derived from its intent."""
    at = site()
    at.finish(at.imagine(1))
    at.copy()

    def ask() -> httpx.Response:
        return at.server.http.post(  # type: ignore[no-any-return]  # a client of httpx
            "/api/submissions",
            json={"kind": "imagine", "prompt": "a dog"},
            headers={"idempotency-key": "order 7"},
        )

    made = ask().json()
    eventually(lambda: len(at.upstream.ledger.paid("action")) == 8)
    at.upstream.caller.wait_until_none_is_due()
    eventually(lambda: is_quiet(at.server))
    at.restore()
    eventually(lambda: not at.main()["paused"])
    again = ask()
    assert (again.status_code, again.json()["id"]) == (200, made["id"])
    wait_for_an_honest_chain(at.server, at.upstream, eventually)
    assert len(at.upstream.ledger.paid("imagine")) == 2
    assert at.upstream.ledger.pressed_twice() == []


@pytest.mark.parametrize(
    "manners",
    [
        pytest.param({"list_oldest": 8}, id="the list shows the eight oldest"),
        pytest.param({"list_newest": 3}, id="the list shows the three newest"),
        pytest.param({"list_lags": 7}, id="the list is behind"),
        pytest.param({"echoes_hook": False, "state": "replaced"}, id="no mark is shown"),
    ],
)
def test_where_the_list_tells_too_little_a_person_is_told(
    serve: Any, eventually: Any, start_hostile: Any, file_copies: FileCopies, manners: dict[str, Any]
) -> None:
    """Beside a file it is counted what was sent since the copy. The upstream is paused, says why, and nothing is paid twice."""
    at = Site(serve, eventually, start_hostile(holds=True), file_copies)
    grids = at.imagine()
    at.copy()
    at.finish(grids)
    for button in (button for grid in grids for button in grid.buttons):
        button["style"] = 2
    at.upstream.change(**manners)
    at.restore()
    eventually(at.is_told)
    assert "20 requests were begun" in at.main()["pause_reason"]
    eventually(lambda: at.server.get("/api/tasks?status=SUCCESS")["tasks"])
    assert len(at.upstream.ledger.paid("action")) == 20
    at.server.stop()
    at.start()  # killed, restarted: it is still told
    eventually(at.is_told)
    assert len(at.upstream.ledger.paid("action")) == 20
    at.upstream.change(list_oldest=None, list_newest=None, list_lags=0, echoes_hook=True, state="echoed")
    at.server.stop()
    at.start()
    eventually(lambda: not at.main()["paused"])  # now that the list tells
    wait_for_an_honest_chain(at.server, at.upstream, eventually)
    assert at.upstream.ledger.pressed_twice() == []


def test_a_person_resumes_what_cannot_be_known(
    serve: Any, eventually: Any, start_hostile: Any, file_copies: FileCopies
) -> None:
    """No mark is shown, and no list tells of any parent: once a person says so, it goes on."""
    at = Site(serve, eventually, start_hostile(), file_copies)
    at.finish(at.imagine(1))
    at.copy()
    at.imagine(2)
    at.upstream.change(echoes_hook=False, state="replaced")
    at.restore()
    eventually(at.is_told)
    at.server.http.post("/api/upstreams/main/resume")
    wait_for_an_honest_chain(at.server, at.upstream, eventually)
    assert not at.main()["paused"]


def test_a_callback_of_an_unknown_submission_is_a_sign(site: Any, eventually: Any) -> None:
    """A volume was put back, with the file that counts, and the list is empty: a callback comes by the own hook of a submission
    that is not there. The upstream is paused before anything is sent, and the submission known again."""
    at = site(holds=True)
    grids = at.imagine(2)
    at.copy()
    at.finish(grids)
    children = [task for task in at.upstream.shelf.all() if task not in grids]
    for task in at.upstream.shelf.all():
        at.upstream.hide(task)
    at.upstream.change(echoes_hook=False, is_silent=True)
    for grid in grids:
        grid.status = "IN_PROGRESS"
    at.restore(whole=True)
    child = children[0]
    path = child.hook.partition("/notify/")[2]
    at.upstream.call_back(f"{at.server.url}/notify/{path}", child)
    eventually(at.is_told)
    found = at.server.get(f"/api/tasks/main/{child.id}")
    assert found["submission_id"] == path.partition("/")[2]
    eventually(lambda: [one["why"] for one in at.main()["refused"]] == ["unknown_submission"])
    assert len(at.upstream.ledger.paid("action")) == 8


def test_the_work_of_another_installation_is_not_ours(
    serve: Any,
    eventually: Any,
    start_hostile: Any,
    file_copies: FileCopies,
    tmp_path: Path,
    start_server: Any,
) -> None:
    """Two installations share one account. What one did while the other was stopped is no sign of anything."""
    at = Site(serve, eventually, start_hostile(), file_copies)
    at.finish(at.imagine(1))
    at.server.stop()
    other = tmp_path / "other.db"
    at.environment |= {"DATABASE_URL": f"sqlite:///{other}", "HOOKCHAIN_SECRET": "another's"}
    at.start()
    at.finish(at.imagine(2))
    at.server.stop()
    at.environment = {"DATABASE_URL": file_copies.url}
    at.start()
    wait_for_an_honest_chain(at.server, at.upstream, eventually)
    assert not at.main()["paused"]
    assert "the upstream has submissions that the copy lacks" not in at.server.output
    ids = {one["id"] for one in at.server.get("/api/submissions?limit=500")["submissions"]}
    assert len(ids) == 5 + 4


@pytest.mark.parametrize("lost", ["moved", "the file is kept"])
def test_a_database_that_is_new_or_was_moved_goes_on(
    serve: Any, eventually: Any, start_hostile: Any, file_copies: FileCopies, tmp_path: Path, lost: str
) -> None:
    """Moved without the file beside it, or begun anew beside the file of one that was lost: the upstream tells all, nobody is
    needed."""
    at = Site(serve, eventually, start_hostile(), file_copies)
    grids = at.imagine(2)
    at.finish(grids)
    at.server.stop()
    if lost == "moved":
        moved = tmp_path / "elsewhere.db"
        shutil.move(tmp_path / "hookchain.db", moved)
        at.environment = {"DATABASE_URL": f"sqlite:///{moved}"}
    else:
        (tmp_path / "hookchain.db").unlink()
    at.start()
    eventually(lambda: not at.main()["paused"])
    wait_for_an_honest_chain(at.server, at.upstream, eventually)
    assert at.upstream.ledger.pressed_twice() == []
    assert len(at.upstream.ledger.paid("imagine")) == 2


def test_a_plain_restart_asks_and_says_nothing(site: Any, eventually: Any) -> None:
    """Killed in the middle: what it begun is on its disk, and beside it."""
    at = site()
    at.finish(at.imagine(2))
    at.server.kill()
    at.start()
    wait_for_an_honest_chain(at.server, at.upstream, eventually)
    assert not at.main()["paused"]
    assert "the upstream has submissions that the copy lacks" not in at.server.output
    assert [one.how for one in at.upstream.ledger.reads].count("list") >= 2


def test_a_window_that_was_answered_since_is_not_answered_again(site: Any, eventually: Any) -> None:
    """The copy was made while the answer waited. A second one would run, and be billed, as well."""
    at = site()
    [grid] = at.imagine(1)
    at.finish([grid])
    picture = next(one for one in at.upstream.shelf.all() if one.action == "UPSCALE")
    at.server.submit(kind="press", task_id=picture.id, button="custom_zoom")
    [press] = eventually(lambda: at.server.get("/api/submissions?state=needs_modal")["submissions"])
    at.server.http.post("/api/upstreams/main/pause")
    answer = at.server.submit(kind="modal", task_id=press["task_ids"][0], prompt="a cat --zoom 1.8")
    at.copy()
    at.server.http.post("/api/upstreams/main/resume")
    eventually(lambda: at.upstream.ledger.paid("modal"))
    at.upstream.caller.wait_until_none_is_due()
    eventually(lambda: is_quiet(at.server))
    at.restore()
    eventually(lambda: at.server.get(f"/api/submissions/{answer['id']}")["state"] == "accepted")
    at.server.http.post("/api/upstreams/main/resume")
    wait_for_an_honest_chain(at.server, at.upstream, eventually)
    assert len([one for one in at.upstream.ledger.submits if one.path.endswith("/modal")]) == 1


@pytest.mark.parametrize(
    "manners",
    [
        pytest.param({"list_newest": 3}, id="the list shows the three newest"),
        pytest.param({"echoes_hook": False, "state": "replaced"}, id="no mark is shown"),
    ],
)
def test_where_nobody_counted_either_a_person_is_told(
    serve: Any,
    eventually: Any,
    start_hostile: Any,
    file_copies: FileCopies,
    tmp_path: Path,
    manners: dict[str, Any],
) -> None:
    """The file that counts is lost as well. However often the list is read, it does not tell what the copy lacks."""
    at = Site(serve, eventually, start_hostile(), file_copies)
    at.finish(at.imagine(1))
    at.upstream.change(holds=True)
    grids = at.imagine()
    at.copy()
    at.finish(grids)
    for button in (button for grid in grids for button in grid.buttons):
        button["style"] = 2
    at.upstream.change(**manners)
    at.server.stop()
    file_copies.put_back()
    (tmp_path / "hookchain.db-generation").unlink()
    at.start()
    eventually(at.is_told)
    lists = at.upstream.ledger.lists()
    at.upstream.ledger.until(lambda: at.upstream.ledger.lists() >= lists + 3)
    assert at.is_told()
    assert len(at.upstream.ledger.paid("action")) == 24


def test_a_pause_in_the_copy_does_not_hide_that_it_was_put_back(
    serve: Any, eventually: Any, start_hostile: Any, file_copies: FileCopies
) -> None:
    """It was made in a maintenance window. Whoever resumes the upstream now is told what that may cost."""
    at = Site(serve, eventually, start_hostile(), file_copies)
    at.finish(at.imagine(1))
    at.server.http.post("/api/upstreams/main/pause")
    at.copy()
    at.server.http.post("/api/upstreams/main/resume")
    at.finish(at.imagine(1))
    at.upstream.change(echoes_hook=False, state="replaced")
    at.restore()
    eventually(at.is_told)
    at.upstream.change(echoes_hook=True, state="echoed")
    at.server.stop()
    at.start()
    eventually(lambda: not at.main()["pause_reason"])
    assert at.main()["paused"], "it was paused by hand, and stays so when all is known"
