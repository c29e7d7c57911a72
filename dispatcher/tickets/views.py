"""What a client is shown of its ticket, with the addresses of pictures as it wants them."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from dispatcher.tickets.clients import Client
from dispatcher.tickets.shown import shown
from midjourney.dialects import Dialect
from midjourney.statuses import NO_STATUSES
from storage.tickets.known import Known

_VIDEOS = (".mp4", ".webm", ".mov", ".m4v", ".m3u8")


class PictureAddresses:
    """Makes the addresses at which pictures are served here: they cannot be guessed, and do not expire. `base` is the server's
    public address."""

    def __init__(self, secret: str, base: str) -> None:
        self._secret = secret.encode()
        self._base = base.rstrip("/")

    def address(self, ticket_id: str) -> str:
        """The address of a ticket's picture."""
        return f"{self._base}/mj/image/{ticket_id}-{self._mark(ticket_id)}.png"

    def ticket_in(self, name: str) -> str | None:
        """The ticket that the last part of an address names; None if the address was not made here."""
        ticket_id, _, mark = name.removesuffix(".png").partition("-")
        return ticket_id if hmac.compare_digest(mark.encode(), self._mark(ticket_id).encode()) else None

    def _mark(self, ticket_id: str) -> str:
        return hmac.digest(self._secret, f"picture\0{ticket_id}".encode(), "sha256").hex()[:24]


class Views:
    """Makes the tasks that clients see."""

    def __init__(self, dialects: Mapping[str, Dialect], pictures: PictureAddresses) -> None:
        self._dialects = dialects
        self._pictures = pictures

    def of(self, known: Known, client: Client) -> dict[str, object]:
        """The task as JSON: see `dispatcher.tickets.shown.shown`."""
        dialect = self._dialects.get(known.upstream)
        body = shown(
            known,
            keeps_cancel=client.keep_cancel,
            statuses=dialect.statuses if dialect is not None else NO_STATUSES,
        )
        url = body["imageUrl"]
        if client.pictures == "proxy" and isinstance(url, str) and not _is_video(url) and known.ticket.digest:
            body["imageUrl"] = self._pictures.address(known.ticket.id)
        return body


def _is_video(url: str) -> bool:
    return url.partition("?")[0].lower().endswith(_VIDEOS)
