"""What-if equals what the server does: both get the same events, and say the same of each event and rule, and of each submission.

Rules of all kinds beside each other, on two upstreams, under budgets of chains and of days; people press meanwhile, approve and decline;
callbacks come twice, late and in any order. The clock is the test's, and receivers run one after the other.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dispatcher.by_hand import commands
from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.trying.report import Report
from dispatcher.trying.whatif import WhatIf
from hookchain.testing import Ask, Hookchain, fresh, grid
from hookchain.testing.loading import rules_in
from hookchain.upstreams import places_of
from midjourney.dialects import Dialect
from storage.engine import Connection
from storage.joins.looking import LAST_LOOK_MS
from storage.reading import facts
from storage.reading.recorded import recorded
from storage.records import Approval, Submission
from storage.submissions import approvals, decisions
from tests.support import postgres
from tests.support.inside import without_logs
from tests.support.played import answer

HERE = Path(__file__).parent

DOES = {
    "task.succeeded": [
        'press = "U1"',
        'press = ["U*", "V2"]',
        'vary = "subtle"',
        "zoom = 1.8",
        'imagine = "{{ task.prompt }}!"',
        'imagine = "{{ task.prompt }}?"\nupstream = "other"',
        'notify = ["json://127.0.0.1"]',
    ],
    "task.failed": ['imagine = "soft {{ task.prompt }}"', "repeat = true", 'press = "U1"'],
    "submission.rejected": ["repeat = true", 'imagine = "calm"'],
    "submission.needs_modal": ['modal = "{{ modal.prompt }} --zoom 1.2"'],
    "chain.rested": [
        'imagine = "{{ chain.tasks | length }} tasks"',
        'notify = ["json://127.0.0.1"]',
    ],
    "children.done": ['press = "V3"', 'imagine = "{{ chain.children | length }} children"'],
    "budget.exceeded": ['notify = ["json://127.0.0.1"]'],
}
IFS = {
    "task.succeeded": ["task.is_grid", "chain.depth == 0", "chain.submissions < 3", "'cat' in task.prompt"],
    "task.failed": ["chain.depth < 2", "submission.kind == 'imagine'"],
    "submission.rejected": ["submission.outcome == 'rejected:moderation'", "chain.depth == 1"],
    "submission.needs_modal": ["modal.kind == 'custom_zoom'"],
    "chain.rested": ["chain.tasks | length < 3"],
    "children.done": ["chain.children | length > 1"],
    "budget.exceeded": ["chain.depth == 0"],
}
TIMES = ["after = 90", 'after = "1 h"', 'at = "22:00 Europe/Berlin"']
UNLESS = ["chain.pressed_by_person", "'V4' in chain.pressed", "chain.submissions > 3"]
BUDGETS = [
    'per = "day"\nsubmissions = 3',
    'per = "hour"\nby = "rule"\nsubmissions = 2',
    'per = "day"\nby = "upstream"\nsubmissions = 4',
    'per = "day"\nby = "chain"\nsubmissions = 2',
]


@st.composite
def rule(draw: st.DrawFn, number: int) -> str:
    """One rule as a text."""
    on = draw(st.sampled_from(sorted(DOES))) if number else "task.succeeded"
    does = draw(st.sampled_from(DOES[on]))
    lines = [f'[[rules]]\nname = "r{number}"\non = "{on}"', does]
    if draw(st.integers(0, 2)) == 2:
        lines.append(f"if = {json.dumps(draw(st.sampled_from(IFS[on])))}")
    if not does.startswith("notify"):
        is_held = draw(st.integers(0, 3)) == 3
        if is_held:
            lines.append('approve = { expires = "30 days" }')
        if draw(st.booleans()):
            lines.append(draw(st.sampled_from(TIMES[:2] if is_held else TIMES)))
            if draw(st.booleans()):
                lines.append(f"unless = {json.dumps(draw(st.sampled_from(UNLESS)))}")
        if draw(st.integers(0, 4)) == 4:
            lines.append('mode = "fast"')  # which only one of the upstreams has
    if draw(st.booleans()) or on in ("chain.rested", "children.done"):
        # Of two joins that a chain gives at the same moment, either may come first on a server: a limit for both would show it.
        scopes = ["task"] if on == "children.done" else ["task", "root", "chain"]
        lines.append(f'once_per = "{draw(st.sampled_from(scopes))}"')
        lines.append(f"limit = {draw(st.integers(1, 2))}")
    return "\n".join(lines) + "\n"


@st.composite
def files(draw: st.DrawFn) -> str:
    """A whole file: two upstreams, budgets, and two to five rules."""
    most = draw(st.sampled_from([(9, 900, 900, 900), (2, 5, 3, 8), (3, 4, 4, 4)]))
    named = ("depth", "submissions", "per_rule", "per_hour")
    text = "[budget]\n" + "".join(f"{name} = {value}\n" for name, value in zip(named, most, strict=True))
    text += '[dialects.fast-plus]\nlike = "mj-plus"\nmodes = { fast = "/mj-fast/mj" }\n'
    for name, dialect in (("main", "mj-plus"), ("other", "fast-plus")):
        text += f'[upstreams.{name}]\nurl = "https://{name}.example.com"\ndialect = "{dialect}"\n'
    for budget in draw(st.lists(st.sampled_from(BUDGETS), max_size=2, unique=True)):
        text += f"[[budgets]]\n{budget}\n"
    count = draw(st.integers(2, 5))
    return text + "".join(draw(rule(number)) for number in range(count))


Step = tuple[str, int]
WHAT = [
    "picture",
    "variation",
    "variation",
    "grid",
    "other grid",
    "again",
    "late",
    "fail",
    "window",
    "reject",
]
WHAT += ["wait", "wait", "person", "person", "approve", "decline"]
steps = st.lists(st.tuples(st.sampled_from(WHAT), st.integers(0, 20)), min_size=6, max_size=12)


class Stream:
    """Lets things happen, each a millisecond after the one before; what can be answered is what was asked for before."""

    def __init__(self, kit: Hookchain, handles: Mapping[str, UpstreamHandle]) -> None:
        self._kit, self._handles = kit, handles
        self._asks: list[Ask] = []
        self._answered: set[str] = set()
        self._grids: list[tuple[str, str]] = []

    def take(self, step: Step) -> None:
        """One step; one that needs an open submission does nothing without."""
        what, number = step
        kit = self._kit
        kit._running.clock.now_ms += 1
        if what in ("grid", "other grid"):
            name, upstream = f"g{len(self._grids)}", "other" if what == "other grid" else "main"
            self._grids.append((name, upstream))
            prompt = ("a cat", "a dog")[number % 2]
            self._asks += kit.succeed(grid(name, prompt=prompt), upstream=upstream).asks
        elif what in ("again", "late"):
            name, upstream = self._grids[number % len(self._grids)]
            status = "SUCCESS" if what == "again" else "IN_PROGRESS"
            self._asks += kit.callback({**grid(name), "status": status}, upstream=upstream).asks
        elif what == "wait":
            self._asks += kit.wait(900 * number).asks
        elif what in ("person", "approve", "decline"):
            name, upstream = self._grids[number % len(self._grids)]
            now_ms = kit._running.clock.now_ms
            press = partial(_pressed, name, upstream, self._handles[upstream].dialect, now_ms)
            decide = press if what == "person" else partial(_decided, what, now_ms)
            kit._running._in_thread(kit._running.server.write("person", decide))
            self._asks += kit.wait(0).asks
        else:
            self._answer(what, number)

    def _answer(self, what: str, number: int) -> None:
        running = self._kit._running
        waits = {one.id: one for one in running._before.submissions.values() if one.state == "sending"}
        open_ = [ask for ask in self._asks if ask.id in waits and ask.id not in self._answered]
        if not open_:
            return
        ask, kit, name = open_[number % len(open_)], self._kit, f"t{len(self._answered)}"
        self._answered.add(ask.id)
        self._asks += answer(kit, ask, what, name).asks


def _pressed(task_id: str, upstream: str, dialect: Dialect, now_ms: int, connection: Connection) -> None:
    """A person presses a button that no rule presses: if a rule had, nothing would tell of the second press."""
    commands.press(
        connection, task_id, "V4", upstream=upstream, dialect=dialect, asked_by="api", now_ms=now_ms
    )


def _decided(what: str, now_ms: int, connection: Connection) -> None:
    for one in sorted(_open(connection), key=lambda one: one.id)[:1]:
        verdict: decisions.Verdict = "released" if what == "approve" else "dropped"
        decisions.decide(connection, one.id, verdict, by="Ann", source="api", now_ms=now_ms)


def _open(connection: Connection) -> list[Approval]:
    chains = {one.submission.chain_id for one in facts.requested(connection, 0)}
    return [one for chain_id in chains for one in approvals.of_chain(connection, chain_id) if one.is_open]


class Made(NamedTuple):
    """What both must say of a submission."""

    rule: str
    kind: str
    label: str
    upstream: str
    state: str
    reason: str
    waits_ms: int


class Told(NamedTuple):
    """What both must say of an event and a rule."""

    task_id: str
    signal: str
    receiver: str
    fired: bool
    decision: str


def _made(one: Submission) -> Made:
    return Made(
        one.asked_by,
        one.kind,
        one.label,
        one.upstream,
        one.state,
        one.reason,
        one.run_at_ms - one.created_at_ms if one.state == "waiting" else 0,
    )


def _decision(receiver: str, decision: str) -> str:
    """A decision; of an effect only that there was one, because what-if performs none."""
    return decision if "/" not in receiver or receiver.endswith("/modal") else ""


def of_the_server(kit: Hookchain, heard: dict[int, tuple[str, str]]) -> tuple[Counter[Told], Counter[Made]]:
    """What the server has stored."""
    state = kit._running._before
    told = Counter(
        Told(*heard[one.event_id], one.receiver, one.fired, _decision(one.receiver, one.decision))
        for one in state.deliveries.values()
    )
    made = Counter(_made(one) for one in state.submissions.values() if one.asked_by.startswith("rule:"))
    return told, made


def of_what_if(report: Report) -> tuple[Counter[Told], Counter[Made]]:
    """What was tried."""
    told = Counter(
        Told(one.task_id, one.signal, one.receiver, one.fired, _decision(one.receiver, one.decision))
        for one in report.decisions
    )
    made = Counter(
        Made(
            one.rule,
            one.kind,
            one.label,
            one.upstream,
            one.state,
            one.why,
            one.due_at_ms - one.at_ms if one.state == "waiting" else 0,
        )
        for one in report.suggested
    )
    return told, made


def compare(text: str, stream: list[Step], url: str = "") -> None:
    """Let the stream happen on a server, then try the same rules on what it has recorded."""
    with fresh(HERE) as kit, without_logs():
        kit.raise_errors = False
        kit._running.url = url
        kit.load_rules(text)
        loaded = rules_in(text, [HERE], {}, [])
        handles = places_of(loaded.settings)
        takes = Stream(kit, handles)
        for step in [("grid", 0), *stream]:
            takes.take(step)
        kit.wait(LAST_LOOK_MS // 1000)  # the server has looked at every chain by then
        what_if = WhatIf(loaded.rules, handles, {}, loaded.settings.budget, loaded.settings.plan)
        heard: dict[int, tuple[str, str]] = {}

        def tried(connection: Connection) -> Report:
            for one in recorded(connection, [*SIGNAL_NAMES], 0):
                heard[one.event.id] = one.event.task_id, str(one.event.signal)
            happened = recorded(connection, what_if.facts, 0, with_moves=True)
            others, decided = facts.requested(connection, 0), facts.decided(connection, 0)
            return what_if.run(happened, others, decided, until_ms=kit._running.clock.now_ms)

        async def run() -> Report:
            return await kit._running.server.database.read(tried)

        said, made = of_what_if(kit._running._in_thread(run()))
        told, stored = of_the_server(kit, heard)
        _same(said, told)
        _same(made, stored)


def _same(tried: Counter[Any], real: Counter[Any]) -> None:
    """Fails with what only one of the two says."""
    only_one_says = {
        "what-if": list((tried - real).elements()),
        "the server": list((real - tried).elements()),
    }
    assert only_one_says == {"what-if": [], "the server": []}


SIGNAL_NAMES = (*DOES, "task.cancelled", "task.lost", "submission.accepted", "submission.uncertain")


@settings(max_examples=15)
@given(text=files(), stream=steps)
def test_what_if_says_what_the_server_does(text: str, stream: list[Step]) -> None:
    """On SQLite."""
    compare(text, stream)


@pytest.mark.process
@pytest.mark.parametrize("times", [5])
def test_what_if_says_what_the_server_does_on_postgresql(
    times: int, postgres_template: str, postgres_emptied: postgres.Emptied
) -> None:
    """On PostgreSQL, whose past is tried in SQLite."""

    # Without a search for a smaller example, which takes minutes here: the test on SQLite does that.
    @settings(max_examples=times, phases=[Phase.explicit, Phase.generate])
    @given(text=files(), stream=steps)
    def check(text: str, stream: list[Step]) -> None:
        postgres_emptied.empty()
        compare(text, stream, postgres_template)

    check()


@pytest.mark.soak
@settings(max_examples=3000)
@given(text=files(), stream=steps)
def test_what_if_says_what_the_server_does_in_thousands_of_cases(text: str, stream: list[Step]) -> None:
    """With new examples each time."""
    compare(text, stream)
