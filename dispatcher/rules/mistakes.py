"""Finds all mistakes of a rule: notes the first one, puts something right in its place, and looks again.

What replaces a wrong value must not cause a mistake itself, so that each one that is reported is the user's own.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence

import msgspec

from dispatcher.plugins.errors import RuleError
from dispatcher.plugins.signals import SIGNALS
from dispatcher.rules.checks import NEEDS_MODAL, InvalidRule
from dispatcher.rules.key_names import meant_key
from dispatcher.rules.model import EFFECTS, KEYS, STAGED

Table = Mapping[str, object]
"""A `[[rules]]` table as TOML has it."""

_PICTURE = "data:image/png;base64,iVBORw0KGgo="

_RIGHT: Mapping[str, object] = {
    "name": "r",
    "on": "task.succeeded",
    "every": "0 9 * * mon",
    "press": "U1",
    "vary": "strong",
    "zoom": 2,
    "pan": "left",
    "animate": "low",
    "modal": {"mask": "all"},
    "imagine": "x",
    "blend": [_PICTURE, _PICTURE],
    "describe": _PICTURE,
    "shorten": "x",
}
"""What is right in nearly every rule, by key. Other wrong keys are left out."""

_SIGNALS = ("task.succeeded", NEEDS_MODAL, "task.failed", "task.progressed")
"""Between them, these allow every key."""


class Mistake(msgspec.Struct, frozen=True, kw_only=True):
    """A mistake of a rule, or a warning about it: where it is (`line` 0: unknown; `rule` None: outside of the rules), the
    problem, and what to write instead."""

    file: str
    line: int
    rule: str | None
    key: str
    problem: str
    remedy: str
    kind: str = "mistake"

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        in_rule = f', rule "{self.rule}"' if self.rule is not None else ""
        in_key = f", key {self.key!r}" if self.key else ""
        end = "" if self.problem.endswith((".", "?")) else "."
        return f"{where}{in_rule}{in_key}: {self.problem}{end}{self.remedy and f' {self.remedy}'}"


class WrongRules(RuleError):
    """Rules have mistakes; the message has a line for each."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__(*map(str, mistakes))
        self.mistakes = tuple(mistakes)


def all_mistakes(table: Table, attempt: Callable[[Table], object]) -> list[InvalidRule]:
    """Everything that is wrong in a table. `attempt` loads it, and raises `InvalidRule` for the first mistake."""
    found: list[InvalidRule] = []
    mended: set[str] = set()
    for _ in range(2 * len(KEYS) + len(table)):  # a key is mended once, and then left out
        try:
            attempt(table)
        except InvalidRule as mistake:
            key = mistake.key or next((name for name in _needed(table) if name not in table), "")
            is_new = key not in mended and not (key == "" and mended & _ACTS)
            found += [mistake] if is_new else []
            table, keys = _mended(table, key, attempt, again=not is_new)
            mended |= keys
        else:
            break
    return found


def _needed(table: Table) -> tuple[str, ...]:
    return ("name",) if "every" in table else ("name", "on")


_UNKNOWN = "?"
"""Stands for an unknown key, which may be meant for any other."""

_ACTS = frozenset({*STAGED, *EFFECTS, _UNKNOWN})


def _mended(
    table: Table, key: str, attempt: Callable[[Table], object], *, again: bool
) -> tuple[Table, set[str]]:
    """The table without the mistake at a key, and the keys that this has changed."""
    rest = {name: value for name, value in table.items() if name != key}
    if not key:
        put: dict[str, object] = (
            {"shorten": "x"} if isinstance(table.get("on"), list) or "every" in table else {"press": "U1"}
        )
        put = {"modal": "x"} if table.get("on") == NEEDS_MODAL else put
        return {**table, **put}, {key}
    if key not in KEYS:
        meant = meant_key(key)
        put = {meant: _RIGHT[meant]} if meant in _RIGHT and meant not in table else {}
        return {**rest, **put}, {key, *put, _UNKNOWN}
    if key == "on" and key in table and not again:
        return {**rest, "on": _meant_signals(rest, table["on"], attempt)}, {"on"}
    if again and key == "every":  # a right text was not enough: then a signal
        return {"on": "task.succeeded", **{name: rest[name] for name in rest if name != "missed"}}, {
            key,
            "missed",
        }
    if again or key not in _RIGHT:
        return rest, {key}
    return {**rest, key: _RIGHT[key]}, {key}


def _meant_signals(rest: Table, written: object, attempt: Callable[[Table], object]) -> str | list[str]:
    """The nearest signal, or, in a list, those that are right and the nearest to the others."""
    if not isinstance(written, list) or not written:
        return _meant_signal(rest, str(written), attempt)
    texts = [str(one) for one in written]
    return list(dict.fromkeys(one if one in SIGNALS else _meant_signal(rest, one, attempt) for one in texts))


def _meant_signal(rest: Table, written: str, attempt: Callable[[Table], object]) -> str:
    """The nearest signal, or, if none is near, the one that fits the other keys best."""
    if near := difflib.get_close_matches(written, SIGNALS, n=1, cutoff=0.5):
        return near[0]
    return min(_SIGNALS, key=lambda signal: len(all_mistakes({**rest, "on": signal}, attempt)))
