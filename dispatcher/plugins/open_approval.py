"""An open approval as the texts of its message see it."""

from __future__ import annotations

import msgspec


class OpenApproval(msgspec.Struct, frozen=True, kw_only=True):
    """`url` is the signed link at which anybody can decide; `wants` is what is requested, in plain words with its price; `expires` is
    the end of its time, in UTC. `id` names it in the API and on the command line."""

    id: str
    url: str
    wants: str
    expires: str
