"""Rules that trigger themselves: what they submit fires them again, and each time it is paid for, until a budget ends it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dispatcher.rules.lint.button import written_at
from dispatcher.rules.lint.caution import Caution, Subject
from dispatcher.rules.lint.logic import LARGE, Domain, outcomes
from dispatcher.rules.lint.outcome import facts_of
from dispatcher.rules.model import PRESSES, Rule
from midjourney.buttons import KINDS
from midjourney.labels import meaning_of_label

_HAPPENS = frozenset(
    {"task.submitted", "task.started", "task.progressed", "task.succeeded", "submission.accepted"}
)
"""Signals that nearly every submission leads to."""

_FAILS = frozenset(
    {
        "task.failed",
        "task.cancelled",
        "task.lost",
        "task.overdue",
        "submission.rejected",
        "submission.dead",
        "submission.uncertain",
    }
)
"""Signals that a submission leads to if it fails as the last one did."""

_FAILED_TASKS = frozenset(signal for signal in _FAILS if signal.startswith("task."))

_LATER: Mapping[str, Domain] = {"chain.depth": (LARGE,), "chain.submissions": (LARGE,)}
"""A chain in which the rule has fired many times."""

_AT_ONE_DEPTH: Mapping[str, Domain] = {"chain.submissions": (LARGE,)}
"""The same where the depth does not grow: what is repeated stays at its depth, and `chain.depth` of a submission that made no task is
that of the task that it follows from, if there is one."""

_MADE: Mapping[str, Mapping[str, Domain]] = {
    "imagine": {"task.action": ("IMAGINE",), "task.is_grid": (True,)},
    "blend": {"task.action": ("BLEND",), "task.is_grid": (True,)},
    "describe": {"task.action": ("DESCRIBE",), "task.is_grid": (False,)},
    "shorten": {"task.action": ("SHORTEN",), "task.is_grid": (False,)},
}
"""What is known of the task that a key makes."""

_OFFERED_AGAIN: Mapping[str, Mapping[str, Domain]] = {
    "variation": {"task.action": ("VARIATION",), "task.is_grid": (True,)},
    "reroll": {"task.action": ("REROLL",), "task.is_grid": (True,)},
    "extend_high": {"task.action": ("VIDEO",), "task.is_grid": (False,)},
    "extend_low": {"task.action": ("VIDEO",), "task.is_grid": (False,)},
}
"""Kinds of buttons whose press makes a task that has such buttons again, and what is known of that task."""

_GUARD = 'Add limit = 1 or once_per = "chain", or a condition such as chain.depth == 0.'

_COUNTED = 'Add limit = 1 or once_per = "chain".'


def triggers_itself(subject: Subject) -> Iterator[Caution]:
    """A submission that fires its own rule again without an end."""
    rule = subject.rule
    for key, made in _MADE.items():
        if getattr(rule, key) and not _is_limited(rule, per_root=False) and _fires_again(subject, made):
            yield _caution(subject.signal, key, "what it submits")
    for key in PRESSES:
        for written in written_at(rule, key):
            made = _OFFERED_AGAIN.get(_kind_of(key, written), {})
            if made and not _is_limited(rule, per_root=True) and _fires_again(subject, made):
                yield _caution(
                    subject.signal, key, f"the task that {written} makes has that button again, which"
                )
                break
    if rule.repeat and not _is_limited(rule, per_root=False) and _holds_later(subject, _AT_ONE_DEPTH):
        yield Caution(
            kind="again",
            key="repeat",
            problem=f"without a limit, it repeats what fails again and again, and each time may cost money ({subject.signal})",
            remedy="Add limit = 2.",
        )


def _is_limited(rule: Rule, *, per_root: bool) -> bool:
    """True if the rule can fire only so often in a chain. A prompt begins a new root, a press does not."""
    if not rule.limit and not rule.once_per:
        return False
    return rule.once_per in ("", "chain") or (per_root and rule.once_per == "root")


def _fires_again(subject: Subject, made: Mapping[str, Domain]) -> bool:
    """True if the rule certainly fires for a task like this, deep in a long chain; if it only fails again, true if it may."""
    signal = subject.signal
    if signal in _FAILS:
        return _holds_later(subject, _LATER if signal in _FAILED_TASKS else _AT_ONE_DEPTH)
    if signal not in _HAPPENS:
        return False
    known = {**facts_of(signal), **made} if signal == "task.succeeded" else facts_of(signal)
    return subject.condition is None or outcomes(subject.condition, {**known, **_LATER}) == {True}


def _holds_later(subject: Subject, later: Mapping[str, Domain]) -> bool:
    """True if the condition may hold however long the chain is."""
    if subject.condition is None:
        return True
    return outcomes(subject.condition, {**facts_of(subject.signal), **later}) != {False}


def _kind_of(key: str, written: str) -> str:
    """The kind of the buttons that a key presses."""
    if key != "press":
        return ""
    if written in KINDS:
        return written
    return meaning_of_label("", written.replace("*", "1").replace("?", "1"), written)[0]


def _caution(signal: str, key: str, what: str) -> Caution:
    again = "fires this rule again" if signal in _HAPPENS else "may fail too and then fires this rule again"
    return Caution(
        kind="again",
        key=key,
        problem=f"{what} {again} ({signal}); each time costs money, until a budget stops it",
        remedy=_GUARD if signal in _HAPPENS | _FAILED_TASKS else _COUNTED,
    )
