"""Reloads the rules when their files change: checks the files every second, and replaces the rules between two events.

Other settings of the file are in use only after a restart: the log and `LiveRules.status` name those that have changed.

A change takes effect only once the files are the same at two checks: a half-written file may be valid too. If one has a mistake, or
the main file is gone, the rules stay as they were; the log and `LiveRules.status` report it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import structlog

from dispatcher.loops.loop import Loop
from dispatcher.plugins.daemon_threads import in_thread
from dispatcher.plugins.errors import PluginError, RuleError
from dispatcher.plugins.receivers import Registry
from dispatcher.rules.compile import CompiledRule
from dispatcher.rules.receiver import Function, connect, disconnect
from storage import clock

log = structlog.get_logger("hookchain")

EVERY_S = 1.0


class InFile(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says now: its rules, and the names of settings that have changed since the start."""

    rules: Sequence[CompiledRule]
    after_restart: Sequence[str] = ()


Load = Callable[[], InFile]
"""Reads the files again, in a thread. Raises `RuleError`."""

Watched = Callable[[], Sequence[Path]]
"""Names the files whose changes count: those that there are now."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The result of the last reload. `error` is "" if the rules that run are those of the file. `after_restart` names the settings
    that have changed since the start, and are in use after the next."""

    file: str
    loaded_at_ms: int
    error: str = ""
    after_restart: tuple[str, ...] = ()


class _Read(msgspec.Struct, frozen=True, kw_only=True):
    """What the files say, as it is taken over; `is_there`: the main file exists."""

    rules: tuple[CompiledRule, ...]
    after_restart: tuple[str, ...]
    is_there: bool


class LiveRules:
    """The rules that run now."""

    def __init__(
        self, rules: Sequence[CompiledRule], file: Path, load: Load, watched: Watched | None = None
    ) -> None:
        self.rules = tuple(rules)
        self.status = Status(file=str(file), loaded_at_ms=clock.now_ms())
        self.loop = Loop("reload rules", self._turn, interval_s=EVERY_S)
        self.on_change: Callable[[], None] = lambda: None
        self._file = file
        self._load = load
        self._watched = watched or (lambda: (file,))
        self._taken = self._seen = self._stamps()
        self._was_there = file.exists()
        self._connected: list[tuple[str, Function]] = [pair for rule in rules for pair in connect(rule)]
        self._registry: Registry | None = None
        _log_warnings(self.rules)

    def watch(self, registry: Registry) -> None:
        """Update this registry on every reload from now on."""
        self._registry = registry

    async def _turn(self) -> None:
        stamps = self._stamps()
        is_settled, self._seen = stamps == self._seen, stamps
        if is_settled and stamps != self._taken:
            # From before the reading, and without the files that a changed main file includes from now on: what changes meanwhile, and
            # these files, are read at the next checks.
            self._taken = stamps
            await self.reload_in_thread()

    def _stamps(self) -> dict[Path, tuple[int, int, int]]:
        return {path: _stamp(path) for path in self._watched()}

    async def reload_in_thread(self) -> bool:
        """As `reload`, but read and compile the files in a thread: that may take seconds, in which callbacks are answered."""
        try:
            found = await in_thread(self._read)
            self._swap(found.rules)
        except Exception as error:
            return self._refused(error)
        return self._taken_over(found)

    def reload(self) -> bool:
        """Read the file, and run its rules. Returns False, and keeps the old rules, if they have a mistake.

        What no one has thought of is raised, and shown as the mistake too."""
        try:
            found = self._read()
            self._swap(found.rules)
        except Exception as error:
            return self._refused(error)
        return self._taken_over(found)

    def _read(self) -> _Read:
        """What the files say. It changes nothing here, since it may run in a thread."""
        is_there = self._file.exists()
        # The file was probably removed by mistake: callbacks must still reach its rules.
        if self._was_there and not is_there:
            raise RuleError(f"{self._file.name} no longer exists: its rules run until the next start")
        found = self._load()
        return _Read(rules=tuple(found.rules), after_restart=tuple(found.after_restart), is_there=is_there)

    def _refused(self, error: Exception) -> bool:
        if not isinstance(error, RuleError | PluginError):
            why = f"an unexpected error, {type(error).__name__}: {str(error)[:300]}"
            self.status = msgspec.structs.replace(self.status, error=why)
            raise error
        for why in str(error).splitlines():
            log.error("the rules stay as they were", why=why)
        self.status = msgspec.structs.replace(self.status, error=str(error))
        return False

    def _taken_over(self, found: _Read) -> bool:
        self.rules, self._was_there = found.rules, found.is_there
        self._tell_changed(found.after_restart)
        self.status = msgspec.structs.replace(self.status, loaded_at_ms=clock.now_ms(), error="")
        log.info("rules reloaded", rules=[rule.rule.name for rule in found.rules])
        _log_warnings(found.rules)
        self.on_change()
        return True

    def _tell_changed(self, after_restart: tuple[str, ...]) -> None:
        if after_restart and after_restart != self.status.after_restart:
            log.warning("changed settings are in use after a restart", changed=list(after_restart))
        self.status = msgspec.structs.replace(self.status, after_restart=after_restart)

    def _swap(self, rules: Sequence[CompiledRule]) -> None:
        assert self._registry is not None, "watch() comes first"
        connected: list[tuple[str, Function]] = []
        try:
            with self._registry.changing():
                disconnect(self._connected)
                connected += [pair for rule in rules for pair in connect(rule)]
        except PluginError:
            with self._registry.changing():
                disconnect(connected)
                self._connected = [pair for rule in self.rules for pair in connect(rule)]
            raise
        self._connected = connected


def _log_warnings(rules: Sequence[CompiledRule]) -> None:
    for rule in rules:
        for warning in rule.warnings:
            log.warning("a rule is doubtful", why=str(warning))


def _stamp(file: Path) -> tuple[int, int, int]:
    """Changes whenever the file does: its modification time, size and inode."""
    try:
        status = file.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_size, status.st_ino)
