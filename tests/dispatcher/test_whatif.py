"""What-if equals what the server does: both decide the same about the same events.

Events that arrive at the same moment are run beside each other, and rules with a limit ask the database first. So of two rules that
ask for the same thing, or for the last place in a budget, either may come first on a server. The examples leave that open: where a
budget is short, no rule has a limit; where rules have limits, it is not said which rule came first.
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.policy.chain_budget import Budget
from dispatcher.rules.load import load_rules
from dispatcher.trying.report import Report
from dispatcher.trying.whatif import WhatIf
from hookchain.testing import Ask, Hookchain, fresh, grid
from midjourney.dialects import DIALECTS
from storage.engine import Connection
from storage.reading import facts
from storage.reading.recorded import recorded
from tests.support.inside import without_logs
from tests.support.played import answer

ROOT = Path(__file__).parent

CONDITIONS = {
    "task.succeeded": ["task.is_grid", "chain.depth == 0", "chain.submissions < 3", "'cat' in task.prompt"],
    "task.failed": ["chain.depth < 2", "submission.kind == 'imagine'"],
    "submission.accepted": [
        "submission.kind == 'action'",
        "submission.kind == 'action' and task.status == 'NOT_START'",
    ],
    "submission.rejected": ["submission.outcome == 'rejected:moderation'", "chain.depth == 1"],
    "submission.needs_modal": ["modal.kind == 'custom_zoom'"],
}
DOES = {
    "task.succeeded": [
        'press = "U1"',
        'press = ["U*", "V2"]',
        'vary = "subtle"',
        "zoom = 1.8",
        'imagine = "{{ task.prompt }}!"',
    ],
    "task.failed": ['imagine = "soft {{ task.prompt }}"', "repeat = true", 'press = "U1"'],
    "submission.accepted": ['imagine = "{{ submission.label }}"'],
    "submission.rejected": ["repeat = true", 'imagine = "calm"'],
    "submission.needs_modal": ['modal = "{{ modal.prompt }} --zoom 1.2"'],
}


@st.composite
def rule(draw: st.DrawFn, number: int, *, limits: bool) -> str:
    """One rule as a text."""
    # The first one always has something to do: else most examples do nothing at all.
    on = draw(st.sampled_from(sorted(DOES))) if number else "task.succeeded"
    lines = [f'[[rules]]\nname = "r{number}"\non = "{on}"', draw(st.sampled_from(DOES[on]))]
    # A rule for what is accepted would answer itself for ever without one.
    if draw(st.integers(0, 3)) == 3 or on == "submission.accepted":
        lines.append(f"if = {json.dumps(draw(st.sampled_from(CONDITIONS[on])))}")
    if draw(st.booleans()):
        lines.append("after = 90")
    if limits and draw(st.integers(0, 3)):
        lines.append(f'once_per = "{draw(st.sampled_from(["task", "root", "chain"]))}"')
        lines.append(f"limit = {draw(st.integers(1, 2))}")
    return "\n".join(lines) + "\n"


@st.composite
def rules(draw: st.DrawFn, *, limits: bool) -> str:
    """One to four rules."""
    count = draw(st.integers(2, 5))
    return "".join(draw(rule(number, limits=limits)) for number in range(count))


Step = tuple[str, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["picture", "variation", "variation", "grid", "again", "fail", "window", "reject", "wait"]
        ),
        st.integers(0, 20),
    ),
    min_size=8,
    max_size=12,
)


class Stream:
    """Lets things happen; what can be answered is what was asked for before."""

    def __init__(self, kit: Hookchain) -> None:
        self._kit = kit
        self._asks: list[Ask] = []
        self._answered: set[str] = set()
        self._made = 0

    def take(self, step: Step) -> None:
        """One step; one that needs an open submission does nothing without."""
        what, number = step
        kit = self._kit
        if what == "grid":
            self._made += 1
            asked = kit.succeed(grid(f"g{self._made}", prompt=("a cat", "a dog")[number % 2]))
        elif what == "again":
            asked = kit.succeed(grid(f"g{1 + number % 3}"))
        elif what == "wait":
            asked = kit.wait(600 * number)
            self._answered |= {ask.id for ask in self._asks if ask.after_s <= 90}
        else:
            self._answer(what, number)
            return
        self._asks += asked.asks

    def _answer(self, what: str, number: int) -> None:
        open_ = [ask for ask in self._asks if not ask.refused and ask.id not in self._answered]
        if not open_:
            return
        ask = open_[number % len(open_)]
        kit, name = self._kit, f"t{len(self._answered)}"
        if what in ("window", "reject") and self._has_been_answered(ask):
            return
        self._answered.add(ask.id)
        self._asks += answer(kit, ask, what, name).asks

    def _has_been_answered(self, ask: Ask) -> bool:
        """True if time has moved since, for the sake of another."""
        running = self._kit._running
        return ask.id in running._before.submissions and running._before.submissions[ask.id].state not in (
            "waiting",
            "sending",
        )


Made = tuple[str, str, str, str, str]


class Outcome:
    """What was decided: submissions as (chain, kind, label, rule, refused), repeats, runs that a limit stopped, and failures."""

    def __init__(self, made: Counter[Made], repeats: int, limited: int, failed: int) -> None:
        self.made, self.counts = made, {"repeats": repeats, "limited": limited, "failed": failed}

    def without_rules(self) -> Counter[tuple[str, ...]]:
        """The submissions, whoever asked first."""
        return Counter((*one[:3], one[4]) for one in self.made.elements())


def of_the_server(kit: Hookchain) -> Outcome:
    """What the server has stored."""
    state = kit._running._before
    made = Counter(
        (one.chain_id, one.kind, one.label, one.asked_by, one.reason if one.state == "refused" else "")
        for one in state.submissions.values()
    )
    deliveries = list(state.deliveries.values())
    return Outcome(
        made,
        repeats=sum(one.repeats for one in state.submissions.values()),
        limited=sum(one.decision.startswith("did not fire: it has fired") for one in deliveries),
        failed=sum(one.state == "dead" for one in deliveries),
    )


def of_what_if(kit: Hookchain, text: str, budget: Budget) -> Outcome:
    """What the same rules would do about the recorded events."""
    compiled = load_rules(tomllib.loads(text)["rules"], file="rules", text=text, directory=ROOT)
    handles = {"main": UpstreamHandle(name="main", dialect=DIALECTS["mj-plus"])}
    what_if = WhatIf(compiled, handles, {}, budget)

    def read(connection: Connection) -> Report:
        happened = recorded(connection, what_if.facts, 0, with_moves=True)
        others, decided = facts.requested(connection, 0), facts.decided(connection, 0)
        return what_if.run(happened, others, decided, until_ms=kit._running.clock.now_ms)

    async def run() -> Report:
        return await kit._running.server.database.read(read)

    report = kit._running._in_thread(run())
    made = Counter((one.chain_id, one.kind, one.label, one.rule, one.refused) for one in report.suggested)
    return Outcome(made, report.repeats, report.limited, report.errors.total())


def both(text: str, stream: list[Step], budget: Budget) -> tuple[Outcome, Outcome]:
    """What the server does, and what what-if says."""
    with fresh(ROOT) as kit, without_logs():
        kit.raise_errors = False
        kit.budget = budget
        kit.load_rules(text)
        takes = Stream(kit)
        for step in [("grid", 0), *stream]:
            takes.take(step)
        return of_the_server(kit), of_what_if(kit, text, budget)


EXAMPLES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@EXAMPLES
@given(text=rules(limits=True), stream=steps)
def test_limits_and_intents_are_those_of_the_server(text: str, stream: list[Step]) -> None:
    """Once per task, root and chain; duplicates; modals; repeats."""
    server, what_if = both(text, stream, Budget(depth=9, submissions=900, per_rule=900))
    assert what_if.counts == server.counts
    assert what_if.without_rules() == server.without_rules()


@EXAMPLES
@given(
    text=rules(limits=False),
    stream=steps,
    budget=st.builds(
        Budget,
        depth=st.integers(1, 3),
        submissions=st.integers(1, 6),
        per_rule=st.integers(1, 4),
        per_hour=st.integers(1, 8),
    ),
)
def test_budgets_are_those_of_the_server(text: str, stream: list[Step], budget: Budget) -> None:
    """The same submissions are refused, with the same words."""
    server, what_if = both(text, stream, budget)
    assert what_if.counts == server.counts
    assert what_if.made == server.made


AMPLE = Budget(depth=9, submissions=900, per_rule=900)


def of(name: str, text: str) -> str:
    return f'[[rules]]\nname = "{name}"\non = "task.succeeded"\n{text}\n'


def test_a_limit_per_root_counts_by_the_root() -> None:
    """A variation is of the same root; another grid is not."""
    server, what_if = both(of("r", 'press = "V1"\nonce_per = "root"'), [("variation", 0), ("grid", 0)], AMPLE)
    assert server.counts["limited"] == 1
    assert (what_if.counts, what_if.made) == (server.counts, server.made)


def test_of_two_rules_that_ask_for_the_same_the_first_by_name_has_it() -> None:
    """Wherever they stand in the file."""
    server, what_if = both(of("b", 'press = "U1"') + of("a", 'press = "U1"'), [], AMPLE)
    assert [one[3] for one in server.made] == ["rule:a"]
    assert (what_if.counts, what_if.made) == (server.counts, server.made)


def test_what_was_refused_is_not_suggested_again() -> None:
    """A second request for it is a repeat, on the server too."""
    text = of("a", 'press = "U1"') + of("b", 'press = "U1"')
    server, what_if = both(text, [], Budget(submissions=0))
    assert server.counts["repeats"] == 1
    assert (what_if.counts, what_if.made) == (server.counts, server.made)


def test_the_submissions_of_a_chain_are_those_of_the_moment() -> None:
    """Not those that it has had since."""
    text = of("r", 'press = "V1"\nif = "chain.submissions < 2"')
    server, what_if = both(text, [("variation", 0), ("variation", 0), ("variation", 0)], AMPLE)
    assert server.made.total() == 2
    assert (what_if.counts, what_if.made) == (server.counts, server.made)


def test_the_button_of_a_job_is_pressed_once_in_a_chain() -> None:
    """Under whatever id its task is shown."""
    text = of("r", 'press = ["V1"]')
    with fresh(ROOT) as kit, without_logs():
        kit.load_rules(text)
        (press,) = kit.succeed(grid()).asks
        assert kit.succeed(grid("again", buttons=grid()["buttons"]), of=press).asks == []
        server, what_if = of_the_server(kit), of_what_if(kit, text, AMPLE)
    assert server.made.total() == 1
    assert (what_if.counts, what_if.made) == (server.counts, server.made)
