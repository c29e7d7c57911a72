"""A rule's keys that reach other systems: `archive`, `split_grid`, `forward`, `notify`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from dispatcher.effects import archive, forward, notify, split_grid, store
from dispatcher.plugins.chain import Chain
from dispatcher.plugins.errors import GiveUp
from dispatcher.rules.expressions import Evaluator, Names, compile_template
from dispatcher.rules.model import ArchiveTo, ForwardTo, NotifyTo, Rule
from storage.records import Event, Submission

Effect = Callable[[Chain, Names], Awaitable[str]]
"""Performs the effect, and returns a description of what it did."""


def _archive(rule: Rule, directory: Path | None, _evaluator: Evaluator) -> Effect:
    to = _destination(rule.archive, directory)

    async def keep(chain: Chain, names: Names) -> str:
        kept = await archive.archive(names["task"], chain=chain, to=to)
        return f"kept {kept.name}, {kept.size_bytes} bytes"

    return keep


def _split_grid(rule: Rule, directory: Path | None, _evaluator: Evaluator) -> Effect:
    to = _destination(rule.split_grid, directory)

    async def split(chain: Chain, names: Names) -> str:
        return f"kept {', '.join(await split_grid.split_grid(names['task'], chain=chain, to=to))}"

    return split


def _forward(rule: Rule, _directory: Path | None, evaluator: Evaluator) -> Effect:
    to = ForwardTo(url=rule.forward) if isinstance(rule.forward, str) else rule.forward
    address = compile_template(to.url, evaluator, rule.vars) if "{" in to.url else None
    if address is None and not to.url.startswith(("http://", "https://")):
        raise GiveUp(f"{to.url!r} is not an http:// or https:// URL")
    if to.secret:
        forward.webhook_of(to.secret)

    async def send(chain: Chain, names: Names) -> str:
        event: Event = names["event"]
        url = await address(names) if address is not None else to.url
        if not url.startswith(("http://", "https://")):
            raise GiveUp(f"{url[:200]!r} is not an http:// or https:// URL")
        submission = names.get("submission")
        label = submission.label if isinstance(submission, Submission) else ""
        await forward.forward(
            names["task"], event=event, chain=chain, url=url, secret=to.secret, body=to.body, label=label
        )
        return "forwarded"

    return send


def _notify(rule: Rule, directory: Path | None, evaluator: Evaluator) -> Effect:
    to = rule.notify if isinstance(rule.notify, NotifyTo) else NotifyTo(to=rule.notify)
    # Without a directory no file may be touched: some services read keys from files, and Apprise creates files for others.
    if directory is not None:
        notify.service(to.to)
    text = compile_template(to.text, evaluator, rule.vars)
    title = compile_template(to.title, evaluator, rule.vars) if to.title else None

    async def send(_chain: Chain, names: Names) -> str:
        heading = await title(names) if title is not None else ""
        await notify.notify(await text(names), to=to.to, title=heading)
        return f"notified {len(notify.addresses(to.to))}"

    return send


BUILD: dict[str, Callable[[Rule, Path | None, Evaluator], Effect]] = {
    "archive": _archive,
    "split_grid": _split_grid,
    "forward": _forward,
    "notify": _notify,
}
"""Builds the effect of a key from the rule, the folder of its file (None: read no files) and the evaluator of its texts.

Raises `GiveUp` or `RuleError` if the effect can never work."""


def _destination(to: str | ArchiveTo, directory: Path | None) -> str:
    destination = to.to if isinstance(to, ArchiveTo) else to
    if directory is not None:  # some kinds of storage read keys from files
        store.check_destination(destination)
    return destination if "://" in destination else str((directory or Path()) / destination)
