"""All warnings about a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from dispatcher.rules import language
from dispatcher.rules.lint.again import triggers_itself
from dispatcher.rules.lint.button import absent_buttons
from dispatcher.rules.lint.caution import Caution, Subject
from dispatcher.rules.lint.kinds import different_types
from dispatcher.rules.lint.modal import unopened_modals
from dispatcher.rules.lint.no_value import missing_values
from dispatcher.rules.lint.outcome import never_or_always
from dispatcher.rules.lint.text import dead_texts
from dispatcher.rules.lint.unused import unused_keys
from dispatcher.rules.lint.word import impossible_words
from dispatcher.rules.model import Rule

_KINDS: tuple[Callable[[Subject], Iterator[Caution]], ...] = (
    impossible_words,
    different_types,
    missing_values,
    never_or_always,
    absent_buttons,
    triggers_itself,
    unopened_modals,
    dead_texts,
    unused_keys,
)


def warnings_of(rule: Rule) -> list[Caution]:
    """Every warning about a rule that has no mistakes; none about a condition that is nested too deeply to be looked at."""
    try:
        return _found(rule)
    except RecursionError:
        return []


def _found(rule: Rule) -> list[Caution]:
    tree = language.parsed(rule.when) if rule.when else None
    found = {
        signal: _on(Subject(rule=rule, signal=signal, condition=tree))
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
