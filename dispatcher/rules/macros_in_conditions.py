"""Refuses a text where a condition is either true or false: the text "False" counts as true, so nothing would ever be stopped. Pure."""

from __future__ import annotations

from jinja2 import nodes

from dispatcher.plugins.errors import RuleError
from dispatcher.rules.macros import Macro, Macros
from dispatcher.rules.parts_of import children
from dispatcher.rules.why import macro_at, words


def check_truths(source: str, condition: nodes.Template, macros: Macros) -> None:
    """Check a condition that has its macros in place, as `whole` gives it. Raises `RuleError` for the first text that is used as true or false."""
    text = _first(condition)
    if text is not None:
        raise RuleError(f"{source!r}: {_problem(text, {macro.name: macro for macro in macros})}")


def _first(condition: nodes.Template) -> nodes.Expr | None:
    """The first text in a place that is true or false; None if there is none."""
    left: list[tuple[nodes.Node, bool]] = [(condition, True)]
    while left:
        node, is_asked = left.pop()
        if is_asked and _is_text(node):
            assert isinstance(node, nodes.Expr)
            return node
        left += reversed(_inside(node, is_asked=is_asked))
    return None


def _inside(node: nodes.Node, *, is_asked: bool) -> list[tuple[nodes.Node, bool]]:
    """The parts of a part, each with whether it is asked if it is true. Of `(chain.state or 'none') == 'none'` the `or` is not: it chooses
    a value."""
    match node:
        case nodes.Template() | nodes.Output():
            return [(child, True) for child in children(node)]
        case nodes.Not():
            return [(node.node, True)]
        case nodes.And() | nodes.Or():
            return [(node.left, is_asked), (node.right, is_asked)]
        case nodes.CondExpr():
            branches = [one for one in (node.expr1, node.expr2) if one is not None]
            return [(node.test, True), *((one, is_asked) for one in branches)]
    return [(child, False) for child in children(node)]


def _is_text(node: nodes.Node) -> bool:
    """True if a part is a text, and not one that a condition joins from fields alone: that may ask whether all of them are empty."""
    if isinstance(node, nodes.Add):
        return _is_text(node.left) or _is_text(node.right)
    if isinstance(node, nodes.Concat):
        return bool(macro_at(node)) or any(_is_text(part) for part in node.nodes)
    return isinstance(node, nodes.Const) and isinstance(node.value, str)


def _problem(text: nodes.Expr, macros: dict[str, Macro]) -> str:
    used = macro_at(text)
    macro = macros.get(used.partition("(")[0])
    if macro is None:
        counts = "false" if isinstance(text, nodes.Const) and not text.value else "true"
        return (
            f"{words(text)} is a text, and always counts as {counts}; compare it with a field, as in task.action in ('UPSCALE', 'VARIATION'), "
            "or leave out its quotes if it is a field"
        )
    while (other := macros.get(macro.source)) is not None:  # a macro that stands for another one
        macro = other
    inner = _only_expression(macro.source)
    key = f'"{macro.signature}"' if macro.parameters else macro.name
    remedy = (
        f'Write {key} = "{inner}", without the braces'
        if inner
        else f"Compare it, as in {used} == '…', or write an expression without {{{{ }}}}"
    )
    return f'the macro {macro.name} ({macro.where}) is a text, and every text that is not empty counts as true, even "False". {remedy}'


def _only_expression(source: str) -> str:
    """The expression of a text that is exactly one `{{ … }}`; "" for any other."""
    inner = source[2:-2].strip("+-").strip()
    is_one = source.startswith("{{") and source.endswith("}}") and "{{" not in inner and "}}" not in inner
    return inner if is_one else ""
