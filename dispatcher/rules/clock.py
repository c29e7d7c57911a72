"""Checks the rules that run by the clock: they have no task, so that nothing of one can be pressed, kept or written."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from dispatcher.policy.cron_times import cron_time
from dispatcher.policy.times_of_day import InvalidTime
from dispatcher.rules.checks import InvalidRule
from dispatcher.rules.expressions import names_in
from dispatcher.rules.joins import texts_of
from dispatcher.rules.model import ApproveBy, ForwardTo, NotifyTo, Rule
from dispatcher.rules.variables import macros_of

WITHOUT_TASK = ("imagine", "blend", "describe", "shorten", "forward", "notify")
"""What a rule can do without a task."""

_WITH_TASK = (
    *("press", "vary", "zoom", "pan", "animate", "modal", "repeat", "cancel"),
    *("archive", "split_grid"),
)
_KNOWN = frozenset({"now", "vars", "event", "chain", "approval"})
_OF_CHAIN = frozenset({"chain.upstream"})
_OF_TASKS = frozenset({"task", "submission", "modal", "root", "chain"})

_DEFAULTS = {
    field.default
    for kind in (ApproveBy, NotifyTo)
    for field in msgspec.structs.fields(kind)
    if field.name == "text"
}
"""Texts that nobody wrote."""


def check_clock(rule: Rule, upstreams: Collection[str] | None) -> None:
    """Check what only a rule with `every`, or no such rule, may say. Raises `InvalidRule`."""
    if not rule.every:
        if rule.missed != "skip":
            raise InvalidRule(
                "missed", "only times can be missed, and this rule has none", " Leave it out, or write every."
            )
        return
    if rule.on:
        raise InvalidRule(
            "every", "on and every are two ways to say when it fires", " Leave one of them out."
        )
    try:
        cron_time(rule.every)
    except InvalidTime as error:
        raise InvalidRule("every", error.problem, f" {error.remedy}") from error
    _check_actions(rule)
    _check_when(rule)
    if not rule.upstream and upstreams is not None and len(upstreams) > 1:
        raise InvalidRule(
            "every",
            "there are several upstreams, and the rule has no task that shows which one is meant",
            f' Write upstream = "{min(upstreams)}".',
        )
    _check_texts(rule)


def _check_actions(rule: Rule) -> None:
    for key in _WITH_TASK:
        if getattr(rule, key) not in ("", [], None, False):
            raise InvalidRule(
                key,
                "it needs a task, and a rule with every has none",
                f" It can {', '.join(WITHOUT_TASK[:-1])} and notify.",
            )
    told = rule.notify
    if told and (not isinstance(told, NotifyTo) or told.text in _DEFAULTS):
        raise InvalidRule(
            "notify",
            "its usual text is about a task, and a rule with every has none",
            ' Write notify = { to = "…", text = "…" }.',
        )
    if isinstance(told, NotifyTo) and (told.attach is True or told.attach == "quarters"):
        raise InvalidRule(
            "notify",
            "there is no picture to attach: a rule with every has no task",
            ' Write attach = ["https://…"].',
        )
    if isinstance(rule.forward, ForwardTo) and rule.forward.body == "task":
        raise InvalidRule(
            "forward",
            "there is no task to forward: a rule with every has none",
            " Leave body out, or write json.",
        )


def _check_when(rule: Rule) -> None:
    for key in ("limit", "once_per"):
        if getattr(rule, key):
            raise InvalidRule(
                key,
                "it counts per task or chain, and a rule with every begins a new chain each time",
                " Leave it out; [[budgets]] limit what is spent in a day.",
            )
    if rule.at:
        raise InvalidRule("at", "every and at are two ways to say when", " Leave one of them out.")


def _check_texts(rule: Rule) -> None:
    for key, text in texts_of(rule):
        if key in ("every", "missed") or text in _DEFAULTS:
            continue
        used = names_in(text, macros_of(rule.vars), is_condition=key in ("if", "unless"))
        is_whole_chain = "chain" in used and not any(name.startswith("chain.") for name in used)
        for name in sorted(used):
            owner = name.partition(".")[0]
            if (
                owner not in _OF_TASKS
                or name in _OF_CHAIN
                or (owner == name == "chain" and not is_whole_chain)
            ):
                continue
            field = next((one for one in sorted(used) if one.startswith(f"{name}.")), name)
            raise InvalidRule(
                key,
                f"{field} does not exist in a rule with every, which has no task",
                " It may use now(), vars, chain.upstream, event.action (the rule's name) and event.status (the time).",
            )
