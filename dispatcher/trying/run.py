"""One trial: what the server would have done about each fact, in the order of a server that does one thing at a time."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from functools import partial

import msgspec

from dispatcher.loops.ask_again import Asker
from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.plugins.receivers import Registry
from dispatcher.plugins.scheduled import terms_of
from dispatcher.policy.chain_budget import Budget, refusal
from dispatcher.policy.costs import PAID, Prices
from dispatcher.policy.outcomes import after_invalid
from dispatcher.rules.expressions import evaluate_here
from dispatcher.rules.later import asking_plugins
from dispatcher.rules.receiver import PREFIX
from dispatcher.runs.call import Call
from dispatcher.runs.preflight import Preflight
from dispatcher.runs.store_turns import StoreTurns
from dispatcher.runs.verify import Verified
from dispatcher.trying.doubts import Doubts
from dispatcher.trying.dry import DirectRuns, DryChain, finished
from dispatcher.trying.facts import Fact
from dispatcher.trying.past import Past
from dispatcher.trying.report import Decision, Report, Suggested, fate_of, words_of
from midjourney.errors import InvalidRequest, Undecodable
from midjourney.prices import price_of
from midjourney.requests import decode_request
from midjourney.wire import wire_body, wire_path
from storage.deliveries import delivery_queue
from storage.deliveries.endings import Ended, Run, end_all
from storage.deliveries.running_alone import EMPTY
from storage.events import event_log
from storage.histogram import Timings
from storage.joins import looking
from storage.reading.facts import Requested
from storage.records import JOINS, STRUCK, ClaimedDelivery, Event, PendingEvent, Staged, Submission
from storage.scratch import Scratch
from storage.submissions import approvals, decisions, intents, scheduled, submission_queue
from storage.submissions.settlements import settle_attempt
from storage.timetable import occurrences

SOME = 1000

_UNSETTLED = frozenset({"held", "waiting", "sending"})
"""States of submissions that may still be paid for."""


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What is tried, and under what."""

    registry: Registry
    signals: Container[str]
    handles: Mapping[str, UpstreamHandle]
    prices: Prices
    budget: Budget


class Time:
    """The time of a trial."""

    def __init__(self) -> None:
        self.now_ms = 0

    def __call__(self) -> int:
        """Epoch milliseconds."""
        return self.now_ms


