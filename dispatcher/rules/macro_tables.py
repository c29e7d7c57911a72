"""The tables `[macros]` of rule files: read and checked before the rules that use them. The macros of each file are for all files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import jinja2
import msgspec
from jinja2 import nodes

from dispatcher.plugins.errors import RuleError
from dispatcher.rules.archive_paths import NAMES as OF_ARCHIVES
from dispatcher.rules.expression_names import FIELDS, check_expression, problem_of, whole
from dispatcher.rules.joins import strings
from dispatcher.rules.language import NOW, VARIABLES
from dispatcher.rules.lines import line_in_table, line_of
from dispatcher.rules.macros import Macro, Macros, expanded, named_in, tree_of, used_by
from dispatcher.rules.mistakes import Mistake
from dispatcher.rules.moments import zones_of
from dispatcher.rules.nesting import check_brackets, check_levels
from dispatcher.rules.parts_of import parts_of
from dispatcher.rules.sandbox import environment

TABLE = "macros"

LONGEST = 4096
"""The most characters of a macro, as of a condition."""
MOST = 200
"""The most macros of all files together."""
_MOST_NAMED = 3
"""How many of the rules that use a wrong macro its message names."""

_SIGNATURE = re.compile(r"\s*([A-Za-z]\w*)\s*(?:\(([\w\s,]*)\))?\s*", re.ASCII)
_PARAMETER = re.compile(r"[A-Za-z]\w*", re.ASCII)
_PLACE = re.compile(r"<<\s*(\w+)\s*>>")
_WORDS = frozenset(
    {"and", "or", "not", "if", "else", "in", "is", "true", "false", "none", "True", "False", "None"}
)
_NAMES = frozenset(name for name in FIELDS if "." not in name)
_OWNERS = [name for name in FIELDS if not name.endswith(".params")]
_RESERVED = _NAMES | {NOW, VARIABLES}

_STUB = "task.extra.x"
"""What a wrong macro stands for, so that only the macro is reported and not each rule that uses it."""


class Source(Protocol):
    """A file with rules."""

    @property
    def file(self) -> str:
        """What messages call it."""
        ...

    @property
    def text(self) -> str:
        """As it is written."""
        ...

    @property
    def tables(self) -> Mapping[str, object]:
        """As it is read."""
        ...


class _Wrong(Exception):
    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem, self.remedy = problem, remedy


def macros_in(sources: Sequence[Source]) -> tuple[Macros, list[Mistake]]:
    """The macros of all files, and what is wrong with them. One that is wrong stands for something that no rule is wrong for."""
    tables = _Tables(sources)
    for source in sources:
        tables.read(source)
    tables.check()
    return tables.macros, tables.mistakes


def unused(sources: Sequence[Source]) -> list[Mistake]:
    """A warning for each macro that no rule uses."""
    macros, mistakes = macros_in(sources)
    if mistakes:
        return []
    used = named_in([text for source in sources for text in strings(source.tables.get("rules"))], macros)
    return [
        _mistake(
            source,
            macro.name,
            macro.line,
            "no rule uses this macro",
            "Leave it out, or use it.",
            kind="unused",
        )
        for source in sources
        for macro in macros
        if macro not in used and macro.file == source.file
    ]


def _mistake(
    source: Source, name: str, line: int, problem: str, remedy: str, kind: str = "mistake"
) -> Mistake:
    key = f"{TABLE}.{name}" if name else TABLE
    return Mistake(file=source.file, line=line, rule=None, key=key, problem=problem, remedy=remedy, kind=kind)


class _Tables:
    """Collects the macros of files."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._macros: dict[str, Macro] = {}
        self._from: dict[str, Source] = {}
        self._broken: set[str] = set()
        self.mistakes: list[Mistake] = []

    @property
    def macros(self) -> Macros:
        return tuple(self._macros.values())

    def read(self, source: Source) -> None:
        table = source.tables.get(TABLE, {})
        if not isinstance(table, dict):
            problem, remedy = "it must be a table", f'Write [{TABLE}] above lines such as is_final = "…".'
            self.mistakes.append(_mistake(source, "", line_in_table(source.text, TABLE, ""), problem, remedy))
            return
        for key, value in table.items():
            name, _, parameters = str(key).partition("(")
            name, line = name.strip(), line_in_table(source.text, TABLE, str(key))
            try:
                self._add(source, self._macro(source.file, line, str(key), value))
            except _Wrong as wrong:
                if name not in _RESERVED:
                    given = (
                        tuple(one.strip() for one in parameters.rstrip(") ").split(",")) if parameters else ()
                    )
                    stub = Macro(name=name, parameters=given, source=_STUB, file=source.file, line=line)
                    self._macros.setdefault(name, stub)
                self._report(source, name, line, wrong)

    def check(self) -> None:
        """Check each macro with all others. Those that are wrong are replaced."""
        for name in [name for name in self._macros if name not in self._broken]:
            try:
                self._parse(self._macros[name])
            except _Wrong as wrong:
                self._report_of(name, wrong)
        for name in list(self._macros):
            if name not in self._broken and (circle := self._circle(name)):
                problem = f"it uses itself: {' → '.join(circle)}"
                self._report_of(name, _Wrong(problem, "Remove one of these uses."))
                for other in circle[:-1]:
                    self._break(other)
        for name in [name for name in self._macros if name not in self._broken]:
            try:
                self._check(self._macros[name])
            except _Wrong as wrong:
                self._report_of(name, wrong)

    def _report_of(self, name: str, wrong: _Wrong) -> None:
        self._report(self._from[name], name, self._macros[name].line, wrong)

    def _report(self, source: Source, name: str, line: int, wrong: _Wrong) -> None:
        remedy = " ".join(filter(None, (wrong.remedy, self._users(name))))
        self.mistakes.append(_mistake(source, name, line, wrong.problem, remedy))
        self._break(name)

    def _break(self, name: str) -> None:
        self._broken.add(name)
        if name in self._macros:
            self._macros[name] = msgspec.structs.replace(self._macros[name], source=_STUB)

    def _users(self, name: str) -> str:
        """The rules that use a macro, also by other macros, with their places."""
        found: list[str] = []
        for source in self._sources if name not in _RESERVED else ():
            rules = source.tables.get("rules", [])
            for index, rule in enumerate(rules if isinstance(rules, list) else []):
                texts = list(strings(rule))
                words = {word for text in texts for word in re.findall(r"\w+", text)}
                words |= {macro.name for macro in named_in(texts, self.macros)}
                if name in words and isinstance(rule, dict):
                    place = f"{source.file}:{line_of(source.text, index, '')}"
                    found.append(f'rule "{rule.get("name", f"no. {index + 1}")}" ({place})')
        more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        return f"Used by {', '.join(found[:_MOST_NAMED])}{more}." if found else ""

    def _macro(self, file: str, line: int, key: str, value: object) -> Macro:
        written = _SIGNATURE.fullmatch(key)
        if written is None:
            raise _Wrong(
                f"{key!r} is not a valid macro name",
                'Use letters, digits and _, and begin with a letter; with parameters, write "wide(ratio)" = "…".',
            )
        parameters = tuple(one.strip() for one in written[2].split(",")) if written[2] is not None else ()
        parameters = () if parameters == ("",) else parameters
        _check_name(written[1], "a macro")
        for at, parameter in enumerate(parameters):
            if not _PARAMETER.fullmatch(parameter) or parameter in parameters[:at]:
                raise _Wrong(
                    f"{parameter!r} cannot be a parameter of {key!r}",
                    "Give each parameter a different name, and separate them with commas.",
                )
            _check_name(parameter, "a parameter")
        if not isinstance(value, str) or not value.strip():
            raise _Wrong(
                "expected an expression or a text in quotes",
                'Write something like "task.is_grid and chain.depth == 0".',
            )
        if len(value) > LONGEST:
            raise _Wrong(f"it has {len(value)} characters, more than {LONGEST}", "Split it.")
        if place := _PLACE.search(value):
            raise _Wrong(f"{place[0]} is filled in only in rules", f"Write vars.{place[1]}.")
        return Macro(name=written[1], parameters=parameters, source=value.strip(), file=file, line=line)

    def _add(self, source: Source, macro: Macro) -> None:
        other = self._macros.get(macro.name)
        if other is None and len(self._macros) >= MOST:
            raise _Wrong(f"there are more than {MOST} macros", "Leave out those that no rule uses.")
        if other is not None and (other.parameters, other.source) != (macro.parameters, macro.source):
            raise _Wrong(f"another macro has this name, at {other.where}", "Rename one of them.")
        self._macros.setdefault(macro.name, macro)
        self._from.setdefault(macro.name, source)

    def _parse(self, macro: Macro) -> None:
        """Check what can be seen of a macro alone."""
        is_text = "{{" in macro.source or "{%" in macro.source
        try:
            check_brackets("text" if is_text else "condition", macro.source)
            tree = tree_of(macro)
            check_levels("macro", tree)
        except jinja2.TemplateError as error:
            raise _Wrong(
                f"{macro.source!r}: {problem_of(error)}", "Write an expression, as in `if`."
            ) from error
        except RecursionError as error:
            raise _Wrong("the macro is nested too deeply") from error
        except RuleError as error:
            raise _Wrong(str(error)) from error
        names = {node.name for node in parts_of(whole(tree), nodes.Name)}
        if missing := [one for one in macro.parameters if one not in names]:
            raise _Wrong(f"the parameter {missing[0]!r} is not used", "Leave it out, or use it.")
        if shadowed := [one for one in macro.parameters if one in self._macros]:
            raise _Wrong(f"the parameter {shadowed[0]!r} has the name of a macro", "Rename one of them.")

    def _check(self, macro: Macro) -> None:
        """Check what a macro uses. Whether its values are known where it is used is checked with each rule."""
        tree = whole(tree_of(macro))
        known = [*_NAMES, *OF_ARCHIVES, *self._macros, *macro.parameters]
        try:
            put = expanded(tree, used_by(tree, self.macros))
            check_expression(macro.source, tree, None, known, when_due=True)
            zones_of(macro.source, put)
        except RuleError as error:
            raise _Wrong(str(error)) from error

    def _circle(self, name: str) -> list[str]:
        """The way from a macro back to it, as ["a", "b", "a"]; empty if there is none."""
        ways: list[list[str]] = [[name]]
        seen: set[str] = set()
        while ways:
            way = ways.pop(0)
            for used in self._uses(way[-1]):
                if used == name:
                    return [*way, name]
                if used not in seen:
                    seen.add(used)
                    ways.append([*way, used])
        return []

    def _uses(self, name: str) -> Iterator[str]:
        if name not in self._broken:
            names = {node.name for node in parts_of(whole(tree_of(self._macros[name])), nodes.Name)}
            yield from sorted(names & self._macros.keys())


def _check_name(name: str, what: str) -> None:
    hidden, owners = "", _OWNERS if what == "a macro" else ["task"]
    if name in _RESERVED:
        hidden = "a name that every expression has"
    elif owner := next((one for one in owners if name in FIELDS[one]), ""):
        hidden = f"a field: {owner}.{name}"
    elif name in OF_ARCHIVES:
        hidden = "a name that paths of archive use"
    elif name in environment.filters:
        hidden = "a filter"
    elif name in environment.tests or name in _WORDS:
        hidden = "a word of expressions"
    elif name in ("loop", "self", "super"):
        hidden = "a name of Jinja"
    if hidden:
        raise _Wrong(
            f"{name!r} cannot be the name of {what}: it is {hidden}",
            f'Rename it, for example to "my_{name}".',
        )
