"""Conditions and templates of rules: checked when rules are loaded, evaluated for each event.

Most expressions are simple: names, comparisons, `and`. They are evaluated in place, since values are short. Anything whose time
can exceed the length of its values (a loop, most filters, a call) goes to an evaluator: in a server, a confined process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

import jinja2
from jinja2 import nodes

from dispatcher.plugins.errors import RuleError
from dispatcher.rules import language
from dispatcher.rules.expression_names import FIELDS, NAMES, WHEN_DUE, path_of, problem_of, whole, with_macros
from dispatcher.rules.language import NOW, VARIABLES, Evaluated, Expression
from dispatcher.rules.macros import Macros, condition_tree, text_tree
from dispatcher.rules.macros_in_conditions import check_truths
from dispatcher.rules.moments import is_now, times, zones_of
from dispatcher.rules.nesting import check_brackets, check_levels
from dispatcher.rules.parts_of import parts_of
from dispatcher.rules.prompt_filters import LINEAR, MOST_LINEAR
from dispatcher.rules.sandbox import environment, parsed
from dispatcher.rules.values import OF_JOINS, OF_ROOT, plain
from dispatcher.rules.values import Names as Names
from dispatcher.rules.variables import NONE as NO_VARIABLES
from dispatcher.rules.variables import Variables

Evaluator = Callable[[Expression], Awaitable[Evaluated]]
"""Evaluates an expression that is not simple. Raises `RuleError`."""

Template = Callable[[Names], Awaitable[str]]
"""A compiled template: renders it for these names. Raises `RuleError`."""

_TOO_LONG = 4096

_SIMPLE = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Const,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Neg,
    nodes.Add,
    nodes.Sub,
    nodes.Concat,
    nodes.CondExpr,
    nodes.If,
    nodes.Test,
    nodes.List,
    nodes.Tuple,
)
"""Without `*`, which multiplies whole lists."""
_SIMPLE_FILTERS = frozenset(
    {"abs", "count", "d", "default", "first", "last", "length", "lower", "trim", "upper"}
)
_MOST_NODES = 200
"""The most parts of a simple expression: each may read a whole value."""


async def evaluate_here(expression: Expression) -> Evaluated:
    """Evaluate in this process: for the command line, and for processes that are confined themselves."""
    return language.evaluate(expression)


class Condition:
    """A condition such as `task.is_grid and chain.depth == 0`. `when_due`: it is asked when something scheduled is due. Raises
    `RuleError` if it can never be valid."""

    def __init__(
        self,
        source: str,
        evaluator: Evaluator = evaluate_here,
        *,
        when_due: bool = False,
        variables: Variables = NO_VARIABLES,
    ) -> None:
        self.source = source
        if len(source) > _TOO_LONG:
            raise RuleError(f"the condition has {len(source)} characters, more than {_TOO_LONG}")
        check_brackets("condition", source)
        try:
            written = parsed(source)
        except jinja2.TemplateError as error:
            problem = (
                "leave out the {{ }}, which only templates need" if "{{" in source else problem_of(error)
            )
            raise RuleError(f"{source!r}: {problem}", is_syntax=True) from error
        except RecursionError as error:
            raise RuleError("the condition is nested too deeply") from error
        check_levels("condition", written)
        tree, self._macros = with_macros(source, whole(written), variables, when_due=when_due)
        check_truths(source, tree, self._macros)
        self._constants = _constants(tree, variables)
        self._needed = _needed(tree, when_due=when_due)
        self._zones = zones_of(source, tree)
        self._evaluator = evaluate_here if _is_simple(tree) else evaluator
        self.names = frozenset(self._needed)

    async def __call__(self, names: Names) -> Evaluated:
        """Evaluate it: whether it holds, and if not, which part is false. Raises `RuleError` if it has no value."""
        values = plain(names, self._needed).values | self._constants | _clock(names, self._zones)
        expression = Expression(kind="condition", source=self.source, values=values, macros=self._macros)
        return await self._evaluator(expression)


def compile_template(
    source: str,
    evaluator: Evaluator = evaluate_here,
    variables: Variables = NO_VARIABLES,
    *,
    approves: bool = False,
    texts: Collection[str] = (),
    may_be_cut: bool = False,
) -> Template:
    """Compile a text with `{{ … }}` in it; if it `approves`, it may use the name "approval". `texts`: more names that it may use, each
    of which is a text. `may_be_cut`: it may use the beginning of a value that is too long. Raises `RuleError` if it can never be
    valid."""
    check_brackets("text", source)
    try:
        written = environment.parse(source)
        check_levels("text", written)
        names = [*NAMES, *(["approval"] if approves else []), *texts]
        tree, macros = with_macros(source, written, variables, names)
    except jinja2.TemplateError as error:
        raise RuleError(f"{source!r}: {problem_of(error)}") from error
    except RecursionError as error:
        raise RuleError("the text is nested too deeply") from error
    needed, evaluator = _needed(tree), evaluate_here if _is_simple(tree) else evaluator
    zones, constants = zones_of(source, tree), _constants(tree, variables)

    async def render(names: Names) -> str:
        cut = plain(names, needed)
        values = cut.values | constants | {name: names[name] for name in texts} | _clock(names, zones)
        too_long = [] if may_be_cut else cut.too_long
        expression = Expression(kind="text", source=source, values=values, too_long=too_long, macros=macros)
        return (await evaluator(expression)).text

    return render


Value = Callable[[Names], Awaitable[object]]
"""A compiled value: evaluates it for these names. Raises `RuleError`."""


def compile_value(
    source: str, evaluator: Evaluator = evaluate_here, variables: Variables = NO_VARIABLES
) -> Value:
    """Compile a text that becomes a value of JSON: one that is exactly one `{{ … }}` keeps the type of its expression, any other is a
    text. Raises `RuleError` if it can never be valid."""
    template = compile_template(source, evaluator, variables)
    written = environment.parse(source.strip())
    tree, macros = with_macros(source, written, variables)
    match tree.body:
        case [nodes.Output(nodes=[only])] if not isinstance(only, nodes.TemplateData) and "{#" not in source:
            if isinstance(only, nodes.Name):
                raise RuleError(f"{source!r}: {only.name} is not a single value; name one of its fields")
        case _:
            return template
    zones, constants = zones_of(source, tree), _constants(tree, variables)
    needed, inner = _needed(tree), source.strip()[2:-2].strip("+-").strip()
    at = evaluate_here if _is_simple(tree) else evaluator

    async def value(names: Names) -> object:
        cut = plain(names, needed)
        expression = Expression(
            kind="value",
            source=inner,
            values=cut.values | constants | _clock(names, zones),
            too_long=cut.too_long,
            macros=macros,
        )
        return (await at(expression)).value

    return value


def _clock(names: Names, zones: frozenset[str]) -> dict[str, object]:
    return {NOW: times(names[NOW], zones)} if zones else {}


def _constants(tree: nodes.Template, variables: Variables) -> dict[str, object]:
    """The variables that a tree uses, under their common name."""
    used = {access.attr for access in parts_of(tree, nodes.Getattr) if path_of(access.node) == VARIABLES}
    return {VARIABLES: {name: variables[name] for name in sorted(used)}} if used else {}


def _needed(tree: nodes.Template, *, when_due: bool = False) -> dict[str, list[str]]:
    """The fields of each name that a tree uses; all of its fields if the tree also uses the name by itself."""
    used = [node.name for node in parts_of(tree, nodes.Name) if node.name in FIELDS]
    lookups = [
        (node.node.name, node.attr)
        for node in parts_of(tree, nodes.Getattr)
        if isinstance(node.node, nodes.Name)
    ]
    needed: dict[str, list[str]] = {}
    for name in sorted(set(used)):
        by_field = [field for owner, field in lookups if owner == name]
        is_whole = len(by_field) < used.count(name)
        known = {field for field in FIELDS[name] if when_due or f"{name}.{field}" not in WHEN_DUE}
        whole = known - OF_JOINS - OF_ROOT if name == "chain" else known
        needed[name] = sorted(whole if is_whole else set(by_field) & known)
    return needed


def uses_of(source: str, macros: Macros = (), *, is_condition: bool) -> set[str]:
    """The fields of `chain` that only joins have, as far as a text uses them."""
    used = names_in(source, macros, is_condition=is_condition)
    return {field for field in OF_JOINS if f"chain.{field}" in used}


def names_in(source: str, macros: Macros = (), *, is_condition: bool) -> set[str]:
    """The names that a text uses, and their fields as "chain.depth". None in a text that is no template."""
    try:
        tree = whole(condition_tree(source, macros)) if is_condition else text_tree(source, macros)
        check_levels("text", tree)
    except (jinja2.TemplateError, RuleError, RecursionError):
        return set()  # reported where it is compiled
    return {path_of(node) for node in parts_of(tree, nodes.Name, nodes.Getattr)} - {""}


def _is_simple(tree: nodes.Template) -> bool:
    """True if evaluating it takes time in proportion to the length of its values."""
    parts = [part for part in parts_of(tree, nodes.Node) if not _is_filter(part, LINEAR) and not is_now(part)]
    if (
        len(parts) > _MOST_NODES
        or sum(1 for part in parts_of(tree, nodes.Filter) if part.name in LINEAR) > MOST_LINEAR
    ):
        return False
    return all(isinstance(part, _SIMPLE) or _is_filter(part, _SIMPLE_FILTERS) for part in parts)


def _is_filter(part: nodes.Node, names: frozenset[str]) -> bool:
    return isinstance(part, nodes.Filter) and part.name in names
