"""The test kit is the server: limits, budgets, retries and settings are real, and nothing leaves."""

from __future__ import annotations

import json
import re
import socket
import textwrap
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from dispatcher.plugins.errors import GiveUp, RuleError
from hookchain.settings.load import SettingsError
from hookchain.testing import Hookchain, fresh, grid, upscale
from hookchain.testing.moves import NeverSent
from hookchain.testing.running import ReceiverFailed
from storage import clock

ROOT = Path(__file__).parent.parent.parent
Load = Callable[[str], None]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def rule(text: str, name: str = "r", on: str = "task.succeeded") -> str:
    return f'[[rules]]\nname = "{name}"\non = "{on}"\n{text}\n'


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name is looked up, and no connection made."""

    def refuse(*_: object, **__: object) -> Any:
        raise AssertionError("the kit reached for the network")

    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse, raising=False)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse, raising=False)
    monkeypatch.setattr(socket.socket, "sendto", refuse, raising=False)


@pytest.fixture
def plugin(hookchain: Hookchain, tmp_path: Path) -> Load:
    """Loads a plugin of this source."""

    def load(source: str) -> None:
        file = tmp_path / "of_a_test.py"
        file.write_text(source)
        hookchain.load_plugin(file)

    return load


# Limits and budgets.


def test_a_limit_holds(hookchain: Hookchain) -> None:
    """Once for each chain, as the server counts it; why is told."""
    hookchain.load_rules(rule('once_per = "chain"\npress = "V1"'))
    (press,) = hookchain.succeed(grid()).asks
    again = hookchain.succeed(grid("second", action="VARIATION"), of=press)
    assert again.asks == []
    assert "it has fired once for this chain" in again.decisions["rule:r"]
    assert hookchain.succeed(grid("another")).pressed == ["V1"]


def test_a_budget_per_hour_ends_with_the_hour(hookchain: Hookchain) -> None:
    """`[[budgets]]` of the file are charged; what they refuse is asked for, and not sent."""
    hookchain.load_rules('[[budgets]]\nper = "hour"\nsubmissions = 1\n' + rule('press = "U1"'))
    assert hookchain.succeed(grid()).pressed == ["U1"]
    (refused,) = hookchain.succeed(grid("second")).asks
    assert "1 of 1 submissions are used up" in refused.refused
    hookchain.wait("1 h")
    assert hookchain.succeed(grid("third")).pressed == ["U1"]


def test_a_budget_may_be_set_at_any_time(hookchain: Hookchain) -> None:
    """By the test, or by the file."""
    hookchain.load_rules("[budget]\nsubmissions = 1\n" + rule('press = "U*"'))
    assert hookchain.succeed(grid()).pressed == ["U1"]
    hookchain.budget = type(hookchain.budget)(submissions=2)
    assert hookchain.succeed(grid("second")).pressed == ["U1", "U2"]


def test_a_button_is_pressed_once_by_whoever_asks(hookchain: Hookchain) -> None:
    """The second receiver's press is a repeat."""
    hookchain.load_rules(rule('press = "U1"', "a") + rule('press = ["U1", "U2"]', "b"))
    asked = hookchain.succeed(grid())
    assert [(one.receiver, one.label) for one in asked.asks] == [("rule:a", "U1"), ("rule:b", "U2")]
    assert [(one.receiver, one.label) for one in asked.repeats] == [("rule:b", "U1")]


# What leaves.


def test_a_request_is_written_as_the_upstream_would_get_it(hookchain: Hookchain) -> None:
    """With its path, its body, and the mark by which its task is recognised."""
    hookchain.load_rules(rule('imagine = "{{ task.prompt }}, at night"'))
    asked = hookchain.succeed(grid(prompt="a cat"))
    (sent,) = asked.sent
    assert sent.path == "/mj/submit/imagine"
    assert sent.body["prompt"] == "a cat, at night"
    assert sent.body["state"] == sent.id == asked.asks[0].id


