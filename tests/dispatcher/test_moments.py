"""`now(…)` in conditions and texts: the time at which they are worked out, in any time zone."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime

import pytest

from dispatcher.plugins.upstream_handle import UpstreamHandle
from dispatcher.policy.chain_budget import Budget
from dispatcher.rules.confined import evaluate_confined
from dispatcher.rules.expressions import Condition, Evaluator, compile_template, evaluate_here
from dispatcher.rules.load import load_rules
from dispatcher.rules.moments import Moment
from dispatcher.trying.trial import Trials
from dispatcher.trying.tryout import RecordedEvents, RulesLoaded, TrialRequest
from dispatcher.trying.whatif import WhatIf
from hookchain.testing import Hookchain, grid
from midjourney.decode import decode_task
from midjourney.dialects import DIALECTS
from storage.engine import Database
from storage.reading.recorded import recorded
from storage.records import Incoming

EVALUATORS = [evaluate_here, pytest.param(evaluate_confined, marks=pytest.mark.process)]
SUNDAY_NIGHT = int(datetime(2027, 2, 28, 17, 30, tzinfo=UTC).timestamp() * 1000)
"""Monday morning in Shanghai."""
NAMES = {"now": Moment(now_ms=SUNDAY_NIGHT, zone="Europe/Berlin")}
NIGHT = """
[[rules]]
name = "night"
on = "task.succeeded"
if = "now('Asia/Shanghai').hour >= 22"
press = "U2"
"""


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("{{ now('Asia/Shanghai').hour }}:{{ now('Asia/Shanghai').minute }}", "1:30"),
        ("{{ now('Asia/Shanghai').weekday }} {{ now('UTC').weekday | string }}", "mon sun"),
        ("{{ [now('Asia/Shanghai').date, now('UTC').date] | join(' ') }}", "2027-03-01 2027-02-28"),
        ("{{ now().hour + 1 }}", "19"),
        ("{{ '%02d' | format(now('Asia/Kathmandu').minute) }}", "15"),
    ],
)
async def test_the_time_in_a_zone(evaluator: Evaluator, text: str, rendered: str) -> None:
    """In the confined process too, which is told the time."""
    assert await compile_template(text, evaluator)(NAMES) == rendered


@pytest.mark.parametrize("evaluator", EVALUATORS)
async def test_a_false_condition_tells_the_time(evaluator: Evaluator) -> None:
    """With the zone as the rule names it."""
    condition = Condition("now('Asia/Shanghai').hour >= 22 and [1] | sort", evaluator)
    told = await condition(NAMES)
    assert (told.holds, told.text) == (
        False,
        "now('Asia/Shanghai').hour >= 22 is false (now('Asia/Shanghai').hour = 1)",
    )


def test_a_rule_fires_by_the_time_of_its_zone(hookchain: Hookchain) -> None:
    """The kit's clock is the rule's."""
    hookchain.load_rules(NIGHT)
    hookchain.wait(datetime(2027, 3, 1, 13, 59, tzinfo=UTC))
    early = hookchain.succeed(grid(id="early"))
    assert early.asks == []
    assert "now('Asia/Shanghai').hour = 21" in early.decisions["rule:night"]
    hookchain.wait("1 min")
    assert hookchain.succeed(grid(id="late")).pressed == ["U2"]


def test_without_a_zone_it_is_that_of_the_settings(hookchain: Hookchain) -> None:
    """As for `at`."""
    hookchain.load_rules('timezone = "Asia/Shanghai"\n' + NIGHT.replace("'Asia/Shanghai'", ""))
    hookchain.wait(datetime(2027, 3, 1, 14, tzinfo=UTC))
    assert hookchain.succeed(grid()).pressed == ["U2"]


@pytest.mark.parametrize(("after", "sent"), [("1 h", []), ("3 h", ["U2"])])
def test_unless_asks_for_the_time_at_which_something_is_due(
    hookchain: Hookchain, after: str, sent: list[str]
) -> None:
    """And not for that of the event."""
    hookchain.load_rules(NIGHT.replace("if", "unless").replace(">= 22", "< 1") + f'after = "{after}"\n')
    hookchain.wait(datetime(2027, 3, 1, 15, tzinfo=UTC))
    hookchain.succeed(grid())
    assert [one.label for one in hookchain.wait("5 h").sent] == sent


@pytest.mark.process
async def test_what_if_takes_the_time_of_each_event(database: Database) -> None:
    """The trial of the dashboard, in its process, and the command."""
    night_ms = SUNDAY_NIGHT - 3 * 3_600_000
    for hours in (0, 3):
        task = decode_task(json.dumps(grid(id=f"task-{hours}")).encode())
        received_at_ms = night_ms + hours * 3_600_000
        await database.append(
            Incoming(
                upstream="main", task=task, submission_id="", source="callback", received_at_ms=received_at_ms
            )
        )
    text = NIGHT.replace("'Asia/Shanghai'", "")

    async def find(wanted: RulesLoaded) -> RecordedEvents:
        return RecordedEvents(events=await database.read(lambda one: list(recorded(one, wanted.signals, 0))))

    handle = UpstreamHandle(name="main", dialect=DIALECTS["mj-plus"], zone="Asia/Shanghai")
    compiled = load_rules(tomllib.loads(text)["rules"], file="here", text=text)
    here = WhatIf(compiled, {"main": handle}, {}, Budget())
    report = here.run((await find(RulesLoaded(signals=here.signals))).events)
    assert [one.task_id for one in report.suggested] == ["task-0"]

    request = TrialRequest(
        rules=text,
        dialects={"main": handle.dialect},
        prices={},
        budget=Budget(),
        zones={"main": handle.zone},
    )
    predicted = await Trials().run(request, find)
    assert [one.task_id for one in predicted.suggested] == ["task-0"]
