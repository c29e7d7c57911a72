"""Plugins that would never run: each mistake has its message, word for word in wrong_plugins.txt."""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dispatcher.plugins.discovery import Found, find_plugins
from dispatcher.plugins.plugin_settings import PluginTables
from dispatcher.plugins.signals import submission_leaving

IMPORT = "from hookchain import receiver, task_failed, task_succeeded, submission_needs_modal\n"
"""The first line of each plugin in wrong_plugins.txt, which leaves it out."""

CASES = [
    one
    for one in (Path(__file__).parent / "wrong_plugins.txt").read_text().split("-" * 20 + "\n")
    if one.strip()
]


@pytest.fixture(autouse=True)
def forget_plugins(signals: Any) -> Iterator[None]:
    """Each case loads its plugins anew."""
    submission_leaving._clear_state()
    yield
    submission_leaving._clear_state()
    for name in [name for name in sys.modules if name.startswith(("hookchain_plugin_", "wrong_module"))]:
        del sys.modules[name]


def loaded(case: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Found:
    """Write the files of a case and load them as the server does."""
    source = re.split(r"^(?:->|~>) ", case, maxsplit=1, flags=re.MULTILINE)[0]
    named: list[str] = []
    monkeypatch.syspath_prepend(directory)
    for name, text in re.findall(r"^== (.+)\n((?:(?!== ).*\n)*)", source, flags=re.MULTILINE):
        if name.startswith("named: "):
            named += name.removeprefix("named: ").split(", ")
            continue
        if name.startswith("entry point: "):
            name, text = (
                "wrong-1.dist-info/entry_points.txt",
                f"[hookchain.plugins]\n{name.partition(': ')[2]}\n",
            )
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(IMPORT + text if path.suffix == ".py" else text)
    importlib.invalidate_caches()
    file = directory / "hookchain.toml"
    tables = tomllib.loads(file.read_text())["plugins"] if file.exists() else {}
    return find_plugins(named, directory, PluginTables(tables))


def messages(found: Found, directory: Path) -> str:
    lines = [f"-> {problem}\n" for problem in found.problems] + [
        f"~> {warning}\n" for warning in found.warnings
    ]
    return "".join(lines).replace(str(directory), "DIRECTORY")


@pytest.mark.parametrize("case", CASES, ids=range(1, len(CASES) + 1))
def test_a_mistake_names_file_line_receiver_and_what_to_write(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """-> stops the start, ~> is a warning. All of a case come at once."""
    found = loaded(case, tmp_path, monkeypatch)
    assert messages(found, tmp_path) == "".join(re.findall(r"^[-~]> .*\n", case, flags=re.MULTILINE))


def test_there_are_many_ways_to_be_wrong() -> None:
    """The table has not shrunk."""
    assert len(CASES) >= 40
    assert all(re.search(r"^[-~]> ", case, flags=re.MULTILINE) for case in CASES)
