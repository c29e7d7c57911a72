"""Rules change while events come: none is lost, none is told twice, and a mistake changes nothing."""

from __future__ import annotations

import asyncio
import os
import threading
import tomllib
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from dispatcher.plugins.errors import RuleError
from dispatcher.plugins.receivers import Registry
from dispatcher.plugins.signals import SIGNALS
from dispatcher.rules.load import load_rules
from dispatcher.rules.reload import InFile, LiveRules
from tests.conftest import PATIENCE_S

RULE = """
[[rules]]
name = "press"
on = "task.succeeded"
press = "{}"
"""


def in_file(file: Path) -> InFile:
    text = file.read_text()
    return InFile(rules=load_rules(tomllib.loads(text).get("rules", []), file=file.name, text=text))


def live(file: Path) -> LiveRules:
    return LiveRules(in_file(file).rules, file, lambda: in_file(file))


@pytest.fixture
def file(tmp_path: Path, signals: Any) -> Path:
    """A rule that presses U1."""
    made = tmp_path / "rules.toml"
    made.write_text(RULE.format("U1"))
    return made


async def test_a_changed_file_is_taken_over_between_two_events(bench: Any, file: Path) -> None:
    """Forty grids while the file changes ten times: each is told once, by one of the two rules."""
    rules = live(file)
    registry = Registry(SIGNALS)
    rules.watch(registry)
    await bench.start(registry)
    for number in range(40):
        await bench.callback(f"grid-{number}")
        if number % 4 == 0:
            file.write_text(RULE.format("U1" if number % 8 else "U2"))
            assert rules.reload()
            await bench.until_states(*["accepted"] * (number + 1))
    await bench.until_states(*["accepted"] * 40)
    assert len(await bench.deliveries()) == 40
    assert {one.state for one in await bench.deliveries()} == {"done"}
    assert {one.label for one in await bench.submissions()} == {"U1", "U2"}


async def test_a_mistake_leaves_the_old_rules_at_work_and_says_so(bench: Any, file: Path) -> None:
    """Until it is mended; the message is the one that would have kept the server from starting."""
    rules = live(file)
    rules.watch(Registry(SIGNALS))
    file.write_text(RULE.replace("press =", "pres ="))
    assert not rules.reload()
    assert (
        rules.status.error == 'rules.toml:5, rule "press", key \'pres\': unknown key. Did you mean "press"?'
    )
    assert [one.rule.press for one in rules.rules] == ["U1"]
    file.write_text(RULE.format("U3"))
    assert rules.reload()
    assert rules.status.error == ""
    assert [one.rule.press for one in rules.rules] == ["U3"]


async def test_rules_come_and_go(bench: Any, file: Path) -> None:
    """The names that listen are those of the file."""
    rules = live(file)
    registry = Registry(SIGNALS)
    rules.watch(registry)
    changes: list[frozenset[str]] = []
    rules.on_change = lambda: changes.append(registry.connected_signals())
    file.write_text(RULE.format("U1") + RULE.format("U2").replace('"press"', '"other"'))
    rules.reload()
    assert registry.names() == ["rule:other", "rule:press"]
    file.write_text("")
    rules.reload()
    assert registry.names() == []
    assert changes == [frozenset({"task.succeeded"}), frozenset()]
    assert registry.receiver_names("task.succeeded", "IMAGINE") == ()


async def test_a_file_that_is_gone_leaves_the_rules_and_says_so(file: Path) -> None:
    """Editors move it away before they write it anew; back again it is read as ever. Without one there are no rules."""
    rules = live(file)
    rules.watch(Registry(SIGNALS))
    away = file.rename(file.with_suffix(".away"))
    assert not rules.reload()
    assert rules.status.error == "rules.toml no longer exists: its rules run until the next start"
    assert [one.rule.press for one in rules.rules] == ["U1"]
    away.rename(file)
    assert rules.reload()
    assert rules.status.error == ""


