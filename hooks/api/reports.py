"""The API's response bodies about the state of the system: upstreams, budgets, costs, rules and plugins.

As in answers.py, names and their order are the contract of docs/reference/http.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from hooks.api.answers import Submission
from hooks.quotas import QuotaUse
from hooks.refusals import RefusedCallbacks
from storage.reading.waiting import Why

GroupBy = Literal["rule", "chain", "day", "upstream"]
"""What costs are grouped by."""


class Stalled(msgspec.Struct, frozen=True, kw_only=True):
    """Why no submission is sent although some are due; `told` says it in one sentence."""

    told: str
    for_s: int
    due: int
    why: str
    is_fault: bool


class Delays(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds from the end of a task to its callback."""

    median: int
    p95: int


class Callbacks(msgspec.Struct, frozen=True, kw_only=True):
    """How the callbacks of the most recently ended tasks arrived. `calls_back` is None while too few tasks have ended."""

    calls_back: bool | None
    tasks: int
    called: int
    ended_by_callback: int
    callbacks: int
    duplicates: int
    out_of_order: int
    delay_ms: Delays | None


class TaskList(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about an upstream's list of tasks. `order` and `lag_s` are None until enough has been observed."""

    missing: bool
    order: str | None
    lag_s: float | None
    most_entries: int
    cut: bool
    marks: Mapping[str, bool]
    slowest_s: float


class UpstreamStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The status of an upstream, without its key. `submissions` counts its submissions by state."""

    name: str
    url: str
    dialect: str
    paused: bool
    paused_at: str | None
    pause_reason: str | None
    breaker: Literal["open", "closed"]
    stalled: Stalled | None
    submissions: Mapping[str, int]
    callbacks: Callbacks
    refused: list[RefusedCallbacks]
    old_hooks: int
    task_list: TaskList = msgspec.field(name="list")


class Upstream(UpstreamStatus, frozen=True, kw_only=True):
    """The status of an upstream, with the use of its quota."""

    quota: QuotaUse


class Upstreams(msgspec.Struct, frozen=True, kw_only=True):
    """All configured upstreams, by name."""

    upstreams: list[Upstream]


class Switched(msgspec.Struct, frozen=True, kw_only=True):
    """An upstream after it was paused or resumed."""

    upstream: str
    paused: bool


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What the submissions of one rule, chain, day or upstream cost. `net` is `spent` minus `refunded`."""

    key: str
    net: float
    submissions: int = 0
    spent: float = 0.0
    refunded: float = 0.0
    saved: float = 0.0
    saved_submissions: int = 0


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """Costs, grouped."""

    by: GroupBy
    costs: list[Cost]


class BudgetUse(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a budget is used in the current period, for one scope."""

    budget: str
    per: str
    by: str
    scope: str
    period: str
    ends_at: str
    measure: str
    used: int | float
    limit: int | float
    left: int | float


class Budgets(msgspec.Struct, frozen=True, kw_only=True):
    """All budgets."""

    budgets: list[BudgetUse]


class RuleWarning(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a rule that is valid and cannot mean what it says: where (`key`), the problem, and what to write instead."""

    kind: str
    key: str
    problem: str
    remedy: str


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule in use; `does` lists the keys that say what it does, and `enabled` is false for one that is switched off. `every`, and the next time
    at which it fires: of one that runs by the clock."""

    name: str
    where: str
    on: str
    condition: str = msgspec.field(name="if")
    does: list[str]
    warnings: list[RuleWarning] = []
    enabled: bool = True
    description: str = ""
    every: str = ""
    next_at: str | None = None


class RulesInUse(msgspec.Struct, frozen=True, kw_only=True):
    """The rules in use. `error` says why the file on disk is not in use. `after_restart` names changed settings that are not yet."""

    file: str
    error: str
    after_restart: list[str] = []
    loaded_at: str | None
    rules: list[Rule]


class Plugin(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin, and where it was loaded from."""

    name: str
    origin: str


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """The rules and plugins that run in this process, the signals of each receiver, and what is probably wrong with plugins."""

    rules: RulesInUse = RulesInUse(file="", error="", loaded_at=None, rules=[])
    plugins: list[Plugin] = []
    warnings: list[str] = []
    receivers: Mapping[str, Sequence[str]] = {}


class Receiver(msgspec.Struct, frozen=True, kw_only=True):
    """A receiver, its signals, and its deliveries by state. `fired` counts the deliveries in which it asked for something."""

    name: str
    loaded: bool
    signals: Sequence[str]
    done: int = 0
    waiting: int = 0
    running: int = 0
    failing: int = 0
    dead: int = 0
    fired: int = 0


class Rules(RulesInUse, frozen=True, kw_only=True):
    """The rules in use, and the results of their deliveries."""

    receivers: list[Receiver]


class Plugins(msgspec.Struct, frozen=True, kw_only=True):
    """The loaded plugins, what is probably wrong with them, and the results of the deliveries of all receivers."""

    plugins: list[Plugin]
    warnings: list[str] = []
    receivers: list[Receiver]


class Waiting(Submission, frozen=True, kw_only=True):
    """A submission that waits to be sent, and what it waits for."""

    why: Why


class WaitingPage(msgspec.Struct, frozen=True, kw_only=True):
    """Submissions that wait, newest first."""

    waiting: list[Waiting]
    cursor: str | None