@pytest.mark.usefixtures("no_network")
def test_effects_of_rules_are_recorded_and_nothing_leaves(hookchain: Hookchain, tmp_path: Path) -> None:
    """A webhook, signed; a notification; a picture; the quarters of a grid. Names, texts and bodies are the real ones."""
    hookchain.load_rules(
        rule(
            f'forward = {{ url = "https://api.example.com/{{{{ task.id }}}}", secret = "{SECRET}" }}\n'
            'notify = { to = "discord://1234567890/abcdefghijklmnop", text = "done: {{ task.prompt }}", title = "{{ task.action }}" }\n'
            f'archive = "{tmp_path / "kept"}"\nsplit_grid = "{tmp_path / "cut"}"'
        )
    )
    asked = hookchain.succeed(grid(prompt="a cat"))
    (forwarded,), (told,) = asked.forwarded, asked.told
    assert (forwarded.receiver, forwarded.url) == ("rule:r/forward", "https://api.example.com/grid")
    assert Webhook(SECRET).verify(forwarded.body, dict(forwarded.headers)) == forwarded.json
    assert forwarded.is_signed
    body: Any = forwarded.json
    assert (body["type"], body["data"]["task"]["prompt"]) == ("task.succeeded", "a cat")
    assert (told.receiver, told.title, told.text) == ("rule:r/notify", "IMAGINE", "done: a cat")
    assert told.to == ("discord://1234567890/abcdefghijklmnop",)
    names = [(one.receiver, Path(one.to).name, Path(one.name).name) for one in asked.archived]
    assert ("rule:r/archive", "kept", "grid.png") in names
    assert [name for by, _, name in names if by == "rule:r/split_grid" and name.endswith(".png")] == [
        f"grid-{number}.png" for number in (1, 2, 3, 4)
    ]
    assert list(tmp_path.iterdir()) == []
    assert asked.decisions["rule:r/forward"] == "forwarded"


@pytest.mark.usefixtures("no_network")
def test_effects_of_plugins_are_recorded_too(hookchain: Hookchain, plugin: Load) -> None:
    """Each by its receiver, in a loop, in a thread, or in what a plugin starts; pictures are a pixel."""
    plugin(
        "import asyncio, hookchain\n"
        "from hookchain import task_succeeded\n"
        "@task_succeeded.connect\n"
        "async def tell(action, *, task, event, chain, **_):\n"
        "    await hookchain.forward(task, event=event, chain=chain, url='http://127.0.0.1:9/x')\n"
        "    await asyncio.gather(hookchain.notify('hello', to='json://localhost'))\n"
        "    picture = await chain.picture(task.image_url)\n"
        "    loaded = await hookchain.load_image(task.image_url)\n"
        "    chain.note(f'{picture.media_type} {loaded.media_type}')\n"
        "    chain.blend(*[await chain.image('https://cdn.example.com/a.png') for _ in (1, 2)])\n"
        "@task_succeeded.connect\n"
        "def plain(action, *, task, event, chain, **_):\n"
        "    asyncio.run(hookchain.archive(task, chain=chain, to='s3-like-folder'))\n"
    )
    asked = hookchain.succeed(grid())
    assert [(one.receiver, one.url) for one in asked.forwarded] == [
        ("of_a_test:tell", "http://127.0.0.1:9/x")
    ]
    assert [(one.receiver, one.text) for one in asked.told] == [("of_a_test:tell", "hello")]
    assert {one.receiver for one in asked.archived} == {"of_a_test:plain"}
    assert "image/png image/png" in asked.decisions["of_a_test:tell"]
    assert [one.kind for one in asked.sent] == ["blend"]
    assert not Path("s3-like-folder").exists()


# Time.


def test_what_is_to_be_sent_later_leaves_when_it_is_due(hookchain: Hookchain) -> None:
    """Not a second earlier; time moves by the test alone."""
    hookchain.load_rules(rule('press = "V1"\nafter = "10 min"') + rule('press = "V2"\nafter = 60', "b"))
    asked = hookchain.succeed(grid())
    assert {ask.label: ask.after_s for ask in asked.asks} == {"V1": 600.0, "V2": 60.0}
    assert asked.sent == []
    began = hookchain.now
    assert [one.label for one in hookchain.wait(599).sent] == ["V2"]
    assert [one.label for one in hookchain.wait(timedelta(seconds=1)).sent] == ["V1"]
    assert hookchain.now - began == timedelta(minutes=10)
    assert hookchain.wait("30 days").sent == []


