"""How long finished work is kept; dispatcher/loops/prune.py deletes it afterwards."""

from __future__ import annotations

from typing import Annotated

import msgspec

Days = Annotated[float, msgspec.Meta(ge=0, le=36_500)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]


class Retention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long things are kept, in days; 0 means for ever.

    `progress_days`: progress events of tasks that have ended (`storage.pruning.thin` says which). `chain_days`: chains in which nothing
    happens any more (storage/ended_chains.py), tasks without a chain, and the times of rules that run by the clock. `quarantine_rows` and `quarantine_bytes`: the most entries
    and bytes in quarantine; the oldest entries are deleted.
    """

    progress_days: Days = 2
    chain_days: Days = 90
    quarantine_rows: Count = 1000
    quarantine_bytes: Count = 64 * 1024 * 1024
