"""Finds receivers that can never run, from how they were written: their signature, their sender, their name, their options. Pure."""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dispatcher.plugins.plugin_signal import ANY, Connection, Recording, is_same
from dispatcher.plugins.receivers import DEFAULTS, name_of, options_of
from dispatcher.plugins.signals import ARGUMENTS, submission_leaving
from midjourney.types import Action

Function = Callable[..., Any]

_SIMILAR = 0.75
"""How alike two words must be for one to count as a misspelling of the other."""

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def signature_problem(function: Function, arguments: Sequence[str] = ARGUMENTS) -> str:
    """Why the function cannot be called with the arguments of a signal, and what to write; "" if it can."""
    if inspect.isclass(function):
        return "a class is connected, so each event would only make an object; connect a method of an object"
    if any(
        inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one)
        for one in (function, type(function).__call__)
    ):
        return "it contains `yield`, so that calling it runs nothing; remove `yield`"
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except ValueError:
        return ""  # a function in C that does not tell its parameters
    try:
        signature.bind("IMAGINE", **dict.fromkeys(arguments))
    except TypeError as error:
        return f"{_misfit(function, signature, arguments) or str(error)}; write {_suggestion(function, signature, arguments)}"
    return ""


def _misfit(function: Function, signature: inspect.Signature, arguments: Sequence[str]) -> str:
    parameters = list(signature.parameters.values())
    kinds = {parameter.kind for parameter in parameters}
    positional = [parameter for parameter in parameters if parameter.kind in _POSITIONAL]
    if positional and positional[0].name == "self":
        return "it is connected inside its class, before there is an object; connect the method of an object in __init__"
    if not positional and inspect.Parameter.VAR_POSITIONAL not in kinds:
        return "it takes no positional parameter, but the action comes first"
    if positional and positional[0].name in arguments:
        return f"its first parameter is `{positional[0].name}`, but the action comes first"
    for parameter in parameters[1:] if positional else parameters:
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            return (
                f"`{parameter.name}` is positional-only, but all arguments after the action come by keyword"
            )
        is_needed = parameter.default is parameter.empty and parameter.kind in (
            *_POSITIONAL,
            inspect.Parameter.KEYWORD_ONLY,
        )
        if is_needed and parameter.name not in arguments:
            return f"no signal gives the argument `{parameter.name}`{_meant(parameter.name, arguments)}"
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        missing = next(name for name in arguments if name not in signature.parameters)
        return f"it does not take the argument `{missing}`, and has no **_ for what it does not use"
    return ""


def _meant(word: str, arguments: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, arguments, n=1, cutoff=0.5)
    return f" (did you mean `{close[0]}`?)" if close else f" (there are {', '.join(arguments)})"


def _suggestion(function: Function, signature: inspect.Signature, arguments: Sequence[str]) -> str:
    """A signature that fits, with the arguments that the function uses."""
    meant = [
        difflib.get_close_matches(name, arguments, n=1, cutoff=_SIMILAR) for name in signature.parameters
    ]
    used = [name for name in arguments if [name] in meant]
    name = getattr(function, "__name__", "__call__")
    parameters = ", ".join(["action", *(["*", *used] if used else []), "**_"])
    if name == "<lambda>":
        return f"lambda {parameters}: …"
    is_method = "self" in signature.parameters or inspect.ismethod(function) or name == "__call__"
    start = "async def" if inspect.iscoroutinefunction(function) else "def"
    return f"{start} {name}({'self, ' if is_method else ''}{parameters})"


def signature_warning(function: Function, arguments: Sequence[str] = ARGUMENTS) -> str:
    """What is likely to be wrong with a signature that can be called; "" if nothing is."""
    try:
        parameters = inspect.signature(function, follow_wrapped=False).parameters
    except ValueError:
        return ""
    for name, parameter in parameters.items():
        close = difflib.get_close_matches(name, arguments, n=1, cutoff=_SIMILAR)
        is_given = name in arguments or parameter.kind is not parameter.KEYWORD_ONLY
        if not is_given and close and close[0] not in parameters:
            return f"no signal gives the argument `{name}`, so it always has its default (did you mean `{close[0]}`?)"
    if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values()):
        return (
            "it has no **_, so a release that adds an argument could not call it; end its parameters with **_"
        )
    return ""


