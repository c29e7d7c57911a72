"""A blinker signal as plugins mean it: it keeps what is connected to it, and refuses what it could never call.

blinker holds receivers weakly, so that a lambda, a closure or a method of an object that nothing else holds is gone as soon as
its plugin is loaded. A plugin is never unloaded, so these signals hold its receivers until they are disconnected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import blinker
import msgspec

F = TypeVar("F", bound=Callable[..., Any])

ANY = blinker.ANY


class PluginSignal(blinker.Signal):
    """A signal with its name ("task.succeeded") and its keyword arguments. While it `is_closed`, receivers are neither connected nor
    disconnected."""

    def __init__(self, name: str, doc: str, arguments: tuple[str, ...]) -> None:
        super().__init__(doc)
        self.name = name
        self.arguments = arguments
        self.is_closed = False

    @property
    def python_name(self) -> str:
        """The name that plugins import, such as "task_succeeded"."""
        return self.name.replace(".", "_")

    def connect(self, receiver: F, sender: Any = ANY, weak: bool = False) -> F:
        """Connect a function, for all senders or for one. It stays connected until it is disconnected, whatever `weak` is.

        Raises `TypeError` for what is no function, and `RuntimeError` while the server runs.
        """
        if not callable(receiver):
            raise TypeError(
                f"{self.python_name}.connect({receiver!r}) connects nothing, because {receiver!r} is not a function;"
                f" to choose an action, write @{self.python_name}.connect_via({receiver!r})"
            )
        self._must_be_open(receiver)
        super().connect(receiver, sender, weak=False)
        for recording in _recordings:
            recording.connections.append(Connection(signal=self, function=receiver, sender=sender))
        return receiver

    def connect_via(self, sender: Any, weak: bool = False) -> Callable[[F], F]:
        """Connect the decorated function for one sender. Raises `TypeError` if the sender is a function."""
        if callable(sender):
            raise TypeError(
                f"@{self.python_name}.connect_via needs an action, such as"
                f' @{self.python_name}.connect_via("IMAGINE"); for all actions write @{self.python_name}.connect'
            )
        return super().connect_via(sender, weak)

    def disconnect(self, receiver: Callable[..., Any], sender: Any = ANY) -> None:
        """Disconnect a function. Raises `RuntimeError` while the server runs."""
        self._must_be_open(receiver)
        super().disconnect(receiver, sender)

    def is_connected(self, function: Callable[..., Any]) -> bool:
        """True if the function is connected, for any sender."""
        return any(is_same(function, known) for known in self.functions())

    def functions(self) -> list[Callable[..., Any]]:
        """The connected functions, each once."""
        # Not weak references: `connect` never makes one.
        return list(self.receivers.values())

    def __call__(self, *_: object) -> NoReturn:
        """Raise `TypeError`: a signal is not a decorator."""
        raise TypeError(
            f"@{self.python_name} connects nothing; write @{self.python_name}.connect,"
            f' or @{self.python_name}.connect_via("IMAGINE")'
        )

    def _must_be_open(self, receiver: Callable[..., Any]) -> None:
        if self.is_closed:
            name = getattr(receiver, "__qualname__", type(receiver).__name__)
            raise RuntimeError(
                f"{name} cannot be connected to or disconnected from {self.python_name} while the server runs:"
                " deliveries of events that are already stored would not know it. Connect it when its plugin is"
                " loaded, at the top level of the module"
            )


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """A function that was connected to a signal; `sender` is `ANY` or what the plugin wrote."""

    signal: PluginSignal
    function: Callable[..., Any]
    sender: object


class Recording:
    """What a plugin did while it was loaded: what it connected, and which functions it gave options with `@receiver`."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.with_options: list[Callable[..., Any]] = []

    def undo(self) -> None:
        """Disconnect everything: the plugin could not be loaded."""
        for connection in self.connections:
            connection.signal.disconnect(connection.function)


_recordings: list[Recording] = []


@contextmanager
def recording() -> Iterator[Recording]:
    """Record what is connected in this block."""
    made = Recording()
    _recordings.append(made)
    try:
        yield made
    finally:
        _recordings.remove(made)


def note_options(function: Callable[..., Any]) -> None:
    """Record that a function was given options."""
    for made in _recordings:
        made.with_options.append(function)


def is_same(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """True for one function, and for one method of one object."""
    # Each access of a bound method makes a new object; two of the same object and function are equal.
    return one is other or (hasattr(one, "__self__") and bool(one == other))