def test_time_moves_forward_only_and_to_a_moment_with_its_zone(hookchain: Hookchain) -> None:
    """Each wrong time says what to write."""
    moment = datetime(2100, 1, 1, tzinfo=UTC)
    hookchain.wait(moment)
    assert hookchain.now == moment
    with pytest.raises(ValueError, match="time moves forward only"):
        hookchain.wait(datetime(2099, 1, 1, tzinfo=UTC))
    with pytest.raises(ValueError, match="no time zone"):
        hookchain.wait(datetime(2101, 1, 1))  # noqa: DTZ001  (that is the mistake)
    with pytest.raises(ValueError, match='write seconds, or "10 min"'):
        hookchain.wait("soon")


def test_the_clock_of_the_process_goes_on(hookchain: Hookchain) -> None:
    """A test's time is its own: outside of a call of the kit the time is that of the machine."""
    hookchain.wait("365 days")
    assert abs(clock.now_ms() - clock.wall_ms()) < 60_000


def test_a_full_queue_is_tried_again_as_time_passes(hookchain: Hookchain) -> None:
    """By the server's own pauses, until the upstream takes it."""
    accepted = 'if = "submission.kind == \'action\'"\nimagine = "x"'
    hookchain.load_rules(rule('press = "U1"') + rule(accepted, "told", on="submission.accepted"))
    (press,) = hookchain.succeed(grid()).asks
    full = hookchain.answer(press, {"code": 23, "description": "Task queue is full, please try again later"})
    assert (full.asks, full.sent) == ([], [])
    later = hookchain.wait("10 min")
    assert [one.label for one in later.sent][:1] == ["U1"]
    told = hookchain.wait("1 s")
    assert [one.label for one in later.asks + told.asks] == ["imagine"]


# What the upstream answers.


def test_an_answer_means_what_it_means_to_the_server(hookchain: Hookchain) -> None:
    """A banned prompt rejects the submission, and its receivers run."""
    hookchain.load_rules(
        rule('imagine = "again"') + rule('notify = "json://localhost"', "say", on="submission.rejected")
    )
    (imagine,) = hookchain.succeed(grid()).asks
    rejected = hookchain.answer(imagine, {"code": 24, "description": "banned prompt: x"})
    assert [one.receiver for one in rejected.told] == ["rule:say/notify"]


def test_a_task_belongs_to_its_ask_even_if_time_has_passed(hookchain: Hookchain) -> None:
    """Whatever id it was given meanwhile: depth and chain are those of the press."""
    hookchain.load_rules(rule('press = ["U1", "Upscale (Subtle)"]'))
    (press,) = hookchain.succeed(grid()).asks
    hookchain.wait("1 min")
    (subtle,) = hookchain.succeed(upscale(), of=press).asks
    assert (subtle.label, subtle.depth, subtle.chain_id) == ("Upscale (Subtle)", 2, press.chain_id)
    with pytest.raises(NeverSent, match="has its answer already"):
        hookchain.window(press)


def test_an_answer_to_what_has_not_left_lets_time_pass_until_it_has(hookchain: Hookchain) -> None:
    """A delay, or another upscale of the same grid that goes first."""
    hookchain.load_rules(rule('press = "V1"\nafter = "1 h"'))
    began = hookchain.now
    (press,) = hookchain.succeed(grid()).asks
    hookchain.succeed(grid("child", action="VARIATION"), of=press)
    assert hookchain.now - began == timedelta(hours=1)


def test_what_a_budget_refuses_has_no_answer(hookchain: Hookchain) -> None:
    """The test that gives one is wrong, and is told why."""
    hookchain.load_rules("[budget]\nsubmissions = 0\n" + rule('press = "V1"'))
    (press,) = hookchain.succeed(grid()).asks
    with pytest.raises(
        NeverSent, match="V1 of rule:r was refused: rules and plugins have made 0 submissions"
    ):
        hookchain.window(press)


