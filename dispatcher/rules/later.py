"""Whether a rule still wants what it has scheduled: asked again when it is due, with the rule, its task and its chain as they are now.

What a rule requests by the clock is not wanted any more when its time has passed, because its upstream was down or no process ran.

A rule may have been edited in the meantime. Then its `if` must hold again, and what it does must be the same, because the waiting
request was made by the rule as it was.
"""

from __future__ import annotations

import hashlib

import msgspec

from dispatcher.plugins.context import Context
from dispatcher.plugins.errors import RuleError
from dispatcher.plugins.scheduled import StillWanted, Terms
from dispatcher.policy.cron_times import cron_time
from dispatcher.policy.occurrences import too_late
from dispatcher.rules.actions import names_of
from dispatcher.rules.compile import CompiledRule
from dispatcher.rules.expressions import Condition, Evaluator, Names
from dispatcher.rules.joins import strings
from dispatcher.rules.macros import Macro, Macros, used_in_text
from dispatcher.rules.model import Rule
from dispatcher.rules.variables import macros_of, used_in
from storage.timetable.occurrences import time_of

_WHEN = ("every", "missed", "when", "once_per", "limit", "after", "at", "unless", "priority")
"""The keys of a rule that say when and how often it acts, and not what it does."""

_CONDITIONS = ("when", "unless")
"""The keys of a rule that are conditions; its other texts are templates."""

_FIELDS = msgspec.structs.fields(Rule)
"""Read once: it evaluates the annotations of all keys each time."""


def with_digests(terms: Terms, rule: Rule) -> Terms:
    """The terms of what a rule schedules."""
    macros = {macro.name: _hashed([macro.signature, macro.source]) for macro in _macros_in(rule, ())}
    return msgspec.structs.replace(terms, rule=_digest(rule, ()), does=_digest(rule, _WHEN), macros=macros)


def _digest(rule: Rule, but: tuple[str, ...]) -> str:
    """Identifies what a rule says. Keys that have their default do not count: the next release may have more of them."""
    if isinstance(rule.on, list):
        # Neither the order of signals nor the brackets of a single one change what it says.
        one, *others = sorted(rule.on)
        rule = msgspec.structs.replace(rule, on=[one, *others] if others else one)
    said = {
        field.name: getattr(rule, field.name)
        for field in _FIELDS
        if field.name not in (*but, "vars") and getattr(rule, field.name) != field.default
    }
    texts = [text for value in said.values() for text in strings(value)]
    if macros := _macros_in(rule, but):
        said["macros"] = {macro.signature: macro.source for macro in macros}
        texts += [macro.source for macro in macros]
    if used := used_in(texts, rule.vars):
        said["vars"] = used
    return _hashed(said)


def _hashed(said: object) -> str:
    return hashlib.sha256(msgspec.json.encode(said, order="deterministic")).hexdigest()[:16]


def _macros_in(rule: Rule, but: tuple[str, ...]) -> Macros:
    """The macros that the texts of a rule use, without those of some keys."""
    of_all = macros_of(rule.vars)
    found: dict[str, Macro] = {}
    for field in _FIELDS if of_all else ():
        if field.name not in (*but, "name", "on", "description", "vars"):
            for text in strings(getattr(rule, field.name)):
                used = used_in_text(text, of_all, is_condition=field.name in _CONDITIONS)
                found.update({macro.name: macro for macro in used})
    return tuple(found[name] for name in sorted(found))


def _changed(rule: Rule, then: Terms, now: Terms) -> str:
    """Says that a rule was changed, and which of its macros."""
    differ = [name for name, digest in now.macros.items() if then.macros.get(name, digest) != digest]
    places = ", ".join(f"{one.name} ({one.where})" for one in macros_of(rule.vars) if one.name in differ)
    if places:
        return f'the macro {places}, which the rule "{rule.name}" uses, was changed after it was scheduled'
    return f'the rule "{rule.name}" was changed after it was scheduled'


def asking(compiled: CompiledRule, *, is_answer: bool) -> StillWanted:
    """The function that asks a rule. `is_answer`: about the answer to a modal, which does not depend on the rule's `if`."""
    rule = compiled.rule

    async def still_wanted(terms: Terms, context: Context, now_ms: int) -> str:
        if why := _past(terms, rule, context.event.status, now_ms):
            return why
        names = names_of(context.arguments())
        now = with_digests(terms, rule)
        changed = _changed(rule, terms, now)
        if now.does != terms.does:
            return changed
        try:
            if now.rule != terms.rule and compiled.condition is not None and not is_answer:
                result = await compiled.condition(names)
                if not result.holds:
                    return f"{changed}: {result.text}"
            return await _holding(compiled.unless, names)
        except RuleError as error:
            return f'the rule "{rule.name}": {error}'

    return still_wanted


def _past(terms: Terms, rule: Rule, status: str, now_ms: int) -> str:
    """Why it is too late for what a rule requested by the clock, for the time `status`; "" if it is not."""
    if not terms.every:
        return ""
    every = cron_time(terms.every)
    why = too_late(every, rule.missed, time_of(status), terms.late_ms(now_ms))
    return f"it was for {status}, and {why}" if why else ""


def asking_plugins(evaluator: Evaluator) -> StillWanted:
    """The function that asks about what a plugin has scheduled: its `unless` decides."""

    async def still_wanted(terms: Terms, context: Context, _now_ms: int) -> str:
        if not terms.unless:
            return ""
        try:
            unless = Condition(terms.unless, evaluator, when_due=True)
            return await _holding(unless, names_of(context.arguments()))
        except RuleError as error:
            return str(error)

    return still_wanted


def mistake_in(unless: str) -> str:
    """What is wrong with an `unless` expression, or ""."""
    try:
        Condition(unless, when_due=True)
    except RuleError as error:
        return str(error)
    return ""


async def _holding(unless: Condition | None, names: Names) -> str:
    """Why something is not sent; "" if its `unless` does not hold. Without a needed value nobody knows, and nothing is spent."""
    if unless is None:
        return ""
    answer = await unless(names)
    if not answer.is_known:
        return f"unless = {unless.source!r} could not be answered when it was due: {answer.text.partition(', so ')[0]}"
    return f"unless = {unless.source!r} held when it was due" if answer.holds else ""
