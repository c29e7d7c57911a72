"""The WeChat bot (novicezk/wechat-midjourney): it polls nothing, and says in the chat what its hook is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.clients.driven import Driven
from tests.conftest import free_port

pytestmark = pytest.mark.process

CLIENT = "wxmj"

SUBMITTED, FAILED, DONE, UPSCALED = "✅", "❌", "🎨 绘图成功", "🎨 图片放大"
ROUGH = "duplicate,reorder,late-progress,drop"


@pytest.fixture
def bot(folder: Path, drive: Any) -> Any:
    """The bot at an address; its hook is up unless a test says otherwise."""

    def start(url: str, *, is_up: bool = True) -> Driven:
        port = str(free_port())
        hook = f"http://127.0.0.1:{port}/notify"
        started: Driven = drive(
            folder, "chat_bot.mts", MJ_PROXY_ENDPOINT=f"{url}/mj", MJ_NOFIFY_HOOK=hook, PORT=port
        )
        if is_up:
            started.do(path="listen")
        return started

    return start


def asked(bot: Driven, path: str, *, who: str = "ann", **body: str) -> Any:
    """The answer to a command in the chat."""
    return bot.do(path=f"/submit/{path}", body={"state": f"room:{who}", **body})["answer"]


def said(bot: Driven, who: str) -> list[str]:
    """What the chat was told for somebody, each by its first words."""
    told = [one["said"].partition("\n")[2] for one in bot.told if one["said"].startswith(f"@{who} ")]
    return [
        next((word for word in (SUBMITTED, FAILED, DONE, UPSCALED) if text.startswith(word)), text)
        for text in told
    ]


def ended(bot: Driven, who: str) -> list[str]:
    """The same, when the end was said."""
    bot.until(lambda: bool({FAILED, DONE, UPSCALED} & set(said(bot, who))))
    return said(bot, who)


@pytest.mark.parametrize("faults", ["", ROUGH])
@pytest.mark.parametrize("dialect", ["mj-plus", "novicezk"])
def test_each_message_is_said_once_and_in_order(
    bot: Any, start_place: Any, faults: str, dialect: str
) -> None:
    """Imagine and `/up`, with an upstream that repeats, mixes up and loses its callbacks too."""
    place = start_place(*(["--faults", faults, "--seed", "7"] if faults else []), dialect=dialect)
    chat = bot(place.url_with_key)
    grid = asked(chat, "imagine", prompt="a cat")
    assert grid["code"] == 1
    assert ended(chat, "ann") == [SUBMITTED, DONE]
    single = asked(chat, "simple-change", who="bob", content=f"{grid['result']} U1")
    assert single["code"] == 1
    assert ended(chat, "bob") == [SUBMITTED, UPSCALED]
    chat.until(lambda: sum(bool(one["picture"]) for one in chat.told) == 2)
    # Whatever may still be said would have been said before the end of a third.
    asked(chat, "imagine", who="eve", prompt="a dog")
    assert ended(chat, "eve") == [SUBMITTED, DONE]
    assert (said(chat, "ann"), said(chat, "bob")) == ([SUBMITTED, DONE], [SUBMITTED, UPSCALED])
    assert sum(place.billed().values()) == 3


def test_a_refusal_is_said_at_once(bot: Any, start_place: Any) -> None:
    """A banned word is code 24, and nothing is told to the hook."""
    place = start_place()
    chat = bot(place.url_with_key)
    told = asked(chat, "imagine", prompt="nude")
    assert (told["code"], told["result"], told["properties"]["bannedWord"]) == (24, None, "nude")
    assert [one["said"] for one in chat.told] == [f"24: {told['description']}"]
    assert place.billed() == {}


def test_a_failure_is_said_with_its_reason(bot: Any, start_place: Any) -> None:
    chat = bot(start_place().url_with_key)
    asked(chat, "imagine", prompt="a cat --fail")
    assert ended(chat, "ann") == [SUBMITTED, FAILED]
    assert "失败原因: null" not in chat.told[-1]["said"]
    assert "失败原因: undefined" not in chat.told[-1]["said"]


def test_what_happened_while_the_bot_was_away_is_said_when_it_is_back(
    bot: Any, start_place: Any, eventually: Any
) -> None:
    """Both messages, in order, although the task ended before the hook was up."""
    place = start_place()
    chat = bot(place.url_with_key, is_up=False)
    ticket = asked(chat, "imagine", prompt="a cat")["result"]
    fetch = f"{place.url_with_key}/mj/task/{ticket}/fetch"
    eventually(lambda: place.server.http.get(fetch).json()["status"] == "SUCCESS")
    assert chat.told == []
    chat.do(path="listen")
    assert ended(chat, "ann") == [SUBMITTED, DONE]


def test_a_room_that_is_gone_keeps_no_other_from_its_messages(
    bot: Any, start_place: Any, tmp_path: Path
) -> None:
    """The bot answers 404 for a room that it does not know."""
    place = start_place()
    chat = bot(place.url_with_key)
    lost = chat.do(path="/submit/imagine", body={"state": "elsewhere:bob", "prompt": "a dog"})["answer"]
    assert lost["code"] == 1
    asked(chat, "imagine", prompt="a cat")
    assert ended(chat, "ann") == [SUBMITTED, DONE]
    assert said(chat, "bob") == []
