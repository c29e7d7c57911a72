"""What a delayed submission keeps about who asked for it, so that whether it is still wanted can be asked again when it is due."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec

from dispatcher.plugins.errors import GiveUp
from dispatcher.plugins.submit_options import SubmitOptions, delay_s
from dispatcher.policy.times_of_day import EXAMPLE, InvalidTime, due_ms, time_of_day
from storage import clock
from storage.records import Staged

if TYPE_CHECKING:
    from dispatcher.plugins.context import Context


class Terms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a submission was scheduled on: the event for which a receiver asked for it, when that arrived, and the expression that must
    not hold when the submission is due. Of a rule: digests of the whole rule, of what it does, and of each macro that it uses. Of one that
    runs by the clock: its `every`, with the time zone. `delay_ms` is how long after the event it is due, or after its approval at
    `approved_ms`."""

    receiver: str
    event: int
    asked_ms: int
    unless: str = ""
    rule: str = ""
    does: str = ""
    macros: dict[str, str] = {}
    every: str = ""
    delay_ms: int = 0
    approved_ms: int = 0

    def late_ms(self, now_ms: int) -> int:
        """How long ago it could have been sent first."""
        return now_ms - max(self.asked_ms, self.approved_ms) - self.delay_ms


StillWanted = Callable[[Terms, "Context", int], Awaitable[str]]
"""Asks a receiver whether what it scheduled is still wanted, with its task and chain as they are now, and the time in epoch milliseconds.
Returns why not, or ""."""

FindMistake = Callable[[str], str]
"""Returns what is wrong with an `unless` expression, or ""."""


_decoder = msgspec.json.Decoder(Terms)


def terms_of(stored: str) -> Terms:
    """Decode stored terms."""
    return _decoder.decode(stored)


def scheduled(
    staged: Staged, options: SubmitOptions, terms: Terms, zone: str, mistake_in: FindMistake | None
) -> Staged:
    """The submission with its time, by `after`, `at` and `unless`, and its terms if that is later. What a rule that runs by the clock
    requests has terms in any case, because its time may pass while its upstream is down. Raises `GiveUp` for a mistake."""
    after, at, unless = options.get("after", 0), options.get("at", ""), options.get("unless", "")
    if not after and not at:
        if unless:
            raise GiveUp("unless is asked when a delayed submission is due: give it a delay with after or at")
        return msgspec.structs.replace(staged, terms=_encoded(terms)) if terms.every else staged
    if after and at:
        raise GiveUp("after and at are two ways to say when: use one of them")
    if not isinstance(unless, str):
        raise GiveUp(f"unless is {unless!r}; it must be an expression as a text")
    if not isinstance(at, str):
        raise GiveUp(f"at is {at!r}; it must be a text. {EXAMPLE}")
    is_checked = (
        terms.rule != ""
    )  # a rule's is checked when its file is read, and has variables of the rule in it
    if unless and not is_checked and mistake_in is not None and (mistake := mistake_in(unless)):
        raise GiveUp(f"unless: {mistake}")
    terms = msgspec.structs.replace(terms, unless=unless)
    if not at:
        delay_ms = int(1000 * delay_s(after))
        kept = msgspec.structs.replace(terms, delay_ms=delay_ms) if terms.every else terms
        return msgspec.structs.replace(staged, delay_ms=delay_ms, terms=_encoded(kept))
    try:
        not_before_ms = due_ms(time_of_day(at, zone=zone), terms.asked_ms, clock.now_ms())
    except InvalidTime as error:
        raise GiveUp(f"at: {error.problem}. {error.remedy}") from error
    return msgspec.structs.replace(staged, not_before_ms=not_before_ms, terms=_encoded(terms))


def _encoded(terms: Terms) -> str:
    return msgspec.json.encode(terms).decode()
