"""TOML tables → rules, and errors that say where a mistake is and what was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from dispatcher.errors import RuleError
from dispatcher.rules.expressions import Template, compile_condition, compile_template
from dispatcher.signals import SIGNALS


class ModalAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a rule answers a window. `prompt` is a template; `mask` a PNG as base64 or data URL."""

    prompt: str = "{{ modal.prompt }}"
    mask: str = ""


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"when": "if"}):
    """One `[[rules]]` table: when it is asked (`on`, `if`), and what it does (at least one of the others).

    `press` takes labels, globs, kinds or customIds; `imagine` is a prompt template.
    """

    name: str
    on: str
    when: str = ""
    press: str | list[str] = []
    modal: ModalAnswer | None = None
    imagine: str = ""

    @property
    def presses(self) -> list[str]:
        """What to press, as a list."""
        return [self.press] if isinstance(self.press, str) else self.press


class CompiledRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule whose expressions are checked and ready to run."""

    rule: Rule
    condition: Template | None
    prompt: Template | None
    imagine: Template | None


RULE_KEYS = tuple(field.encode_name for field in msgspec.structs.fields(Rule))
_ACTIONS = ("press", "modal", "imagine")


def load_rules(tables: Any, *, file: str, text: str) -> list[CompiledRule]:
    """The rules of a file. `text` is its source, for line numbers. Raises `RuleError` at the first mistake."""
    if not isinstance(tables, list):
        raise RuleError(f"{file}: `rules` must be an array of tables, written [[rules]]")
    rules: list[CompiledRule] = []
    for index, table in enumerate(tables):
        compiled = _Place(file, text, index, table).load()
        if compiled.rule.name in {other.rule.name for other in rules}:
            raise RuleError(
                f"{file}: two rules are named {compiled.rule.name!r}; their deliveries could not be told apart"
            )
        rules.append(compiled)
    return rules


class _Place:
    """One table of a file: loads it, and knows where its mistakes are."""

    def __init__(self, file: str, text: str, index: int, table: Any) -> None:
        self._file, self._text, self._index, self._table = file, text, index, table

    def load(self) -> CompiledRule:
        """The rule, or `RuleError`."""
        if not isinstance(self._table, dict):
            raise self.error("", "a rule is a table, written [[rules]]")
        for key in self._table:
            if key not in RULE_KEYS:
                raise self.error(key, f"unknown key {key!r}", nearest(key, RULE_KEYS))
        for key in ("name", "on"):
            if key not in self._table:
                raise self.error("", f"the key {key!r} is missing")
        rule = self._convert()
        if rule.on not in SIGNALS:
            raise self.error("on", f"unknown signal {rule.on!r}", nearest(rule.on, SIGNALS))
        if not any(key in self._table for key in _ACTIONS):
            raise self.error("", f"it does nothing; give it one of {', '.join(_ACTIONS)}")
        if rule.modal is not None and rule.on != "submission.needs_modal":
            raise self.error("modal", "a window is answered on 'submission.needs_modal' only")
        return CompiledRule(
            rule=rule,
            condition=self._compiled("if", rule.when, compile_condition),
            prompt=self._compiled("modal", rule.modal.prompt if rule.modal else "", compile_template),
            imagine=self._compiled("imagine", rule.imagine, compile_template),
        )

    def _convert(self) -> Rule:
        modal = self._table.get("modal")
        if isinstance(modal, dict):
            known = [field.encode_name for field in msgspec.structs.fields(ModalAnswer)]
            for key in modal:
                if key not in known:
                    raise self.error("modal", f"unknown key {key!r} in modal", nearest(key, known))
        try:
            return msgspec.convert(self._table, Rule)
        except msgspec.ValidationError as error:
            found = re.search(r"at `\$\.(\w+)", str(error))
            raise self.error(found[1] if found else "", str(error)) from error

    def _compiled(self, key: str, source: str, compile_: Any) -> Template | None:
        if not source:
            return None
        try:
            compiled: Template = compile_(source)
        except RuleError as error:
            raise self.error(key, str(error)) from error
        return compiled

    def error(self, key: str, problem: str, suggestion: str = "") -> RuleError:
        """The mistake as file, line, rule, key, problem and the nearest valid name."""
        name = (
            self._table.get("name", f"no. {self._index + 1}")
            if isinstance(self._table, dict)
            else self._index + 1
        )
        line = line_of(self._text, self._index, key)
        where = f"{self._file}:{line}" if line else self._file
        in_key = f", key {key!r}" if key else ""
        return RuleError(f'{where}, rule "{name}"{in_key}: {problem}.{suggestion}')


def nearest(word: str, known: Iterable[str]) -> str:
    """' Did you mean "press"?', or the list of what there is when nothing is near."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f' Did you mean "{close[0]}"?' if close else f" There are: {', '.join(known)}."


def line_of(text: str, index: int, key: str) -> int:
    """The line, from 1, of a key in the index-th [[rules]] table, or of the table's head; 0 when it is not found.

    The TOML parser gives no positions, so the source is searched.
    """
    heads = [
        number
        for number, line in enumerate(text.splitlines(), 1)
        if re.match(r"\s*\[\[\s*rules\s*\]\]", line)
    ]
    if index >= len(heads):
        return 0
    lines = text.splitlines()
    pattern = re.compile(rf"""\s*(\[\s*rules\s*\.\s*)?["']?{re.escape(key)}["']?\s*[=.\]]""")
    for number in range(heads[index] + 1, len(lines) + 1):
        if number in heads:
            break
        if key and pattern.match(lines[number - 1]):
            return number
    return heads[index]