# Receivers that fail.

FAILS = (
    "from hookchain import task_succeeded, receiver\n"
    "@task_succeeded.connect\n"
    "@receiver(attempts=2)\n"
    "async def fails(action, *, task, chain, **_):\n"
    "    chain.press('U1')\n"
    "    raise LookupError('no such cat')\n"
)


def test_an_error_of_a_plugin_is_raised_in_the_test(hookchain: Hookchain, plugin: Load) -> None:
    """The error itself, with the plugin's own traceback."""
    plugin(FAILS)
    with pytest.raises(LookupError, match="no such cat") as raised:
        hookchain.succeed(grid())
    assert Path(raised.traceback[-1].path).name == "of_a_test.py"


def test_or_it_is_told_and_the_receiver_tried_again(hookchain: Hookchain, plugin: Load) -> None:
    """As on the server: what it staged is dropped, and its last try makes a dead letter."""
    plugin(FAILS)
    hookchain.raise_errors = False
    asked = hookchain.succeed(grid())
    assert (asked.failed, asked.asks) == ({"of_a_test:fails": "LookupError: no such cat"}, [])
    assert hookchain.wait("1 min").failed == {"of_a_test:fails": "LookupError: no such cat"}
    assert hookchain.wait("30 days").failed == {}


def test_a_retry_is_not_an_error(hookchain: Hookchain, plugin: Load) -> None:
    """The receiver runs again at its time."""
    plugin(
        "from hookchain import task_succeeded, Retry\n"
        "tries = []\n"
        "@task_succeeded.connect\n"
        "def later(action, *, chain, **_):\n"
        "    tries.append(1)\n"
        "    if len(tries) == 1:\n"
        "        raise Retry('not yet', after_s=300)\n"
        "    chain.press('U1')\n"
    )
    assert hookchain.succeed(grid()).pressed == []
    assert hookchain.wait(299).pressed == []
    assert hookchain.wait(1).pressed == ["U1"]


def test_giving_up_is_raised(hookchain: Hookchain) -> None:
    """As a mistake in a rule that shows only at an event."""
    hookchain.load_rules(rule('imagine = "{{ task.fail_reason }}"'))
    with pytest.raises(GiveUp):
        hookchain.succeed(grid())


def test_a_receiver_that_takes_too_long_fails(hookchain: Hookchain, plugin: Load) -> None:
    """Its time is that of the machine."""
    plugin(
        "import asyncio\n"
        "from hookchain import task_succeeded, receiver\n"
        "@task_succeeded.connect\n"
        "@receiver(timeout_s=0.05)\n"
        "async def hangs(action, **_):\n"
        "    try:\n"
        "        await asyncio.sleep(60)\n"
        "    except asyncio.CancelledError:\n"
        "        return\n"
    )
    with pytest.raises(ReceiverFailed, match=r"hangs did not end within 0\.05 s"):
        hookchain.succeed(grid())


# Settings and files.


