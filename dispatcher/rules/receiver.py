"""A rule as a receiver: asks its condition, then does what it says through the chain, as a plugin would."""

from __future__ import annotations

from typing import Any

from dispatcher.chain import Chain
from dispatcher.errors import GiveUp, RuleError
from dispatcher.receivers import Options
from dispatcher.rules.load import CompiledRule
from dispatcher.signals import SIGNALS


def connect(compiled: CompiledRule) -> None:
    """Connect a rule to its signal, as the receiver "rule:NAME"."""
    SIGNALS[compiled.rule.on].connect(receiver_of(compiled), weak=False)


def receiver_of(compiled: CompiledRule) -> Any:
    """The function that runs a rule."""

    async def run(_action: str, *, chain: Chain, **names: Any) -> None:
        names["chain"] = chain
        try:
            if compiled.condition is not None and not compiled.condition(names):
                chain.note(f"did not fire: {compiled.rule.when}")
                return
            _act(compiled, chain, names)
        except RuleError as error:
            raise GiveUp(
                f'rule "{compiled.rule.name}": {error}'
            ) from error  # the same event gives the same error

    run.__hookchain__ = Options(name=f"rule:{compiled.rule.name}")  # type: ignore[attr-defined]  # read by name_of
    return run


def _act(compiled: CompiledRule, chain: Chain, names: dict[str, Any]) -> None:
    rule = compiled.rule
    if rule.presses:
        chain.press(*rule.presses)
    if rule.modal is not None:
        chain.modal(prompt="" if compiled.prompt is None else compiled.prompt(names), mask=rule.modal.mask)
    if compiled.imagine is not None:
        chain.imagine(compiled.imagine(names))
