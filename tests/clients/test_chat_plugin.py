"""The plugin of chatgpt-on-wechat (mouxangithub/midjourney-proxy-on-wechat): it reads every key, and takes code 1 alone for success."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import KEY
from tests.clients.driven import Driven
from tests.support.sandbox_http import PNG

pytestmark = pytest.mark.process

CLIENT = "cow"

ANN = {"user_id": "ann", "user_nickname": 'Ann 🐈 "/"'}
BOB = {"user_id": "bob", "user_nickname": "Bob"}


@pytest.fixture
def plugin(folder: Path, drive: Any) -> Any:
    def start(url: str, user: dict[str, str] = ANN) -> Driven:
        started: Driven = drive(folder, "python_client.py", "plugin", str(folder))
        called(started, "set_mj", url, KEY)
        called(started, "set_user", json.dumps(user))
        return started

    return start


def called(plugin: Driven, name: str, *arguments: Any) -> Any:
    """What a call of the plugin's API returns; it logs errors, and returns no success then."""
    told = plugin.do(call=name, **{"with": list(arguments)})
    assert told["error"] is None, told
    assert "Traceback" not in plugin.output, plugin.output
    return told["answer"]


def finished(plugin: Driven, told: Any) -> str:
    """The ticket that a submit gave, when the plugin has its picture; it polls for it every 3 s."""
    is_done, text, ticket = told
    assert is_done, text
    is_done, text, picture = called(plugin, "get_f_img", ticket)
    assert is_done, text
    assert picture.startswith("http")
    return str(ticket)


@pytest.mark.parametrize("dialect", ["mj-plus", "novicezk"])
def test_all_calls_of_the_plugin(plugin: Any, start_place: Any, dialect: str) -> None:
    """Imagine, U, V, reroll, blend, describe, fetch and queue: each is answered as the plugin wants it, and billed once."""
    place = start_place(dialect=dialect)
    chat = plugin(place.url)
    grid = finished(chat, called(chat, "imagine", "a cat"))
    finished(chat, called(chat, "simpleChange", f"{grid} U1"))
    finished(chat, called(chat, "simpleChange", f"{grid} V2"))
    finished(chat, called(chat, "reroll", grid))
    finished(chat, called(chat, "blend", [PNG, PNG], "SQUARE"))
    described = called(chat, "describe", PNG)
    finished(chat, described)
    is_there, text, picture = called(chat, "fetch", grid)
    assert is_there
    assert ANN["user_nickname"] in text
    assert grid in text
    assert picture.startswith("http")
    assert sum(place.billed().values()) == 6


def test_another_user_is_refused_by_the_state(plugin: Any, start_place: Any) -> None:
    """`state` comes back as it was sent: the plugin decodes it, and compares the users in it."""
    place = start_place()
    chat = plugin(place.url)
    ticket = finished(chat, called(chat, "imagine", "a cat"))
    called(chat, "set_user", json.dumps(BOB))
    is_there, text, _ = called(chat, "fetch", ticket)
    assert not is_there
    assert text == "❌ 该任务不属于您提交，您无权查看"


def test_the_queue_shows_what_runs(plugin: Any, start_place: Any) -> None:
    """And a user's own tasks in it, with all keys that the plugin prints."""
    place = start_place(speed="0.5")
    chat = plugin(place.url)
    assert called(chat, "task_queue") == [True, "✅ 查询成功\n❌ 暂无执行中的任务"]
    (_, _, ticket) = called(chat, "imagine", "a cat")
    is_there, text = called(chat, "task_queue")
    assert is_there
    assert ticket in text
    assert "共计：1个任务在执行" in text


def test_refusals_and_failures_are_told_with_their_reason(plugin: Any, start_place: Any) -> None:
    place = start_place()
    chat = plugin(place.url)
    is_done, text, _ = called(chat, "imagine", "nude")
    assert (is_done, bool(text)) == (False, True)
    is_done, _, ticket = called(chat, "imagine", "a cat --fail")
    assert is_done
    is_done, text, _ = called(chat, "get_f_img", ticket)
    assert not is_done
    assert text.startswith("❌ 请求失败：")
    assert "None" not in text
    is_done, text, _ = called(chat, "simpleChange", f"{ticket} U1")
    assert (is_done, bool(text)) == (False, True)
    assert place.billed() == {"imagine": 1}


def test_a_picture_for_a_prompt(plugin: Any, start_place: Any) -> None:
    """`base64Array` beside a prompt."""
    place = start_place()
    chat = plugin(place.url)
    assert base64.b64decode(PNG.partition(",")[2])
    finished(chat, called(chat, "imagine", "a cat", [PNG]))
    assert place.sandbox.accepted("/imagine")[0]["base64Array"]
    assert place.billed() == {"imagine": 1}
