"""Receivers: the functions connected to signals, with stable names and options; who listens to an event."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import blinker
import msgspec

from dispatcher.errors import PluginError
from storage.firings import HIGHEST_LIMIT, Limit, Per

F = TypeVar("F", bound=Callable[..., Any])

PLUGIN_PREFIX = "hookchain_plugin_"
"""Plugins from files are modules of this private prefix, so that none can shadow another package."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a receiver is run: tries in all, seconds for one run, runs at the same time. `name` "" is module:function.

    `limit` is how often it may fire per task, root or chain.
    """

    attempts: int = 8
    timeout_s: float = 60.0
    concurrency: int = 16
    name: str = ""
    limit: Limit | None = None


DEFAULTS = Options()


class Receiver(msgspec.Struct, frozen=True, kw_only=True):
    """A connected function. A delivery stores `name`, never the function."""

    name: str
    function: Callable[..., Any]
    options: Options


def receiver(
    *,
    attempts: int = 8,
    timeout_s: float = 60.0,
    concurrency: int = 16,
    name: str = "",
    limit: int = 0,
    per: Per = "chain",
) -> Callable[[F], F]:
    """Set how a receiver is run. Write it below the decorator that connects the function.

    `attempts` counts all tries, the first included; `timeout_s` ends a run (an async one: a thread cannot be
    stopped); `concurrency` is how many runs may go on at once. `name` replaces "module:function", under which its
    deliveries are kept: give one to rename a function without losing what waits for it. With a `limit` it asks for
    submissions no more often than that per "chain", per "root" (a picture that a prompt made), or per "task".
    Raises `ValueError` for a limit that cannot be counted to.
    """
    if not 0 <= limit <= HIGHEST_LIMIT:
        raise ValueError(f"limit = {limit} is not between 0, for none, and {HIGHEST_LIMIT}")
    options = Options(
        attempts=attempts,
        timeout_s=timeout_s,
        concurrency=concurrency,
        name=name,
        limit=Limit(most=limit, per=per) if limit else None,
    )

    def mark(function: F) -> F:
        function.__hookchain__ = options  # type: ignore[attr-defined]  # functions take attributes
        return function

    return mark


class Registry:
    """All receivers of a set of signals, as they were when it was made, or last changed."""

    def __init__(self, signals: Mapping[str, blinker.Signal]) -> None:
        self._signals = signals
        self._lock = threading.Lock()
        self._listening: dict[tuple[str, str], tuple[str, ...]] = {}
        self._by_name = _receivers_of(signals)

    def listening(self, signal: str, action: str) -> tuple[str, ...]:
        """Names of the receivers that hear this signal from this sender, in order of name."""
        key = (signal, action)
        with self._lock:  # the writing thread asks, and must not see half of a change
            if key not in self._listening:
                found = self._signals[signal].receivers_for(action) if signal in self._signals else ()
                self._listening[key] = tuple(sorted(name_of(function) for function in found))
            return self._listening[key]

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Connect and disconnect receivers within: events are routed by what was before, or what is after.

        Raises `PluginError` for two receivers of one name.
        """
        with self._lock:
            yield
            self._by_name = _receivers_of(self._signals)
            self._listening = {}

    def heard(self) -> frozenset[str]:
        """The signals that have a receiver at all."""
        return frozenset(name for name, signal in self._signals.items() if signal.receivers)

    def get(self, name: str) -> Receiver | None:
        """The receiver of that name, or None when its plugin or rule is gone."""
        return self._by_name.get(name)

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._by_name)

    def signals_of(self, name: str) -> list[str]:
        """The signals that a receiver is connected to."""
        return [
            signal
            for signal, sent in self._signals.items()
            if name in {name_of(function) for function in _functions_of(sent)}
        ]


def _functions_of(signal: blinker.Signal) -> list[Callable[..., Any]]:
    found = [
        function() if isinstance(function, weakref.ref) else function
        for function in signal.receivers.values()
    ]
    return [function for function in found if function is not None]  # None: its plugin let go of it


def _receivers_of(signals: Mapping[str, blinker.Signal]) -> dict[str, Receiver]:
    by_name: dict[str, Receiver] = {}
    for function in (function for signal in signals.values() for function in _functions_of(signal)):
        name = name_of(function)
        known = by_name.get(name)
        if known is not None and known.function is not function:
            raise PluginError(f"two receivers are named {name!r}; give one of them @receiver(name=…)")
        by_name[name] = Receiver(name=name, function=function, options=options_of(function))
    return by_name


def options_of(function: Callable[..., Any]) -> Options:
    """The options that `@receiver` set, or the defaults."""
    options = getattr(function, "__hookchain__", DEFAULTS)
    return options if isinstance(options, Options) else DEFAULTS


def name_of(function: Callable[..., Any]) -> str:
    """The stable name of a receiver: "module:function", "rule:NAME" for a rule."""
    chosen = options_of(function).name
    if chosen:
        return chosen
    module = getattr(function, "__module__", "?").removeprefix(PLUGIN_PREFIX)
    return f"{module}:{getattr(function, '__qualname__', type(function).__name__)}"
