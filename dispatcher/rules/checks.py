"""Checks that the keys of a rule fit together, and reports the first that does not: which, why, and what to write."""

from __future__ import annotations

import re
from collections.abc import Collection

from dispatcher.plugins.signals import SIGNALS
from dispatcher.rules.model import EFFECTS, PRESSES, STAGED, Rule
from dispatcher.rules.spelling import nearest
from midjourney.modes import MODE
from storage.records import STRUCK

NEEDS_MODAL = "submission.needs_modal"

_NAME = re.compile(r"[\w][\w .:+-]*")
_TO_OTHERS = frozenset({"imagine", "blend", "describe", "shorten"})
_FAILED = frozenset({"task.failed", "task.cancelled", "task.lost"})
_BEFORE_THE_END = frozenset(
    {
        "task.submitted",
        "task.started",
        "task.progressed",
        "task.overdue",
        "submission.accepted",
        "submission.queued",
        NEEDS_MODAL,
    }
)


class InvalidRule(Exception):
    """A rule has a mistake. `key` is where ("" for the whole rule), `problem` what is wrong, `remedy` what to write instead."""

    def __init__(self, key: str, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem}.{remedy}")
        self.key = key
        self.problem = problem
        self.remedy = remedy


def check(rule: Rule, upstreams: Collection[str] | None) -> None:
    """Check everything that needs no files. `upstreams` are the names of the upstreams, None if they are unknown here.

    Raises `InvalidRule` for the first mistake.
    """
    _check_name(rule)
    _check_signals(rule)
    for signal in rule.signals:
        _check_actions(rule, signal)
    _check_upstream(rule, upstreams)
    _check_mode(rule)


def _check_name(rule: Rule) -> None:
    if not _NAME.fullmatch(rule.name):
        raise InvalidRule(
            "name", f"{rule.name!r} is not a valid name", " Use letters, digits, spaces, and - _ . : +"
        )


def _check_signals(rule: Rule) -> None:
    if rule.every:
        return  # see `check_clock`
    if STRUCK in rule.signals:
        raise InvalidRule(
            "on", f"{STRUCK} is the signal of rules with every", ' Write every = "0 9 * * mon" instead of on.'
        )
    if not rule.signals:
        raise InvalidRule("on", "the list is empty, so the rule never fires", ' Write on = "task.succeeded".')
    if unknown := [signal for signal in dict.fromkeys(rule.signals) if signal not in SIGNALS]:
        problem = f"unknown signal{'s' if unknown[1:] else ''} {' and '.join(map(repr, unknown))}"
        raise InvalidRule("on", problem, "".join(nearest(signal, SIGNALS) for signal in unknown))
    if twice := next((one for at, one in enumerate(rule.signals) if one in rule.signals[:at]), ""):
        raise InvalidRule("on", f"{twice!r} is in the list twice", " Leave one of them out.")


def _check_actions(rule: Rule, signal: str) -> None:
    actions = action_keys(rule)
    if not actions:
        raise InvalidRule("", "it does nothing", f" Give it one of {', '.join((*STAGED, *EFFECTS))}.")
    presses = [key for key in actions if key in PRESSES]
    if presses and signal == NEEDS_MODAL:
        raise InvalidRule(presses[0], "a modal has no buttons", ' Answer it with modal = "…".')
    if rule.modal is not None and signal != NEEDS_MODAL and not presses:
        raise InvalidRule(
            "modal",
            f"there is no modal to answer{f' on {signal}' if rule.signals[1:] else ''}",
            f' Write on = "{NEEDS_MODAL}", or add the press that opens the modal to this rule.',
        )
    if rule.repeat and not (signal.startswith("submission.") or signal in _FAILED):
        raise InvalidRule(
            "repeat",
            f"{signal} does not report a failure",
            ' Write on = "task.failed" or "submission.dead".',
        )
    if rule.cancel and signal not in _BEFORE_THE_END:
        raise InvalidRule(
            "cancel",
            "a task that has ended cannot be cancelled",
            ' Write on = "task.submitted" or "task.progressed".',
        )


def _check_upstream(rule: Rule, upstreams: Collection[str] | None) -> None:
    if not rule.upstream:
        return
    if not rule.every and not set(action_keys(rule)) & _TO_OTHERS:
        raise InvalidRule(
            "upstream",
            "a submission about a task always goes to that task's upstream",
            f" Only {', '.join(sorted(_TO_OTHERS))} can use another.",
        )
    if upstreams is not None and rule.upstream not in upstreams:
        raise InvalidRule(
            "upstream", f"unknown upstream {rule.upstream!r}", nearest(rule.upstream, upstreams)
        )


def _check_mode(rule: Rule) -> None:
    if rule.mode and not set(action_keys(rule)) & set(STAGED):
        raise InvalidRule(
            "mode", "the rule submits nothing", " Leave it out: only submissions have a speed mode."
        )
    if rule.mode and not MODE.fullmatch(rule.mode):
        raise InvalidRule(
            "mode", f"{rule.mode!r} is not a speed mode", ' Write one such as "fast" or "relax".'
        )


def action_keys(rule: Rule) -> list[str]:
    """The keys of a rule that submit something or reach another system."""
    return [key for key in (*STAGED, *EFFECTS) if getattr(rule, key) not in ("", [], None, False)]
