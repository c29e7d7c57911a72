"""Turns a rule into receivers: one checks its condition and submits, one answers the modals it opened, one runs each effect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from dispatcher.plugins.chain import Chain
from dispatcher.plugins.clocked import Clocked
from dispatcher.plugins.errors import GiveUp, RuleError
from dispatcher.plugins.plugin_signal import ANY
from dispatcher.plugins.receivers import DEFAULTS, Options
from dispatcher.plugins.signals import SIGNALS
from dispatcher.plugins.submit_options import SubmitOptions
from dispatcher.policy.cron_times import cron_time
from dispatcher.rules import later
from dispatcher.rules.actions import Step, names_of
from dispatcher.rules.checks import NEEDS_MODAL
from dispatcher.rules.compile import CompiledRule
from dispatcher.rules.effects import Effect
from dispatcher.rules.expressions import Names
from dispatcher.rules.model import Rule
from dispatcher.rules.roots import uses_root
from storage.records import Submission

PREFIX = "rule:"

AT_ONCE = {"/split_grid": 2, "/archive": 4}
"""How many runs may hold pictures at the same time: a picture may have 50 MB. Only one is decoded at a time anyway."""

WITHIN_S = {"/archive": 900.0, "/notify": 300.0}
"""Seconds for a run that may need more than others: it loads videos, or ten pictures."""

Function = Callable[..., Awaitable[None]]


def connect(compiled: CompiledRule) -> list[tuple[str, Function]]:
    """Connect a rule. Returns its signals and functions, for `disconnect`."""
    connected = receivers_of(compiled)
    for signal, function in connected:
        SIGNALS[signal].connect(function, sender_of(compiled.rule))
    return connected


def sender_of(rule: Rule) -> Any:
    """Whose events a rule hears: an occurrence is for one rule."""
    return rule.name if rule.every else ANY


def disconnect(connected: list[tuple[str, Function]]) -> None:
    """Disconnect a rule's receivers."""
    for signal, function in connected:
        SIGNALS[signal].disconnect(function)


def receivers_of(compiled: CompiledRule) -> list[tuple[str, Function]]:
    """The functions that run a rule, each with its signal; none if the rule is switched off."""
    rule, functions = compiled.rule, []
    if not rule.enabled:
        return []
    if compiled.steps:
        functions.append(_named(_submitting(compiled), compiled, ""))
    for key, effect in compiled.effects.items():
        functions.append(_named(_performing(compiled, effect), compiled, f"/{key}"))
    receivers = [(signal, function) for signal in rule.signals for function in functions]
    if compiled.answer is not None:
        receivers.append((NEEDS_MODAL, _named(_answering(compiled, compiled.answer), compiled, "/modal")))
    return receivers


def _named(function: Function, compiled: CompiledRule, suffix: str) -> Function:
    limit = None if suffix == "/modal" else compiled.limit
    is_harmless = suffix in ("", "/modal")  # effects reach other systems, with third-party libraries
    options = Options(
        name=f"{PREFIX}{compiled.rule.name}{suffix}",
        limit=limit,
        harmless=is_harmless,
        requests=is_harmless,
        timeout_s=WITHIN_S.get(suffix, DEFAULTS.timeout_s),
        concurrency=AT_ONCE.get(suffix, DEFAULTS.concurrency),
        still_wanted=later.asking(compiled, is_answer=suffix == "/modal"),
        root=uses_root(compiled.rule),
        clocked=_clocked(compiled),
    )
    if (
        suffix == "" and compiled.approval is not None
    ):  # the answer to a modal goes with the press that opened it
        options = msgspec.structs.replace(options, terms=compiled.approval.terms, asks=compiled.approval.asks)
    function.__hookchain__ = options  # type: ignore[attr-defined]  # read by options_of
    return function


def _clocked(compiled: CompiledRule) -> Clocked | None:
    rule = compiled.rule
    if not rule.every:
        return None
    return Clocked(
        rule=rule.name,
        every=rule.every,
        missed=rule.missed,
        upstream=rule.upstream,
        submits=bool(compiled.steps),
    )


def _submitting(compiled: CompiledRule) -> Function:
    async def run(_action: str, *, chain: Chain, **arguments: Any) -> None:
        names = names_of(arguments | {"chain": chain})
        with _as_dead_letter(compiled):
            if await holds(compiled, chain, names):
                await _stage(compiled.steps, compiled, chain, names)

    return run


def _performing(compiled: CompiledRule, effect: Effect) -> Function:
    async def run(_action: str, *, chain: Chain, **arguments: Any) -> None:
        names = names_of(arguments | {"chain": chain})
        with _as_dead_letter(compiled):
            if await holds(compiled, chain, names):
                chain.note(await effect(chain, names))
                chain.fired = True

    return run


def _answering(compiled: CompiledRule, answer: Step) -> Function:
    """Answers only the modals that the rule's own presses opened, not those of other rules."""
    own_name = f"{PREFIX}{compiled.rule.name}"

    async def run(_action: str, *, chain: Chain, **arguments: Any) -> None:
        names = names_of(arguments | {"chain": chain})
        submission = names["submission"]
        if not isinstance(submission, Submission) or submission.asked_by != own_name:
            chain.note("did not fire: the modal was opened by something else")
            return
        with _as_dead_letter(compiled):
            await _stage((answer,), compiled, chain, names)

    return run


async def holds(compiled: CompiledRule, chain: Chain, names: Names) -> bool:
    """True if the rule's condition holds; otherwise the chain notes which part is false. Raises `RuleError`."""
    if compiled.condition is None:
        return True
    result = await compiled.condition(names)
    if not result.holds:
        chain.note(f"did not fire: {result.text}")
    return result.holds


async def _stage(steps: tuple[Step, ...], compiled: CompiledRule, chain: Chain, names: Names) -> None:
    rule = compiled.rule
    options: SubmitOptions = {"after": compiled.delay_s, "priority": rule.priority}
    if rule.at:
        options["at"] = rule.at
    if rule.unless:
        options["unless"] = rule.unless
    chain.terms = later.with_digests(chain.terms, rule)
    if rule.every:
        every = str(cron_time(rule.every, zone=chain.zone))
        chain.terms = msgspec.structs.replace(chain.terms, every=every)
    if compiled.state is not None:
        options["state"] = await compiled.state(names)
    if rule.upstream:
        options["upstream"] = rule.upstream
    if rule.mode:
        options["mode"] = rule.mode
    chain.fired = True
    for step in steps:
        await step(chain, names, options)


@contextmanager
def _as_dead_letter(compiled: CompiledRule) -> Iterator[None]:
    """Turn `RuleError` into `GiveUp`: the same event would give the same error again, so there is no second try."""
    try:
        yield
    except RuleError as error:
        raise GiveUp(f'rule "{compiled.rule.name}": {error}') from error
