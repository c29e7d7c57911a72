"""Explains why submissions that are due do not leave, and since when. Pure: figures and settings in, a sentence out."""

from __future__ import annotations

import msgspec

from dispatcher.policy import upstream_limits
from midjourney.dialects import Upstream
from storage.reading.backlog import Backlog
from storage.records import Standing

STALLED_AFTER_MS = 30_000
"""After this time without a submission leaving, hookchain reports a stall."""

SHORTEST_JOB_MS = 600_000
LONGEST_JOB_MS = 7_200_000
"""Bounds for the learned longest job: an upstream that was quick so far may be slow today."""


class Stall(msgspec.Struct, frozen=True, kw_only=True):
    """An upstream for which submissions are due but none leaves. `is_fault`: a person should look, since it will not end soon by
    itself."""

    upstream: str
    for_s: int
    due: int
    why: str
    is_fault: bool

    @property
    def sentence(self) -> str:
        """The stall in one sentence."""
        if not self.due:
            return f"nothing happens at {self.upstream}: {self.why}"
        are = "is" if self.due == 1 else "are"
        return f"nothing has left for {self.for_s} s although {self.due} {are} due: {self.why}"


class Reason(msgspec.Struct, frozen=True):
    """A reason, and whether it is a fault."""

    sentence: str
    is_fault: bool = False


def longest_job_ms(upstream: Upstream, learned_ms: int) -> int:
    """How long an uncertain submission counts as a job: the setting, else twice the longest job seen, within bounds."""
    if upstream.longest_job_s:
        return int(1000 * upstream.longest_job_s)
    return min(max(2 * learned_ms, SHORTEST_JOB_MS), LONGEST_JOB_MS)


def stall(
    upstream: Upstream,
    backlog: Backlog,
    now_ms: int,
    *,
    works: bool,
    longest_ms: int,
    works_since_ms: int = 0,
) -> Stall | None:
    """Why nothing leaves for an upstream; None if submissions leave or none is due. `works`: True if a worker is alive. `works_since_ms`: when
    the one of these that has been alive for longest started. What became due before, while none was alive, has not waited for it yet."""
    since_ms = max(_since_ms(backlog), works_since_ms) if works else _since_ms(backlog)
    for_ms = now_ms - since_ms if backlog.due else 0
    if backlog.due and for_ms >= STALLED_AFTER_MS:
        why = _reason(upstream, backlog, now_ms, works=works, is_long=for_ms > longest_ms)
    elif backlog.ahead:
        why = Reason(
            f"{backlog.ahead} were written by a clock that is ahead; hookchain corrects their times within a minute",
            is_fault=True,
        )
    elif backlog.doubted and now_ms - max(backlog.doubted_since_ms, works_since_ms) >= STALLED_AFTER_MS:
        why = Reason(
            f"{backlog.doubted} callbacks wait to be verified: the upstream does not answer, or its history is not known yet",
            is_fault=True,
        )
    else:
        return None
    return Stall(
        upstream=upstream.name, for_s=for_ms // 1000, due=backlog.due, why=why.sentence, is_fault=why.is_fault
    )


def _since_ms(backlog: Backlog) -> int:
    """The time since which submissions could have left but did not."""
    standing = backlog.standing
    return max(backlog.due_since_ms, standing.left_at_ms, 0 if standing.paused else standing.switched_at_ms)


def _reason(upstream: Upstream, backlog: Backlog, now_ms: int, *, works: bool, is_long: bool) -> Reason:
    standing = backlog.standing
    if not works:
        return Reason("no worker is alive", is_fault=True)
    if standing.paused:
        return _paused(standing)
    if until_ms := upstream_limits.closed_until_ms(upstream, standing, now_ms):
        return _closed(standing, until_ms, now_ms)
    if backlog.requests >= upstream.concurrency:
        return Reason(
            f"{backlog.requests} requests under way hold all {upstream.concurrency} places of `concurrency`"
        )
    if upstream.jobs and backlog.jobs >= upstream.jobs:
        return _full(upstream, backlog, is_long=is_long)
    if standing.open_ms and backlog.requests:
        return Reason("the breaker is open, and its single trial request is under way", is_fault=True)
    if backlog.in_lane >= backlog.due:
        return Reason("each waits for the one before it: presses on one picture are sent one after the other")
    return Reason("the reason is unknown; please report it with the log", is_fault=True)


def _paused(standing: Standing) -> Reason:
    if standing.pause_reason:
        return Reason(
            f"hookchain has paused it, and `hookchain upstreams` shows the reason; then `hookchain resume {standing.name}`",
            is_fault=True,
        )
    return Reason(f"a person has paused it; `hookchain resume {standing.name}`")


def _closed(standing: Standing, until_ms: int, now_ms: int) -> Reason:
    for_s = -(-(until_ms - now_ms) // 1000)
    if standing.open_until_ms > now_ms and standing.open_ms:
        return Reason(
            f"the breaker is open for {for_s} s after {standing.failures} requests without an answer",
            is_fault=True,
        )
    if standing.held_until_ms > now_ms:
        return Reason(f"its queue is full, or it asked for time: {for_s} s more")
    return Reason(f"its `rate` is used up for {for_s} s")


def _full(upstream: Upstream, backlog: Backlog, *, is_long: bool) -> Reason:
    under_way = backlog.jobs - backlog.uncertain
    parts = [f"{backlog.uncertain} uncertain"] if backlog.uncertain else []
    parts += [f"{under_way} running"] if under_way else []
    hold = "holds" if backlog.jobs == 1 else "hold"
    place = "the one place" if upstream.jobs == 1 else f"all {upstream.jobs} places"
    return Reason(f"{' and '.join(parts)} {hold} {place}", is_fault=bool(backlog.uncertain) or is_long)