def options_problem(connection: Connection) -> str:
    """Which options a receiver has that its signal does not know; "" if none."""
    if connection.signal is not submission_leaving:
        return ""
    options = options_of(connection.function)
    unknown = [
        name for name in ("attempts", "limit", "pure") if getattr(options, name) != getattr(DEFAULTS, name)
    ]
    if not unknown:
        return ""
    return (
        f"@receiver({unknown[0]}=…) means nothing with submission_leaving, which has no deliveries;"
        " only timeout_s, concurrency and name do"
    )


def sender_problem(connection: Connection) -> str:
    """Why no event has this sender; "" if one may have it."""
    sender, name = connection.sender, connection.signal.python_name
    if sender is ANY or isinstance(sender, str):
        return ""
    if isinstance(sender, list | tuple | set | frozenset):
        decorators = " ".join(f"@{name}.connect_via({one!r})" for one in sender)
        return f"no event comes from {sender!r}, because a sender is one action; write {decorators}"
    return f'no event comes from {sender!r}, because a sender is an action, such as "IMAGINE"'


def sender_warning(connection: Connection) -> str:
    """Why the sender is probably misspelt; "" if it is not. Vendors add actions, so any text may be right."""
    sender, name = connection.sender, connection.signal.python_name
    if not isinstance(sender, str) or sender in set(Action):
        return ""
    close = difflib.get_close_matches(sender.upper(), list(Action), n=1, cutoff=_SIMILAR)
    if not close and sender == sender.upper():
        return ""
    remedy = f'connect_via("{close[0]}")' if close else f"an action in capitals: {', '.join(Action)}"
    return f"{name}.connect_via({sender!r}): no known action is written like that; write {remedy}"


def name_problems(connections: Iterable[Connection], directory: Path) -> list[str]:
    """The names under which several functions are connected: the deliveries of one could not be told from those of the other."""
    by_name: dict[str, list[Function]] = {}
    for connection in connections:
        functions = by_name.setdefault(name_of(connection.function), [])
        if not any(is_same(known, connection.function) for known in functions):
            functions.append(connection.function)
    return [
        f"{where(functions[0], directory)}: {len(functions)} receivers are named {name!r}: {_twice(functions, directory)}"
        for name, functions in by_name.items()
        if len(functions) > 1
    ]


def _twice(functions: Sequence[Function], directory: Path) -> str:
    first, second = functions[:2]
    there = where(second, directory)
    if options_of(first).name:
        return f"the other is at {there}; give each a name of its own in @receiver(name=…)"
    if where(first, directory) != there:
        return f"the second hides the first, at {there}; rename one of them"
    if inspect.ismethod(first):
        method = f"{type(first.__self__).__name__}.{first.__name__}"
        return f'{method} of two objects; connect receiver(name="…")(object.{first.__name__}), with a name for each object'
    return 'it is made several times; connect receiver(name="…")(function), with a name for each'


def unused_options(recording: Recording, directory: Path) -> list[str]:
    """Functions whose options are lost, because a wrapper that does not have them is connected, or the function it wraps."""
    connected = [connection.function for connection in recording.connections]
    seen = {id(options_of(function)) for function in connected}
    problems = []
    for function in recording.with_options:
        related = [other for other in connected if _wraps(function, other) or _wraps(other, function)]
        if id(options_of(function)) not in seen and related:
            problems.append(
                f"{where(related[0], directory)}, {name_of(related[0])}: the options of @receiver are not used, because"
                " another decorator stands between it and the one that connects; write @receiver directly below that one"
            )
    return problems


def _wraps(outer: Function, inner: Function) -> bool:
    """True if a function calls another one: it is a decorator's result."""
    if isinstance(outer, partial):
        return is_same(outer.func, inner)
    held = [cell.cell_contents for cell in getattr(outer, "__closure__", None) or () if _is_filled(cell)]
    return any(callable(value) and value is inner for value in held)


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def where(function: Function, directory: Path) -> str:
    """File and line of a function, relative to the directory if it is in there."""
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(function)
    call = type(function).__call__
    code = getattr(function, "__code__", None) or getattr(call, "__code__", None)
    if code is None:
        module = sys.modules.get(getattr(function, "__module__", None) or "")
        return _shown(Path(getattr(module, "__file__", None) or "?"), directory)
    return f"{_shown(Path(code.co_filename), directory)}:{code.co_firstlineno}"


def _shown(path: Path, directory: Path) -> str:
    root = directory.resolve()
    return str(path.relative_to(root) if path.is_relative_to(root) else path)
