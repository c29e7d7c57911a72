"""Notifies people by Slack, Discord, Telegram, mail and a hundred more services, through Apprise (github.com/caronc/apprise)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dispatcher.effects.extras import extra
from dispatcher.effects.rehearsal import present
from dispatcher.plugins.daemon_threads import in_thread
from dispatcher.plugins.errors import GiveUp, Retry

if TYPE_CHECKING:
    import apprise


async def notify(text: str, *, to: str | Sequence[str], title: str = "") -> None:
    """Send `text` to all addresses in `to`. Raises `GiveUp` for an invalid address, an empty text, and without the extra
    "notify"; `Retry` if any address was not reached."""
    if not (text or title).strip():
        raise GiveUp("there is nothing to send: the text is empty")
    apprise_service = service(to)
    if (rehearsal := present()) is not None:
        rehearsal.told(addresses(to), title, text, [])
        return
    if not await in_thread(lambda: bool(apprise_service.notify(body=text, title=title))):
        raise Retry(
            f"some of these could not be notified: {', '.join(without_secrets(address) for address in addresses(to))}"
        )


def service(to: str | Sequence[str]) -> apprise.Apprise:
    """Create an Apprise object for these addresses. Raises `GiveUp` without the extra "notify", and for an address that
    Apprise does not know; the message contains no token."""
    with extra("notify"):
        import apprise

    logging.getLogger("apprise").propagate = False  # it logs whole addresses, including tokens
    created = apprise.Apprise()
    for address in addresses(to):
        if not created.add(address):
            raise GiveUp(
                f"Apprise does not know the address {without_secrets(address)}; "
                "write one such as discord://ID/TOKEN, tgram://TOKEN/CHAT, mailto://USER:PASSWORD@HOST"
            )
    return created


def addresses(to: str | Sequence[str]) -> list[str]:
    """One or several addresses, as a list."""
    return [to] if isinstance(to, str) else list(to)


def without_secrets(address: str) -> str:
    """An address without its secret parts, which are nearly all of it."""
    scheme, separator, _ = address.partition("://")
    return f"{scheme}://…" if separator else "an address without ://"
