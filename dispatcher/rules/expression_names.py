"""The names that expressions of rules may use, and the checks that an expression uses nothing else. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import jinja2
from jinja2 import meta, nodes
from jinja2.compiler import CodeGenerator

from dispatcher.plugins.errors import RuleError
from dispatcher.plugins.open_approval import OpenApproval
from dispatcher.plugins.open_modal import OpenModal
from dispatcher.rules.language import NOW, VARIABLES
from dispatcher.rules.macros import Macro, Macros, expanded, tree_of, used_by
from dispatcher.rules.parts_of import parts_of
from dispatcher.rules.prompt_filters import check_filter
from dispatcher.rules.sandbox import environment
from dispatcher.rules.spelling import nearest
from dispatcher.rules.values import OF_JOINS, OF_ROOT, fields
from dispatcher.rules.variables import Variables, check_used, macros_of
from dispatcher.rules.why import words
from midjourney.prompts import NAMES as PARAM_NAMES
from midjourney.types import Properties, Task
from storage.records import Event, Submission

FIELDS: dict[str, frozenset[str]] = {
    "task": fields(Task) | {"extra"},
    "event": fields(Event),
    "chain": frozenset({"id", "upstream", "client", "depth", "submissions", "pressed", "pressed_by_person"})
    | OF_JOINS
    | OF_ROOT,
    "submission": fields(Submission),
    "modal": fields(OpenModal),
    "approval": fields(OpenApproval),
    "task.properties": fields(Properties),
    "task.params": PARAM_NAMES,
    "root": fields(Task) | {"extra"},
    "root.properties": fields(Properties),
    "root.params": PARAM_NAMES,
}
"""The names that expressions may use, and the fields of each."""

WHEN_DUE = frozenset({"chain.pressed", "chain.pressed_by_person"})
"""Fields that only `unless` may use: they are read when something scheduled is due, not for each event."""

OF_PLUGINS = "chain.store"
"""What a chain has for plugins alone."""

NAMES = [name for name in FIELDS if "." not in name and name != "approval"]

_METHODS = frozenset(
    name for kind in (str, list, dict, int, float) for name in dir(kind) if callable(getattr(kind, name))
)
"""Names that texts, lists, tables and numbers have as methods: `task.extra.items` is never the field "items"."""
_JINJAS_OWN = frozenset({"self", "super"})
"""Names that Jinja defines itself."""

_SIGNS = {"&": "and", "!": "not", "?": "A if B else C"}
"""Signs of other languages, and what expressions have instead."""


def problem_of(error: jinja2.TemplateError) -> str:
    """Jinja's message, worded for people who write rules."""
    problem = (error.message or "not an expression").replace("end of template", "end").split(". ")[0]
    if "chunk after expression" in problem or "unexpected '='" in problem or "got '='" in problem:
        return f"{problem}; to compare, write =="
    for sign, word in _SIGNS.items():
        if problem.startswith(f"unexpected char {sign!r}"):
            return f"{problem}; write {word}"
    return problem


def whole(tree: nodes.Expr) -> nodes.Template:
    """An expression as a text that is nothing else, so that each search in it finds it too."""
    text = nodes.Template([nodes.Output([tree], lineno=1)], lineno=1)
    text.set_environment(environment)
    return text


def with_macros(
    source: str,
    tree: nodes.Template,
    variables: Variables,
    names: Sequence[str] = NAMES,
    *,
    when_due: bool = False,
) -> tuple[nodes.Template, Macros]:
    """A parsed text that uses only what there is, with its macros in place, and these macros. Arguments are those of
    `check_expression`. Raises `RuleError` for the first mistake, which names the macro that it is in."""
    of_all = macros_of(variables)
    macros = used_by(tree, of_all)
    try:
        put = expanded(tree, macros)
    except RuleError as error:
        raise RuleError(f"{source!r}: {error}") from error
    known = [*names, *(macro.name for macro in of_all)]
    check_expression(source, tree, variables, known, when_due=when_due)
    for macro in macros:
        check_macro(source, macro, variables, known, when_due=when_due)
    if macros:
        check_expression(source, put, variables, names, when_due=when_due)
    return put, macros


def check_macro(
    source: str, macro: Macro, variables: Variables | None, names: Sequence[str], *, when_due: bool
) -> None:
    """Check a macro where a text uses it. Raises `RuleError`, which names both."""
    try:
        known = [*names, *macro.parameters]
        check_expression(macro.source, whole(tree_of(macro)), variables, known, when_due=when_due)
    except RuleError as error:
        raise RuleError(
            f"{source!r}: the macro {macro.name} ({macro.where}) cannot be used here. {error}"
        ) from error


