"""A rule as receivers: one asks its condition and submits, one answers the windows it opened, one for each effect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dispatcher.chain import Chain
from dispatcher.errors import GiveUp, RuleError
from dispatcher.how import How
from dispatcher.receivers import Options
from dispatcher.rules.actions import Step, names_of
from dispatcher.rules.compile import NEEDS_MODAL, CompiledRule
from dispatcher.rules.effects import Effect
from dispatcher.rules.expressions import Names
from dispatcher.signals import SIGNALS

PREFIX = "rule:"

Function = Callable[..., Awaitable[None]]


def connect(compiled: CompiledRule) -> list[tuple[str, Function]]:
    """Connect a rule; the signals and the functions that listen to them, for `disconnect`."""
    connected = receivers_of(compiled)
    for signal, function in connected:
        SIGNALS[signal].connect(function, weak=False)
    return connected


def disconnect(connected: list[tuple[str, Function]]) -> None:
    """Take a rule's receivers off their signals."""
    for signal, function in connected:
        SIGNALS[signal].disconnect(function)


def receivers_of(compiled: CompiledRule) -> list[tuple[str, Function]]:
    """The functions that run a rule, each with the signal it listens to."""
    rule, found = compiled.rule, []
    if compiled.steps:
        found.append((rule.on, _named(_submitting(compiled), compiled, "")))
    for key, effect in compiled.effects.items():
        found.append((rule.on, _named(_reaching_out(compiled, effect), compiled, f"/{key}")))
    if compiled.answer is not None:
        found.append((NEEDS_MODAL, _named(_answering(compiled, compiled.answer), compiled, "/modal")))
    return found


def _named(function: Function, compiled: CompiledRule, suffix: str) -> Function:
    limit = None if suffix == "/modal" else compiled.limit
    options = Options(name=f"{PREFIX}{compiled.rule.name}{suffix}", limit=limit)
    function.__hookchain__ = options  # type: ignore[attr-defined]  # read by options_of
    return function


def _submitting(compiled: CompiledRule) -> Function:
    async def run(_action: str, *, chain: Chain, **arguments: Any) -> None:
        names = names_of(arguments | {"chain": chain})
        with _as_dead_letter(compiled):
            if holds(compiled, chain, names):
                await _take(compiled.steps, compiled, chain, names)

    return run


def _reaching_out(compiled: CompiledRule, effect: Effect) -> Function:
    async def run(_action: str, *, chain: Chain, **arguments: Any) -> None:
        names = names_of(arguments | {"chain": chain})
        with _as_dead_letter(compiled):
            if holds(compiled, chain, names):
                chain.note(await effect(chain, names))
                chain.fired = True

    return run


def _answering(compiled: CompiledRule, answer: Step) -> Function:
    """Answers those windows only that the rule's own presses opened: another rule's are that one's matter."""
    own = f"{PREFIX}{compiled.rule.name}"

    async def run(_action: str, *, chain: Chain, **arguments: Any) -> None:
        names = names_of(arguments | {"chain": chain})
        if names["submission"].asked_by != own:
            chain.note("did not fire: the window was opened by something else")
            return
        with _as_dead_letter(compiled):
            await _take((answer,), compiled, chain, names)

    return run


def holds(compiled: CompiledRule, chain: Chain, names: Names) -> bool:
    """Whether the rule's condition is met; if it is not, which part of it said no is noted. Raises `RuleError`."""
    condition = compiled.condition
    if condition is None or condition(names):
        return True
    chain.note(f"did not fire: {condition.why_not(names)}")
    return False


async def _take(steps: tuple[Step, ...], compiled: CompiledRule, chain: Chain, names: Names) -> None:
    rule = compiled.rule
    how: How = {"after": compiled.delay_s, "priority": rule.priority}
    if compiled.state is not None:
        how["state"] = compiled.state(names)
    if rule.upstream:
        how["upstream"] = rule.upstream
    chain.fired = True
    for step in steps:
        await step(chain, names, how)


@contextmanager
def _as_dead_letter(compiled: CompiledRule) -> Iterator[None]:
    """The same event gives the same error again: a rule that cannot be answered is not tried twice."""
    try:
        yield
    except RuleError as error:
        raise GiveUp(f'rule "{compiled.rule.name}": {error}') from error
