"""Keys that have no effect in a rule: those about submissions where nothing is submitted, and a condition that repeats `once_per`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dispatcher.rules.lint.caution import Caution, Subject
from dispatcher.rules.lint.parts import all_of
from dispatcher.rules.model import STAGED
from dispatcher.rules.why import words

_OF_SUBMISSIONS = ("after", "priority", "state")


def empty_keys(table: Mapping[str, object]) -> Iterator[Caution]:
    """A key of a table, as it is written, whose value is empty: that is as if it were absent."""
    for key, value in table.items():
        if value in ("", []):
            what = (
                "the condition is empty, so the rule fires for every event" if key == "if" else "it is empty"
            )
            yield Caution(kind="unused", key=key, problem=what, remedy="Write a value, or leave the key out.")


def unused_keys(subject: Subject) -> Iterator[Caution]:
    """A key that changes nothing."""
    rule = subject.rule
    submits = any(getattr(rule, key) not in ("", [], None, False) for key in STAGED)
    for key in _OF_SUBMISSIONS:
        if getattr(rule, key) and not submits:
            yield Caution(
                kind="unused",
                key=key,
                problem="it applies only to submissions, and this rule submits nothing",
                remedy="Leave it out: archive, split_grid, forward and notify run at once.",
            )
    if rule.state and submits and rule.cancel and sum(bool(getattr(rule, key)) for key in STAGED) == 1:
        yield Caution(
            kind="unused",
            key="state",
            problem="cancel makes no new task that could have this state",
            remedy="Leave it out.",
        )
    if subject.condition is not None and rule.once_per == "chain" and not rule.limit:
        for part in all_of(subject.condition):
            if words(part) in ("chain.submissions == 0", "not chain.submissions"):
                yield Caution(
                    kind="unused",
                    key="if",
                    problem=f'{words(part)} does what once_per = "chain" does, and also stops the rule if another rule submitted first',
                    remedy="Leave one of them out.",
                )