def test_the_whole_file_is_read_as_serve_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Upstreams, budgets, variables of the test or of the process; a rule may name another upstream."""
    (tmp_path / "hookchain.toml").write_text(
        '[upstreams.main]\nurl = "https://one.example.com"\nkey = "${KIT_KEY}"\n'
        '[upstreams.other]\nurl = "https://two.example.com"\n[budget]\ndepth = 1\n'
        + rule('imagine = "${KIT_WORD} {{ task.prompt }}"\nupstream = "other"')
    )
    monkeypatch.setenv("KIT_WORD", "night")
    with fresh(tmp_path) as kit:
        kit.environment["KIT_KEY"] = "a key"
        kit.load_rules("hookchain.toml")
        asked = kit.succeed(grid())
        assert (asked.prompts, asked.sent[0].upstream) == (["night a cat"], "other")
        child = kit.succeed(grid("child"), of=asked.asks[0])
        assert "limit of 1" in child.asks[0].refused


def test_a_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    """With how to set it in the test. Nothing is guessed."""
    (tmp_path / "rules.toml").write_text(rule('forward = "${KIT_ADDRESS}"'))
    with (
        fresh(tmp_path) as kit,
        pytest.raises(SettingsError, match=r'hookchain\.environment\["KIT_ADDRESS"\] = "…", or monkeypatch'),
    ):
        kit.load_rules("rules.toml")


def test_variables_of_the_machine_change_no_settings(
    hookchain: Hookchain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only those of the test do: it gives the same on every machine."""
    monkeypatch.setenv("HOOKCHAIN_BUDGET_SUBMISSIONS", "0")
    hookchain.load_rules(rule('press = "U1"'))
    assert hookchain.succeed(grid()).pressed == ["U1"]
    hookchain.environment["HOOKCHAIN_BUDGET_SUBMISSIONS"] = "1"
    hookchain.load_rules(rule('press = "U*"', "more"))
    assert hookchain.succeed(grid("second")).pressed == ["U1"]


def test_other_upstreams_by_name(hookchain: Hookchain) -> None:
    """For rules that are a text; an unknown one is a mistake, as on the server."""
    text = rule('imagine = "x"\nupstream = "other"')
    with pytest.raises(RuleError, match="other"):
        hookchain.load_rules(text)
    hookchain.upstreams("main", "other")
    hookchain.load_rules(text)
    assert [one.upstream for one in hookchain.succeed(grid()).sent] == ["other"]
    assert hookchain.succeed(grid("there"), upstream="other").signal == "task.succeeded"


def test_files_are_found_beside_the_test_first(tmp_path: Path) -> None:
    """Then below pytest's root; an error names both places."""
    beside, root = tmp_path / "tests", tmp_path
    beside.mkdir()
    (root / "rules.toml").write_text(rule('press = "U1"'))
    with fresh(beside, root) as kit:
        kit.load_rules("rules.toml")
        assert kit.succeed(grid()).pressed == ["U1"]
    (beside / "rules.toml").write_text(rule('press = "U2"'))
    with fresh(beside, root) as kit:
        kit.load_rules("rules.toml")
        assert kit.succeed(grid()).pressed == ["U2"]
        with pytest.raises(FileNotFoundError) as missing:
            kit.load_rules("nowhere.toml")
    assert str(beside / "nowhere.toml") in str(missing.value)
    assert str(root / "nowhere.toml") in str(missing.value)


def test_a_test_of_this_folder_finds_files_beside_it(hookchain: Hookchain) -> None:
    """The fixture knows where the test is, and where pytest's root is."""
    with pytest.raises(FileNotFoundError) as missing:
        hookchain.load_rules("no-such-rules.toml")
    folder = Path(__file__).parent
    for place in (folder, folder.parent.parent):
        assert str(place / "no-such-rules.toml") in str(missing.value)


def test_recorded_callbacks_may_lie_beside_the_test(tmp_path: Path) -> None:
    """As rules and plugins do."""
    (tmp_path / "grid.json").write_text(json.dumps(grid()))
    with fresh(tmp_path) as kit:
        kit.load_rules(rule('press = "U1"'))
        assert [asked.pressed for asked in kit.feed("grid.json")] == [["U1"]]


def _examples() -> list[str]:
    """The tests in the reference."""
    page = (ROOT / "docs/reference/testing.md").read_text()
    blocks = re.findall(r"(?m)(?:^    .*\n|^\n(?=    |\n    ))+", page)
    return [textwrap.dedent(block) for block in blocks if "def test_" in block]


@pytest.mark.parametrize("source", _examples())
def test_the_examples_of_the_reference_pass(source: str) -> None:
    """Each as it is written, from the folder of this repository."""
    names: dict[str, Any] = {}
    exec(source, names)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert tests
    for test in tests:
        with fresh(ROOT) as kit:
            test(kit)


def test_the_reference_has_examples() -> None:
    """So that none is lost by another way to write them."""
    assert len(_examples()) == 5
