"""What is known of the intents that are staged together, before any of them is stored: read by a few statements for all of them.

While they are decided in order, those that are to be stored are noted here, so that the next one counts them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import Connection

from storage.driver import locks
from storage.records import ChainUse, Staged, Submission
from storage.submissions import adoption, sql
from storage.submissions.sql import Known
from storage.tasks import marks

_PRESSES = ("action", "change", "simple_change")


def with_key(connection: Connection, idempotency_key: str) -> Submission | None:
    """The submission that an intent has, or None."""
    return sql.WITH_KEY.first(connection, key=idempotency_key)


class Intents:
    """Locks the chains of the intents, and reads what they have already. Nothing else may store submissions of these meanwhile."""

    def __init__(self, connection: Connection, staged: Sequence[Staged]) -> None:
        chain_ids = sorted({one.chain_id for one in staged if one.chain_id})
        locks.chains(connection, chain_ids)
        # By key: the id that its submission has, or will have; and the key that it has if it was adopted by its mark alone.
        self._ids = {
            one.idempotency_key: marks.of_intent(connection, one.upstream, one.idempotency_key)
            for one in staged
        }
        self._adopted_keys = {
            one.idempotency_key: adoption.adopted_key(one.upstream, self._ids[one.idempotency_key])
            for one in staged
        }
        keys = sorted({*self._adopted_keys, *self._adopted_keys.values()})
        self._by_key = {row.idempotency_key: row for row in sql.KNOWN_BY_KEYS.all(connection, keys=keys)}
        self._spent = dict(sql.SPENT_BY.all(connection, keys=keys))
        self._by_thing = _by_thing(connection, chain_ids, staged)
        self._automatic: Counter[str] = Counter()
        self._by_receiver: Counter[tuple[str, str]] = Counter()
        self._waiting: Counter[str] = Counter()
        self._chains: set[str] = set()
        self._count(connection, chain_ids)
        self._made_elsewhere = _made_elsewhere(connection, staged)
        self._noted: set[object] = set()

    def _count(self, connection: Connection, chain_ids: Sequence[str]) -> None:
        for row in sql.USE_OF_CHAINS.all(connection, ids=chain_ids) if chain_ids else ():
            self._chains.add(row.chain_id)
            self._automatic[row.chain_id] = row.automatic
            self._by_receiver[row.chain_id, row.asked_by] = row.asked_for
            self._waiting[row.chain_id] += row.waiting

    def id_for(self, staged: Staged) -> str:
        """The id of the submission to be stored. Unguessable: it is part of the hook's path, and a callback that knows it counts as
        evidence for the submission."""
        return self._ids[staged.idempotency_key]

    def submission_of(self, staged: Staged) -> Known | None:
        """The submission that the intent has; or the one that presses the same thing in this chain under an alias of its task."""
        return (
            self._by_key.get(staged.idempotency_key)
            or self._by_key.get(self._adopted_keys[staged.idempotency_key])
            or self._by_thing.get((staged.chain_id, staged.thing))
        )

    def is_adopted(self, staged: Staged, known: Known) -> bool:
        """True if this submission was adopted by the mark of the intent alone."""
        return known.idempotency_key == self._adopted_keys[staged.idempotency_key]

    def spent_by(self, staged: Staged) -> str | None:
        """The submission of the intent that was dropped with its chain."""
        keys = staged.idempotency_key, self._adopted_keys[staged.idempotency_key]
        return next((self._spent[key] for key in keys if key in self._spent), None)

    def has_chain(self, staged: Staged) -> bool:
        """True if the chain of an intent exists."""
        return staged.chain_id in self._chains

    def use_for(self, staged: Staged) -> ChainUse:
        """How much rules and plugins have used in the chain of an intent."""
        return ChainUse(
            submissions=self._automatic[staged.chain_id],
            by_same_receiver=self._by_receiver[staged.chain_id, staged.asked_by],
        )

    def waiting_in(self, chain_id: str) -> int:
        """The number of submissions that wait in a chain."""
        return self._waiting[chain_id]

    def existing_child(self, staged: Staged) -> str | None:
        """The task that this button made when another client pressed it, as the upstream itself reported; None if there is none."""
        if not _is_first_press(staged):
            return None
        names = [name for name in (staged.thing.partition("|")[0], staged.label) if name]
        made = self._made_elsewhere.get((staged.upstream, staged.parent_id), {})
        return next((made[name] for name in names if name in made), None)

    def note(self, staged: Staged, state: str) -> None:
        """Count one that will be stored in this state."""
        self._noted |= identities(staged)
        if state != "refused":
            self._by_receiver[staged.chain_id, staged.asked_by] += 1
        if state in ("waiting", "held"):
            self._waiting[staged.chain_id] += 1
            self._automatic[staged.chain_id] += not staged.is_by_hand

    def repeats_noted(self, staged: Staged) -> bool:
        """True if one that was noted has the same intent, or presses the same thing."""
        return not self._noted.isdisjoint(identities(staged))


def identities(staged: Staged) -> set[object]:
    """What only one submission may have."""
    thing = {(staged.chain_id, staged.thing)} if staged.chain_id and staged.thing else set[tuple[str, str]]()
    return {staged.idempotency_key, *thing}


def _is_first_press(staged: Staged) -> bool:
    return staged.kind in _PRESSES and staged.is_first


def _by_thing(
    connection: Connection, chain_ids: Sequence[str], staged: Sequence[Staged]
) -> dict[tuple[str, str], Known]:
    things = sorted({one.thing for one in staged if one.thing and one.chain_id})
    if not things:
        return {}
    rows = sql.KNOWN_BY_THINGS.all(connection, chain_ids=chain_ids, things=things)
    return {(row.chain_id, row.thing): row for row in rows}


def _made_elsewhere(
    connection: Connection, staged: Sequence[Staged]
) -> dict[tuple[str, str], dict[str, str]]:
    """By upstream and parent: the tasks that other clients' presses made, by their buttons."""
    parents = sorted({one.parent_id for one in staged if _is_first_press(one)})
    made: dict[tuple[str, str], dict[str, str]] = {}
    for row in sql.MADE_ELSEWHERE.all(connection, parent_ids=parents) if parents else ():
        made.setdefault((row.upstream, row.parent_id), {}).setdefault(row.made_by, row.id)
    return made
