"""A rule's keys that reach other systems: `archive`, `split_grid`, `forward`, `notify`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from dispatcher.effects import archive, forward, notify, split_grid, store
from dispatcher.plugins.chain import Chain
from dispatcher.rules.archive_paths import Destination, destination_of
from dispatcher.rules.attaching import pictures_of
from dispatcher.rules.expressions import Evaluator, Names, compile_template
from dispatcher.rules.forwarding import own_message
from dispatcher.rules.model import ArchiveTo, ForwardTo, NotifyTo, Rule
from dispatcher.rules.variables import Variables
from storage.records import Event, Submission

Effect = Callable[[Chain, Names], Awaitable[str]]
"""Performs the effect, and returns a description of what it did."""


def _archive(rule: Rule, directory: Path | None, evaluator: Evaluator) -> Effect:
    where = _destination(rule.archive, directory, evaluator, rule.vars)

    async def keep(chain: Chain, names: Names) -> str:
        path = await where.path(chain, names)
        kept = await archive.archive(names["task"], chain=chain, to=where.to, path=path)
        videos = f", videos: {', '.join(kept.videos)}" if kept.videos else ""
        return f"kept {kept.name}, {kept.size_bytes} bytes{videos}"

    return keep


def _split_grid(rule: Rule, directory: Path | None, evaluator: Evaluator) -> Effect:
    where = _destination(rule.split_grid, directory, evaluator, rule.vars)

    async def split(chain: Chain, names: Names) -> str:
        path = await where.path(chain, names)
        kept = await split_grid.split_grid(names["task"], chain=chain, to=where.to, path=path)
        return f"kept {', '.join(kept)}"

    return split


def _forward(rule: Rule, _directory: Path | None, evaluator: Evaluator) -> Effect:
    to = ForwardTo(url=rule.forward) if isinstance(rule.forward, str) else rule.forward
    address = compile_template(to.url, evaluator, rule.vars) if "{" in to.url else None
    if address is None:
        forward.check_url(to.url)
    if to.secret:
        forward.webhook_of(to.secret)
    own = own_message(to, evaluator, rule.vars)

    async def send(chain: Chain, names: Names) -> str:
        event: Event = names["event"]
        url = await address(names) if address is not None else to.url
        forward.check_url(url)
        submission = names.get("submission")
        label = submission.label if isinstance(submission, Submission) else ""
        body = await own.body(names)
        await forward.forward(
            names["task"],
            event=event,
            chain=chain,
            url=url,
            secret=to.secret,
            body=body,
            label=label,
            headers=await own.headers(names),
            method=to.method,
            content_type=own.content_type,
            by=rule.name if isinstance(body, bytes) else "",
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

    attach = pictures_of(to.attach, evaluator, rule.vars)

    async def send(chain: Chain, names: Names) -> str:
        heading = await title(names) if title is not None else ""
        pictures = await attach(chain, names)
        await notify.notify(await text(names), to=to.to, title=heading, attach=pictures, chain=chain)
        parts = sum(len(picture.parts) for picture in pictures)
        attached = f" about {parts} pictures" if parts else ""
        return f"notified {len(notify.addresses(to.to))}{attached}"

    return send


BUILD: dict[str, Callable[[Rule, Path | None, Evaluator], Effect]] = {
    "archive": _archive,
    "split_grid": _split_grid,
    "forward": _forward,
    "notify": _notify,
}
"""Builds the effect of a key from the rule, the folder of its file (None: read no files) and the evaluator of its texts.

Raises `GiveUp` or `RuleError` if the effect can never work."""


def _destination(
    written: str | ArchiveTo, directory: Path | None, evaluator: Evaluator, variables: Variables
) -> Destination:
    where = destination_of(written.to if isinstance(written, ArchiveTo) else written, evaluator, variables)
    if directory is not None:  # some kinds of storage read keys from files
        store.check_destination(where.to)
    to = where.to if "://" in where.to else str((directory or Path()) / where.to)
    return msgspec.structs.replace(where, to=to)
