"""Conditions and templates of rules: Jinja's sandbox, checked when they are loaded.

What a rule sees comes from strangers (prompts, fail reasons), so it is only ever data here: the source of an expression
is the rule file's own text, and the sandbox keeps it from reaching into Python.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any, Protocol

import jinja2
from jinja2 import meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from dispatcher.chain import Window
from dispatcher.errors import RuleError
from dispatcher.rules.why import why_not
from dispatcher.spelling import nearest
from midjourney.types import Properties, Task
from storage.records import Event, Submission

Names = Mapping[str, Any]
"""What an expression may speak of: "task", "event", "chain", "submission", "modal"."""


class Template(Protocol):
    """A compiled text."""

    def __call__(self, names: Names) -> str:
        """Its value for these names. Raises `RuleError`."""
        ...


def _fields(kind: type) -> frozenset[str]:
    named = {
        name for name in dir(kind) if not name.startswith("_") and isinstance(getattr(kind, name), property)
    }
    return frozenset(named | set(getattr(kind, "__struct_fields__", ())))


FIELDS: dict[str, frozenset[str]] = {
    "task": _fields(Task) | {"extra"},
    "event": _fields(Event),
    "chain": frozenset({"id", "upstream", "depth", "submissions"}),
    "submission": _fields(Submission),
    "modal": _fields(Window),
    "task.properties": _fields(Properties),
}
"""What expressions may speak of, and the fields of each."""

NAMES = [name for name in FIELDS if "." not in name]

LONGEST = 10_000
"""Characters or items that a repetition such as `"ab" * 3` may make."""

LARGEST_BITS = 1_000
"""Bits of a whole number that `*` and `**` may make: about 300 digits, as many as a float can be large."""


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, with products and powers that end. What it intercepts it does not work out at compile time."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """The value of `left operator right`. Raises `SecurityError` when it would be too large."""
        if _is_too_large(operator, left, right):
            raise SecurityError(f"the result of {operator} would be too large")
        return super().call_binop(context, operator, left, right)


def _is_too_large(operator: str, left: Any, right: Any) -> bool:
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
        return bits > LARGEST_BITS
    many, times = (right, left) if isinstance(left, int) else (left, right)
    return isinstance(many, Sized) and isinstance(times, int) and len(many) * times > LONGEST


_environment = _Environment(undefined=jinja2.StrictUndefined, autoescape=False)
_environment.globals = {}  # no range, no cycler: a rule looks at a task, and that is all
_TOO_LONG = 4096


class Condition:
    """An expression such as `task.is_grid and chain.depth == 0`. Raises `RuleError` for what cannot be right."""

    def __init__(self, source: str) -> None:
        self.source = source
        if len(source) > _TOO_LONG:
            raise RuleError(f"the condition has {len(source)} characters, more than {_TOO_LONG}")
        self._tree = _parsed(source)
        whole = nodes.Template([nodes.Output([self._tree], lineno=1)], lineno=1)
        whole.set_environment(_environment)
        _check(source, whole)
        self._compiled = self._compile(self._tree)
        self._parts: dict[int, Any] = {}
        self.names = frozenset(str(one.name) for one in self._tree.find_all(nodes.Name)) | (
            {str(self._tree.name)} if isinstance(self._tree, nodes.Name) else set()
        )

    def __call__(self, names: Names) -> bool:
        """Whether it holds. Raises `RuleError` when it cannot be told."""
        return bool(self._value(self._compiled, names))

    def why_not(self, names: Names) -> str:
        """Which part of it said no, with the values; right after it did."""
        return why_not(self._tree, names, self._part)

    def _part(self, node: nodes.Expr, names: Names) -> Any:
        """The value of a part, which is compiled once: most rules say no to most events."""
        if id(node) not in self._parts:
            self._parts[id(node)] = self._compile(node)
        return self._value(self._parts[id(node)], names)

    def _value(self, compiled: Any, names: Names) -> Any:
        try:
            return compiled(**names)
        except (
            Exception
        ) as error:  # comparing a number with a text, a field of None, a word that is not there
            raise RuleError(f"{self.source!r} cannot be answered: {error}") from error

    def _compile(self, node: nodes.Expr) -> Any:
        body: list[nodes.Node] = [nodes.Assign(nodes.Name("result", "store"), node, lineno=1)]
        template = _environment.from_string(nodes.Template(body, lineno=1))

        def evaluate(**names: Any) -> Any:
            context = template.new_context(names)
            list(template.root_render_func(context))
            return context.vars["result"]

        return evaluate


def compile_template(source: str) -> Template:
    """A text with `{{ … }}` in it. Raises `RuleError` for what cannot be right."""
    try:
        _check(source, _environment.parse(source))
        compiled = _environment.from_string(source)
    except jinja2.TemplateError as error:
        raise RuleError(f"{source!r}: {_said(error)}") from error

    def render(names: Names) -> str:
        try:
            return compiled.render(**names)
        except Exception as error:
            raise RuleError(f"{source!r} cannot be written: {error}") from error

    return render


def _parsed(source: str) -> nodes.Expr:
    parser = Parser(_environment, source, state="variable")
    try:
        tree = parser.parse_expression()
        if not parser.stream.eos:
            raise jinja2.TemplateSyntaxError(f"unexpected {parser.stream.current.value!r}", 1)
    except jinja2.TemplateError as error:
        raise RuleError(f"{source!r}: {_said(error)}", is_syntax=True) from error
    tree.set_environment(_environment)
    return tree


def _said(error: jinja2.TemplateError) -> str:
    """Jinja's words, in ours."""
    said = (error.message or "is no expression").replace("end of template", "end").split(". ")[0]
    if "chunk after expression" in said or "unexpected '='" in said or "got '='" in said:
        return f"{said}; to compare, write =="
    return said


def _check(source: str, tree: nodes.Template) -> None:
    for filter_ in tree.find_all(nodes.Filter):
        if filter_.name not in _environment.filters:
            raise RuleError(
                f"{source!r}: unknown filter {filter_.name!r}.{nearest(filter_.name, _environment.filters)}"
            )
    for test in tree.find_all(nodes.Test):
        if test.name not in _environment.tests:
            raise RuleError(
                f"{source!r}: unknown test {test.name!r}.{nearest(test.name, _environment.tests)}"
            )
    for name in sorted(meta.find_undeclared_variables(tree) - set(NAMES)):
        raise RuleError(f"{source!r}: unknown name {name!r}.{nearest(name, NAMES)}")
    for access in tree.find_all(nodes.Getattr):
        _check_field(source, access)
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Getattr) and isinstance(call.node.node, nodes.Name):
            root = call.node.node.name
            raise RuleError(
                f"{source!r}: {root}.{call.node.attr} is a value, not something to call; leave out the brackets"
            )


def _check_field(source: str, access: nodes.Getattr) -> None:
    if access.attr.startswith("_"):
        raise RuleError(f"{source!r}: {access.attr!r} is not for rules: names with _ in front are private")
    path = _path(access.node)
    if path in FIELDS and access.attr not in FIELDS[path]:
        raise RuleError(
            f"{source!r}: {path!r} has no field {access.attr!r}.{nearest(access.attr, FIELDS[path])}"
        )


def _path(node: nodes.Expr) -> str:
    if isinstance(node, nodes.Name):
        return str(node.name)
    if isinstance(node, nodes.Getattr):
        return f"{_path(node.node)}.{node.attr}"
    return ""
