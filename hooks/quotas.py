"""How much of what one hook receives in an hour is stored: bytes and tasks. Counts in memory; the only I/O reads free disk space.

Anybody who has seen a hook can send to it as fast as the network allows: 154 MB on disk in 5 s. A callback over the quota is still
acknowledged: only its body is dropped. The id of its task is kept and the upstream is polled, which is believed anyway. Each
process counts for itself, from its start.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec

HOUR_S = 3600.0

OWN_HOOK_SHARE = 1 / 16
"""The share of a quota that one submission's own hook may use: a submission makes a handful of tasks, with a hundred callbacks."""

POLLED_OVER_QUOTA = 10
"""How many callbacks over a quota are accepted by their id alone, as a multiple of the quota's tasks. Further ones are refused:
ids fill a disk too."""

LEAST_BYTES = 512
"""What a row takes besides its body, roughly."""


Count = Annotated[int, msgspec.Meta(ge=0, le=1024**4)]


class QuotaUse(msgspec.Struct, frozen=True, kw_only=True):
    """What the hooks of an upstream have used of their hourly quotas in this process."""

    kept_bytes: int
    bytes_per_hour: int
    tasks: int
    tasks_per_hour: int
    asked_instead: int
    kept_bytes_by_own_hooks: int


class Quota(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of what one registered hook receives in an hour is stored; 0 means no limit. `spare_bytes`: see `has_room`."""

    bytes_per_hour: Count = 64 * 1024 * 1024
    tasks_per_hour: Count = 10_000
    spare_bytes: Count = 64 * 1024 * 1024


class _Used(msgspec.Struct):
    """What a hook has used since its hour began."""

    began_s: float
    kept_bytes: int = 0
    tasks: int = 0
    polled: int = 0


class Quotas:
    """Counts what each hook, an upstream's or a submission's own, has used. `database` is the SQLite file, None for PostgreSQL."""

    def __init__(
        self,
        quota: Quota,
        database: Path | None = None,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quota = quota
        self._directory = None if database is None else database.absolute().parent
        self._clock_s = clock_s
        self._used: dict[tuple[str, str], _Used] = {}
        self._swept_s = clock_s()

    def is_over(self, upstream: str, submission_id: str, size: int) -> bool:
        """True if `size` more bytes would exceed the hook's quota, or if its quota of tasks is used up."""
        used = self._use_of(upstream, submission_id)
        share = OWN_HOOK_SHARE if submission_id else 1.0
        most_bytes, most_tasks = self._quota.bytes_per_hour * share, self._quota.tasks_per_hour * share
        too_large = 0 < most_bytes < used.kept_bytes + max(size, LEAST_BYTES)
        return too_large or 0 < most_tasks <= used.tasks

    def keep(self, upstream: str, submission_id: str, size: int, *, is_new: bool) -> None:
        """Count what was stored. `is_new`: it is a task or a quarantined body that was not there before."""
        used = self._use_of(upstream, submission_id)
        used.kept_bytes += max(size, LEAST_BYTES)
        used.tasks += is_new

    def may_poll(self, upstream: str, submission_id: str) -> bool:
        """Count a callback over the quota; False if there are too many to keep even their ids."""
        used = self._use_of(upstream, submission_id)
        used.polled += 1
        share = OWN_HOOK_SHARE if submission_id else 1.0
        return used.polled <= max(1000, POLLED_OVER_QUOTA * self._quota.tasks_per_hour * share)

    def has_room(self) -> bool:
        """True if the database's disk has `spare_bytes` left. Bodies that cannot be understood are refused earlier than callbacks."""
        if self._directory is None:
            return True
        try:
            return shutil.disk_usage(self._directory).free >= self._quota.spare_bytes
        except OSError:
            # The database itself will report what is wrong.
            return True

    def usage(self, upstream: str) -> QuotaUse:
        """Return what an upstream's hooks have used of their hour in this process, with submissions' own hooks added up."""
        now_s = self._clock_s()
        used = {
            submission_id: hook_use
            for (name, submission_id), hook_use in self._used.items()
            if name == upstream and now_s - hook_use.began_s < HOUR_S
        }
        own = [hook_use for submission_id, hook_use in used.items() if submission_id]
        registered = used.get("", _Used(began_s=now_s))
        return QuotaUse(
            kept_bytes=registered.kept_bytes,
            bytes_per_hour=self._quota.bytes_per_hour,
            tasks=registered.tasks,
            tasks_per_hour=self._quota.tasks_per_hour,
            asked_instead=sum(hook_use.polled for hook_use in used.values()),
            kept_bytes_by_own_hooks=sum(hook_use.kept_bytes for hook_use in own),
        )

    def _use_of(self, upstream: str, submission_id: str) -> _Used:
        now_s = self._clock_s()
        if now_s - self._swept_s >= HOUR_S:
            self._used = {hook: use for hook, use in self._used.items() if now_s - use.began_s < HOUR_S}
            self._swept_s = now_s
        used = self._used.get((upstream, submission_id))
        if used is None or now_s - used.began_s >= HOUR_S:
            used = self._used[upstream, submission_id] = _Used(began_s=now_s)
        return used
