"""lobehub/lobe-midjourney-webui: its page asks its own server, which passes everything on; an empty body throws in the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import KEY
from tests.clients.driven import Driven
from tests.support.sandbox_http import PNG

pytestmark = pytest.mark.process

CLIENT = "lobe"


@pytest.fixture
def lobe(folder: Path, drive: Any) -> Any:
    def start(url: str, key: str = KEY) -> Driven:
        started: Driven = drive(folder, "lobe.mts", URL=url, KEY=key)
        return started

    return start


def called(lobe: Driven, method: str, argument: Any = None) -> Any:
    told = lobe.do(method=method, argument=argument)
    assert told["error"] is None, told
    return told["answer"]


@pytest.fixture
def finished(eventually: Any) -> Any:
    """The task, when it has ended well."""

    def wait(lobe: Driven, ticket: str) -> Any:
        assert (
            called(lobe, "getTaskById", ticket)["id"] == ticket
        )  # at once after the submit, as the page does
        eventually(lambda: called(lobe, "getTaskById", ticket)["status"] == "SUCCESS")
        return called(lobe, "getTaskById", ticket)

    return wait


@pytest.mark.parametrize("dialect", ["mj-plus", "novicezk", "trueai"])
def test_the_service_of_the_page(lobe: Any, start_place: Any, finished: Any, dialect: str) -> None:
    """Imagine (with a blank before the prompt), describe, `change`, `simple-change`, and the lists."""
    place = start_place(dialect=dialect)
    page = lobe(place.url)
    grid = called(page, "createImagineTask", {"prompt": " a cat"})
    task = finished(page, grid)
    assert task["imageUrl"].startswith("http")
    assert isinstance(task["properties"], dict)
    made = [
        called(page, "createChangeTask", {"taskId": grid, "action": "UPSCALE", "index": 1}),
        called(page, "createChangeTask", {"taskId": grid, "action": "REROLL"}),
        called(page, "createSimpleChangeTask", {"id": grid, "type": "VARIATION", "index": "2"}),
        called(page, "createDescribeTask", {"base64": PNG}),
    ]
    for ticket in made:
        finished(page, ticket)
    listed = [task["id"] for task in called(page, "listTasks")]
    assert sorted(listed) == sorted([grid, *made])
    assert [task["id"] for task in called(page, "listTasksByCondition", {"ids": [grid, "1", made[0]]})] == [
        grid,
        made[0],
    ]
    assert len(called(page, "listAccounts")) == 1
    assert sum(place.billed().values()) == 5


def test_what_does_not_exist_is_an_error_that_the_page_can_show(lobe: Any, start_place: Any) -> None:
    """It shows the body of the answer; it decodes it first."""
    place = start_place()
    page = lobe(place.url)
    told = page.do(method="getTaskById", argument="1320098173412546")
    assert (told["answer"], told["error"]["status"], told["error"]["body"]["code"]) == ({}, 404, 3)
    told = lobe(place.url, "a wrong key").do(method="createImagineTask", argument={"prompt": "a cat"})
    assert (told["error"]["status"], told["error"]["body"]["code"]) == (401, 4)
    assert place.billed() == {}
