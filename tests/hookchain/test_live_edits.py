"""Edits of other tables than [[rules]] while the server runs are said to be in use after a restart, by name and never by value."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dispatcher.plugins.signals import SIGNALS
from dispatcher.rules.reload import InFile, LiveRules
from hookchain.receivers import Receivers, connect_receivers, loaded
from hookchain.settings.changes import changed_settings
from hookchain.settings.load import load_settings
from tests.support import command

START = """
port = 8123
secret = "the first secret of a test"

[budget]
depth = 3

[upstreams.main]
url = "http://127.0.0.1:9"
key = "a first key"

[[budgets]]
per = "day"
submissions = 10

[[rules]]
name = "press"
on = "task.succeeded"
press = "U1"
"""


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("depth = 3", "depth = 4", ["[budget] depth"]),
        ("depth = 3", "depth = 4\nsubmissions = 9", ["[budget] depth, submissions"]),
        ("[budget]\ndepth = 3", "", ["[budget] depth"]),
        ('key = "a first key"', 'key = "another"', ["[upstreams.main] key"]),
        (
            "[upstreams.main]",
            '[upstreams.second]\nurl = "http://x"\n[upstreams.main]',
            ["[upstreams.second]"],
        ),
        ("submissions = 10", "submissions = 11", ["[[budgets]]"]),
        ("port = 8123", "port = 8124\nlog_level = 'debug'", ["log_level", "port"]),
        (
            "[upstreams.main]",
            "[upstreams.main.prices]\nimagine = 1\n[upstreams.main]",
            ["[upstreams.main.prices]"],
        ),
        ('press = "U1"', 'press = "U2"', []),
        ("[budget]", "# a comment\n[budget]", []),
        ("[budget]\n", "[retention]\n[budget]\n", ["[retention]"]),
    ],
)
def test_changed_settings_are_named_without_their_values(old: str, new: str, names: list[str]) -> None:
    """Tables with the keys that differ; rules are in use at once."""
    assert old in START
    assert changed_settings(tomllib.loads(START), tomllib.loads(START.replace(old, new))) == names


@pytest.fixture
def receivers(tmp_path: Path) -> Iterator[Receivers]:
    """The rules of a server that has started with START."""
    for signal in SIGNALS.values():
        signal._clear_state()
    (tmp_path / "hookchain.toml").write_text(START)
    yield connect_receivers(load_settings({}, tmp_path), {})
    for signal in SIGNALS.values():
        signal._clear_state()


def test_a_changed_budget_is_in_use_after_a_restart(receivers: Receivers, tmp_path: Path) -> None:
    """The rules of the same edit are in use at once. Taken back, there is nothing to say."""
    file = tmp_path / "hookchain.toml"
    file.write_text(START.replace("depth = 3", "depth = 4").replace("U1", "U2"))
    assert receivers.rules.reload()
    assert [one.rule.press for one in receivers.rules.rules] == ["U2"]
    assert loaded(receivers).rules.after_restart == ["[budget] depth"]
    file.write_text(START)
    assert receivers.rules.reload()
    assert loaded(receivers).rules.after_restart == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[budget]", "[bugdet]", "unknown key 'bugdet'. Did you mean \"budget\"?"),
        ("depth = 3", "depht = 3", "[budget]: unknown key 'depht'. Did you mean \"depth\"?"),
        ("depth = 3", "depth = -3", "[budget]: depth is -3; it must be"),
        ('url = "http://127.0.0.1:9"', 'url = "ftp://x"', "it must begin with http:// or https://"),
        ("a first key", "${NO_SUCH_VARIABLE}", "uses ${NO_SUCH_VARIABLE}, but this variable is not set"),
        ("depth = 3", "depth = ", "is not valid TOML"),
    ],
)
def test_a_mistake_in_another_table_is_shown_as_a_rules_mistake(
    receivers: Receivers, tmp_path: Path, old: str, new: str, message: str
) -> None:
    """It would stop the next start: the rules stay as they were until it is corrected."""
    (tmp_path / "hookchain.toml").write_text(START.replace(old, new).replace("U1", "U2"))
    assert not receivers.rules.reload()
    assert message in loaded(receivers).rules.error
    assert [one.rule.press for one in receivers.rules.rules] == ["U1"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('press = "U1"', f'press = "U1"\nif = "{"not " * 400}task.id"'),
        ("port = 8123", f"port = {'[' * 20_000}"),
    ],
)
def test_what_is_nested_too_deeply_is_shown_as_a_mistake(
    receivers: Receivers, tmp_path: Path, old: str, new: str
) -> None:
    (tmp_path / "hookchain.toml").write_text(START.replace(old, new))
    assert not receivers.rules.reload()
    assert "nested too deeply" in loaded(receivers).rules.error


def test_an_error_that_no_one_has_thought_of_is_shown_too(tmp_path: Path) -> None:
    """It is raised, for the log; and the rules stay as they were."""

    def load() -> InFile:
        raise ZeroDivisionError("once in a blue moon")

    rules = LiveRules((), tmp_path, load)
    with pytest.raises(ZeroDivisionError):
        rules.reload()
    assert rules.status.error == "an unexpected error, ZeroDivisionError: once in a blue moon"


def test_a_rule_that_needs_a_changed_table_says_so(receivers: Receivers, tmp_path: Path) -> None:
    """A new upstream can be named by a rule only after a restart."""
    second = '[upstreams.second]\nurl = "http://x"\n'
    text = START.replace("[upstreams.main]", f"{second}[upstreams.main]")
    (tmp_path / "hookchain.toml").write_text(
        text.replace('press = "U1"', 'imagine = "a dog"\nupstream = "second"')
    )
    assert not receivers.rules.reload()
    assert "'second'" in loaded(receivers).rules.error
    assert loaded(receivers).rules.error.endswith("\nchanged, and in use after a restart: [upstreams.second]")


def test_a_changed_budget_is_told_wherever_people_look(
    start_server: Any, start_sandbox: Any, tmp_path: Path, eventually: Any
) -> None:
    """The log, `hookchain rules list`, the API, the rules page, the set-up page and `doctor`; no value anywhere."""
    sandbox = start_sandbox()
    toml = f'[budget]\ndepth = 3\n\n[upstreams.main]\nurl = "{sandbox.url}"\nkey = "a first key"\n'
    server = start_server(toml=toml)
    changed = toml.replace("depth = 3", "depth = 4").replace("a first key", "a secret key")
    (tmp_path / "hookchain.toml").write_text(changed)
    names = ["[budget] depth", "[upstreams.main] key"]
    eventually(lambda: server.get("/api/rules")["after_restart"] == names)
    told = "[budget] depth; [upstreams.main] key"
    address = {"PORT": server.url.rpartition(":")[2]}
    listed = command.run(tmp_path, "rules", "list", **address).stdout
    assert f"changed, in use after a restart: {told}" in listed
    doctor = command.run(tmp_path, "doctor", **address).stdout
    assert f"! changed, in use after a restart: {told}" in doctor
    for page in "/rules", "/setup":
        assert told in server.http.get(page).text
    line = next(line for line in server.lines if "changed settings are in use after a restart" in line)
    assert "[budget] depth" in line
    assert "a secret key" not in "".join([listed, doctor, *server.lines])
