"""Macros: names for expressions and texts, which are put in their place when a text of a rule is parsed. Pure.

A macro means exactly what it says, in parentheses, where its name stands. It is put into the parsed expression and never into its source,
so that no value and no argument can change how something is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

import jinja2
import msgspec
from jinja2 import nodes

from dispatcher.plugins.errors import RuleError
from dispatcher.rules.nesting import MOST_LEVELS
from dispatcher.rules.parts_of import parts_of
from dispatcher.rules.sandbox import environment, parsed
from dispatcher.rules.why import mark, words

MOST_PARTS = 2_000
"""The most parts of an expression whose macros are in place: a macro that uses another one twice doubles it, and so on."""

MOST_KEPT = 32
"""How many texts are kept with their macros in place: several checks of a rule ask for each of its texts."""

AnyNode = TypeVar("AnyNode", bound=nodes.Node)


class Macro(msgspec.Struct, frozen=True, kw_only=True):
    """A macro: its name, the names of its parameters, the expression or text that it stands for, and the file and line of its table."""

    name: str
    parameters: tuple[str, ...] = ()
    source: str
    file: str = ""
    line: int = 0

    @property
    def where(self) -> str:
        """The place of its definition, as "hookchain.toml:4"."""
        return f"{self.file}:{self.line}" if self.line else self.file

    @property
    def signature(self) -> str:
        """The macro as `[macros]` names it: "is_final", or "wide(ratio)"."""
        return f"{self.name}({', '.join(self.parameters)})" if self.parameters else self.name


Macros = tuple[Macro, ...]


@lru_cache(MOST_KEPT)
def condition_tree(source: str, macros: Macros = ()) -> nodes.Expr:
    """A parsed condition with its macros in place. Never changed, since it is kept. Raises `jinja2.TemplateError`, or `RuleError` for a wrong use of a macro."""
    return expanded(parsed(source), macros)


@lru_cache(MOST_KEPT)
def text_tree(source: str, macros: Macros = ()) -> nodes.Template:
    """A parsed text with its macros in place. Never changed, since it is kept. Raises as `condition_tree` does."""
    return expanded(environment.parse(source), macros)


def expanded(tree: AnyNode, macros: Macros) -> AnyNode:
    """A copy of a parsed text with its macros in place; the same text if there are none. Raises `RuleError` for a wrong use."""
    return _Expansion(macros).copied(tree, {}, 0) if macros else tree


def used_by(tree: nodes.Node, macros: Macros) -> Macros:
    """The macros that a parsed text uses, and those that these use."""
    by_name = {macro.name: macro for macro in macros}
    found: dict[str, Macro] = {}
    left = [tree] if by_name else []
    while left:
        for name in _names_in(left.pop()):
            if name in by_name and name not in found:
                found[name] = by_name[name]
                left.append(tree_of(by_name[name]))
    return tuple(found[name] for name in sorted(found))


@lru_cache(MOST_KEPT)
def used_in_text(source: str, macros: Macros, *, is_condition: bool) -> Macros:
    """The macros that a condition or a text uses. A word inside of quotes or beside the braces is no use. Of a text that is no template,
    such as an address, each macro whose name occurs."""
    named = named_in([source], macros)
    try:
        return used_by(parsed(source) if is_condition else environment.parse(source), named) if named else ()
    except jinja2.TemplateError:
        return named


def named_in(texts: Sequence[str], macros: Macros) -> Macros:
    """The macros whose name occurs in some texts, and those whose name occurs in these."""
    found: dict[str, Macro] = {}
    left = list(texts)
    while left:
        word_list = set(re.findall(r"\w+", left.pop()))
        for macro in macros:
            if macro.name in word_list and macro.name not in found:
                found[macro.name] = macro
                left.append(macro.source)
    return tuple(found[name] for name in sorted(found))


@lru_cache(256)
def tree_of(macro: Macro) -> nodes.Expr:
    """The parsed expression of a macro; of a text, what joins its parts. Never changed, since it is kept. Raises as `parsed` does."""
    if not any(sign in macro.source for sign in ("{{", "{%", "{#")):
        return parsed(macro.source)
    tree = environment.parse(macro.source)
    parts: list[nodes.Expr] = []
    for output in tree.body:
        if not isinstance(output, nodes.Output):
            raise RuleError(
                f"{macro.source!r}: a macro cannot contain {{% … %}}; write {{{{ A if B else C }}}}, or put the block into the rule"
            )
        parts += [
            nodes.Const(part.data) if isinstance(part, nodes.TemplateData) else part for part in output.nodes
        ]
    joined = nodes.Concat(parts, lineno=1)
    joined.set_environment(environment)
    return joined


def _names_in(tree: nodes.Node) -> Iterator[str]:
    yield from (node.name for node in parts_of(tree, nodes.Name))
    if isinstance(tree, nodes.Name):
        yield tree.name


class _Expansion:
    """Copies one text, and counts its parts."""

    def __init__(self, macros: Macros) -> None:
        self._macros = {macro.name: macro for macro in macros}
        self._left = MOST_PARTS

    def copied(self, node: AnyNode, given: Mapping[str, nodes.Expr], level: int) -> AnyNode:
        """A copy of a part. `given`: the arguments by the parameters that stand for them."""
        self._left -= 1
        if self._left < 0 or level > MOST_LEVELS:
            raise RuleError(
                f"with its macros filled in it is too large: it may have at most {MOST_PARTS} parts, nested at most {MOST_LEVELS} deep"
            )
        put = self._put(node, given, level)
        if put is not None:
            return put  # type: ignore[return-value]  # a name and a call are expressions, and so is what is put there
        copy: AnyNode = object.__new__(type(node))
        vars(copy).update(vars(node))
        for field, value in node.iter_fields():
            setattr(copy, field, self._field(value, given, level + 1))
        return copy

    def _field(self, value: object, given: Mapping[str, nodes.Expr], level: int) -> object:
        if isinstance(value, nodes.Node):
            return self.copied(value, given, level)
        return [self._field(one, given, level) for one in value] if isinstance(value, list) else value

    def _put(self, node: nodes.Node, given: Mapping[str, nodes.Expr], level: int) -> nodes.Expr | None:
        """What stands for a name or a call; None if it stands for itself."""
        if isinstance(node, nodes.Macro) and node.name in self._macros:
            raise RuleError(
                f"{node.name} is a macro of [macros], so this text cannot define a macro with that name; rename one of them"
            )
        if isinstance(node, nodes.Name):
            if node.name in given:
                return self.copied(given[node.name], {}, level)
            return self._use(node, node.name, None, given, level)
        if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name):
            return self._use(node, node.node.name, node, given, level)
        return None

    def _use(
        self,
        node: nodes.Expr,
        name: str,
        call: nodes.Call | None,
        given: Mapping[str, nodes.Expr],
        level: int,
    ) -> nodes.Expr | None:
        macro = self._macros.get(name)
        if macro is None:
            return None
        if isinstance(node, nodes.Name) and node.ctx != "load":
            raise RuleError(
                f"{name} is a macro ({macro.where}), so this text cannot set a value with that name; rename one of them"
            )
        arguments = [] if call is None else call.args
        if call is not None and (call.kwargs or call.dyn_args or call.dyn_kwargs):
            raise RuleError(
                f"{name} takes its arguments in their order, without names: {macro.signature} ({macro.where})"
            )
        if len(arguments) != len(macro.parameters):
            count = f"{len(macro.parameters)} argument{'' if len(macro.parameters) == 1 else 's'}"
            raise RuleError(
                f"the macro {name} ({macro.where}) takes {count if macro.parameters else 'no arguments'}; write {macro.signature}"
            )
        own = [self.copied(argument, given, level + 1) for argument in arguments]
        put = self.copied(tree_of(macro), dict(zip(macro.parameters, own, strict=True)), level + 1)
        mark(put, words(node))
        return put