async def test_a_file_that_is_being_written_is_left_until_it_is_whole(file: Path) -> None:
    """Half of it may be right in itself: what two looks find the same is read."""
    whole = RULE.format("U1") + RULE.format("U2").replace('"press"', '"other"')
    file.write_text(whole)
    rules = live(file)
    rules.watch(Registry(SIGNALS))
    file.write_text(RULE.format("U1"))
    await rules._turn()
    file.write_text(whole + "\n")
    await rules._turn()
    assert len(rules.rules) == 2
    file.write_text(RULE.format("U3"))
    await rules._turn()
    await rules._turn()
    assert [one.rule.press for one in rules.rules] == ["U3"]


async def test_the_files_are_read_beside_the_loop(file: Path) -> None:
    """The loop runs while a thread reads, which may take long, and sees the old rules until it is done."""
    reads, goes_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def load() -> InFile:
        loop.call_soon_threadsafe(reads.set)
        assert goes_on.wait(PATIENCE_S)
        return in_file(file)

    rules = LiveRules(in_file(file).rules, file, load)
    rules.watch(Registry(SIGNALS))
    file.write_text(RULE.format("U2"))
    await rules._turn()
    turn = asyncio.create_task(rules._turn())
    async with asyncio.timeout(PATIENCE_S):
        await reads.wait()
        assert ([one.rule.press for one in rules.rules], rules.status.error) == (["U1"], "")
        goes_on.set()
        await turn
    assert [one.rule.press for one in rules.rules] == ["U2"]


async def test_what_goes_wrong_in_the_thread_is_shown(file: Path) -> None:
    """A mistake in the status; what no one has thought of is raised as well."""
    errors: list[Exception] = [RuleError("a mistake"), ValueError("a bug")]

    def load() -> InFile:
        raise errors.pop(0)

    rules = LiveRules(in_file(file).rules, file, load)
    rules.watch(Registry(SIGNALS))
    assert not await rules.reload_in_thread()
    assert rules.status.error == "a mistake"
    with pytest.raises(ValueError, match="a bug"):
        await rules.reload_in_thread()
    assert rules.status.error == "an unexpected error, ValueError: a bug"
    assert [one.rule.press for one in rules.rules] == ["U1"]


async def test_a_touch_of_the_file_is_noticed(file: Path) -> None:
    """By its time, its size, or its being another file."""
    rules = live(file)
    rules.watch(Registry(SIGNALS))
    changed = asyncio.Event()
    rules.on_change = changed.set
    rules.loop.start()
    replacement = file.with_suffix(".new")
    replacement.write_text(RULE.format("U4"))
    os.replace(replacement, file)
    async with asyncio.timeout(PATIENCE_S):
        await changed.wait()
    await rules.loop.stop()
    assert [one.rule.press for one in rules.rules] == ["U4"]


async def test_a_rule_is_switched_off_and_on_again(bench: Any, file: Path) -> None:
    """It stays in the list of rules, and has no receiver meanwhile."""
    rules = live(file)
    registry = Registry(SIGNALS)
    rules.watch(registry)
    file.write_text(RULE.format("U1") + "enabled = false\n")
    assert rules.reload()
    assert ([one.rule.enabled for one in rules.rules], registry.names()) == ([False], [])
    file.write_text(RULE.format("U1") + "enabled = true\n")
    assert rules.reload()
    assert registry.names() == ["rule:press"]


async def test_all_mistakes_are_in_the_status(file: Path) -> None:
    """One line each."""
    rules = live(file)
    rules.watch(Registry(SIGNALS))
    file.write_text(RULE.replace("press =", "pres =") + 'if = "task.is_gird"\n')
    assert not rules.reload()
    assert [line.partition(", key ")[2][:5] for line in rules.status.error.splitlines()] == ["'pres", "'if':"]


async def test_warnings_are_logged_at_the_start_and_at_each_reload(file: Path) -> None:
    """One line each, with the place."""
    doubtful = RULE.format("U1") + "if = \"task.action == 'upscale'\"\n"
    file.write_text(doubtful)
    with capture_logs() as at_start:
        rules = live(file)
    rules.watch(Registry(SIGNALS))
    with capture_logs() as at_reload:
        assert rules.reload()
    for logs in (at_start, at_reload):
        [warning] = [entry["why"] for entry in logs if entry["log_level"] == "warning"]
        assert warning.startswith("rules.toml:6, rule \"press\", key 'if': task.action == 'upscale':")
