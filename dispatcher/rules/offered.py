"""Checks that the upstreams of a rule have what it asks of them: a speed mode, an endpoint, a kind of button. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dispatcher.rules.checks import InvalidRule, action_keys
from dispatcher.rules.expressions import names_in
from dispatcher.rules.lint.caution import Caution
from dispatcher.rules.model import Rule
from dispatcher.rules.spelling import nearest
from dispatcher.rules.variables import macros_of
from midjourney.dialects import Dialect

Dialects = Mapping[str, Dialect]
"""The dialects of upstreams, by the upstreams' names."""

_ENDPOINTS = ("imagine", "blend", "describe", "shorten", "cancel")
"""Keys of a rule that each need the endpoint of that name."""

_OF_BUTTONS = ("vary", "zoom", "pan", "animate")
"""Keys that press buttons which only dialects with buttons have."""

_UPSTREAM = frozenset({"chain.upstream", "event.upstream", "submission.upstream"})
"""Fields by which a condition tells upstreams apart."""


def check_offered(rule: Rule, dialects: Dialects) -> None:
    """Raise `InvalidRule` for what none of the rule's upstreams has: each submission would be refused."""
    asked = _asked(rule, dialects)
    for key, word in _needs(rule):
        if asked and not any(_has(dialect, key, word) for dialect in asked.values()):
            raise InvalidRule(key, _problem(key, word, asked), _remedy(key, word, asked))


def lacking(rule: Rule, dialects: Dialects) -> Iterator[Caution]:
    """A warning for what some of the rule's upstreams lack, unless its condition tells upstreams apart; and for buttons and modals that
    some do not have: that costs nothing, because nothing is pressed or answered there."""
    asked = _asked(rule, dialects)
    if rule.when and names_in(rule.when, macros_of(rule.vars), is_condition=True) & _UPSTREAM:
        return
    for key, word in _needs(rule):
        if without := {name: one for name, one in asked.items() if not _has(one, key, word)}:
            yield Caution(
                kind="upstream",
                key=key,
                problem=f"{_problem(key, word, without)}: submissions there are refused",
                remedy=f"Add a condition such as chain.upstream == '{next(name for name in asked if name not in without)}'.",
            )
    for key in _OF_BUTTONS:
        if getattr(rule, key) and (
            bare := {name: one for name, one in asked.items() if one.presses == "change"}
        ):
            yield Caution(
                kind="upstream",
                key=key,
                problem=f"tasks of {_listed(bare)} have no such button, so nothing is pressed there",
                remedy="There are only U1 to U4, V1 to V4 and 🔄.",
            )
    if rule.modal is not None and (
        quiet := {name: one for name, one in asked.items() if not one.has("modal")}
    ):
        yield Caution(
            kind="upstream",
            key="modal",
            problem=f"{_listed(quiet)} {'opens' if len(quiet) == 1 else 'open'} no modals, so there is nothing to answer",
            remedy="Leave it out, or correct `dialect` in [upstreams.NAME].",
        )


def _asked(rule: Rule, dialects: Dialects) -> Dialects:
    """The upstreams to which a rule may submit."""
    return {name: one for name, one in dialects.items() if rule.upstream in ("", name)}


def _needs(rule: Rule) -> list[tuple[str, str]]:
    """The keys that need something, each with the mode or the endpoint."""
    modes = [("mode", rule.mode)] if rule.mode else []
    return modes + [(key, key) for key in action_keys(rule) if key in _ENDPOINTS]


def _has(dialect: Dialect, key: str, word: str) -> bool:
    return word in dialect.modes if key == "mode" else dialect.has(word)


def _listed(dialects: Dialects) -> str:
    return ", ".join(f"{name} ({one.name})" for name, one in dialects.items())


def _problem(key: str, word: str, without: Dialects) -> str:
    have = "has" if len(without) == 1 else "have"
    return (
        f"{_listed(without)} {have} no {f'speed mode {word!r}' if key == 'mode' else f'endpoint for {word}'}"
    )


def _remedy(key: str, word: str, asked: Dialects) -> str:
    if key != "mode":
        return " Leave it out, or correct `dialect` in [upstreams.NAME]."
    known = {mode for one in asked.values() for mode in one.modes}
    return (
        nearest(word, known)
        if known
        else " Leave it out, or write `modes` in [dialects.NAME]; a mode may also be in the upstream's url."
    )
