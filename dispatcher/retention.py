"""How long what has ended is kept; dispatcher/prune.py keeps to it."""

from __future__ import annotations

import msgspec


class Retention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long things are kept, in days; 0 is for ever.

    `progress_days`: how far a task was, once it has ended. `chain_days`: chains in which nothing happens any more.
    """

    progress_days: float = 2
    chain_days: float = 90
