"""Evaluates conditions and templates of rules: Jinja's sandbox over plain values that cannot act.

This runs in a confined process, so it imports little. An expression that becomes expensive because of its values (sorting,
wrapping, repeating) is stopped by that process's limits; `expressions` has checked before which names the rule uses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any, Literal

import jinja2
import msgspec
from jinja2 import nodes

from dispatcher.confined.frames import Refused
from dispatcher.plugins.errors import RuleError
from dispatcher.rules.json_values import json_value
from dispatcher.rules.macros import Macros, condition_tree, text_tree
from dispatcher.rules.missing import missing
from dispatcher.rules.sandbox import environment
from dispatcher.rules.why import why_not
from midjourney.prompt_params import Params

LONGEST_TEXT = 64_000
"""The most characters that a template may produce beyond its own, which may be a picture. Midjourney accepts some 6,000."""

NOW = "now"
"""The only function of expressions; its value is what it gives for each time zone."""

MOST_REMEMBERED = 256
"""How many compiled expressions are cached."""

VARIABLES = "vars"
"""The name by which expressions reach the variables of their rule."""

Values = Mapping[str, Any]
"""Plain values by name: texts, numbers, lists, and mappings of fields."""


class Expression(msgspec.Struct, frozen=True, kw_only=True):
    """An expression and the values it uses: a condition, a template, or an expression whose value is wanted. `too_long` lists paths to
    values that must not be sent, each with the reason; `macros` are those that the expression uses."""

    kind: Literal["condition", "text", "value"]
    source: str
    values: dict[str, object]
    too_long: list[tuple[list[str], str]] = []
    macros: Macros = ()

    @property
    def shown(self) -> str:
        """The source in quotes, and where its macros are."""
        macros = ", ".join(f"{macro.name} is at {macro.where}" for macro in self.macros)
        return f"{self.source!r} ({macros})" if macros else repr(self.source)


class Evaluated(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an expression: for a condition whether it holds, and if not why (`text`); for a template its `text`; else its
    `value`, of types that JSON has.

    `is_known` is False for a condition that does not hold because a value that it needs is missing.
    """

    holds: bool = True
    text: str = ""
    is_known: bool = True
    value: Any = None


def answer(question: bytes) -> bytes:
    """Evaluate an encoded `Expression` in the confined process. Raises `Refused`."""
    try:
        return msgspec.msgpack.encode(evaluate(msgspec.msgpack.decode(question, type=Expression)))
    except RuleError as error:
        raise Refused(str(error)) from error


def evaluate(expression: Expression) -> Evaluated:
    """Evaluate an expression in this process. Raises `RuleError` if it has no value."""
    names = {
        name: _Record(**value) if name == VARIABLES and isinstance(value, dict) else _record(value)
        for name, value in expression.values.items()
    }
    if isinstance(times := expression.values.get(NOW), dict):
        names[NOW] = partial(_time, times)
    if expression.kind == "text":
        return Evaluated(text=_rendered(expression, names))
    if expression.kind == "value":
        return Evaluated(value=_valued(expression, names))
    compiled = _condition(expression.source, expression.macros)
    try:
        value = compiled.value(names)
        if isinstance(value, jinja2.Undefined):  # Jinja would treat an `if` without `else` as false
            value._fail_with_undefined_error()
        return Evaluated() if value else Evaluated(holds=False, text=compiled.why_not(names))
    except Exception as error:  # a number compared with a text, a field of None, an unknown name
        if why := compiled.missing(names, error):
            return Evaluated(holds=False, text=why, is_known=False)
        raise RuleError(f"{expression.shown} cannot be evaluated: {_problem(error)}") from error


def _valued(expression: Expression, names: dict[str, object]) -> Any:
    _refuse_too_long(expression, names)
    try:
        return json_value(_condition(expression.source, expression.macros).value(names))
    except Exception as error:
        raise RuleError(f"{expression.shown} has no value: {_problem(error)}") from error


def _refuse_too_long(expression: Expression, names: dict[str, object]) -> None:
    for path, why in expression.too_long:
        _set_value(names, path, TooLong(why))


