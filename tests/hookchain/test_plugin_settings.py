"""`[plugins.NAME]`: a plugin declares its settings, and gets them typed and checked."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dispatcher.plugins.errors import PluginError
from dispatcher.plugins.signals import SIGNALS
from hookchain import plugin_settings
from hookchain.receivers import connect_receivers
from hookchain.settings.load import SettingsError, load_settings
from tests.support import command

CAPTIONS = """
import msgspec
from hookchain import plugin_settings, task_succeeded

class Settings(msgspec.Struct, frozen=True):
    key: str
    languages: tuple[str, ...] = ("en",)

settings = plugin_settings(Settings)

@task_succeeded.connect
def caption(action, **_):
    pass
"""


@pytest.fixture(autouse=True)
def forget_plugins() -> Iterator[None]:
    """Each test loads its plugins anew."""
    yield
    for signal in SIGNALS.values():
        signal._clear_state()
    for name in [name for name in sys.modules if name.startswith("hookchain_plugin_")]:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with a plugin of one file, and one in a folder whose module has the settings."""
    (tmp_path / "plugins" / "deep").mkdir(parents=True)
    (tmp_path / "plugins" / "captions.py").write_text(CAPTIONS)
    (tmp_path / "plugins" / "deep" / "__init__.py").write_text("from . import inner")
    (tmp_path / "plugins" / "deep" / "inner.py").write_text(CAPTIONS)
    return tmp_path


def test_a_plugin_gets_its_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Typed, with variables filled in and defaults for what is left out. The plugins to load are in `load`."""
    monkeypatch.setenv("CAPTION_KEY", "a key of a test")
    (folder / "hookchain.toml").write_text(
        '[plugins]\nload = ["hookchain.plugins.upscale_all"]\n'
        '[plugins.captions]\nkey = "${CAPTION_KEY}"\n[plugins.deep]\nkey = "2"\nlanguages = ["zh"]\n'
    )
    settings = load_settings({}, folder)
    assert settings.plugins == ("hookchain.plugins.upscale_all",)
    sys.modules.pop("hookchain.plugins.upscale_all", None)
    receivers = connect_receivers(settings, {})
    assert "hookchain.plugins.upscale_all:upscale_all" in receivers.registry.names()
    loaded: Any = sys.modules["hookchain_plugin_captions"]
    assert (loaded.settings.key, loaded.settings.languages) == ("a key of a test", ("en",))
    inner: Any = sys.modules["hookchain_plugin_deep.inner"]
    assert (inner.settings.key, inner.settings.languages) == ("2", ("zh",))


def test_mistakes_stop_the_start_without_a_value_of_the_table(folder: Path) -> None:
    """All of all plugins at once; a value may be a secret."""
    (folder / "hookchain.toml").write_text(
        '[plugins.captions]\nkye = "a secret"\nlanguages = "a secret"\n[plugins.deep]\nkey = 5\n'
    )
    done = command.run(folder, "serve", "--port", "0")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-4:] == [
        "hookchain: hookchain.toml, [plugins.captions]: unknown key 'kye'. Did you mean \"key\"?",
        "hookchain: hookchain.toml, [plugins.captions]: the key 'key' is missing; it takes a text in quotes.",
        "hookchain: hookchain.toml, [plugins.captions]: 'languages' must be a list [ … ], not a text in quotes.",
        "hookchain: hookchain.toml, [plugins.deep]: 'key' must be a text in quotes, not a whole number.",
    ]
    assert "a secret" not in done.stdout + done.stderr


def test_a_stray_key_of_plugins_is_an_error(tmp_path: Path) -> None:
    """Only `load` and tables are in it."""
    (tmp_path / "hookchain.toml").write_text('[plugins]\nlaod = ["x"]\n')
    with pytest.raises(SettingsError, match=r"\[plugins\]: unknown key 'laod'\. Write load = "):
        load_settings({}, tmp_path)


class Rules(msgspec.Struct):
    """A plugin's settings, whose own check refuses some."""

    least: int = 1

    def __post_init__(self) -> None:
        if self.least < 1:
            raise ValueError("least is too small")


class Needed(msgspec.Struct):
    """Settings that cannot be left out."""

    key: str


def test_outside_hookchain_settings_have_their_defaults() -> None:
    """A test may import the plugin's module."""
    assert plugin_settings(Rules).least == 1
    with pytest.raises(PluginError, match="the key 'key' is missing"):
        plugin_settings(Needed)


def test_the_plugins_own_check_is_told(folder: Path) -> None:
    """Its words, with the place of the table."""
    own_check = "    def __post_init__(self):\n        raise ValueError('no such language')\n"
    text = CAPTIONS.replace("\nsettings =", f"{own_check}\nsettings =")
    (folder / "plugins" / "captions.py").write_text(text)
    (folder / "hookchain.toml").write_text('[plugins.captions]\nkey = "1"\n[plugins.deep]\nkey = "2"\n')
    with pytest.raises(PluginError, match=r"\[plugins\.captions\]: no such language"):
        connect_receivers(load_settings({}, folder), {})
