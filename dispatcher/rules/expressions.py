"""Conditions and templates of rules: Jinja's sandbox, checked when they are loaded.

What a rule sees comes from strangers (prompts, fail reasons), so it is only ever data here: the source of an expression
is the rule file's own text, and the sandbox keeps it from reaching into Python.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Protocol

import jinja2
from jinja2 import meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from dispatcher.chain import Window
from dispatcher.errors import RuleError
from midjourney.types import Task
from storage.records import Event, Submission


class Template(Protocol):
    """A compiled condition or template."""

    def __call__(self, names: Mapping[str, Any]) -> Any:
        """Its value for these names. Raises `RuleError`."""
        ...


def _fields(kind: type) -> frozenset[str]:
    named = {
        name for name in dir(kind) if not name.startswith("_") and isinstance(getattr(kind, name), property)
    }
    return frozenset(named | set(getattr(kind, "__struct_fields__", ())))


NAMES: dict[str, frozenset[str]] = {
    "task": _fields(Task) | {"extra"},
    "event": _fields(Event),
    "chain": frozenset({"id", "upstream", "depth", "submissions"}),
    "submission": _fields(Submission),
    "modal": _fields(Window),
}
"""What expressions may speak of, and the fields of each."""

_environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, autoescape=False)


def compile_condition(source: str) -> Template:
    """An expression such as `task.is_grid and chain.depth == 0`. Raises `RuleError` for what cannot be right."""
    _check("{{ (" + source + ") }}")
    try:
        compiled = _environment.compile_expression(source, undefined_to_none=False)
    except jinja2.TemplateError as error:
        raise RuleError(f"{source!r}: {error}") from error

    def evaluate(names: Mapping[str, Any]) -> bool:
        try:
            value = compiled(**names)
            return bool(value)
        except jinja2.TemplateError as error:
            raise RuleError(f"{source!r}: {error}") from error

    return evaluate


def compile_template(source: str) -> Template:
    """A text with `{{ … }}` in it. Raises `RuleError` for what cannot be right."""
    _check(source)
    compiled = _environment.from_string(source)

    def render(names: Mapping[str, Any]) -> str:
        try:
            return compiled.render(**names)
        except jinja2.TemplateError as error:
            raise RuleError(f"{source!r}: {error}") from error

    return render


def _check(source: str) -> None:
    try:
        tree = _environment.parse(source)
        unknown = meta.find_undeclared_variables(tree) - NAMES.keys()
        _environment.compile(source)  # an unknown filter or test shows here
    except jinja2.TemplateError as error:
        raise RuleError(f"{source!r}: {error}") from error
    for name in sorted(unknown):
        raise RuleError(f"{source!r}: unknown name {name!r}.{_nearest(name, NAMES)}")
    for access in tree.find_all(nodes.Getattr):
        root = access.node
        if isinstance(root, nodes.Name) and root.name in NAMES and access.attr not in NAMES[root.name]:
            raise RuleError(
                f"{source!r}: {root.name!r} has no field {access.attr!r}.{_nearest(access.attr, NAMES[root.name])}"
            )


def _nearest(word: str, known: Mapping[str, Any] | frozenset[str]) -> str:
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else f" There are: {', '.join(sorted(known))}."
