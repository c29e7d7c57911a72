"""Plugins are found where they may be, and a broken one stops the start."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from dispatcher.plugins.discovery import load_plugins
from dispatcher.plugins.errors import PluginError
from dispatcher.plugins.receivers import Registry, receiver
from hookchain import task_succeeded

PLUGIN = """
from hookchain import task_succeeded

@task_succeeded.connect
def hear(action, **_):
    pass
"""


@pytest.fixture(autouse=True)
def forget_plugins(signals: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Each test loads its plugins anew, whatever others of this process have loaded."""
    _forget()
    yield
    _forget()


def _forget() -> None:
    for name in [name for name in sys.modules if name.startswith("hookchain_plugin_")]:
        del sys.modules[name]


def test_files_in_plugins_load_by_themselves(tmp_path: Path, signals: Any) -> None:
    """Under a private name, so that plugins/storage.py shadows nothing; those with an underscore are left alone."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "storage.py").write_text(PLUGIN)
    (tmp_path / "plugins" / "_draft.py").write_text("raise RuntimeError")
    assert [plugin.name for plugin in load_plugins([], tmp_path)] == ["storage"]
    assert Registry(signals).names() == ["storage:hear"]
    assert sys.modules["storage"].__name__ == "storage"


def test_named_files_and_modules_load_once(
    tmp_path: Path, signals: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is named and lies in plugins/ too is one plugin."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(PLUGIN)
    (tmp_path / "a_module_of_mine.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    found = load_plugins(["plugins/mine.py", "a_module_of_mine"], tmp_path)
    assert [plugin.name for plugin in found] == ["mine", "a_module_of_mine"]
    assert Registry(signals).names() == ["a_module_of_mine:hear", "mine:hear"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "import nothing_of_the_kind",
            "ModuleNotFoundError: No module named 'nothing_of_the_kind', line 1 of",
        ),
        ("x = 1\nraise ValueError('no')", "ValueError: no, line 2 of"),
        ("def (", "SyntaxError"),
        ("raise SystemExit('wrong key')", "SystemExit: wrong key, line 1 of"),
    ],
)
def test_a_plugin_that_fails_to_load_is_named_with_its_cause(tmp_path: Path, text: str, says: str) -> None:
    """File, line, and what was raised."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "broken.py").write_text(text)
    with pytest.raises(PluginError) as raised:
        load_plugins([], tmp_path)
    assert says in str(raised.value)
    assert "broken.py" in str(raised.value)


def test_a_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A module, and a file."""
    with pytest.raises(PluginError, match="no_such_module_at_all"):
        load_plugins(["no_such_module_at_all"], tmp_path)
    with pytest.raises(PluginError, match="the file does not exist"):
        load_plugins(["missing.py"], tmp_path)


def test_two_receivers_of_one_name_are_refused(signals: Any) -> None:
    """Their deliveries could not be told apart."""
    for _ in range(2):

        @task_succeeded.connect_via("X")
        @receiver(name="same")
        def hear(action: str, **_: Any) -> None: ...

    with pytest.raises(PluginError, match="'same'"):
        Registry(signals)


def test_a_limit_that_cannot_be_counted_to_is_refused() -> None:
    """Where the receiver is written, not when it fires."""
    for limit in (-1, 10**23):
        with pytest.raises(ValueError, match=r"is not between 0 \(no limit\) and 1000000"):
            receiver(limit=limit)
