"""Sends the messages that ask for approvals: each is a delivery of its own, made by the transaction that holds the submissions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec

from dispatcher.approvals.wants import wants
from dispatcher.plugins.chain import Chain
from dispatcher.plugins.errors import GiveUp, RuleError
from dispatcher.plugins.open_approval import OpenApproval
from dispatcher.plugins.receivers import Ask, Options, Receiver, Registry
from dispatcher.rules.actions import names_of
from dispatcher.rules.approval import SUFFIX
from dispatcher.rules.receiver import PREFIX
from storage.engine import Connection, Database
from storage.records import Approval, Event, Submission
from storage.submissions import approvals

Link = Callable[[str], Awaitable[str]]
"""Returns the signed link of an approval."""

_OPTIONS = Options(attempts=30, timeout_s=60.0, harmless=True)
"""Thirty tries take about a day. It is not tried again once somebody has decided."""


class Asking:
    """Makes the receivers that ask for approvals. `prices` are those of the upstreams."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        link: Link,
        prices: Mapping[str, Mapping[str, float]],
    ) -> None:
        self._database = database
        self._registry = registry
        self._link = link
        self._prices = prices

    def connect(self) -> None:
        """Add the receivers to the registry."""
        self._registry.add_family(PREFIX, self.receiver)

    def receiver(self, name: str) -> Receiver | None:
        """The receiver `rule:NAME/approve…`; None if the rule is gone, or does not ask in this way any more."""
        rule, slash, _ = name.partition(SUFFIX)
        asker = self._registry.get(rule) if slash else None
        ask = None if asker is None else asker.options.asks.get(name.removeprefix(rule))
        if asker is None or ask is None:
            return None
        options = msgspec.structs.replace(_OPTIONS, root=asker.options.root)
        return Receiver(name=name, function=partial(self._ask, rule, ask), options=options)

    async def _ask(
        self, rule: str, ask: Ask, _action: str, *, event: Event, chain: Chain, **others: Any
    ) -> None:
        found = await self._database.read(lambda connection: _found(connection, event.id, rule))
        if found is None:
            chain.note("nothing needs an approval any more")
            return
        approval, held = found
        if not approval.is_open:
            chain.note(f"not sent: it was {approval.state} before")
            return
        names = names_of({"event": event, "chain": chain, **others}) | {
            "approval": OpenApproval(
                id=approval.id,
                url=await self._link(approval.id),
                wants=wants(held, self._prices),
                expires=f"{datetime.fromtimestamp(approval.expires_at_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC",
            )
        }
        try:
            chain.note(await ask(names, f"{approval.id}-asked"))
        except RuleError as error:
            raise GiveUp(f"the message about approval {approval.id} cannot be written: {error}") from error
        chain.fired = True


def _found(connection: Connection, event_id: int, rule: str) -> tuple[Approval, list[Submission]] | None:
    approval = approvals.of_firing(connection, event_id, rule)
    if approval is None:
        return None
    return approval, [one for one in approvals.submissions_of(connection, approval.id) if one.state == "held"]
