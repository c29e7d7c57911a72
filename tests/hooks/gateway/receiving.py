"""Bodies that arrive in pieces, and what was stored of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from storage.blobs.store import BlobStore

IMAGE = "data:image/png;base64," + "iVBORw0KGgoA" * 2000


class Sender:
    """Gives a body in pieces; then it is silent, or goes away."""

    def __init__(self, body: bytes, size: int = 5000, *, then: str = "end") -> None:
        self._pieces = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
        self._then = then
        self.taken = 0

    async def __call__(self) -> dict[str, Any]:
        if self.taken == len(self._pieces):
            if self._then == "leave":
                return {"type": "http.disconnect"}
            await asyncio.Event().wait()
        piece = self._pieces[self.taken]
        self.taken += 1
        more = self.taken < len(self._pieces) or self._then != "end"
        return {"type": "http.request", "body": piece, "more_body": more}


def scope(**headers: str) -> dict[str, Any]:
    return {
        "type": "http",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }


def files(store: BlobStore) -> list[Path]:
    return [one for one in store._folder.path.rglob("*") if one.is_file() and one.name != "lock-worker"]
