"""People told: Slack, Discord, Telegram, mail and a hundred more, by Apprise's addresses (github.com/caronc/apprise)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dispatcher.effects.extras import extra
from dispatcher.errors import GiveUp, Retry
from dispatcher.supervisor import in_thread

if TYPE_CHECKING:
    import apprise


async def notify(text: str, *, to: str | Sequence[str], title: str = "") -> None:
    """Tell `text` to everybody in `to`. Raises `GiveUp` for an address that is none, when there is nothing to tell, and
    without the extra "notify"; `Retry` when somebody is not reached."""
    if not (text or title).strip():
        raise GiveUp("there is nothing to tell: the text is empty")
    told = service(to)
    if not await in_thread(lambda: bool(told.notify(body=text, title=title))):
        raise Retry(f"not everybody could be told: {', '.join(shown(address) for address in addresses(to))}")


def service(to: str | Sequence[str]) -> apprise.Apprise:
    """Apprise with these addresses. Raises `GiveUp` without the extra "notify", and for an address that it does not know;
    the message has no token in it."""
    with extra("notify"):
        import apprise

    logging.getLogger("apprise").propagate = False  # it writes whole addresses, tokens included
    made = apprise.Apprise()
    for address in addresses(to):
        if not made.add(address):
            raise GiveUp(
                f"{shown(address)} is no address that Apprise knows; "
                "write one such as discord://ID/TOKEN, tgram://TOKEN/CHAT, mailto://USER:PASSWORD@HOST"
            )
    return made


def addresses(to: str | Sequence[str]) -> list[str]:
    """One or several, as a list."""
    return [to] if isinstance(to, str) else list(to)


def shown(address: str) -> str:
    """An address without what is secret in it: nearly all of it."""
    scheme, separator, _ = address.partition("://")
    return f"{scheme}://…" if separator else "an address without ://"
