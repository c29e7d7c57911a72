"""Finds the rules that use the first task of a chain: `root`, `chain.state` and `chain.prompt`. It is read for them only."""

from __future__ import annotations

from dispatcher.rules.expressions import names_in
from dispatcher.rules.joins import texts_of
from dispatcher.rules.model import Rule
from dispatcher.rules.values import OF_ROOT
from dispatcher.rules.variables import macros_of


def uses_root(rule: Rule) -> bool:
    """True if any text of the rule uses it."""
    macros = macros_of(rule.vars)
    texts = texts_of(rule)
    return any(_uses(names_in(text, macros, is_condition=key in ("if", "unless"))) for key, text in texts)


def _uses(names: set[str]) -> bool:
    return "root" in names or not names.isdisjoint(f"chain.{field}" for field in OF_ROOT)