def check_expression(
    source: str,
    tree: nodes.Template,
    variables: Variables | None,
    names: Sequence[str] = NAMES,
    *,
    when_due: bool = False,
) -> None:
    """Check that a parsed text uses only what there is. `names`: those that it may use; `when_due`: also the fields that only `unless`
    may use; `variables`: None if any may be used. Raises `RuleError` for the first mistake."""
    for filter_ in parts_of(tree, nodes.Filter):
        if filter_.name not in environment.filters:
            raise RuleError(
                f"{source!r}: unknown filter {filter_.name!r}.{nearest(filter_.name, environment.filters)}"
            )
        check_filter(source, filter_)
    for test in parts_of(tree, nodes.Test):
        if test.name not in environment.tests:
            raise RuleError(f"{source!r}: unknown test {test.name!r}.{nearest(test.name, environment.tests)}")
    jinjas = {node.name for node in parts_of(tree, nodes.Name)} & _JINJAS_OWN
    for name in sorted((_undeclared(tree) | jinjas) - {*names, NOW, VARIABLES}):
        near = f' Did you mean "task.{name}"?' if name in FIELDS["task"] else nearest(name, [*names, NOW])
        raise RuleError(f"{source!r}: unknown name {name!r}.{near}")
    for access in parts_of(tree, nodes.Getattr):
        _check_field(source, access, when_due=when_due)
        if not when_due and (path := path_of(access)) in WHEN_DUE:
            raise RuleError(
                f"{source!r}: {path} is known only when a delayed submission is due; use it in `unless`, together with `after` or `at`"
            )
    _check_variables(source, tree, variables)
    _check_methods(source, tree)
    for call in parts_of(tree, nodes.Call):
        if isinstance(call.node, nodes.Getattr) and isinstance(call.node.node, nodes.Name):
            root = call.node.node.name
            raise RuleError(
                f"{source!r}: {root}.{call.node.attr} is a value and cannot be called; leave out the parentheses"
            )


class _Names(meta.TrackingCodeGenerator):
    """Jinja's own search for undeclared names, without its optimizer: that looks at every part again for each part around it."""

    def __init__(self) -> None:
        CodeGenerator.__init__(self, environment, "<names>", "<names>", optimized=False)
        self.undeclared_identifiers: set[str] = set()


def _undeclared(tree: nodes.Template) -> set[str]:
    """The names that a text looks up and does not set itself: all of them if it has no blocks."""
    if all(isinstance(part, nodes.Output) for part in tree.body):
        return {node.name for node in parts_of(tree, nodes.Name)}
    found = _Names()
    found.visit(tree)
    return found.undeclared_identifiers


def _check_field(source: str, access: nodes.Getattr, *, when_due: bool) -> None:
    if access.attr.startswith("_"):
        raise RuleError(f"{source!r}: rules cannot use {access.attr!r}: names that begin with _ are private")
    path = path_of(access.node)
    if path_of(access) == OF_PLUGINS:
        raise RuleError(
            f"{source!r}: only plugins have {OF_PLUGINS}, and rules cannot read it; write a plugin: hookchain new plugin NAME"
        )
    if path in FIELDS and access.attr not in FIELDS[path]:
        known = [name for name in FIELDS[path] if when_due or f"{path}.{name}" not in WHEN_DUE]
        raise RuleError(f"{source!r}: {path!r} has no field {access.attr!r}.{nearest(access.attr, known)}")


def _check_variables(source: str, tree: nodes.Template, variables: Variables | None) -> None:
    used = [access.attr for access in parts_of(tree, nodes.Getattr) if path_of(access.node) == VARIABLES]
    if len(used) < sum(1 for name in parts_of(tree, nodes.Name) if name.name == VARIABLES):
        raise RuleError(f"{source!r}: vars is used without the name of a variable; write vars.NAME")
    if variables is not None:
        check_used(source, used, variables)


def _check_methods(source: str, tree: nodes.Template) -> None:
    """Refuse a method that is not called: it is never false, and no value."""
    called = {id(call.node) for call in parts_of(tree, nodes.Call)}
    for access in parts_of(tree, nodes.Getattr):
        is_field = path_of(access.node) in (*FIELDS, VARIABLES, "loop")
        if access.attr in _METHODS and not is_field and id(access) not in called:
            owner = words(access.node)
            raise RuleError(
                f"{source!r}: {owner}.{access.attr} is a method, not a value; call it: {owner}.{access.attr}(), "
                f"or write {owner}[{access.attr!r}] for a field of this name"
            )


def path_of(node: nodes.Expr) -> str:
    """The dotted name that a part of an expression stands for; "" if it is none."""
    if isinstance(node, nodes.Name):
        return str(node.name)
    if isinstance(node, nodes.Getattr):
        return f"{path_of(node.node)}.{node.attr}"
    return ""
