"""Receivers: the functions connected to signals, with stable names and options; and which of them get an event."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Never, TypeVar, get_args

import msgspec

from dispatcher.plugins.clocked import Clocked
from dispatcher.plugins.errors import PluginError
from dispatcher.plugins.plugin_signal import PluginSignal, is_same, note_options
from dispatcher.plugins.scheduled import StillWanted
from dispatcher.plugins.signals import submission_leaving
from storage.deliveries.firings import HIGHEST_LIMIT, Limit, Per
from storage.records import JOINED, JOINS, ApprovalTerms

F = TypeVar("F", bound=Callable[..., Any])

PLUGIN_PREFIX = "hookchain_plugin_"
"""Prefix of the module names of plugin files, so that none can shadow another package."""


Ask = Callable[[Mapping[str, Any], str], Awaitable[str]]
"""Sends the message about an approval: the values by the names that its texts use, and an id that is the same at each try. Returns a
description of what it did."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a receiver is run: the number of tries, seconds per run, concurrent runs. An empty `name` means module:function.

    `limit` is how often it may fire per task, root or chain. `pure`: it neither spends nor reaches other systems, so it gets
    callbacks before the upstream has confirmed them. `harmless`: hookchain's own code, which can neither block a loop nor
    end the process, so it runs in the main loop without precautions. `requests`: it may request something; if not, a chain that waits
    only for it is at rest. `still_wanted`: see `dispatcher.plugins.scheduled`. `terms`: what it requests is held until it is approved; `asks` are
    the messages about that, by the suffix that the names of their receivers have. `root`: it gets the first task of
    the chain. `clocked`: it belongs to a rule that runs by the clock.
    """

    attempts: int = 8
    timeout_s: float = 60.0
    concurrency: int = 16
    name: str = ""
    limit: Limit | None = None
    pure: bool = False
    harmless: bool = False
    requests: bool = True
    still_wanted: StillWanted | None = None
    terms: ApprovalTerms | None = None
    asks: Mapping[str, Ask] = {}
    root: bool = False
    clocked: Clocked | None = None


DEFAULTS = Options()


class Receiver(msgspec.Struct, frozen=True, kw_only=True):
    """A connected function. A delivery stores `name`, never the function."""

    name: str
    function: Callable[..., Any]
    options: Options


def receiver(
    *function: Never,
    attempts: int = 8,
    timeout_s: float = 60.0,
    concurrency: int = 16,
    name: str = "",
    limit: int = 0,
    per: Per = "chain",
    pure: bool = False,
    root: bool = False,
) -> Callable[[F], F]:
    """Set how a receiver is run. Write it below the decorator that connects the function.

    `attempts` is the number of tries, including the first. `timeout_s` ends a run; a thread, or a run that blocks its loop,
    cannot be stopped: it is abandoned, and still counts towards `concurrency`, the number of concurrent runs. `name`
    replaces "module:function", under which deliveries are stored: set it to rename a function without losing its waiting
    deliveries. With a `limit` the receiver fires no more often than that per "chain", per "root" (a picture made from a
    prompt) or per "task". A receiver gets the task as read back from the upstream, since anybody may have sent the
    callback. A `pure` receiver, which neither spends nor reaches other systems (it counts, it writes a log), gets the
    callback's task at once. With `root` it gets the first task of the chain, as `chain.root`, `chain.prompt` and `chain.state`.

    Raises `ValueError` for an option that would never let it run, and for a limit that is too large.
    """
    if function:
        raise TypeError(
            "@receiver needs parentheses: write @receiver() or, for example, @receiver(attempts=3)"
        )
    _check_options(attempts, timeout_s, concurrency, per)
    if not 0 <= limit <= HIGHEST_LIMIT:
        raise ValueError(f"limit = {limit} is not between 0 (no limit) and {HIGHEST_LIMIT}")
    options = Options(
        attempts=attempts,
        timeout_s=timeout_s,
        concurrency=concurrency,
        name=name,
        limit=Limit(most=limit, per=per) if limit else None,
        pure=pure,
        root=root,
    )

    def mark(function: F) -> F:
        marked: F = partial(function) if inspect.ismethod(function) else function  # type: ignore[assignment]  # methods take no attributes
        marked.__hookchain__ = options  # type: ignore[attr-defined]  # functions take attributes
        note_options(marked)
        return marked

    return mark


def _check_options(attempts: int, timeout_s: float, concurrency: int, per: str) -> None:
    for name, value, least in (("attempts", attempts, 1), ("concurrency", concurrency, 1)):
        if value < least:
            raise ValueError(f"{name} = {value}: the receiver would never run; write {least} or more")
    if not timeout_s > 0:
        raise ValueError(f"timeout_s = {timeout_s}: the receiver would never run; write more than 0 seconds")
    if per not in get_args(Per):
        raise ValueError(f"per = {per!r} is not one of {', '.join(get_args(Per))}")


class Registry:
    """All receivers of a set of signals, as of its creation or last change."""

    def __init__(self, signals: Mapping[str, PluginSignal]) -> None:
        self._signals = signals
        self._lock = threading.Lock()
        self._listening: dict[tuple[str, str], tuple[str, ...]] = {}
        self._by_name = _receivers_of(signals)
        self._families: dict[str, Callable[[str], Receiver | None]] = {}
        self._wanted: frozenset[str] = frozenset()

    def receiver_names(self, signal: str, action: str) -> tuple[str, ...]:
        """Names of the receivers of this signal from this sender, sorted."""
        key = (signal, action)
        with self._lock:  # the writer's thread calls this, and must not see half of a change
            if key not in self._listening:
                functions = self._signals[signal].receivers_for(action) if signal in self._signals else ()
                self._listening[key] = tuple(sorted(name_of(function) for function in functions))
            return self._listening[key]

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Connect and disconnect receivers in this block: other threads see all of the changes or none.

        Raises `PluginError` if two receivers have the same name.
        """
        with self._lock:
            with _closed(self._signals, False):
                yield
            self._by_name = _receivers_of(self._signals)
            self._listening = {}

    @contextmanager
    def closed(self) -> Iterator[None]:
        """While the server runs: whoever connects or disconnects a receiver outside of `changing` gets a `RuntimeError`."""
        with _closed({**self._signals, submission_leaving.name: submission_leaving}, True):
            yield

    def connected_signals(self) -> frozenset[str]:
        """The signals that must be fanned out: those that have any receiver, and what leads to a join that has one."""
        heard = self._wanted.union(name for name, signal in self._signals.items() if signal.receivers)
        return heard | JOINED if heard & JOINS else heard

    def may_request(self, name: str) -> bool:
        """True if the receiver with that name may request something; also if it is gone, because it may come back."""
        known = self.get(name)
        return known is None or known.options.requests

    def want(self, signals: frozenset[str]) -> None:
        """Count these signals as connected: somebody hears them who is connected to none."""
        self._wanted |= signals

    def add_family(self, prefix: str, make: Callable[[str], Receiver | None]) -> None:
        """Add all receivers whose names begin with `prefix`: `make` returns the one with a name, or None. They are connected to no
        signal."""
        self._families[prefix] = make

    def get(self, name: str) -> Receiver | None:
        """The receiver with that name, or None if its plugin or rule is gone."""
        if (known := self._by_name.get(name)) is not None:
            return known
        return next((make(name) for prefix, make in self._families.items() if name.startswith(prefix)), None)

    def clocked(self) -> dict[str, Clocked]:
        """The rules that run by the clock, by name."""
        found = (receiver.options.clocked for receiver in self._by_name.values())
        return {one.rule: one for one in found if one is not None}

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._by_name)

    def signals_of(self, name: str) -> list[str]:
        """The signals that a receiver is connected to."""
        return [
            signal
            for signal, sent in self._signals.items()
            if name in {name_of(function) for function in sent.functions()}
        ]


