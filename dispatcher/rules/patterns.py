"""Regular expressions whose search takes time in proportion to the text, whatever the pattern: for `match` in rules.

Python's `re` backtracks: `(a+)+b` needs longer than the universe exists for thirty a's. No package with a better engine has wheels
for every platform that hookchain supports (docs/decisions/0044). So this is Thompson's construction: a pattern becomes a
program of few steps, and a search follows all of its paths at the same time, one character after the other. Sets of places that were
seen before are remembered, as a table of an automaton.

Back-references and look-around, which no such engine can have, are refused.
"""

from __future__ import annotations

import re

from dispatcher.rules.pattern_syntax import Assertion, Character, Choice, Node, Repeat, Sequence, parsed

MOST_STEPS = 250
"""The most steps of a program: a search takes at most this many operations per character."""

MOST_WORK = 5_000
"""The most parts that are visited to write a program; nested counts such as `((a{9}){9}){9}` multiply."""

MOST_REMEMBERED = 4_096
"""The most moves that are remembered."""

_WORD = re.compile(r"\w")

Step = tuple[str, int, int, Character | str]
"""What to do at a place: "take" a character and go on; "both": go on at two places; "if" an assertion holds, go on; "found"."""

_FOUND = frozenset({-1})
"""Stands for: the pattern was found."""


class Pattern:
    """A compiled pattern."""

    def __init__(self, steps: list[Step]) -> None:
        self._steps = steps
        self._has_assertions = any(step[0] == "if" for step in steps)
        self._moves: dict[tuple[frozenset[int], int, str], frozenset[int]] = {}

    def search(self, text: str) -> bool:
        """True if the pattern occurs anywhere in the text."""
        places: frozenset[int] = frozenset()
        before = ""
        for after in (*text, ""):
            around = _around(before, after) if self._has_assertions else 0
            key = (places, around, after)
            if (reached := self._moves.get(key)) is None:
                reached = self._move(places, around, after)
                if len(self._moves) >= MOST_REMEMBERED:
                    self._moves.clear()
                self._moves[key] = reached
            if reached is _FOUND:
                return True
            places, before = reached, after
        return False

    def _move(self, places: frozenset[int], around: int, after: str) -> frozenset[int]:
        """Where one can be after the next character. The search may also begin here."""
        waiting, seen, reached = [0, *places], set(), set()
        while waiting:
            place = waiting.pop()
            if place in seen:
                continue
            seen.add(place)
            kind, first, second, what = self._steps[place]
            if kind == "found":
                return _FOUND
            if kind == "both":
                waiting += [first, second]
            elif kind == "if":
                waiting += [first] if _holds(str(what), around) else []
            elif isinstance(what, Character) and after and what.takes(after):
                reached.add(first)
        return frozenset(reached)


def compiled(pattern: object) -> Pattern:
    """Compile a pattern. Raises `ValueError` for one that is wrong, too large, or not supported."""
    steps: list[Step] = []
    _Writer(steps).write(parsed(pattern))
    steps.append(("found", 0, 0, ""))
    return Pattern(steps)


def _around(before: str, after: str) -> int:
    """What assertions look at: is this the beginning, the end, is there a word's character before, and after."""
    return (
        (not before)
        | (not after) << 1
        | (_WORD.match(before) is not None) << 2
        | (_WORD.match(after) is not None) << 3
    )


def _holds(assertion: str, around: int) -> bool:
    if assertion == "^":
        return bool(around & 1)
    if assertion == "$":
        return bool(around & 2)
    is_edge = bool(around & 4) != bool(around & 8)
    return is_edge if assertion == "b" else not is_edge


class _Writer:
    """Writes the program of a pattern."""

    def __init__(self, steps: list[Step]) -> None:
        self._steps = steps
        self._work = 0

    def write(self, node: Node) -> None:
        """Append the steps of a node; the last goes on to what is appended next."""
        self._work += 1
        if self._work > MOST_WORK or len(self._steps) > MOST_STEPS:
            raise ValueError(f"the pattern is too large: it needs more than {MOST_STEPS} steps")
        match node:
            case Character():
                self._steps.append(("take", len(self._steps) + 1, 0, node))
            case Assertion():
                self._steps.append(("if", len(self._steps) + 1, 0, node.kind))
            case Sequence():
                for part in node.parts:
                    self.write(part)
            case Choice():
                self._choice(node.parts)
            case Repeat():
                self._repeat(node)

    def _choice(self, parts: tuple[Node, ...]) -> None:
        ends = []
        for part in parts[:-1]:
            fork = self._open()
            self.write(part)
            ends.append(self._open())
            self._fork(fork, fork + 1, len(self._steps))
        self.write(parts[-1])
        for end in ends:
            self._fork(end, len(self._steps), len(self._steps))

    def _repeat(self, node: Repeat) -> None:
        for _ in range(node.least):
            self.write(node.part)
        if node.most is None:
            fork = self._open()
            self.write(node.part)
            back = self._open()
            self._fork(back, fork, fork)
            self._fork(fork, fork + 1, len(self._steps))
            return
        forks = []
        for _ in range(node.most - node.least):
            forks.append(self._open())
            self.write(node.part)
        for fork in forks:
            self._fork(fork, fork + 1, len(self._steps))

    def _open(self) -> int:
        self._steps.append(("both", 0, 0, ""))
        return len(self._steps) - 1

    def _fork(self, place: int, first: int, second: int) -> None:
        self._steps[place] = ("both", first, second, "")
