"""Notifies people by Slack, Discord, Telegram, mail and a hundred more services, through Apprise (github.com/caronc/apprise)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dispatcher.effects.attachments import Picture, attached
from dispatcher.effects.extras import extra
from dispatcher.effects.rehearsal import present
from dispatcher.plugins.chain import Chain
from dispatcher.plugins.daemon_threads import in_thread
from dispatcher.plugins.errors import GiveUp, Retry

if TYPE_CHECKING:
    import apprise


async def notify(
    text: str,
    *,
    to: str | Sequence[str],
    title: str = "",
    attach: Sequence[str | Picture] = (),
    chain: Chain | None = None,
) -> None:
    """Send `text` to all addresses in `to`, with the pictures at the addresses in `attach`, which are loaded by the chain's rules for
    private links. A service that takes no attachments gets the addresses at the end of the text.

    Raises `GiveUp` for an invalid address, an empty text, attachments without a `chain`, and without the extra "notify"; `Retry`
    if any address was not reached."""
    if not (text or title).strip():
        raise GiveUp("there is nothing to send: the text is empty")
    everyone = service(to)
    pictures = [Picture(address=one) if isinstance(one, str) else one for one in attach]
    if pictures and chain is None:
        raise GiveUp("notify(attach=…) needs chain=chain, which knows the private links that may be loaded")
    if (rehearsal := present()) is not None:
        rehearsal.told(addresses(to), title, text, [part for picture in pictures for part in picture.parts])
        return
    is_sent = await (
        _with_pictures(everyone, text, title, pictures, chain)
        if pictures and chain is not None
        else _sent(everyone, text, title, [])
    )
    if not is_sent:
        raise Retry(
            f"some of these could not be notified: {', '.join(without_secrets(address) for address in addresses(to))}"
        )


async def _with_pictures(
    everyone: apprise.Apprise, text: str, title: str, pictures: Sequence[Picture], chain: Chain
) -> bool:
    import apprise

    takes, others = apprise.Apprise(), apprise.Apprise()
    for one in everyone.find():
        (takes if one.attachment_support else others).add(one)
    done = True
    if len(takes):
        async with attached(pictures, chain) as loaded:
            done = await _sent(takes, _with_links(text, loaded.left_out), title, loaded.files)
    if len(others):
        links = [picture.address for picture in pictures]
        done = await _sent(others, _with_links(text, links), title, []) and done
    return done


async def _sent(to: apprise.Apprise, text: str, title: str, files: Sequence[Path]) -> bool:
    attach = [str(file) for file in files] or None
    return await in_thread(lambda: bool(to.notify(body=text, title=title, attach=attach)))


def _with_links(text: str, links: Sequence[str]) -> str:
    return "\n".join([text, *(link for link in links if link not in text)])


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
                f"Apprise cannot use {without_secrets(address)}; "
                "write an address such as discord://ID/TOKEN, tgram://TOKEN/CHAT, mailto://USER:PASSWORD@HOST"
            )
    return created


def addresses(to: str | Sequence[str]) -> list[str]:
    """One or several addresses, as a list."""
    return [to] if isinstance(to, str) else list(to)


def without_secrets(address: str) -> str:
    """An address without its secret parts, which are nearly all of it."""
    scheme, separator, _ = address.partition("://")
    return f"{scheme}://…" if separator else "an address without ://"
