"""Processes to measure: the core that each runs on, its processor time, its memory, and whether it listens."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
"""Read before any process is pinned: a child inherits its parent's cores, and would see only that one."""


def pin(core: int) -> str:
    """Keep this process on one core if the machine has two or more. Returns "split", or "free" if it has only one."""
    if len(CORES) > 1:
        os.sched_setaffinity(0, {CORES[core]})
        return "split"
    return "free"


def pin_to_all() -> None:
    """Let this process run anywhere again."""
    if CORES:
        os.sched_setaffinity(0, CORES)


def cpu_s(process_id: int) -> float:
    """CPU time of a process in seconds, in user and system mode, with that of its children that ended (proc(5), fields 14 to 17)."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def cpu_of_all_s(process_ids: Iterable[int]) -> float:
    """CPU time of several processes in seconds, as `cpu_s` counts it."""
    return sum(cpu_s(process_id) for process_id in process_ids)


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of time in seconds, what some processes had of their core in it, and what others left them of it.

    `available_s` counts waiting: a core that idles is available. Others are all processes but these, and other machines on the
    same processor. Precise to some ticks of 10 ms.
    """

    elapsed_s: float
    cpu_s: float
    available_s: float


def watch(process_ids: Sequence[int], core: int | None) -> Callable[[], Stretch]:
    """Begin a stretch. What this returns ends it."""
    began_s, before_s, busy_before_s = time.perf_counter(), cpu_of_all_s(process_ids), _busy_s(core)

    def end() -> Stretch:
        elapsed_s, taken_s = time.perf_counter() - began_s, cpu_of_all_s(process_ids) - before_s
        others_s = max(0.0, _busy_s(core) - busy_before_s - taken_s)
        return Stretch(
            elapsed_s=elapsed_s, cpu_s=taken_s, available_s=max(elapsed_s - others_s, 0.1 * elapsed_s)
        )

    return end


def _busy_s(core: int | None) -> float:
    """Seconds in which a core did not idle, since the machine started (proc(5), stat). 0 if processes are not pinned to cores."""
    if core is None or len(CORES) < 2:
        return 0.0
    user, nice, system, _idle, _waits_for_io, *others = _core_times_s()[CORES[core]]
    return user + nice + system + sum(others)


def idle_s() -> float:
    """Seconds in which our cores did nothing, added up, since the machine started (proc(5), stat)."""
    times = _core_times_s()
    return sum(times[core][3] + times[core][4] for core in CORES)


def _core_times_s() -> dict[int, list[float]]:
    """For each core its user, nice, system, idle, iowait, irq, softirq and steal time in seconds."""
    lines = re.findall(r"^cpu(\d+) (.*)$", Path("/proc/stat").read_text(), re.MULTILINE)
    ticks = os.sysconf("SC_CLK_TCK")
    return {int(core): [int(field) / ticks for field in fields.split()[:8]] for core, fields in lines}


def resident_mb(process_id: int) -> float:
    """Current resident memory of a process in MB (proc(5), VmRSS)."""
    return _memory_mb(process_id, "VmRSS")


def peak_mb(process_id: int) -> float:
    """Peak resident memory in MB since the process started, or since `forget_peak` (proc(5), VmHWM)."""
    return _memory_mb(process_id, "VmHWM")


def forget_peak(process_id: int) -> None:
    """Restart the measurement of the peak (proc(5), clear_refs)."""
    Path(f"/proc/{process_id}/clear_refs").write_text("5")


def _memory_mb(process_id: int, key: str) -> float:
    match = re.search(rf"^{key}:\s+(\d+) kB$", Path(f"/proc/{process_id}/status").read_text(), re.MULTILINE)
    return int(match[1]) * 1024 / 1e6 if match else 0.0


def until_quiet(process_id: int) -> None:
    """Wait until the process is idle, for at most ten seconds."""
    for _ in range(20):
        before_s = cpu_s(process_id)
        time.sleep(0.5)
        if cpu_s(process_id) - before_s < 0.05:
            return


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """Let the kernel end this process when the one that started it is gone: a benchmark that is killed leaves nothing running."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextlib.contextmanager
def started(
    command: Sequence[str], directory: Path, environment: Mapping[str, str], *, core: int | None = 0
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process, on one core unless `core` is None, and end it after the block. It sees no other variables than PATH and these."""

    def prepare() -> None:
        if core is None:
            pin_to_all()
        else:
            pin(core)
        _end_with_parent()

    process = subprocess.Popen(
        command,
        cwd=directory,
        env={"PATH": os.environ.get("PATH", ""), **environment},
        stdout=subprocess.DEVNULL,
        preexec_fn=prepare,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            # A peer may not end while work waits for it.
            process.kill()
            process.wait()


def free_port() -> int:
    """A free port."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the process listens. Raises RuntimeError if it ends or takes too long."""
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"a server to measure did not start (exit code {process.poll()})")
        time.sleep(0.05)
