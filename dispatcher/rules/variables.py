"""Variables of rules: names for values that a file's author chooses, as `vars.factor` in expressions and texts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from dispatcher.plugins.errors import RuleError
from dispatcher.rules.macros import Macros
from dispatcher.rules.spelling import nearest
from dispatcher.rules.values import LONGEST_VALUE

Scalar = str | int | float | bool
Value = Scalar | list[Scalar]
"""What a variable may be."""

Variables = Mapping[str, Value]


class Given(dict[str, Value]):
    """The variables of a rule, and beside them the macros that its texts may use."""

    def __init__(self, variables: Variables, macros: Macros = ()) -> None:
        super().__init__(variables)
        self.macros = macros


NONE: Variables = Given({})
"""Neither variables nor macros."""


def macros_of(variables: Variables) -> Macros:
    """The macros that come with a rule's variables."""
    return variables.macros if isinstance(variables, Given) else ()


NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def wrong_variable(variables: object) -> str:
    """What is wrong with a table of variables, and what to write instead, as "problem. Remedy."; "" if it is right."""
    if not isinstance(variables, Mapping):
        return "expected a table { … }. Write vars = { factor = 1.6 }."
    return next(filter(None, (_wrong(str(name), value) for name, value in variables.items())), "")


def _wrong(name: str, value: object) -> str:
    if not NAME.fullmatch(name):
        return (
            f"{name!r} is not a valid name of a variable. Use letters, digits and _, and begin with a letter."
        )
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str | int | float) for one in values):
        return f"{name!r} is not a value that rules can use. Write a text, a number, true or false, or a list of these."
    if sum(len(str(one)) for one in values) > LONGEST_VALUE:
        return f"{name!r} has more than {LONGEST_VALUE} characters. Write a shorter text."
    return ""


def used_in(texts: Sequence[str], variables: Variables) -> dict[str, Value]:
    """The variables that may be used in some texts: those whose name occurs there."""
    words = {word for text in texts for word in re.findall(r"\w+", text)}
    return {name: value for name, value in variables.items() if name in words}


def check_used(source: str, names: Sequence[str], variables: Variables) -> None:
    """Check that the variables that an expression uses exist. Raises `RuleError`."""
    for name in names:
        if name not in variables:
            write = f" Write vars = {{ {name} = … }} in the rule, or [vars] at the top of the file."
            meant = nearest(name, variables) if variables else write
            raise RuleError(f"{source!r}: no variable is named {name!r}.{meant}")
