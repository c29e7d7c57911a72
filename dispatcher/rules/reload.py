"""Rules that live: the file is looked at every second, and what changed in it is taken over between two events.

Not at the first look: a file that is being written may be half there, and half a file may be right in itself. A file
with a mistake in it, or that is gone, leaves the rules as they were, and says so: in the log, and to whoever asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import structlog

from dispatcher.errors import PluginError, RuleError
from dispatcher.receivers import Registry
from dispatcher.rules.compile import CompiledRule
from dispatcher.rules.receiver import Function, connect, disconnect
from dispatcher.supervisor import Loop

log = structlog.get_logger("hookchain")

Load = Callable[[], Sequence[CompiledRule]]
"""Reads the file again. Raises `RuleError`."""

EVERY_S = 1.0


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How the last reading of the file went. `error` is "" when its rules are the ones that run."""

    file: str
    loaded_at_ms: int
    error: str = ""


class LiveRules:
    """The rules that run now."""

    def __init__(self, rules: Sequence[CompiledRule], file: Path, load: Load) -> None:
        self.rules = tuple(rules)
        self.status = Status(file=str(file), loaded_at_ms=_now_ms())
        self.loop = Loop("reload rules", self._turn, interval_s=EVERY_S)
        self.on_change: Callable[[], None] = lambda: None
        self._file = file
        self._load = load
        self._taken = self._seen = _stamp(file)
        self._was_there = file.exists()
        self._connected: list[tuple[str, Function]] = [one for rule in rules for one in connect(rule)]
        self._registry: Registry | None = None

    def watch(self, registry: Registry) -> None:
        """Keep this registry true from now on."""
        self._registry = registry

    async def _turn(self) -> None:
        stamp = _stamp(self._file)
        is_settled, self._seen = stamp == self._seen, stamp
        if is_settled and stamp != self._taken:
            self._taken = stamp
            self.reload()

    def reload(self) -> bool:
        """Read the file, and take its rules over; tells whether they are right."""
        try:
            is_there = self._file.exists()
            if (
                self._was_there and not is_there
            ):  # by mistake, most likely: what comes meanwhile is to be heard
                raise RuleError(f"{self._file.name} is gone: its rules run until the next start")
            rules = tuple(self._load())
            self._swap(rules)
        except (RuleError, PluginError) as error:
            log.error("the rules stay as they were", why=str(error))
            self.status = msgspec.structs.replace(self.status, error=str(error))
            return False
        self.rules, self._was_there = rules, is_there
        self.status = msgspec.structs.replace(self.status, loaded_at_ms=_now_ms(), error="")
        log.info("rules reloaded", rules=[one.rule.name for one in rules])
        self.on_change()
        return True

    def _swap(self, rules: Sequence[CompiledRule]) -> None:
        assert self._registry is not None, "watch() comes first"
        connected: list[tuple[str, Function]] = []
        try:
            with self._registry.changing():
                disconnect(self._connected)
                connected += [one for rule in rules for one in connect(rule)]
        except PluginError:
            with self._registry.changing():
                disconnect(connected)
                self._connected = [one for rule in self.rules for one in connect(rule)]
            raise
        self._connected = connected


def _stamp(file: Path) -> tuple[int, int, int]:
    """What is different when the file is: when it was written, how long it is, and which file it is."""
    try:
        found = file.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
