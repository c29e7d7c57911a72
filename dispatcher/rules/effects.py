"""A rule's keys that reach out of here: `archive`, `split_grid`, `forward`, `notify`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from dispatcher.chain import Chain
from dispatcher.effects import archive, forward, notify, split_grid, store
from dispatcher.errors import GiveUp
from dispatcher.rules.expressions import Names, compile_template
from dispatcher.rules.model import ArchiveTo, ForwardTo, NotifyTo, Rule
from storage.records import Event

Effect = Callable[[Chain, Names], Awaitable[str]]
"""Does it, and tells in words what it did."""


def _archive(rule: Rule, directory: Path | None) -> Effect:
    to = _place(rule.archive, directory)

    async def keep(chain: Chain, names: Names) -> str:
        kept = await archive.archive(names["task"], chain=chain, to=to)
        return f"kept {kept.name}, {kept.size_bytes} bytes"

    return keep


def _split_grid(rule: Rule, directory: Path | None) -> Effect:
    to = _place(rule.split_grid, directory)

    async def split(chain: Chain, names: Names) -> str:
        return f"kept {', '.join(await split_grid.split_grid(names['task'], chain=chain, to=to))}"

    return split


def _forward(rule: Rule, _directory: Path | None) -> Effect:
    to = ForwardTo(url=rule.forward) if isinstance(rule.forward, str) else rule.forward
    if not to.url.startswith(("http://", "https://")):
        raise GiveUp(f"{to.url!r} is no http:// or https:// address")
    if to.secret:
        forward.key_of_secret(to.secret)

    async def tell(chain: Chain, names: Names) -> str:
        event: Event = names["event"]
        await forward.forward(names["task"], event=event, chain=chain, url=to.url, secret=to.secret)
        return "forwarded"

    return tell


def _notify(rule: Rule, directory: Path | None) -> Effect:
    told = rule.notify if isinstance(rule.notify, NotifyTo) else NotifyTo(to=rule.notify)
    if directory is not None:  # keys of some addresses lie in files, and Apprise makes files for others
        notify.service(told.to)
    text = compile_template(told.text)
    title = compile_template(told.title) if told.title else None

    async def tell(_chain: Chain, names: Names) -> str:
        await notify.notify(text(names), to=told.to, title=title(names) if title is not None else "")
        return f"told {len(notify.addresses(told.to))}"

    return tell


BUILD: dict[str, Callable[[Rule, Path | None], Effect]] = {
    "archive": _archive,
    "split_grid": _split_grid,
    "forward": _forward,
    "notify": _notify,
}
"""Makes the effect of a key, for a rule and the folder its file is in (None: no file is read). Raises `GiveUp` or `RuleError` for what cannot work."""


def _place(to: str | ArchiveTo, directory: Path | None) -> str:
    place = to.to if isinstance(to, ArchiveTo) else to
    if directory is not None:  # keys of some kinds of storage lie in files
        store.check_place(place)
    return place if "://" in place else str((directory or Path()) / place)
