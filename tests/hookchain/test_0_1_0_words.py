"""Everything that users of 0.1.0 wrote down still exists: settings, variables, commands, rule keys, names in expressions, Python names.

`tests/storage/released/0.1.0-words.txt` was printed by `words` with the code of 0.1.0 (commit ef98b4c) in its place.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import typer

import hookchain
from dispatcher.policy.chain_budget import Budget
from dispatcher.policy.retention import Retention
from dispatcher.rules import model
from dispatcher.rules.expression_names import FIELDS
from dispatcher.rules.sandbox import environment
from hookchain.cli import MODULES, command_line
from hookchain.settings.environment import known_variables
from hookchain.settings.tables import File
from midjourney.dialects import Dialect, Upstream
from tests.conftest import REPOSITORY

WORDS = (REPOSITORY / "tests/storage/released/0.1.0-words.txt").read_text().splitlines()
IN_NO_DOCUMENT = {"hookchain.Chain.is_own_address"}
"""It was for hookchain's own receivers, and CHANGELOG says that it is gone."""

TABLES: dict[str, type[msgspec.Struct]] = {
    "file": File,
    "budget": Budget,
    "retention": Retention,
    "upstreams": Upstream,
    "dialects": Dialect,
    "rules": model.Rule,
    **{f"rules.{key}": table for key, table in model.TABLES.items()},
}


def words() -> Iterator[str]:
    """All of them, as this release has them."""
    for table, kind in TABLES.items():
        yield from (f"[{table}] {field.encode_name}" for field in msgspec.structs.fields(kind))
    yield from (f"variable {name}" for name in known_variables())
    for path, names in FIELDS.items():
        yield from (f"expression {path}.{name}" for name in names)
    yield from (f"filter {name}" for name in environment.filters)
    yield from (f"test {name}" for name in environment.tests)
    for module in MODULES:
        yield from _commands(typer.main.get_command(command_line(module)), "")
    for name in hookchain.__all__:
        yield from _python(name, getattr(hookchain, name))


def _commands(command: Any, at: str) -> Iterator[str]:
    """A command's options, and those of the commands below it."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, f"{at} {name}")
    if at:
        yield f"hookchain{at}"
    for parameter in command.params:
        yield from (f"hookchain{at} {option}" for option in parameter.opts if option.startswith("-"))


def _python(name: str, found: Any) -> Iterator[str]:
    """A name of `hookchain`; the options of functions, and what classes have."""
    yield f"hookchain.{name}"
    if inspect.isfunction(found):
        yield from (
            f"hookchain.{name} {option}" for option in inspect.signature(found).parameters if option != "how"
        )
    elif inspect.isclass(found):
        yield from (f"hookchain.{name}.{one}" for one in dir(found) if not one.startswith("_"))


@pytest.fixture(scope="module")
def today() -> frozenset[str]:
    """Those of this release."""
    return frozenset(words())


def test_every_word_that_users_of_0_1_0_wrote_is_still_there(today: frozenset[str]) -> None:
    """A word that goes away needs an old spelling that works with a warning, or a place in CHANGELOG's list of what breaks."""
    assert set(WORDS) - today == IN_NO_DOCUMENT
