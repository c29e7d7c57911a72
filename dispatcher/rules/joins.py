"""Checks the rules that use what only joins have: `chain.tasks` and `chain.children`."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from dispatcher.rules.checks import InvalidRule
from dispatcher.rules.expressions import uses_of
from dispatcher.rules.model import Rule
from dispatcher.rules.variables import macros_of
from storage.records import JOINS


def check_join(rule: Rule) -> None:
    """Raises `InvalidRule` if a text of the rule uses the chain's tasks where they are unknown: only joins have them."""
    for key, text in texts_of(rule):
        used = sorted(uses_of(text, macros_of(rule.vars), is_condition=key == "if"))
        if not used:
            continue
        if without := [signal for signal in rule.signals if signal not in JOINS]:
            raise InvalidRule(
                key,
                f"{without[0]} does not have chain.{used[0]}",
                f" Write {' or '.join(f'on = {name!r}' for name in sorted(JOINS))}.".replace("'", '"'),
            )
        if key == "modal" or (key == "state" and (rule.modal is not None or rule.zoom)):
            raise InvalidRule(
                key,
                f"a modal is answered when it opens, and chain.{used[0]} is unknown then",
                " Use only modal, task, submission, chain.id and chain.depth.",
            )


def texts_of(rule: Rule) -> Iterator[tuple[str, str]]:
    """Every text of a rule, with the key that it belongs to."""
    for field in msgspec.structs.fields(rule):
        if field.name not in ("name", "on", "vars"):
            yield from ((field.encode_name, text) for text in strings(getattr(rule, field.name)))


def strings(value: object) -> Iterator[str]:
    """The texts in a value of a rule."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from strings(getattr(value, field))
