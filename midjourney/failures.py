"""Classifies why a task failed, or a submission was refused, as one of seven kinds. Performs no I/O.

moderation   the prompt or the image was refused because of its content
account      the account behind the upstream, or our key: blocked, disabled, a captcha, no free account
money        credits, quota or the subscription are used up
parameter    the request itself is wrong
timeout      there was no answer in time
queue        too much at once: a full queue, a rate limit
unknown      anything else; a text that matches no entry is never guessed at
"""

from __future__ import annotations

import re
from typing import get_args

from midjourney.failure_words import TABLE, Entry, FailureKind

KINDS: tuple[FailureKind, ...] = get_args(FailureKind)

ACCOUNT_LEVEL: frozenset[str] = frozenset({"account", "money"})
"""Kinds that concern every request to the upstream: all of them fail until a person acts."""

HARMLESS: frozenset[str] = frozenset({"queue", "timeout"})
"""Kinds that pass by themselves: the request can be repeated safely."""

LONGEST = 4000
"""Characters of a text that are examined; trueai stores as many."""

_OF_CODE: dict[str, FailureKind] = {"23": "queue", "24": "moderation", "30": "queue"}
"""Codes with the same meaning in every dialect (protocol notes, b.1). For 3, 4 and 9 the text decides."""

_OF_REFUSAL: dict[str, FailureKind] = {"queue_full": "queue", "auth": "account"}
"""The kinds that follow from our classification of an answer (`midjourney/codes.py`) if its text is unknown."""

_QUOTED = re.compile(r"`[^`]*`")
_BRACKETED = re.compile(r"\s*\[([^\]]+)\]")
_CLAUSE = re.compile(r"[^,，:：;；。!！\n]*")
_SENT = "; sent POST "
_CODE = re.compile(r"(?:HTTP \d+, )?(?:no code|code (\S+?))(?:: |$)")


def failure_kind(text: str, code: int | str | None = None) -> FailureKind:
    """The kind of a failure, by the upstream's code if that is clear, otherwise by its text."""
    if kind := _OF_CODE.get(str(code)):
        return kind
    entry = entry_of(text)
    if entry is None or (entry.kind in HARMLESS and _says_something_worse(text)):
        return "unknown"
    return entry.kind


def _says_something_worse(text: str) -> bool:
    """True if the text of a harmless failure also matches a kind that must not be repeated, even within a prompt that it repeats."""
    unquoted = _QUOTED.sub("", text[:LONGEST])
    return any(entry.kind not in HARMLESS and entry.matches(unquoted) for entry in TABLE)


def entry_of(text: str) -> Entry | None:
    """The entry that matches a text, or None.

    The title is tried first ("[Title] text" in novicezk and Plus, "Title, text" in trueai): it is the upstream's own, while the
    rest may quote the prompt, which can contain anything.
    """
    unquoted = _QUOTED.sub("", text[:LONGEST])
    parts = (_title(unquoted), unquoted)
    return next((entry for part in parts for entry in TABLE if entry.matches(part)), None)


def refusal_kind(outcome: str, reason: str) -> FailureKind | None:
    """Why a submission's last attempt failed, by its outcome and reason; None if it did not fail, or the outcome is unknown.

    A request that never reached its upstream is "timeout"; one that was not sent because it was wrong is "parameter".
    """
    match outcome.partition(":"):
        case ("rejected", _, refusal):
            code, words = _code_and_words(reason)
            kind = failure_kind(words, code)
            return kind if kind != "unknown" else _OF_REFUSAL.get(refusal, "unknown")
        case ("invalid", _, _):
            return "parameter"
        case ("not_sent", _, _):
            return "timeout"
        case _:
            return None


def stops_everything(kind: str | None, text: str) -> bool:
    """True if the upstream must be paused until a person acts: for an account-level kind that is not a temporary outage."""
    if kind not in ACCOUNT_LEVEL:
        return False
    entry = entry_of(words_of(text))
    return entry is None or not entry.passes


def words_of(reason: str) -> str:
    """The upstream's own text in a submission's reason, without our words and without the request."""
    return _code_and_words(reason)[1]


def _title(text: str) -> str:
    if bracketed := _BRACKETED.match(text):
        return bracketed[1]
    clause = _CLAUSE.match(text)
    return clause[0] if clause else ""


def _code_and_words(reason: str) -> tuple[str | None, str]:
    """The code at the beginning of a submission's reason, and the upstream's text, without our own words.

    The part after "; sent POST" is our request, including the prompt.
    """
    answer = reason.partition(_SENT)[0]
    prefix = _CODE.match(answer)
    return (prefix[1], answer[prefix.end() :]) if prefix else (None, answer)
