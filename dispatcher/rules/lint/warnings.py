"""All warnings about a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator

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
    """A condition with a precise warning gets no general one as well."""
    subject = Subject(rule=rule, condition=language.parsed(rule.when) if rule.when else None)
    found: list[Caution] = []
    for kind in _KINDS:
        for caution in kind(subject):
            is_general = caution.kind in ("never", "always") and any(one.key == "if" for one in found)
            if not is_general and caution not in found:
                found.append(caution)
    return found
