"""POST /api/submissions/known: what became of submissions, by their Idempotency-Keys. Changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec
from starlette.requests import Request

from dispatcher.policy.costs import PAID, Prices
from dispatcher.policy.intent import key_by_caller
from hooks.api import shapes
from hooks.api.decode import decode_body
from hooks.api.known_answers import KnownSubmission, KnownSubmissions
from hooks.problems import Problem
from midjourney.prices import price_of
from storage.engine import Connection, Database
from storage.reading import keyed, pages
from storage.reading.keyed import Keyed

MOST_KEYS = 500
_EXAMPLE = '{"keys": ["order-7", "order-8"]}'
_NOT_PAID = ("FAILURE", "CANCEL", "LOST")


class Keys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys that somebody asks about."""

    keys: list[str] = []


class Known:
    """The handler for one database; `prices` are those of all upstreams."""

    def __init__(self, database: Database, upstreams: Collection[str], prices: Prices) -> None:
        self._database = database
        self._upstreams = upstreams
        self._prices = prices

    async def list(self, request: Request) -> tuple[int, KnownSubmissions]:
        """Return the submissions of these keys at any configured upstream."""
        asked = await decode_body(request, Keys, example=_EXAMPLE)
        if len(asked.keys) > MOST_KEYS:
            raise Problem(422, f"{len(asked.keys)} keys are too many; ask about at most {MOST_KEYS} at once")
        keys = {
            key_by_caller(upstream, key): (key, upstream)
            for key in asked.keys
            for upstream in self._upstreams
        }

        def read(connection: Connection) -> tuple[dict[str, Keyed], Mapping[tuple[str, str], bytes]]:
            found = keyed.of_keys(connection, {key: upstream for key, (_, upstream) in keys.items()})
            rows = [one.task for one in found.values() if one.task is not None]
            return found, pages.latest_payloads(connection, rows)

        found, payloads = await self._database.read(read)
        in_order = [(key, *keys[key]) for key in keys if key in found]
        return 200, KnownSubmissions(
            submissions=[
                self._shape(name, upstream, found[key], payloads) for key, name, upstream in in_order
            ]
        )

    def _shape(
        self, key: str, upstream: str, found: Keyed, payloads: Mapping[tuple[str, str], bytes]
    ) -> KnownSubmission:
        submission, task = found.submission, found.task
        if submission is None:
            return KnownSubmission(
                key=key,
                id=found.removed,
                chain_id="",
                upstream=upstream,
                state="removed",
                reason="it was removed with its chain ([retention] chain_days)",
                failure_kind=None,
                cost=0.0,
                task=None,
            )
        is_dropped = submission.state == "rejected" and submission.outcome == "dropped"
        is_paid = submission.state in PAID and (task is None or task.status not in _NOT_PAID)
        # A press has no key of its own, so that the price does not depend on the request.
        price = price_of(submission.kind, b"", self._prices.get(upstream, {}))
        return KnownSubmission(
            key=key,
            id=submission.id,
            chain_id=submission.chain_id,
            upstream=upstream,
            state="dropped" if is_dropped else submission.state,
            reason=submission.reason,
            failure_kind=submission.failure_kind or None,
            cost=price if is_paid else 0.0,
            task=None
            if task is None
            else shapes.task_shape(task, payloads.get((task.upstream, task.id), b"")),
        )
