"""The key `approve` of a rule: for how long its submissions are held, what happens then, and the messages that ask for an approval."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import msgspec

from dispatcher.effects import forward, notify
from dispatcher.plugins.daemon_threads import in_thread
from dispatcher.plugins.errors import GiveUp, RuleError
from dispatcher.plugins.receivers import Ask
from dispatcher.policy.durations import seconds_of
from dispatcher.rules.checks import InvalidRule
from dispatcher.rules.expressions import Evaluator, Names, compile_template
from dispatcher.rules.model import STAGED, ApproveBy, ForwardTo, Rule
from dispatcher.rules.variables import Variables
from storage.records import ApprovalTerms

SUFFIX = "/approve"
"""Follows the name of a rule in the name of the delivery that notifies people."""

LONGEST_S = 30 * 86_400
_EXAMPLE = ' Write seconds, or "30 min", "2 h", "3 days".'


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """What a compiled rule holds its submissions under. `asks` has its messages, by the suffix of their receivers' names."""

    terms: ApprovalTerms
    asks: Mapping[str, Ask]


def approval_of(rule: Rule, directory: Path | None, evaluator: Evaluator) -> Approval | None:
    """The approval that a rule needs, or None. Raises `InvalidRule`. Without a directory no address is looked up."""
    if rule.approve is False:
        return None
    table = ApproveBy() if isinstance(rule.approve, bool) else rule.approve
    _check_submits(rule)
    if not table.notify and (table.text, table.title) != (ApproveBy().text, ApproveBy().title):
        raise InvalidRule(
            "approve",
            "text and title belong to a message, and no message is sent without notify",
            " Add notify, or leave them out.",
        )
    for_s = _time(table)
    asks: dict[str, Ask] = {}
    try:
        if table.notify:
            asks[SUFFIX] = _notifying(table, directory, evaluator, rule.vars)
        if table.forward:
            asks[f"{SUFFIX}/forward"] = _forwarding(table.forward)
    except (GiveUp, RuleError) as error:
        raise InvalidRule("approve", str(error)) from error
    terms = ApprovalTerms(for_ms=int(1000 * for_s), otherwise=table.otherwise, asks=tuple(asks))
    return Approval(terms=terms, asks=asks)


def _check_submits(rule: Rule) -> None:
    if any(getattr(rule, key) not in ("", [], None, False) for key in STAGED):
        return
    raise InvalidRule(
        "approve",
        "there is nothing to approve: the rule submits nothing",
        f" Give it one of {', '.join(STAGED)}, or leave approve out.",
    )


def _time(table: ApproveBy) -> float:
    seconds = seconds_of(table.expires)
    if seconds is None:
        raise InvalidRule("approve", f"expires: {table.expires!r} is not a time", _EXAMPLE)
    if not 10 <= seconds <= LONGEST_S:
        raise InvalidRule(
            "approve", f"expires: {seconds:g} seconds are not between 10 seconds and 30 days", _EXAMPLE
        )
    return seconds


def _notifying(table: ApproveBy, directory: Path | None, evaluator: Evaluator, variables: Variables) -> Ask:
    # Without a directory no file may be touched: some services read keys from files, and Apprise creates files for others.
    if directory is not None:
        notify.service(table.notify)
    for key, written in (("text", table.text), ("title", table.title)):
        if not written.strip():
            raise RuleError(f"{key} is empty; write a text, or leave it out")
    text = compile_template(table.text, evaluator, variables, approves=True)
    title = compile_template(table.title, evaluator, variables, approves=True)
    if "approval.url" not in table.text:
        raise RuleError(
            "the text lacks {{ approval.url }}, so nobody who reads it could decide; add it, or leave text out"
        )

    async def ask(names: Names, _message_id: str) -> str:
        told, heading = await text(names), await title(names)
        # In a thread with a loop of its own: the libraries of a hundred services run there.
        await in_thread(lambda: asyncio.run(notify.notify(told, to=table.notify, title=heading)))
        return f"notified {len(notify.addresses(table.notify))}"

    return ask


def _forwarding(to: str | ForwardTo) -> Ask:
    to = ForwardTo(url=to) if isinstance(to, str) else to
    if not to.url.startswith(("http://", "https://")):
        raise GiveUp(f"forward: {to.url!r} is not an http:// or https:// URL")
    if "{{" in to.url or "{%" in to.url:
        raise GiveUp(f"forward: {to.url!r}: the address cannot have placeholders here")
    if to.body != "event":
        raise GiveUp(
            f"forward: body = {to.body!r} cannot be used here: the message is about the approval. Leave body out"
        )
    if to != ForwardTo(url=to.url, secret=to.secret):
        raise GiveUp("forward: it takes only url and secret here, because the message is about the approval")
    if to.secret:
        forward.webhook_of(to.secret)

    async def ask(names: Names, message_id: str) -> str:
        body = forward.message(names["task"], names["event"], names["chain"])
        content = msgspec.json.encode({**body, "type": "approval.asked", "approval": names["approval"]})
        await in_thread(
            lambda: asyncio.run(forward.post_signed(to.url, content, message_id=message_id, secret=to.secret))
        )
        return "forwarded"

    return ask
