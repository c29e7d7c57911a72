"""Conditions that are never true on the rule's signal, or always."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from jinja2 import nodes

from dispatcher.rules.lint.caution import Caution, Subject
from dispatcher.rules.lint.fields import path_of
from dispatcher.rules.lint.logic import Domain, lookups, outcomes
from dispatcher.rules.lint.parts import all_of
from dispatcher.rules.why import words
from midjourney.failures import KINDS as FAILURE_KINDS

_FACTS: Mapping[str, Mapping[str, Domain]] = {
    "task.succeeded": {
        "task.status": ("SUCCESS",),
        "task.is_finished": (True,),
        "task.failure_kind": ("",),
        "task.unknown_end": ("",),
    },
    "task.failed": {
        "task.status": ("FAILURE",),
        "task.is_finished": (True,),
        "task.failure_kind": FAILURE_KINDS,
        "task.unknown_end": ("",),
    },
    "task.cancelled": {
        "task.status": ("CANCEL",),
        "task.is_finished": (True,),
        "task.failure_kind": FAILURE_KINDS,
        "task.unknown_end": ("",),
    },
}


def facts_of(signal: str) -> Mapping[str, Domain]:
    """What is known of the fields on a signal."""
    return {"event.signal": (signal,), **_FACTS.get(signal, {})}


def never_or_always(subject: Subject) -> Iterator[Caution]:
    """A condition that is false for every event of the signal, or true for every one."""
    tree, signal = subject.condition, subject.signal
    if tree is None:
        return
    facts = facts_of(signal)
    result = outcomes(tree, facts)
    if result == {False}:
        part = next((part for part in all_of(tree) if outcomes(part, facts) == {False}), tree)
        yield Caution(
            kind="never",
            key="if",
            problem=f"{words(part)} is never true on {signal}{_because(part, facts)}, so the rule never fires{_there(subject)}",
            remedy="Correct the condition, or listen to another signal.",
        )
    elif result == {True}:
        yield Caution(
            kind="always",
            key="if",
            problem=f"{words(tree)} is always true on {signal}{_because(tree, facts)}",
            remedy="Leave the condition out if the rule should fire for every event; otherwise correct it.",
        )


def _there(subject: Subject) -> str:
    """Says that a rule with other signals may fire on those."""
    return f" on {subject.signal}" if len(subject.rule.signals) > 1 else ""


def _because(part: nodes.Expr, facts: Mapping[str, Domain]) -> str:
    fixed = {path_of(node): facts[path_of(node)] for node in lookups(part) if path_of(node) in facts}
    known = [f"{path} is {domain[0]!r} there" for path, domain in fixed.items() if len(domain) == 1]
    return f" ({', '.join(known)})" if known else ""
