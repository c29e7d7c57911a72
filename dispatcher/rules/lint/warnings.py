"""All warnings about a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from dispatcher.rules.lint.again import triggers_itself
from dispatcher.rules.lint.button import absent_buttons
from dispatcher.rules.lint.caution import Caution, Subject
from dispatcher.rules.lint.kinds import different_types, lists_and_texts
from dispatcher.rules.lint.modal import unopened_modals
from dispatcher.rules.lint.no_value import missing_values
from dispatcher.rules.lint.often import either_day, often
from dispatcher.rules.lint.outcome import never_or_always
from dispatcher.rules.lint.text import dead_texts
from dispatcher.rules.lint.unused import unused_keys
from dispatcher.rules.lint.word import impossible_words
from dispatcher.rules.macros import condition_tree, named_in
from dispatcher.rules.model import Rule
from dispatcher.rules.variables import macros_of

_KINDS: tuple[Callable[[Subject], Iterator[Caution]], ...] = (
    impossible_words,
    different_types,
    missing_values,
    never_or_always,
    absent_buttons,
    triggers_itself,
    often,
    either_day,
    unopened_modals,
    dead_texts,
    unused_keys,
)


_OF_CONDITIONS: tuple[Callable[[Subject], Iterator[Caution]], ...] = (
    impossible_words,
    different_types,
    missing_values,
    lists_and_texts,
    never_or_always,
)
"""Those that look at `unless` too."""


def warnings_of(rule: Rule) -> list[Caution]:
    """Every warning about a rule that has no mistakes; none about a condition that is nested too deeply to be looked at."""
    try:
        return [_with_macros(rule, one) for one in _found(rule)]
    except RecursionError:
        return []


def _with_macros(rule: Rule, caution: Caution) -> Caution:
    """The warning, with the places of the macros that its condition uses."""
    text = {"if": rule.when, "unless": rule.unless}.get(caution.key, "")
    macros = named_in([text], macros_of(rule.vars)) if text else ()
    if not macros:
        return caution
    places = ", ".join(f"{macro.name} ({macro.where})" for macro in macros)
    return msgspec.structs.replace(caution, remedy=f"{caution.remedy} The condition uses the macro {places}.")


def _found(rule: Rule) -> list[Caution]:
    macros = macros_of(rule.vars)
    tree = condition_tree(rule.when, macros) if rule.when else None
    unless = condition_tree(rule.unless, macros) if rule.unless else None
    found = {
        signal: [
            *_on(Subject(rule=rule, signal=signal, condition=tree)),
            *_on_unless(Subject(rule=rule, signal=signal, condition=unless)),
        ]
        for signal in dict.fromkeys(rule.signals)
    }
    return (
        list(_joined(found)) if len(found) > 1 else [one for cautions in found.values() for one in cautions]
    )


def _on(subject: Subject) -> list[Caution]:
    """The warnings on one signal. A condition with a precise warning gets no general one as well."""
    found: list[Caution] = []
    for kind in _KINDS:
        for caution in kind(subject):
            is_general = caution.kind in ("never", "always") and any(one.key == "if" for one in found)
            if not is_general and caution not in found:
                found.append(caution)
    return found


def _on_unless(subject: Subject) -> list[Caution]:
    """The warnings about `unless`, worked out as if it were the rule's `if`. It is asked later, when the task may have changed."""
    found: list[Caution] = []
    if subject.condition is None:
        return found
    for kind in _OF_CONDITIONS:
        for caution in kind(subject):
            is_general = caution.kind in ("never", "always")
            if not (is_general and found):
                found.append(msgspec.structs.replace(caution, key="unless", **_worded(caution, subject)))
    return list(dict.fromkeys(found))


def _worded(caution: Caution, subject: Subject) -> dict[str, str]:
    """What a warning means for `unless`."""
    match caution.kind:
        case "never":
            return {
                "problem": caution.problem.partition(_NEVER_FIRES)[0]
                + ", so it never keeps anything from being sent",
                "remedy": "Correct it, or leave it out.",
            }
        case "always":
            return {
                "problem": f"{caution.problem}, so nothing is ever sent",
                "remedy": "Correct it, or leave it out.",
            }
        case "no value":
            problem = caution.problem.partition("; the whole condition")[0]
            return {"problem": f"{problem}; nothing is sent then"}
        case "type":
            return {
                "problem": caution.problem.replace("each event becomes a dead letter", "nothing is ever sent")
            }
    return {}


_NEVER_FIRES = ", so the rule never fires"


def _joined(found: Mapping[str, Sequence[Caution]]) -> Iterator[Caution]:
    """One warning for all the signals on which a rule deserves it. What is always true on some of them may well tell these apart
    from the others."""
    signals: dict[Caution, list[str]] = {}
    for signal, cautions in found.items():
        for caution in cautions:
            general = msgspec.structs.replace(caution, problem=caution.problem.replace(signal, _SIGNAL))
            signals.setdefault(general, []).append(signal)
    for caution, listed in signals.items():
        if caution.kind != "always" or len(listed) == len(found):
            problem = caution.problem.replace(_SIGNAL, " or ".join(listed))
            yield msgspec.structs.replace(caution, problem=problem)


_SIGNAL = "\0"
"""Stands for the name of a signal."""
