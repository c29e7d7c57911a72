"""The test kit: what authors feed in, and what they are told; its examples are those of the docs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dispatcher.by_hand.commands import CommandError
from dispatcher.plugins.errors import PluginError, RuleError
from hookchain.testing import Hookchain, grid, upscale

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def test_every_u_is_pressed_once(hookchain: Hookchain) -> None:
    """A duplicate tells nobody; another grid is another chain."""
    hookchain.load_rules(EXAMPLES / "upscale-all.toml")
    asked = hookchain.succeed(grid())
    assert (asked.signal, asked.pressed) == ("task.succeeded", ["U1", "U2", "U3", "U4"])
    assert hookchain.succeed(grid()).signal is None
    assert hookchain.succeed(grid("other")).pressed == ["U1", "U2", "U3", "U4"]


def test_a_chain_grows_from_what_was_asked(hookchain: Hookchain) -> None:
    """The upscale is the child of its press; the zoom opens a window, and the rule answers that."""
    hookchain.load_rules(EXAMPLES / "answer-modal.toml")
    (press,) = hookchain.succeed(grid()).asks
    (zoom,) = hookchain.succeed(upscale(), of=press).asks
    assert (zoom.label, zoom.depth) == ("Custom Zoom", 2)
    assert hookchain.window(zoom, prompt="a cat").prompts == ["a cat --zoom 1.8"]


def test_why_a_rule_did_not_fire_is_told(hookchain: Hookchain) -> None:
    """As `hookchain explain` tells it."""
    hookchain.load_rules(EXAMPLES / "upscale-all.toml")
    (press, *_) = hookchain.succeed(grid()).asks
    told = hookchain.succeed(upscale(), of=press).decisions
    assert told == {"rule:upscale-all": "did not fire: task.is_grid is False"}


@pytest.mark.parametrize("name", ["upscale_all", "pick"])
def test_a_plugin_is_loaded_as_the_server_loads_it(hookchain: Hookchain, name: str) -> None:
    """By its module's name; a second test of it finds it connected again."""
    hookchain.load_plugin(f"hookchain.plugins.{name}")
    assert hookchain.succeed(grid()).pressed[0] == "U1"


def test_a_plugin_in_a_file(hookchain: Hookchain, tmp_path: Path) -> None:
    """Sync or async, with delays."""
    file = tmp_path / "mine.py"
    file.write_text(
        "from hookchain import task_failed\n"
        "@task_failed.connect_via('IMAGINE')\n"
        "def again(action, *, task, chain, **_):\n"
        "    chain.imagine(task.prompt, after=60, priority=2)\n"
    )
    hookchain.load_plugin(file)
    (ask,) = hookchain.fail(grid(), "timeout").asks
    assert (ask.kind, ask.after_s, ask.priority) == ("imagine", 60.0, 2)
    assert hookchain.fail(upscale("u")).asks == []


def test_mistakes_are_told_as_the_server_tells_them(hookchain: Hookchain, tmp_path: Path) -> None:
    """With file, line and remedy."""
    with pytest.raises(RuleError, match='Did you mean "press"'):
        hookchain.load_rules('[[rules]]\nname = "x"\non = "task.succeeded"\nprss = "U1"\n')
    with pytest.raises(PluginError, match="the file does not exist"):
        hookchain.load_plugin(tmp_path / "nobody.py")


def test_the_budget_counts(hookchain: Hookchain) -> None:
    """What it refuses is among the asks, and is not pressed."""
    hookchain.load_rules('[[rules]]\nname = "mad"\non = "task.succeeded"\npress = "V*"\n')
    asked, depth = hookchain.succeed(grid()), 1
    while not asked.asks[0].refused:
        depth += 1
        asked = hookchain.succeed(grid(f"grid-{depth}", action="VARIATION"), of=asked.asks[0])
    assert depth == 9
    assert asked.pressed == []
    assert "limit of 8" in asked.asks[0].refused or "its limit is 32" in asked.asks[0].refused