def _rendered(expression: Expression, names: dict[str, object]) -> str:
    _refuse_too_long(expression, names)
    pieces, length = [], 0
    try:
        for piece in _template(expression.source, expression.macros).generate(names):
            pieces.append(piece)
            length += len(piece)
            if length > LONGEST_TEXT + len(expression.source):
                raise RuleError(f"it produces more than {LONGEST_TEXT} characters")
    except Exception as error:
        raise RuleError(f"{expression.shown} cannot be rendered: {_problem(error)}") from error
    return "".join(pieces)


def _problem(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "it takes too much memory"
    if isinstance(error, jinja2.UndefinedError):
        return f"{str(error).rstrip('.')}. Check the spelling; if a value may be missing, write `is defined` or an `else`"
    return str(error)


def _time(times: Mapping[str, dict[str, object]], zone: str = "") -> _Record:
    """What `now(zone)` gives: it was read before, because the time of this process means nothing."""
    return _Record(**times[zone])


class _Record(SimpleNamespace):
    """Fields with values: expressions see them as attributes, and see nothing else."""


def _record(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    fields = dict(value)
    if isinstance(properties := fields.get("properties"), dict):
        fields["properties"] = _Record(**properties)
    if isinstance(params := fields.get("params"), dict):
        fields["params"] = Params(params)
    if isinstance(buttons := fields.get("buttons"), list):
        fields["buttons"] = [_Record(**button) for button in buttons]
    for name in ("tasks", "children"):  # of a chain; an extra field of a task that is named so is in `extra`
        if isinstance(listed := fields.get(name), list):
            fields[name] = [_Record(**one) for one in listed]
    return _Record(**fields)


def _set_value(names: dict[str, object], path: list[str], value: Any) -> None:
    """Replace the value at a path."""
    *parents, last = path
    owner: Any = names
    for field in parents:
        owner = owner[field] if isinstance(owner, dict) else getattr(owner, field)
    if isinstance(owner, dict):
        owner[last] = value
    else:
        setattr(owner, last, value)


class TooLong:
    """Stands for a value that is too long to be sent: every use of it raises `RuleError` with the reason."""

    def __init__(self, why: str) -> None:
        self._why = why

    def _refuse(self, *_: object) -> Any:
        raise RuleError(self._why)

    __str__ = __repr__ = __format__ = __len__ = __iter__ = __contains__ = __getitem__ = __bool__ = _refuse
    __hash__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __add__ = __radd__ = __mul__ = __rmul__ = __mod__ = __rmod__ = __int__ = __float__ = __call__ = _refuse

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Jinja looks for `__html__` in every value
            raise AttributeError(name)
        return self._refuse()


_OF_MISSING = (TypeError, jinja2.UndefinedError)
"""What the use of a missing value raises. Other errors are mistakes: a division by zero, a result that is too large."""


class _Condition:
    """A compiled condition."""

    def __init__(self, source: str, macros: Macros) -> None:
        self._tree = condition_tree(source, macros)
        self._value = _compiled(self._tree)
        self._parts: dict[int, Callable[[Values], Any]] = {}

    def value(self, names: Values) -> Any:
        """Evaluate it."""
        return self._value(names)

    def why_not(self, names: Values) -> str:
        """Name the part that is false, with its values. Only for values for which the condition is false."""
        return why_not(self._tree, names, self._part)

    def missing(self, names: Values, error: Exception) -> str:
        """Name the value whose absence raised this error; "" if the error has another cause."""
        return missing(self._tree, names, self._part) if isinstance(error, _OF_MISSING) else ""

    def _part(self, node: nodes.Expr, names: Values) -> Any:
        """Evaluate a part, compiled once: most conditions are false for most events."""
        if id(node) not in self._parts:
            self._parts[id(node)] = _compiled(node)
        return self._parts[id(node)](names)


def _compiled(node: nodes.Expr) -> Callable[[Values], Any]:
    body: list[nodes.Node] = [nodes.Assign(nodes.Name("result", "store"), node, lineno=1)]
    template = environment.from_string(nodes.Template(body, lineno=1))

    def evaluate(names: Values) -> Any:
        context = template.new_context(dict(names))
        list(template.root_render_func(context))
        return context.vars["result"]

    return evaluate


@lru_cache(MOST_REMEMBERED)
def _condition(source: str, macros: Macros) -> _Condition:
    return _Condition(source, macros)


@lru_cache(MOST_REMEMBERED)
def _template(source: str, macros: Macros) -> jinja2.Template:
    return environment.from_string(text_tree(source, macros) if macros else source)
