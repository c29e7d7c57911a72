"""An upstream that writes everything in its own way: wrapped, renamed, compressed, or so that nobody can read it.
`tests/hostile` is that upstream; it shares no code with the product or its sandbox, and its ledger is the judge.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.hostile import spelling
from tests.hostile.shapes import Json
from tests.hostile.spelling import Spelling
from tests.hostile.tasks import Task
from tests.hostile.upstream import Hostile
from tests.support import command
from tests.support.witness import (
    UPSCALE_ALL,
    UPSCALES,
    labels_of,
    presses_of,
    succeeded,
    wait_for_an_honest_chain,
)


def only(task: Task, spell: Spelling) -> Spelling:
    """Write one task in this way, and all others plainly."""
    return lambda shown: spell(shown) if shown["id"] == task.id else shown


def warnings(server: Any, task: Task) -> list[str]:
    """What the log says that is odd about one task."""
    return [line for line in server.lines if "odd task" in line and task.id in line]


# 6. Buttons that are there, and that nobody can read.


def as_words(task: Json) -> Json:
    """The names of the buttons."""
    return task | {"buttons": [one["label"] for one in task["buttons"]]}


def as_one_word(task: Json) -> Json:
    """All of them in one text."""
    return task | {"buttons": "U1 U2 U3 U4"}


@pytest.mark.parametrize(
    ("spell", "shape"),
    [
        (spelling.unreadable_buttons, "an object with rows"),
        (as_words, "a string of 2 characters"),
        (as_one_word, "a string of 11 characters"),
    ],
)
def test_a_success_with_buttons_that_nobody_can_read(
    start_hostile: Any, serve: Any, eventually: Any, tmp_path: Path, spell: Spelling, shape: str
) -> None:
    """It is a warning with their shape, in the log and in explain, and no grid without buttons. Nothing is pressed."""
    upstream = start_hostile()
    server = serve(upstream)
    task = upstream.finished_grid()
    upstream.change(spelling=only(task, spell))
    upstream.tell(task, server.hook)
    eventually(lambda: warnings(server, task))
    wait_for_an_honest_chain(server, upstream, eventually)
    assert presses_of(upstream, task) == []
    assert all(shape in line for line in warnings(server, task))
    explained = command.run(tmp_path, "explain", task.id, PORT=server.url.rpartition(":")[2]).stdout
    assert shape in explained


# 12. Spellings, each read where only one reading is possible.


WRAPPINGS = {
    name: getattr(spelling, name.replace(" ", "_")) for name in ("in data", "in task", "in array", "in text")
}
LABELS = {
    "lower case": spelling.lower_case,
    "emoji": spelling.with_emoji,
    "Chinese": spelling.in_chinese,
}
MANNERS: dict[str, dict[str, Any]] = {
    **{f"wrapped {name}": {"wrapping": one} for name, one in WRAPPINGS.items()},
    **{
        f"wrapped {name}, reads too": {"wrapping": one, "wraps_reads": True}
        for name, one in WRAPPINGS.items()
    },
    **{f"labels in {name}": {"labels": one} for name, one in LABELS.items()},
    **{encoding: {"encoding": encoding} for encoding in ("gzip", "deflate", "deflate-raw")},
    "as text inside": {"spelling": spelling.as_text_inside},
    "task_id": {"spelling": spelling.with_task_id},
    "succeeded": {"spelling": spelling.with_status(SUCCESS="succeeded")},
    "all at once": {
        "spelling": lambda task: spelling.with_task_id(spelling.as_text_inside(task)),
        "wrapping": spelling.in_text,
        "wraps_reads": True,
        "labels": spelling.in_chinese,
        "encoding": "gzip",
    },
}


@pytest.mark.parametrize("manners", MANNERS.values(), ids=MANNERS)
def test_a_grid_is_upscaled_however_it_is_written(
    start_hostile: Any, serve: Any, eventually: Any, manners: dict[str, Any]
) -> None:
    """In callbacks, and in what is read: one press for each U-button, and one event that says so."""
    upstream = start_hostile(**manners)
    server = serve(upstream)
    task = upstream.finished_grid()
    told = upstream.tell(task, server.hook)
    assert told.status == 200, told.told
    wait_for_an_honest_chain(server, upstream, eventually)
    assert labels_of(presses_of(upstream, task)) == UPSCALES
    assert upstream.ledger.pressed_twice() == []
    assert len(succeeded(server, task)) == 1


def wrapped_twice(task: Json) -> Json:
    """An envelope in an envelope."""
    return {"data": {"task": task}}


@pytest.mark.parametrize("wrap", [spelling.two_in_data, wrapped_twice])
def test_a_body_with_two_readings_is_kept_apart(
    start_hostile: Any, serve: Any, eventually: Any, wrap: Any
) -> None:
    """In quarantine, with a line in the log; nothing is pressed."""
    upstream = start_hostile()
    server = serve(upstream)
    task = upstream.finished_grid()
    assert upstream.post(server.hook, wrap(task.shown(upstream.manners))).status == 422
    wait_for_an_honest_chain(server, upstream, eventually)
    assert presses_of(upstream, task) == []
    assert len(server.get("/api/quarantine")["quarantine"]) == 1
    eventually(lambda: [line for line in server.lines if "not_understood" in line])


NAMED = '[dialects.named]\nlike = "mj-plus"\nstatuses = { COMPLETED = "SUCCESS" }\n'


@pytest.mark.parametrize("is_named", [False, True], ids=["nobody names it", "the dialect names it"])
def test_an_unknown_status_is_pressed_only_where_the_dialect_names_it(
    start_hostile: Any, serve: Any, eventually: Any, is_named: bool
) -> None:
    """COMPLETED beside 100 % and an image: kept, and warned of; a SUCCESS where the owner says so."""
    upstream = start_hostile()
    server = serve(upstream, NAMED + UPSCALE_ALL, dialect="named" if is_named else "mj-plus")
    task = upstream.finished_grid()
    upstream.change(spelling=only(task, spelling.with_status(SUCCESS="COMPLETED")))
    upstream.tell(task, server.hook)
    wait_for_an_honest_chain(server, upstream, eventually)
    if is_named:
        assert labels_of(presses_of(upstream, task)) == UPSCALES
        assert warnings(server, task) == []
    else:
        assert presses_of(upstream, task) == []
        warned = eventually(lambda: warnings(server, task))
        assert all("COMPLETED" in line for line in warned)
        events = server.get(f"/api/events?task_id={task.id}")["events"]
        assert {one["status"] for one in events} == {"COMPLETED"}
        assert succeeded(server, task) == []


def test_a_bomb_is_not_unpacked(start_hostile: Any, serve: Any, eventually: Any) -> None:
    """Compressed, it is small; what it would become is larger than a callback may be. Its task is read instead."""
    upstream: Hostile = start_hostile(encoding="gzip")
    server = serve(upstream)
    task = upstream.finished_grid()
    assert upstream.call_back(server.hook, task, maskBase64="A" * 50_000_000).status == 413
    eventually(lambda: len(presses_of(upstream, task)) >= 4)
    wait_for_an_honest_chain(server, upstream, eventually)
    assert labels_of(presses_of(upstream, task)) == UPSCALES
