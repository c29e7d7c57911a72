"""Rules in several files: what `include` reads, what it refuses, and what happens when one of them changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dispatcher.plugins.signals import SIGNALS
from hookchain.receivers import connect_receivers, loaded
from hookchain.rules import rules_of
from hookchain.settings.load import SettingsError, load_settings
from hookchain.testing import Hookchain, grid
from tests.conftest import PATIENCE_S
from tests.support import command

RULE = '[[rules]]\nname = "{0}"\non = "task.succeeded"\npress = "{1}"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A configuration that includes two files of a folder, and none of their receivers is connected."""
    for signal in SIGNALS.values():
        signal._clear_state()
    (tmp_path / "rules").mkdir()
    (tmp_path / "hookchain.toml").write_text('include = ["rules/*.toml"]\n' + RULE.format("main", "U1"))
    (tmp_path / "rules/b.toml").write_text(RULE.format("b", "U2"))
    (tmp_path / "rules/a.toml").write_text(RULE.format("a", "U3"))
    (tmp_path / "rules/notes.txt").write_text("no rules")
    yield tmp_path
    for signal in SIGNALS.values():
        signal._clear_state()


def test_the_rules_of_all_files_run_each_with_its_place(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Main file first, then by name. `rules check` reads them; paths begin at the file that has the key."""
    monkeypatch.chdir(folder)
    rules = rules_of(load_settings({}, folder))
    assert [(rule.rule.name, rule.where) for rule in rules] == [
        ("main", "hookchain.toml:2"),
        ("a", "rules/a.toml:1"),
        ("b", "rules/b.toml:1"),
    ]
    elsewhere = rules_of(load_settings({"HOOKCHAIN_CONFIG": str(folder / "hookchain.toml")}, Path("/")))
    assert len(elsewhere) == 3
    checked = command.run(folder, "rules", "check")
    assert (checked.returncode, checked.stdout.splitlines()[-1]) == (0, "3 rules, all valid")


def test_a_variable_names_the_files_as_well(folder: Path) -> None:
    """As for every key."""
    settings = load_settings({"HOOKCHAIN_INCLUDE": "rules/b.toml"}, folder)
    assert [rule.rule.name for rule in rules_of(settings)] == ["main", "b"]


def test_a_file_of_a_rule_is_looked_for_beside_the_rule(folder: Path) -> None:
    """So that a folder with rules and their masks can be moved."""
    (folder / "rules/a.toml").write_text(
        RULE.format("a", "U3").replace('press = "U3"', 'describe = "picture.png"\nlimit = 1')
    )
    with pytest.raises(SettingsError, match=r"a\.toml:4.*'picture\.png' does not exist beside the rules"):
        rules_of(load_settings({}, folder))
    (folder / "rules/picture.png").write_bytes(b"")
    assert len(rules_of(load_settings({}, folder))) == 3


def test_all_mistakes_of_all_files_are_reported_with_file_and_line(folder: Path) -> None:
    """Settings belong into the main file; a name is used once in all files."""
    (folder / "rules/a.toml").write_text(f"# comment\nport = 1\n[upstreams.x]\n{RULE.format('a', 'U3')}")
    (folder / "rules/b.toml").write_text(
        RULE.format("main", "U2") + RULE.format("c", "U1").replace("press", "pres")
    )
    (folder / "rules/c.toml").write_text(f"include = ['x.toml']\nrule = 3\n{RULE.format('d', 'U2')}")
    (folder / "rules/d.toml").write_text("[[rules]\n")
    (folder / "rules/e.toml").write_text("# \nvars = { x = '${NOT_SET_ANYWHERE}' }\n")
    (folder / "rules/f.toml").write_bytes(b"\xff")
    checked = command.run(folder, "rules", "check")
    assert checked.returncode == 2
    assert checked.stderr.splitlines() == [
        "hookchain: rules/a.toml:2, key 'port': an included file has only [[rules]], [vars], [macros] and [blueprint]. Move it to the main file.",
        "hookchain: rules/a.toml:3, key 'upstreams': an included file has only [[rules]], [vars], [macros] and [blueprint]. Move it to the main file.",
        "hookchain: rules/c.toml:1, key 'include': an included file cannot include others. Move it to the main file.",
        "hookchain: rules/c.toml:2, key 'rule': an included file has only [[rules]], [vars], [macros] and [blueprint]. Did you mean \"rules\"?",
        "hookchain: rules/d.toml:1: this file is not valid TOML: Expected ']]' at the end of an array declaration (at line 1, column 8); a rule begins with [[rules]].",
        "hookchain: rules/e.toml:2: this file uses ${NOT_SET_ANYWHERE}, but this variable is not set.",
        "hookchain: rules/f.toml: this file cannot be read: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte; save it as UTF-8.",
        "hookchain: rules/b.toml:2, rule \"main\", key 'name': another rule has this name, at hookchain.toml:2. Rename one of them.",
        'hookchain: rules/b.toml:8, rule "c", key \'pres\': unknown key. Did you mean "press"?',
    ]


def test_the_main_file_does_not_include_itself_by_a_pattern(folder: Path) -> None:
    """Although it matches; and a file that two patterns match is read once."""
    main = folder / "hookchain.toml"
    main.write_text('include = ["*.toml", "rules/*.toml", "rules/a.toml"]\n' + RULE.format("main", "U1"))
    assert [rule.rule.name for rule in rules_of(load_settings({}, folder))] == ["main", "a", "b"]


def test_rules_of_included_files_press(hookchain: Hookchain, folder: Path) -> None:
    """In the test kit as on a server."""
    hookchain.load_rules(folder / "hookchain.toml")
    assert sorted(hookchain.succeed(grid()).pressed) == ["U1", "U2", "U3"]


async def test_files_come_change_and_go_while_the_server_runs(folder: Path) -> None:
    """The loop sees each of them; a file with a mistake leaves all rules as they were, until it is corrected."""
    with capture_logs() as logs:
        receivers = connect_receivers(load_settings({}, folder), {})
        rules = receivers.rules
        rules.loop._interval_s = 0.01
        rules.loop.start()

        def running() -> list[str]:
            return [rule.rule.name for rule in rules.rules]

        async def until(names: list[str], error: str = "") -> None:
            async with asyncio.timeout(PATIENCE_S):
                while (
                    running() != names
                    or error not in rules.status.error
                    or bool(error) != bool(rules.status.error)
                ):
                    await asyncio.sleep(0.01)

        try:
            (folder / "rules/c.toml").write_text(RULE.format("c", "U4"))
            await until(["main", "a", "b", "c"])
            (folder / "rules/a.toml").unlink()
            await until(["main", "b", "c"])
            (folder / "rules/b.toml").write_text(RULE.format("b", "U2").replace("press", "pres"))
            await until(["main", "b", "c"], 'rules/b.toml:4, rule "b"')
            (folder / "rules/b.toml").write_text(RULE.format("other", "U2"))
            await until(["main", "other", "c"])
            (folder / "more.toml").write_text("[[rules]]\n")
            (folder / "hookchain.toml").write_text('include = ["more.toml"]\n' + RULE.format("main", "U1"))
            await until(["main", "other", "c"], "more.toml:1")
            # The main file is the same; the file that it has just begun to include is watched although it was wrong.
            (folder / "more.toml").write_text(RULE.format("more", "U2"))
            await until(["main", "more"])
            assert loaded(receivers).rules.after_restart == []
        finally:
            await rules.loop.stop()
    assert "rules reloaded" in {entry["event"] for entry in logs}


def test_a_pattern_without_files_is_logged(folder: Path) -> None:
    """The server starts: the folder may be filled later."""
    (folder / "hookchain.toml").write_text('include = ["none/*.toml"]\n' + RULE.format("main", "U1"))
    with capture_logs() as logs:
        connect_receivers(load_settings({}, folder), {})
    assert ["'none/*.toml' matches no file" in str(one.get("why")) for one in logs] == [True]