@contextmanager
def _closed(signals: Mapping[str, PluginSignal], is_closed: bool) -> Iterator[None]:
    before = {name: signal.is_closed for name, signal in signals.items()}
    for signal in signals.values():
        signal.is_closed = is_closed
    try:
        yield
    finally:
        for name, signal in signals.items():
            signal.is_closed = before[name]


def _receivers_of(signals: Mapping[str, PluginSignal]) -> dict[str, Receiver]:
    by_name: dict[str, Receiver] = {}
    for function in (function for signal in signals.values() for function in signal.functions()):
        name = name_of(function)
        known = by_name.get(name)
        if known is not None and not is_same(known.function, function):
            raise PluginError(f"two receivers are named {name!r}; give one of them @receiver(name=…)")
        by_name[name] = Receiver(name=name, function=function, options=options_of(function))
    return by_name


def options_of(function: Callable[..., Any]) -> Options:
    """The options that `@receiver` set, or the defaults."""
    options = getattr(function, "__hookchain__", DEFAULTS)
    return options if isinstance(options, Options) else DEFAULTS


def name_of(function: Callable[..., Any]) -> str:
    """The stable name of a receiver: "module:function", "module:Class.method", "rule:NAME" for a rule."""
    chosen = options_of(function).name
    if chosen:
        return chosen
    while isinstance(function, partial):
        function = function.func
    module = (getattr(function, "__module__", None) or "?").removeprefix(PLUGIN_PREFIX)
    return f"{module}:{getattr(function, '__qualname__', type(function).__name__)}"
