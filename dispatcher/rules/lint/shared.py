"""Two rules that may press the same button of a task with different terms: it is pressed once, with the terms of one of them."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cached_property

import msgspec
from jinja2 import nodes

from dispatcher.rules.compile import CompiledRule
from dispatcher.rules.lint.button import LABELS, written_at
from dispatcher.rules.lint.logic import outcomes
from dispatcher.rules.lint.outcome import facts_of
from dispatcher.rules.macros import condition_tree
from dispatcher.rules.mistakes import Mistake
from dispatcher.rules.model import PRESSES, Rule
from dispatcher.rules.variables import macros_of
from midjourney.buttons import KINDS
from midjourney.labels import meaning_of_label

_TERMS = ("after", "at", "unless", "mode", "approve", "state")
"""The keys of a rule that a button which somebody else has asked for does not get."""

MOST_PAIRS = 5_000
"""The most pairs of rules that are looked at: a hundred rules."""


def with_shared_buttons(rules: Sequence[CompiledRule]) -> list[CompiledRule]:
    """The rules, each with a warning for the first rule before it that may press the same button with other terms."""
    pressing = [
        _Pressing(one) for one in rules if one.rule.enabled and any(getattr(one.rule, key) for key in PRESSES)
    ]
    found: dict[str, Mistake] = {}
    pairs = 0
    for at, later in enumerate(pressing):
        for earlier in pressing[:at]:
            pairs += 1
            if pairs > MOST_PAIRS:
                break
            name = later.compiled.rule.name
            if name not in found and (warning := _warning(earlier, later)):
                found[name] = warning
    return [
        msgspec.structs.replace(one, warnings=(*one.warnings, found[one.rule.name]))
        if one.rule.name in found
        else one
        for one in rules
    ]


class _Pressing:
    """A rule that presses, with what each pair of rules asks of it."""

    def __init__(self, compiled: CompiledRule) -> None:
        self.compiled = compiled
        self.buttons = _buttons(compiled.rule)

    @cached_property
    def condition(self) -> nodes.Expr | None:
        """The parsed condition; None without one."""
        rule = self.compiled.rule
        return condition_tree(rule.when, macros_of(rule.vars)) if rule.when else None


def _warning(one: _Pressing, other: _Pressing) -> Mistake | None:
    earlier, later = one.compiled, other.compiled
    terms = [key for key in _TERMS if getattr(earlier.rule, key) != getattr(later.rule, key)]
    pressed = set(one.buttons)
    common = [label for label in other.buttons if label in pressed]
    if not terms or not common or not _may_both_fire(one, other):
        return None
    file, _, line = later.where.rpartition(":")
    return Mistake(
        file=file if line.isdigit() else later.where,
        line=int(line) if line.isdigit() else 0,
        rule=later.rule.name,
        key="",
        problem=(
            f'rule "{earlier.rule.name}" ({earlier.where}) may press {common[0]} of the same task with a different {" and ".join(terms)}; it is '
            "pressed once, on the terms of one of the two rules"
        ),
        remedy="Write conditions that are never true together, or the same terms in both.",
        kind="shared",
    )


def _buttons(rule: Rule) -> list[str]:
    """The labels that a rule certainly means, as far as they are known."""
    found: list[str] = []
    for key in PRESSES:
        for written in written_at(rule, key):
            if key != "press":
                found.append(f"{key} {written}")
            elif written in KINDS:
                found += [label for label in LABELS if meaning_of_label("", label, label)[0] == written]
            else:
                found += [label for label in LABELS if fnmatchcase(label, written)] or [written]
    return list(dict.fromkeys(found))


def _may_both_fire(one: _Pressing, other: _Pressing) -> bool:
    """True if both conditions can certainly hold for one event; not if anything about that is unknown."""
    trees = [tree for tree in (one.condition, other.condition) if tree is not None]
    for signal in set(one.compiled.rule.signals) & set(other.compiled.rule.signals):
        if not trees:
            return True
        tree = trees[0] if len(trees) == 1 else nodes.And(trees[0], trees[1], lineno=1)
        if True in outcomes(tree, facts_of(signal)):
            return True
    return False
