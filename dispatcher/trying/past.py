"""Lets the recorded past happen again in a database in memory: what tasks did, what people and plugins requested and decided, and what
the upstream answered to what is requested again."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.trying.facts import Fact, ended_before, new_event, settlement, staged
from midjourney.decode import decode_task
from midjourney.requests import decode_request
from storage.events import event_log
from storage.ingest import ingest
from storage.reading.facts import Requested
from storage.records import (
    JOINS,
    SIGNAL_OF_CHANGE,
    Approval,
    ClaimedDelivery,
    Incoming,
    Submission,
)
from storage.scratch import Scratch
from storage.submissions import decisions, intents, staging, submission_queue, waiting
from storage.submissions.settlements import settle_attempt
from storage.tasks import chains
from storage.tasks import rows as tasks
from storage.tasks.chains import Orphan
from storage.tickets import withdrawing

_GIVEN_ANEW = frozenset({"budget.exceeded", *JOINS})
"""Signals that the trial gives by itself."""

_MOVED_BY_HAND = ("dropped", "waiting")


class Past:
    """Applies facts, oldest first. `ghosts` has, by event, the submissions of other rules that the rules on trial did not ask for: their
    events are heard, but they count nowhere."""

    def __init__(
        self, scratch: Scratch, handles: Mapping[str, UpstreamHandle], refuse: staging.Refuse
    ) -> None:
        self.ghosts: dict[int, Submission] = {}
        self.recorded: dict[int, ClaimedDelivery] = {}
        self.known: set[str] = set()
        """Submissions of which the recorded answer is known."""
        self._scratch = scratch
        self._connection = scratch.connection
        self._handles = handles
        self._refuse = refuse
        self._real: dict[str, Submission] = {}
        self._held_together: dict[str, list[str]] = {}
        self._with_ghosts: set[str] = set()
        self._wanted: frozenset[str] = frozenset()
        self._since_ms = 0

    def want(self, signals: frozenset[str], since_ms: int) -> None:
        """Fan out these signals, of events since this time."""
        self._wanted, self._since_ms = signals, since_ms

    def apply(self, fact: Fact, now_ms: int) -> None:
        """Let one fact happen."""
        match fact:
            case Requested():
                self._request(fact, now_ms)
            case Approval():
                self._decide(fact, now_ms)
            case _:
                self._happen(fact, now_ms)

    def recognise(self, made: Submission) -> Submission:
        """A submission of the trial under the id that it really had, if it was really made."""
        real = self._real.get(made.idempotency_key)
        return made if real is None else self._renamed(made, real)

    def _renamed(self, made: Submission, real: Submission) -> Submission:
        self._scratch.rename(made, real)
        return submission_queue.find(self._connection, real.id) or made

    # What others did.

    def _request(self, fact: Requested, now_ms: int) -> None:
        real = fact.submission
        self._real[real.idempotency_key] = real
        if fact.approval_id:
            self._held_together.setdefault(fact.approval_id, []).append(real.idempotency_key)
        if real.asked_by.startswith("rule:"):
            if (made := intents.with_key(self._connection, real.idempotency_key)) is not None:
                self._renamed(made, real)
            return
        if real.upstream not in self._handles:
            return
        decode_request(real.request)  # which fails before anything is written
        if fact.chain is not None and not self._scratch.has_chain(fact.chain.id):
            began = not real.parent_id and real.updated_at_ms >= self._since_ms
            chain = msgspec.structs.replace(fact.chain, root_task_id="") if began else fact.chain
            self._scratch.add_chain(chain)
        result = staging.stage(self._connection, staged(fact), refuse=self._refuse, now_ms=now_ms)
        made = submission_queue.find(self._connection, result.submission_id)
        if made is not None and result.created:
            self.known.add(self._renamed(made, real).id)

    def settle_older(self, fact: Requested) -> None:
        """Let a request from before the trial stand as it stands now, if nothing more is told of it."""
        if fact.submission.updated_at_ms < self._since_ms:
            self._scratch.put_state(fact.submission, fact.submission.updated_at_ms)

    def _decide(self, real: Approval, now_ms: int) -> None:
        keys = self._held_together.get(real.id, [])
        approval_id = self._scratch.approval_of(keys)
        if approval_id is not None and real.state in ("released", "dropped"):
            decisions.decide(
                self._connection,
                approval_id,
                real.state,
                by=real.decided_by,
                source=real.decided_from,
                now_ms=now_ms,
            )

    # What events tell.

    def _happen(self, fact: ClaimedDelivery, now_ms: int) -> None:
        event = fact.event
        if event.signal == "budget.exceeded" or (event.signal in JOINS and not self._needs_join(fact)):
            return
        if event.signal is None and event.source == "internal":
            self._moved_by_hand(fact, now_ms)
            return
        is_answer = (event.signal or "").startswith("submission.") and event.source != "callback"
        if is_answer and event.source in ("answer", "evidence", "internal") and self._answered(fact, now_ms):
            return
        self._place(fact)
        if (
            event.payload
            and event.task_id
            and not is_answer
            and event.signal not in JOINS
            and self._ingested(fact)
        ):
            self._show(fact)
            return
        self._show(fact)
        self._append(fact)

    def _needs_join(self, fact: ClaimedDelivery) -> bool:
        """True for a join that what other rules pressed has given: the trial knows their tasks, but cannot count them as requested."""
        chain = fact.chain
        return chain is not None and chain.id in self._with_ghosts and not self._scratch.gives_joins(chain.id)

    def _append(self, fact: ClaimedDelivery) -> None:
        event_log.append(self._connection, new_event(fact.event, self._wanted))
        self._note(fact)

    def _note(self, fact: ClaimedDelivery) -> None:
        event = fact.event
        row = tasks.find(self._connection, event.upstream, event.task_id) if event.task_id else None
        if (
            row is not None and row.chain_id is None
        ):  # no open request made it: the answer of each is recorded
            orphan = Orphan(row.upstream, row.id, row.parent_id)
            chains.adopt_all(self._connection, [orphan], event.received_at_ms)
        self.recorded[self._scratch.newest_event()] = fact

    def _ingested(self, fact: ClaimedDelivery) -> bool:
        """Take in the payload of an event as the server does; False if that gives another signal than it gave then."""
        event = fact.event
        statuses = self._handles[event.upstream].dialect.statuses
        task = decode_task(event.payload, statuses)
        if task.id != event.task_id:  # a relay has another name for it
            task = msgspec.structs.replace(task, id=event.task_id)
        row = tasks.find(self._connection, event.upstream, event.task_id)
        if event.signal is not None and row is not None and row.finished_at_ms is not None:
            return False  # an end that is told again: its buttons came later
        incoming = Incoming(
            upstream=event.upstream,
            task=task,
            submission_id="",
            source=event.source,
            received_at_ms=event.received_at_ms,
        )
        (told,) = ingest(self._connection, [incoming], self._wanted, self._handles)
        self._note(fact)
        signal = None if told.change is None else SIGNAL_OF_CHANGE[told.change]
        return signal == event.signal

    def _place(self, fact: ClaimedDelivery) -> None:
        """Give the event's chain and task their places, if they are new here."""
        chain, real = fact.chain, fact.task
        if chain is not None and not self._scratch.has_chain(chain.id):
            self._scratch.add_chain(chain)
        if real is None or tasks.find(self._connection, real.upstream, real.id) is not None:
            return
        blank = tasks.blank(real.upstream, real.id, fact.event.received_at_ms)
        made_by_ghost = (
            real.submission_id and submission_queue.find(self._connection, real.submission_id) is None
        )
        if made_by_ghost and real.chain_id is not None:
            self._with_ghosts.add(real.chain_id)
        row = msgspec.structs.replace(
            blank,
            status="" if fact.event.payload else real.status,
            action=real.action,
            chain_id=real.chain_id,
            submission_id=real.submission_id,
            parent_id=real.parent_id,
            depth=real.depth,
            created_at_ms=real.created_at_ms,
            prompt=real.prompt,
            finished_at_ms=None if fact.event.payload else ended_before(fact),
        )
        tasks.put(self._connection, row)

    def _show(self, fact: ClaimedDelivery) -> None:
        """Store the payload that the event's task, or the one a modal was opened on, had then."""
        event = fact.event
        shown = [(event.task_id, fact.latest)]
        if fact.parent and fact.task is not None:
            shown.append((fact.task.parent_id, fact.parent))
        for task_id, payload in shown:
            if payload and payload != event_log.latest(self._connection, event.upstream, task_id)[0]:
                told = event_log.fact(
                    upstream=event.upstream,
                    signal=None,
                    source="reconcile",
                    task_id=task_id,
                    payload=payload,
                    now_ms=event.received_at_ms,
                )
                event_log.append(self._connection, told._replace(advanced=True))

    # What the upstream answered, and people did, to what is requested again.

    def _made(self, fact: ClaimedDelivery) -> Submission | None:
        """The submission of the trial that an event is about; None if it has none, or it has not left yet."""
        real = fact.submission
        if real is None:
            return None
        made = submission_queue.find(self._connection, real.id) or intents.with_key(
            self._connection, real.idempotency_key
        )
        return None if made is None else self._renamed(made, real)

    def _answered(self, fact: ClaimedDelivery, now_ms: int) -> bool:
        """Give the recorded answer to what was requested again. False if that was not, or would have left later."""
        real, event, made = fact.submission, fact.event, self._made(fact)
        if real is None:
            return False
        is_later = made is not None and (
            made.state in ("held", "refused") or (made.state == "waiting" and made.run_at_ms > now_ms)
        )
        if made is None or is_later:
            if real.asked_by.startswith("rule:") and real.chain_id:
                self._with_ghosts.add(real.chain_id)
            self._place(fact)
            self._show(fact)
            self._append(fact)
            self.ghosts[self._scratch.newest_event()] = real
            return True
        self.known.add(made.id)
        if made.state == real.state and made.state != "waiting":
            return True  # it happened by itself
        if made.state == "waiting" and event.source == "answer":
            made = self._scratch.begin(made.id, now_ms)
        if made.state != "sending" or event.source != "answer":
            self._scratch.put_state(msgspec.structs.replace(real, id=made.id), now_ms)
            self._place(fact)
            self._show(fact)
            self._append(fact)
            return True
        settle_attempt(self._connection, made, settlement(real, event), now_ms)
        self._note(fact)
        self._show(fact)
        return True

    def _moved_by_hand(self, fact: ClaimedDelivery, now_ms: int) -> None:
        """Drop what a person dropped, and hurry what a person hurried."""
        made = self._made(fact)
        if made is None or made.state != "waiting":
            return
        if fact.event.status == "waiting":
            waiting.send_now(self._connection, made.id, now_ms)
        elif ": not sent: " not in fact.event.detail:  # the answer to `unless`, which the trial asks itself
            withdrawing.drop(self._connection, made.id, fact.event.detail.partition(": ")[2], now_ms)