def test_recorded_callbacks_can_be_fed(hookchain: Hookchain) -> None:
    """From files, byte for byte."""
    hookchain.load_rules(EXAMPLES / "upscale-all.toml")
    corpus = Path(__file__).parent.parent / "corpus"
    (asked,) = hookchain.feed(corpus / "plus-real-fetch-imagine-success.json")
    assert asked.pressed == ["U1", "U2", "U3", "U4"]


def test_a_dead_submission_is_asked_for_again_later(hookchain: Hookchain) -> None:
    """By the rule and by the plugin for a queue that stayed full; for nothing else that died."""
    hookchain.load_rules(EXAMPLES / "upscale-all.toml")
    hookchain.load_rules(EXAMPLES / "retry-when-queue-is-full.toml")
    hookchain.load_plugin("hookchain.plugins.retry_when_queue_is_full")
    (press, *_) = hookchain.succeed(grid()).asks
    assert hookchain.send("submission.dead", of=press, outcome="rejected:auth").asks == []
    asked = hookchain.send("submission.dead", of=press, outcome="rejected:queue_full")
    assert [(one.label, one.after_s) for one in asked.asks + asked.repeats] == [("U1", 600.0)] * 2
    assert len(asked.asks) == 1


async def test_it_works_in_async_tests_too(hookchain: Hookchain) -> None:
    """Receivers run in a loop of their own."""
    hookchain.load_plugin("hookchain.plugins.upscale_all")
    assert len(hookchain.succeed(grid()).asks) == 4


def test_nothing_of_another_test_is_left(hookchain: Hookchain) -> None:
    """Whatever ran before."""
    assert hookchain.succeed(grid()).decisions == {}


def test_the_kit_is_documented(hookchain: Hookchain) -> None:
    """Every method, attribute and builder by name."""
    page = (EXAMPLES.parent / "docs/reference/testing.md").read_text()
    named: list[Any] = [name for name in dir(hookchain) if not name.startswith("_")]
    assert [name for name in (*named, "grid", "upscale") if f"`{name}" not in page] == []


def test_a_person_presses(hookchain: Hookchain) -> None:
    """What a rule has scheduled is the person's from then on, and what it would still press knows of it."""
    hookchain.load_rules(
        '[[rules]]\nname = "later"\non = "task.succeeded"\npress = ["U1", "U2"]\nafter = "10 min"\nunless = "chain.pressed_by_person"\n'
    )
    assert hookchain.succeed(grid("g")).sent == []
    pressed = hookchain.press("g", "U1")
    assert [sent.label for sent in pressed.sent] == ["U1"]
    assert [repeat.receiver for repeat in pressed.repeats] == ["person:test"]
    other = hookchain.press("g", "V*")
    assert [ask.receiver for ask in other.asks] == ["person:test"] * 4
    assert "U2" not in [sent.label for sent in hookchain.wait("11 min").sent]
    with pytest.raises(CommandError, match="it offers: U1"):
        hookchain.press("g", "U9")


def test_a_person_approves_or_refuses(hookchain: Hookchain) -> None:
    """All that one firing asked for, once."""
    hookchain.load_rules(
        '[[rules]]\nname = "ask"\non = "task.succeeded"\npress = ["U1", "V1"]\napprove = true\nlimit = 1\n'
    )
    first = hookchain.succeed(grid("one"))
    assert (first.pressed, first.sent) == (["U1", "V1"], [])
    assert [sent.label for sent in hookchain.release(first.asks[0]).sent] == ["U1", "V1"]
    second = hookchain.succeed(grid("two"))
    assert hookchain.drop(second.asks[1]).sent == []
    assert hookchain.wait("2 days").sent == []
    with pytest.raises(AssertionError, match="was decided before: it is dropped"):
        hookchain.release(second.asks[0])
    hookchain.load_rules('[[rules]]\nname = "now"\non = "task.failed"\nimagine = "a dog"\nlimit = 1\n')
    (free,) = hookchain.fail(grid("three")).asks
    with pytest.raises(AssertionError, match="needs no approval"):
        hookchain.release(free)
