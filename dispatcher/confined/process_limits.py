"""Limits that a process sets on itself, as far as its platform has them: memory, processor time, no files, no core dump."""

from __future__ import annotations

import contextlib
from pathlib import Path

try:
    import resource
except ImportError:  # Windows: the parent ends the process at the deadline, and nothing limits its memory
    CAN_LIMIT = False
else:
    CAN_LIMIT = True


def limit(memory_bytes: int, *, processor_s: int = 0) -> None:
    """Limit additional memory (Linux) and processor time (0: no limit), and forbid writing files and core dumps.

    If memory still runs out, the Linux kernel kills this process before any other.
    """
    with contextlib.suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    if not CAN_LIMIT:
        return
    pages = Path("/proc/self/statm")
    if pages.exists():  # only Linux enforces this limit; elsewhere only time is limited
        taken = int(pages.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        _at_most(resource.RLIMIT_AS, taken + memory_bytes)
    if processor_s:
        _at_most(resource.RLIMIT_CPU, processor_s)
    _at_most(resource.RLIMIT_FSIZE, 0)
    _at_most(resource.RLIMIT_CORE, 0)


def _at_most(kind: int, amount: int) -> None:
    _, hard = resource.getrlimit(kind)
    amount = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
    resource.setrlimit(kind, (amount, amount))