class Trial:
    """One trial over its database."""

    def __init__(self, tried: Tried, scratch: Scratch, report: Report, now: Time, since_ms: int) -> None:
        self._tried, self._scratch, self._connection = tried, scratch, scratch.connection
        self._report, self._registry, self._handles = report, tried.registry, tried.handles
        self._now = now
        self._made: dict[str, Suggested] = {}
        self._refuse = partial(refusal, budget=tried.budget)
        self.past = Past(scratch, self._handles, self._refuse)
        self._since_ms = since_ms
        self._doubts = Doubts(tried.signals)
        self.past.want(frozenset(self._registry.connected_signals()), since_ms)
        self._joins: Collection[str] = self._registry.connected_signals() & JOINS
        self._preflight = Preflight(
            scratch, self._registry, self._handles, self._now, lambda: True, StoreTurns()
        )
        self._call = Call(DirectRuns(), self._handles, self._now, Timings().runs, DryChain)
        by_plugin = asking_plugins(evaluate_here)
        self._asker = Asker(scratch, self._registry, self._handles, by_plugin, self._now, lambda: True)
        self._moved: set[str] = set()

    def until(self, at_ms: int) -> None:
        """Let time pass, and do what becomes due, in order."""
        while (next_ms := self._scratch.next_ms(self._now())) is not None and next_ms <= at_ms:
            self._now.now_ms = next_ms
            self._settle()
        self._now.now_ms = max(self._now(), at_ms)

    def take(self, fact: Fact) -> None:
        """Let one fact happen, and do what follows from it."""
        if isinstance(fact, ClaimedDelivery):
            if fact.event.upstream not in self._handles:
                return
            self._report.events += fact.event.signal in self._tried.signals
            self._doubts.hear(fact)
            if fact.event.signal == STRUCK:
                self._strike(fact.event)
                return
        try:
            if isinstance(fact, Requested) and fact.submission.created_at_ms < self._since_ms:
                self._take_older(fact)
                return
            self.past.apply(fact, self._now())
        except (Undecodable, msgspec.DecodeError):  # raised before anything of it is in the database
            self._doubts.skip(fact)
            return
        self._settle()

    def _strike(self, event: Event) -> None:
        """Let a rule run by the clock."""
        occurrences.strike(
            self._connection,
            rule=event.action,
            upstream=event.upstream,
            at_ms=event.received_at_ms,
            receivers=self._registry.receiver_names(STRUCK, event.action),
            detail=event.detail,
            now_ms=self._now(),
        )
        self._settle()

    def _take_older(self, fact: Requested) -> None:
        """A request from before the trial: it is charged if it really is, and stands as it does now."""
        if fact.submission.asked_by.startswith(PREFIX):
            return
        with self._scratch.charging(fact.counted):
            self.past.apply(fact, self._now())
        self.past.settle_older(fact)

    def _settle(self) -> None:
        """Do all that is due now, in the order of a server that does one thing at a time."""
        now_ms = self._now()
        while True:
            for approval_id in approvals.expired(self._connection, now_ms, SOME):
                decisions.expire(self._connection, approval_id, now_ms)
            delivery_queue.fan_out(self._connection, self._route, SOME, now_ms, joins=self._joins)
            moved, self._moved = self._moved, set()
            looking.look(self._connection, self._joins, self._registry.may_request, now_ms, at_once=moved)
            claimed = delivery_queue.claim(self._connection, 1, now_ms, room=lambda _: 1, floor=EMPTY)
            if claimed:
                self._deliver(claimed[0])
            elif not self._ask() and not self._send() and not self._is_pending():
                return

    def _is_pending(self) -> bool:
        return bool(self._moved) or bool(event_log.pending(self._connection, 1))

    def _route(self, event: PendingEvent) -> tuple[str, ...]:
        return self._registry.receiver_names(event.signal, event.action)

    # A run.

    def _deliver(self, claimed: ClaimedDelivery) -> None:
        recorded = self.past.recorded.get(claimed.event.id)
        if claimed.submission is None and (ghost := self.past.ghosts.get(claimed.event.id)) is not None:
            claimed = msgspec.structs.replace(
                claimed, submission=ghost, chain=claimed.chain or (recorded.chain if recorded else None)
            )
        if recorded is not None and recorded.event.signal in JOINS:
            claimed = msgspec.structs.replace(claimed, members=recorded.members)
        ready = finished(self._preflight.check(claimed))
        if isinstance(ready, Ended):
            ending = ready
        else:
            verified = Verified(receiver=ready.receiver, claimed=ready.claimed)
            ending = finished(self._call.run(verified))
        self._end(claimed, ending, recorded)

    def _end(self, claimed: ClaimedDelivery, ending: Ended, recorded: ClaimedDelivery | None) -> None:
        before = {
            one.idempotency_key: intents.with_key(self._connection, one.idempotency_key)
            for one in ending.staged
        }
        run = Run(claimed, ending, self._registry.connected_signals())
        (result,) = end_all(self._connection, [run], refuse=self._refuse, now_ms=self._now())
        if isinstance(result, Exception):
            raise result
        if claimed.chain is not None:
            self._moved.add(claimed.chain.id)
        ended = self._scratch.delivery(claimed.delivery.id)
        receiver, event = ended.receiver, claimed.event
        self._report.fired[receiver] += ended.fired
        is_limited = ended.decision.startswith("did not fire: it has fired")
        self._report.limited += is_limited
        if ended.state == "dead":
            why = ended.decision.removeprefix("gave up: ") or ended.error
            self._report.errors[why] += 1
        self._report.decisions.append(
            Decision(
                event_id=recorded.event.id if recorded is not None else 0,
                task_id=event.task_id,
                signal=str(event.signal),
                at_ms=self._now(),
                receiver=receiver,
                fired=ended.fired,
                decision=ended.decision,
                failed=ended.state == "dead",
            )
        )
        if not is_limited:
            for staged in ending.staged:
                self._note(staged, before, claimed, recorded)

    def _note(
        self,
        staged: Staged,
        before: dict[str, Submission | None],
        claimed: ClaimedDelivery,
        recorded: ClaimedDelivery | None,
    ) -> None:
        """Note what came of one request: a new submission, or one that there was before."""
        made = intents.with_key(self._connection, staged.idempotency_key)
        if made is None or before[staged.idempotency_key] is not None:
            self._report.repeats += 1
            return
        before[staged.idempotency_key] = made
        made = self.past.recognise(made)
        terms = self._scratch.terms_of(made.id)
        suggested = Suggested(
            rule=staged.asked_by,
            chain_id=staged.chain_id,
            upstream=made.upstream,
            task_id=claimed.event.task_id,
            kind=made.kind,
            label=made.label,
            price=self._price(made),
            refused=made.reason if made.state == "refused" else "",
            held=made.state == "held",
            id=made.id,
            event_id=recorded.event.id if recorded is not None else 0,
            at_ms=self._now(),
            due_at_ms=made.run_at_ms,
            unless=terms_of(terms).unless if terms else "",
        )
        self._made[made.idempotency_key] = suggested
        self._report.suggested.append(suggested)

    def _price(self, made: Submission) -> float:
        """The price of a submission, if it is sent. To cancel a task is free, unless it has a price of its own."""
        prices = self._tried.prices.get(made.upstream, {})
        is_free = made.kind == "cancel" and "cancel" not in prices
        return 0.0 if is_free else price_of(made.kind, made.request, prices)

    # What is due.

    def _ask(self) -> bool:
        """Ask again about what was scheduled; True if anything was."""
        due = scheduled.due(self._connection, self._now(), SOME)
        for one in due:
            why = finished(self._asker.why_not(one))
            finished(self._asker.write(one, why or ""))
            if why:
                self._moved.add(one.submission.chain_id)
        return bool(due)

    def _send(self) -> bool:
        """Begin what is due at each upstream; True if anything is over at once, because it cannot be written for its upstream."""
        is_over = False
        for name, handle in self._handles.items():
            for begun in submission_queue.begin_attempts(self._connection, name, SOME, self._now()):
                try:
                    request = decode_request(begun.request)
                    wire_body(request, handle.dialect, notify_hook="", state="", mode=begun.mode)
                    wire_path(request, handle.dialect, begun.mode)
                except InvalidRequest as error:
                    settle_attempt(self._connection, begun, after_invalid(str(error)), self._now())
                    is_over = True
        return is_over

    # The end.

    def finish(self) -> None:
        """Look at every chain once more, and tell what became of each submission, and what is not known."""
        self._settle()
        self._report.notes += self._doubts.notes()
        for key, one in self._made.items():
            made = intents.with_key(self._connection, key)
            assert made is not None, "submissions are never deleted here"
            one.chain_id = one.chain_id and made.chain_id
            one.id, one.state, one.why = made.id, made.state, made.reason
            one.due_at_ms = made.run_at_ms if made.state in ("waiting", "held") else one.due_at_ms
            one.known = made.id in self.past.known
            one.fate = fate_of(made.state, made.outcome, made.run_at_ms, self._now())
            if one.known and made.state not in PAID | _UNSETTLED:
                one.price = 0.0  # as in `hookchain costs`: it opened a modal, was rejected, or existed before
            one.words = words_of(one, approvals.of_submission(self._connection, made.id))
