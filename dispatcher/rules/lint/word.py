"""Comparisons with a word that a field never has: actions in small letters, other spellings of a status, an unknown kind of failure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from dispatcher.rules.lint.caution import Caution, Subject
from dispatcher.rules.lint.fields import ACTIONS, STATUSES, field_of
from dispatcher.rules.lint.parts import Comparison, comparisons
from dispatcher.rules.spelling import nearest
from dispatcher.rules.why import words
from midjourney.statuses import canonical_status

_OPEN = {
    "task.action": ACTIONS,
    "event.action": ACTIONS,
    "task.status": STATUSES,
    "event.status": STATUSES,
}
"""Fields whose words are known, although vendors add new ones."""

_NEAR = 0.75
"""How much an unknown word must be like a known one to count as misspelt; a new word of a vendor is not a mistake."""


def impossible_words(subject: Subject) -> Iterator[Caution]:
    """A word that is compared with a field, and that the field never has."""
    if subject.condition is None:
        return
    for comparison in comparisons(subject.condition):
        if comparison.operator in ("eq", "ne", "in", "notin"):
            for word in comparison.constants:
                if isinstance(word, str) and (remedy := _remedy(comparison.path, word)):
                    yield _caution(comparison, word, remedy)


def _remedy(path: str, word: str) -> str:
    """What to write instead of a word; "" if the field may have it."""
    field = field_of(path)
    if field is not None and field.words:
        return "" if word in field.words else nearest(word, field.words - {""}).strip()
    known = _OPEN.get(path)
    if known is None or word in known or not word:
        return ""
    meant = canonical_status(word) if path.endswith("status") else word.upper()
    if meant in known:
        is_case = meant == word.upper()
        return f"Write {str(meant)!r}{', in capitals' if is_case else ', as hookchain names this status'}."
    close = difflib.get_close_matches(word.upper(), known, n=1, cutoff=_NEAR)
    return f"No known vendor sends it. Did you mean {str(close[0])!r}?" if close else ""


def _caution(comparison: Comparison, word: str, remedy: str) -> Caution:
    return Caution(
        kind="word",
        key="if",
        problem=f"{words(comparison.node)}: {comparison.path} is never {word!r}",
        remedy=remedy,
    )
