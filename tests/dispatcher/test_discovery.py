"""Plugins are found where they may be, and a broken one stops the start."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

import pytest

from dispatcher.plugins.context import Context
from dispatcher.plugins.discovery import load_plugins
from dispatcher.plugins.errors import PluginError
from dispatcher.plugins.receivers import Registry, receiver
from dispatcher.plugins.running import plugin_of
from dispatcher.plugins.signals import ARGUMENTS
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


METHODS = """
import gc
from hookchain import receiver, task_failed, task_succeeded

class Counter:
    def __init__(self):
        task_succeeded.connect(self.on_end)
        task_failed.connect(self.on_end)

    def on_end(self, action, **_):
        pass

Counter()
task_succeeded.connect(lambda action, **_: None)

def counting(what):
    def count(action, **_):
        pass
    return count

task_failed.connect(counting("failures"))
for name in "first", "second":
    task_succeeded.connect(receiver(name=name)(Counter.on_end.__get__(object())))
gc.collect()
"""


def test_what_a_plugin_connects_stays_connected(tmp_path: Path, signals: Any) -> None:
    """A method of an object that nothing else holds, on two signals; a lambda; a closure; one method of two objects, by name."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(METHODS)
    load_plugins([], tmp_path)
    gc.collect()
    registry = Registry(signals)
    assert registry.names() == [
        "first",
        "mine:<lambda>",
        "mine:Counter.on_end",
        "mine:counting.<locals>.count",
        "second",
    ]
    assert registry.signals_of("mine:Counter.on_end") == ["task.succeeded", "task.failed"]
    assert registry.receiver_names("task.failed", "IMAGINE") == (
        "mine:Counter.on_end",
        "mine:counting.<locals>.count",
    )
    (first,) = [known for name in ["first"] if (known := registry.get(name)) is not None]
    first.function("IMAGINE", task=None)


async def test_a_method_of_an_object_that_nothing_else_holds_runs(bench: Any, tmp_path: Path) -> None:
    """Async, with options: it presses once per grid."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(
        "from hookchain import receiver, task_succeeded\n"
        "class Presser:\n"
        "    async def press(self, action, *, chain, **_):\n"
        "        await chain.press('U1')\n"
        "task_succeeded.connect(receiver(attempts=1)(Presser().press), sender='IMAGINE')\n"
    )
    load_plugins([], tmp_path)
    await bench.start()
    await bench.callback("grid")
    await bench.until_states("accepted")
    (delivery,) = await bench.deliveries()
    assert (delivery.receiver, delivery.state) == ("mine:Presser.press", "done")


def test_disconnecting_is_as_in_blinker(signals: Any) -> None:
    """A function, for all senders; and for as long as a block lasts."""

    def hear(action: str, **_: Any) -> None: ...

    task_succeeded.connect(hear, weak=True)
    task_succeeded.disconnect(hear)
    assert Registry(signals).names() == []
    with task_succeeded.connected_to(hear):
        assert len(Registry(signals).names()) == 1
    assert Registry(signals).names() == []


def test_a_folder_with_an_init_is_a_plugin(tmp_path: Path, signals: Any) -> None:
    """It may import its own modules; their receivers share its loop."""
    folder = tmp_path / "plugins" / "mine"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("from . import ears\n")
    (folder / "ears.py").write_text(PLUGIN)
    assert [(one.name, one.origin) for one in load_plugins([], tmp_path)] == [("mine", str(folder))]
    registry = Registry(signals)
    assert registry.names() == ["mine.ears:hear"]
    found = registry.get("mine.ears:hear")
    assert found is not None
    assert plugin_of(found.function) == "hookchain_plugin_mine"


ENTRY_MODULE = """
from hookchain import task_succeeded
calls = []

def register():
    calls.append("register")
    task_succeeded.connect(lambda action, **_: None)

class Plugin:
    def __init__(self):
        task_succeeded.connect(self.hear)

    def hear(self, action, **_): ...

def hear(action, **_):
    calls.append("hear")

def connect_hear():
    task_succeeded.connect(hear)
"""


@pytest.mark.parametrize(
    ("value", "more", "names", "calls"),
    [
        ("entry_module:register", "", ["entry_module:register.<locals>.<lambda>"], ["register"]),
        ("entry_module:Plugin", "", ["entry_module:Plugin.hear"], []),
        ("entry_module:hear", "connect_hear()", ["entry_module:hear"], []),
        ("entry_module", "register()", ["entry_module:register.<locals>.<lambda>"], ["register"]),
    ],
)
def test_an_entry_point_is_called_unless_it_is_a_receiver(
    tmp_path: Path,
    signals: Any,
    monkeypatch: pytest.MonkeyPatch,
    value: str,
    more: str,
    names: list[str],
    calls: list[str],
) -> None:
    """A function, a class, a receiver that its module has connected, a module."""
    (tmp_path / "entry_module.py").write_text(ENTRY_MODULE + more)
    (tmp_path / "entry-1.dist-info").mkdir()
    (tmp_path / "entry-1.dist-info" / "entry_points.txt").write_text(f"[hookchain.plugins]\nx = {value}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "entry_module", raising=False)
    (plugin,) = load_plugins([], tmp_path)
    assert (plugin.name, plugin.origin) == ("entry_module", value)
    assert Registry(signals).names() == names
    assert sys.modules["entry_module"].calls == calls
    del sys.modules["entry_module"]


def test_what_a_plugin_that_cannot_be_loaded_has_connected_is_disconnected(
    tmp_path: Path, signals: Any
) -> None:
    """It would otherwise hear events without the rest of its plugin."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(PLUGIN + "\nraise ValueError")
    with pytest.raises(PluginError):
        load_plugins([], tmp_path)
    assert Registry(signals).names() == []


def test_connecting_while_the_server_runs_fails(signals: Any) -> None:
    """It would be heard by this process only, from some event on. Rules change in a block of their own."""

    def hear(action: str, **_: Any) -> None: ...

    registry = Registry(signals)
    with registry.closed():
        for change in (task_succeeded.connect, task_succeeded.disconnect):
            with pytest.raises(
                RuntimeError, match="hear cannot be connected to or disconnected from task_succeeded"
            ):
                change(hear)
        with registry.changing():
            task_succeeded.connect_via("IMAGINE")(hear)
        assert len(registry.receiver_names("task.succeeded", "IMAGINE")) == 1
    task_succeeded.disconnect(hear)


def test_options_are_written_once_below_or_above_the_connection(signals: Any) -> None:
    """Both are seen: they are read when all plugins are loaded."""

    @receiver(attempts=2)
    @task_succeeded.connect
    def above(action: str, **_: Any) -> None: ...

    @task_succeeded.connect
    @receiver(attempts=3)
    def below(action: str, **_: Any) -> None: ...

    registry = Registry(signals)
    assert [known.options.attempts for name in registry.names() if (known := registry.get(name))] == [2, 3]


def test_the_arguments_that_are_checked_are_those_that_are_given() -> None:
    """A receiver's signature is checked against ARGUMENTS."""
    nothing: Any = None
    context = Context(
        action="", task=nothing, event=nothing, chain=nothing, submission=nothing, modal=nothing
    )
    assert tuple(context.arguments()) == ARGUMENTS


def test_a_limit_that_cannot_be_counted_to_is_refused() -> None:
    """Where the receiver is written, not when it fires."""
    for limit in (-1, 10**23):
        with pytest.raises(ValueError, match=r"is not between 0 \(no limit\) and 1000000"):
            receiver(limit=limit)
