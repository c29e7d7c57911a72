"""What a rule or a plugin has scheduled is asked about again when it is due: it is sent once, or dropped with the reason."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, update

from dispatcher.by_hand import commands
from dispatcher.loops.ask_again import Asker, _clear, _drop
from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.plugins.errors import GiveUp
from dispatcher.plugins.receivers import Registry
from dispatcher.plugins.signals import SIGNALS
from dispatcher.rules.compile import RuleContext
from dispatcher.rules.expressions import evaluate_here
from dispatcher.rules.later import asking_plugins
from dispatcher.rules.mistakes import WrongRules
from dispatcher.rules.reload import InFile, LiveRules
from dispatcher.rules.sources import Source, find_in
from dispatcher.tickets.clients import Client
from dispatcher.tickets.listening import wants
from hookchain.cli.decisions import explanation_lines
from hooks.api.gateway_answers import Explained
from hooks.api.shapes import explained_shape
from midjourney.dialects import DIALECTS
from storage import schema
from storage.clock import now_ms
from storage.engine import Database
from storage.reading import explanation
from storage.submissions import scheduled
from tests.dispatcher.conftest import Bench

HOUR_MS = 3_600_000
RULE: dict[str, object] = {"name": "later", "on": "task.succeeded", "press": "U1", "after": "1 h"}


def rules(*tables: dict[str, object]) -> str:
    """Rules as a text."""
    keys = [[f"{key} = {json.dumps(value)}" for key, value in table.items()] for table in tables]
    return "".join("[[rules]]\n" + "\n".join(lines) + "\n" for lines in keys)


class Live:
    """The rules of a file, which is edited while things wait."""

    def __init__(self, bench: Bench, file: Path, text: str) -> None:
        self.bench, self.file = bench, file
        file.write_text(text)
        self._rules = LiveRules(self._load().rules, file, self._load)
        self.registry = Registry(SIGNALS)
        self._rules.watch(self.registry)

    def _load(self) -> InFile:
        text = self.file.read_text()
        context = RuleContext(directory=None)
        source = Source(file=self.file.name, text=text, tables=tomllib.loads(text), context=context)
        found, mistakes = find_in([source])
        if mistakes:
            raise WrongRules(mistakes)
        return InFile(rules=found)

    def edit(self, text: str) -> bool:
        """Write the file; True if its rules are in use."""
        self.file.write_text(text)
        return self._rules.reload()

    async def schedule(self, **fields: Any) -> str:
        """A grid succeeds; the id of what the rule schedules for it."""
        await self.bench.start(self.registry)
        await self.bench.callback(**fields)
        (waiting,) = await self.bench.until_states("waiting")
        assert waiting.run_at_ms > now_ms() + HOUR_MS // 2
        return waiting.id


@pytest.fixture
def live(bench: Bench, tmp_path: Path) -> Any:
    """Makes the rules of a file from tables."""
    return lambda *tables: Live(bench, tmp_path / "rules.toml", rules(*tables))


async def becomes_due(database: Database) -> None:
    """What is scheduled is due now, as if the time had passed."""
    row = schema.submissions
    past = update(row).where(row.c.state == "waiting").values(run_at_ms=now_ms(), queue_at_ms=now_ms())
    await database.write("test", lambda connection: connection.execute(past))
    database.wakeups.wake("submissions")


async def press(bench: Bench, button: str, asked_by: str = "page", after_s: float = 0) -> None:
    """A person presses a button of the grid."""

    def stage(connection: Connection) -> None:
        commands.press(
            connection,
            "grid",
            button,
            upstream="main",
            dialect=DIALECTS["trueai"],
            asked_by=asked_by,
            now_ms=now_ms(),
            after_s=after_s,
        )

    await bench.database.write("command", stage)
    bench.database.wakeups.wake("submissions")


async def reason(bench: Bench, id_: str) -> str:
    """Why a submission was dropped; nothing was sent."""
    dropped = await bench.until_state(id_, "rejected")
    assert (dropped.outcome, dropped.attempts) == ("dropped", 0)
    assert dropped.reason.startswith("not sent: ")
    return dropped.reason.removeprefix("not sent: ")


async def test_what_nothing_speaks_against_is_sent_once(bench: Bench, live: Any) -> None:
    """Before its time: not. When it is due: once."""
    made = live(RULE | {"unless": "chain.pressed_by_person or 'U2' in chain.pressed"})
    id_ = await made.schedule()
    assert bench.upstream.received == []
    await becomes_due(bench.database)
    sent = await bench.until_state(id_, "accepted")
    assert (sent.attempts, len(bench.upstream.pressed())) == (1, 1)


async def _has_events(bench: Bench, count: int) -> bool:
    return len(await bench.events(task_id="grid")) >= count


@pytest.mark.parametrize("asked_by", ["page", "client shop"])
async def test_unless_a_person_pressed(bench: Bench, live: Any, asked_by: str) -> None:
    """A person presses U2: U1 is not sent. The explanation of the grid tells why."""
    made = live(RULE | {"unless": "chain.pressed_by_person"})
    id_ = await made.schedule()
    await press(bench, "U2", asked_by)
    await bench.until_states("accepted", "waiting")
    await becomes_due(bench.database)
    why = "unless = 'chain.pressed_by_person' held when it was due"
    assert await reason(bench, id_) == why
    assert len(bench.upstream.pressed()) == 1
    found = await bench.database.read(lambda c: explanation.explained(c, "main", "grid"))
    assert found is not None
    shape = explained_shape(found)
    fields = {name: getattr(shape, name) for name in shape.__struct_fields__}
    lines = "\n".join(explanation_lines(Explained(**fields)))
    assert f"action U1 by rule:later: not sent: {why}" in lines


async def test_another_rule_is_no_person(bench: Bench, live: Any) -> None:
    """Its press counts as pressed, and not as a person's."""
    other: dict[str, object] = {"name": "other", "on": "task.succeeded", "press": "U2"}
    made = live(
        RULE | {"unless": "chain.pressed_by_person"},
        RULE | {"name": "picky", "press": "U3", "unless": "'U2' in chain.pressed"},
        other,
    )
    await bench.start(made.registry)
    await bench.callback()
    await bench.until_states("accepted", "waiting", "waiting")
    await becomes_due(bench.database)
    found = {one.label: one for one in await bench.until_states("accepted", "accepted", "rejected")}
    assert {label: one.state for label, one in found.items()} == {
        "U1": "accepted",
        "U2": "accepted",
        "U3": "rejected",
    }


async def test_a_press_elsewhere_is_a_persons(bench: Bench, live: Any) -> None:
    """Nobody here asked for it, and the task shows it in green."""
    made = live(RULE | {"unless": "chain.pressed_by_person"})
    id_ = await made.schedule()
    buttons = [{"customId": "MJ::JOB::upsample::2::x", "label": "U2", "style": 3}]
    await bench.callback(progress="100%", buttons=buttons)
    await bench.until(lambda: _has_events(bench, 2))
    await becomes_due(bench.database)
    assert "held" in await reason(bench, id_)


@pytest.mark.parametrize(
    ("after", "why"),
    [
        ([], 'the rule "later" no longer exists, or is switched off'),
        ([RULE | {"press": "U2"}], 'the rule "later" was changed after it was scheduled'),
        ([RULE | {"state": "x"}], 'the rule "later" was changed after it was scheduled'),
        (
            [RULE | {"if": "chain.depth == 5"}],
            'the rule "later" was changed after it was scheduled: chain.depth == 5 is false (chain.depth = 0)',
        ),
        (
            [{"name": "later", "on": "task.succeeded", "notify": "json://localhost"}],
            'the rule "later" was changed after it was scheduled',
        ),
        ([RULE | {"unless": "task.is_grid"}], "unless = 'task.is_grid' held when it was due"),
        (
            [RULE | {"unless": "task.image_number > 1"}],
            "unless = 'task.image_number > 1' could not be answered when it was due: task.image_number has no value",
        ),
    ],
)
async def test_a_rule_that_was_deleted_or_changed_does_not_send(
    bench: Bench, live: Any, after: list[dict[str, object]], why: str
) -> None:
    """What it scheduled before is dropped when it is due, with the reason."""
    made = live(RULE)
    id_ = await made.schedule()
    assert made.edit(rules(*after))
    await becomes_due(bench.database)
    assert why in await reason(bench, id_)
    assert bench.upstream.received == []


async def test_the_reason_names_the_macro_that_was_changed(bench: Bench, live: Any) -> None:
    """With its place; and not a macro whose name is only a word of the rule."""
    macros = '[macros]\nlater = "task.prompt"\nsaid = "{{ task.prompt }}"\n'
    made = live(RULE)
    changed = RULE | {"state": "later {{ said }}"}
    assert made.edit(macros + rules(changed))
    id_ = await made.schedule()
    assert made.edit(macros.replace("task.prompt", "task.id") + rules(changed))
    await becomes_due(bench.database)
    why = 'the macro said (rules.toml:3), which the rule "later" uses, was changed after it was scheduled'
    assert await reason(bench, id_) == why


async def test_a_macro_that_only_has_the_name_of_a_rule_drops_nothing(bench: Bench, live: Any) -> None:
    """It is sent."""
    made = live(RULE)
    assert made.edit('[macros]\nlater = "task.prompt"\n' + rules(RULE))
    id_ = await made.schedule()
    assert made.edit('[macros]\nlater = "task.id"\n' + rules(RULE))
    await becomes_due(bench.database)
    await bench.until_state(id_, "accepted")


async def test_it_is_asked_again_before_each_attempt(bench: Bench, live: Any) -> None:
    """The first attempt left nothing; the rule is deleted before the second one."""
    made = live(RULE)
    id_ = await made.schedule()
    bench.upstream.answer = lambda _path, _body: (429, {"code": 23, "description": "too many requests"})
    await becomes_due(bench.database)
    await bench.until(lambda: _was_tried(bench))
    bench.upstream.answer = lambda _path, _body: (200, {"code": 1, "description": "ok", "result": "child"})
    assert made.edit("")
    await becomes_due(bench.database)
    dropped = await bench.until_state(id_, "rejected")
    assert (dropped.outcome, dropped.attempts, len(bench.upstream.received)) == ("dropped", 1, 1)
    assert "no longer exists" in dropped.reason


async def _was_tried(bench: Bench) -> bool:
    (one,) = await bench.submissions()
    return (one.state, one.attempts) == ("waiting", 1)


@pytest.mark.parametrize(
    ("pressed", "why"),
    [
        ("U3", "unless = 'chain.pressed_by_person' held when it was due"),
        ("U1", "U1 was pressed by another program in the meantime"),
    ],
)
async def test_what_another_program_pressed_is_read_back(
    bench: Bench, live: Any, pressed: str, why: str
) -> None:
    """No callback tells of it: only the upstream shows it, if it is asked."""
    keys = RULE | ({"unless": "chain.pressed_by_person"} if pressed == "U3" else {})
    made = live(keys)
    id_ = await made.schedule()
    for button in bench.upstream.tasks["grid"]["buttons"]:
        if button["label"] == pressed:
            button["style"] = 3
    await becomes_due(bench.database)
    assert await reason(bench, id_) == why
    assert bench.upstream.received == []


async def test_while_the_upstream_does_not_tell_the_task_nothing_is_decided(bench: Bench, live: Any) -> None:
    """It is neither sent nor dropped."""
    made = live(RULE)
    id_ = await made.schedule()
    await bench.stop()
    bench.upstream.fetch_status = 500
    worker = bench.worker(made.registry)
    await becomes_due(bench.database)
    asker = next(loop for loop in worker._loops if loop.name == "ask again")
    await asker._turn()
    (waiting,) = await bench.submissions()
    assert (waiting.id, waiting.state, waiting.attempts) == (id_, "waiting", 0)
    await worker.stop()


@pytest.mark.parametrize(
    "after",
    [
        RULE | {"after": "2 h"},
        RULE | {"if": "task.is_grid", "limit": 4},
        RULE | {"priority": 3, "unless": "chain.depth == 5"},
    ],
)
async def test_a_rule_that_does_the_same_still_sends(
    bench: Bench, live: Any, after: dict[str, object]
) -> None:
    """Its time, its limits or its condition were changed, and the condition holds."""
    made = live(RULE)
    id_ = await made.schedule()
    assert made.edit(rules(after))
    await becomes_due(bench.database)
    await bench.until_state(id_, "accepted")


async def test_a_mistake_in_the_file_drops_nothing(bench: Bench, live: Any) -> None:
    """The old rules run on, and so does what they scheduled."""
    made = live(RULE)
    id_ = await made.schedule()
    assert not made.edit(rules(RULE | {"pres": "U1"}))
    await becomes_due(bench.database)
    await bench.until_state(id_, "accepted")


@pytest.mark.parametrize(
    ("rules_of_client", "state"),
    [(True, "waiting"), (["later"], "waiting"), (["other"], "rejected"), (False, "rejected")],
)
async def test_a_client_that_wants_the_rule_no_more_gets_nothing_of_it(
    bench: Bench, live: Any, rules_of_client: bool | list[str], state: str
) -> None:
    """The settings of the gateway's client were changed while the press waited."""
    made = live(RULE)
    id_ = await made.schedule()
    await bench.stop()
    chain = schema.chains
    await bench.database.write("test", lambda c: c.execute(update(chain).values(client="shop")))
    client = Client(name="shop", rules=rules_of_client)
    asker = Asker(
        bench.database,
        made.registry,
        {"main": UpstreamHandle(name="main", dialect=DIALECTS["trueai"])},
        asking_plugins(evaluate_here),
        now_ms,
        lambda: True,
        wants=lambda name, receiver: name == "shop" and wants(client, receiver),
    )
    await becomes_due(bench.database)
    await asker.turn()
    (one,) = await bench.submissions()
    assert (one.id, one.state) == (id_, state)
    assert one.reason == (
        "" if state == "waiting" else "not sent: the client shop no longer wants rule:later"
    )


def test_a_client_that_wants_a_rule_wants_all_of_it() -> None:
    """Its effects and its answers to modals too; a plugin's receiver by its whole name."""
    client = Client(rules=["zoom", "mine:press"])
    wanted = ["rule:zoom", "rule:zoom/modal", "rule:zoom/archive", "mine:press"]
    assert [name for name in [*wanted, "rule:zo", "rule:other/zoom", "mine"] if wants(client, name)] == wanted


async def test_where_no_rule_is_loaded_nobody_decides(bench: Bench, live: Any) -> None:
    """Another process works on the database, and may have the rule: it is neither sent nor dropped."""
    made = live(RULE)
    id_ = await made.schedule()
    await bench.stop()
    worker = bench.worker(Registry({}))
    await becomes_due(bench.database)
    asker = next(loop for loop in worker._loops if loop.name == "ask again")
    worker._membership.is_alone = False
    await asker._turn()
    (waiting,) = await bench.submissions()
    assert (waiting.state, waiting.attempts) == ("waiting", 0)
    due = await bench.database.read(lambda c: scheduled.due(c, now_ms(), 9))
    assert [one.submission.id for one in due] == [id_]
    await worker.stop()


async def test_a_rule_sends_at_a_time_of_day(bench: Bench, live: Any) -> None:
    """The next such time in its zone; it is asked again then."""
    at: dict[str, object] = {
        "name": "nightly",
        "on": "task.succeeded",
        "press": "U1",
        "at": "mon 9:00 Asia/Shanghai",
    }
    made = live(at | {"unless": "chain.pressed_by_person"})
    await bench.start(made.registry)
    asked_ms = now_ms()
    await bench.callback()
    (waiting,) = await bench.until_states("waiting")
    due = datetime.fromtimestamp(waiting.run_at_ms / 1000, ZoneInfo("Asia/Shanghai"))
    assert (f"{due:%a %H:%M:%S}", waiting.run_at_ms > asked_ms) == ("Mon 09:00:00", True)
    assert due - datetime.fromtimestamp(asked_ms / 1000, UTC) <= timedelta(days=7)
    await becomes_due(bench.database)
    await bench.until_state(waiting.id, "accepted")


async def test_what_waits_from_before_is_sent_as_before(bench: Bench, live: Any) -> None:
    """A row without terms, as earlier releases wrote it, whose rule is gone: nobody is asked."""
    made = live(RULE)
    id_ = await made.schedule()
    assert made.edit("")
    row = schema.submissions
    await bench.database.write("test", lambda c: c.execute(update(row).values(terms=None)))
    await becomes_due(bench.database)
    await bench.until_state(id_, "accepted")


async def test_the_earlier_of_two_rules_decides(bench: Bench, live: Any) -> None:
    """Both press U1: one in an hour unless, the other in two; then the first is the one that is asked."""
    made = live(RULE | {"after": "2 h"}, RULE | {"name": "sooner", "unless": "true"})
    await bench.start(made.registry)
    await bench.callback()
    (waiting,) = await bench.until_states("waiting")
    await bench.until(lambda: _is_repeated(bench))
    await becomes_due(bench.database)
    assert "unless = 'true'" in await reason(bench, waiting.id)


async def _is_repeated(bench: Bench) -> bool:
    (one,) = await bench.submissions()
    return one.repeats == 1 and one.run_at_ms < now_ms() + 3 * HOUR_MS // 2


async def test_what_plugins_schedule(bench: Bench, signals: Any) -> None:
    """Their `unless` is asked, too; what is wrong with one is a mistake of the plugin, at once."""
    wrong: list[str] = []

    async def later(_action: str, *, chain: Any, **_: Any) -> None:
        for options in (
            {"after": 3600, "unless": "chain.presed"},
            {"after": 3600, "unless": 3},
            {"unless": "true"},
            {"after": 3600, "at": "22:00"},
            {"at": 22},
            {"at": "25:00"},
            {"at": "22:00 Europe/Berln"},
        ):
            try:
                chain.press("U4", **options)
            except GiveUp as error:
                wrong.append(str(error))
        chain.press("U1", after=3600, unless="chain.depth == 0")
        chain.press("U2", after=3600, unless="chain.depth == 1")
        chain.press("U3", after=3600)

    signals["task.succeeded"].connect(later)
    await bench.start()
    await bench.callback()
    found = {one.label: one.id for one in await bench.until_states("waiting", "waiting", "waiting")}
    await becomes_due(bench.database)
    assert "chain.depth == 0" in await reason(bench, found["U1"])
    await bench.until_state(found["U2"], "accepted")
    await bench.until_state(found["U3"], "accepted")
    assert wrong == [
        "unless: 'chain.presed': 'chain' has no field 'presed'. Did you mean \"pressed\"?",
        "unless is 3; it must be an expression as a text",
        "unless is asked when a delayed submission is due: give it a delay with after or at",
        "after and at are two ways to say when: use one of them",
        'at is 22; it must be a text. Write "22:00", "22:00 Europe/Berlin" or "mon 9:00 Asia/Shanghai".',
        "at: 25:00 is not a time of day. Write 0:00 to 23:59.",
        "at: unknown time zone 'Europe/Berln'. Did you mean \"Europe/Berlin\"?",
    ]


async def test_a_plugin_that_is_gone_does_not_send(bench: Bench, signals: Any) -> None:
    """As a rule that was deleted."""

    async def later(_action: str, *, chain: Any, **_: Any) -> None:
        chain.press("U1", after=3600)

    signals["task.succeeded"].connect(later)
    await bench.start()
    await bench.callback()
    (waiting,) = await bench.until_states("waiting")
    await bench.stop()
    signals["task.succeeded"].disconnect(later)
    await bench.start()
    await becomes_due(bench.database)
    assert "is not loaded any more" in await reason(bench, waiting.id)


async def test_a_person_is_not_asked_again(bench: Bench, live: Any) -> None:
    """The rule scheduled U1 and is deleted; a person had pressed U1, for a later time even: it is sent, once, as the person's."""
    made = live(RULE | {"unless": "true"})
    id_ = await made.schedule()
    await press(bench, "U1", after_s=7200)
    assert made.edit("")
    await becomes_due(bench.database)
    sent = await bench.until_state(id_, "accepted")
    assert (sent.asked_by, sent.repeats, len(bench.upstream.pressed())) == ("person:page", 1, 1)


async def test_it_is_asked_again_while_its_upstream_is_paused(bench: Bench, live: Any) -> None:
    """An agreement holds for seconds: later, whether a person has pressed is asked anew."""
    made = live(RULE)
    await made.schedule()
    await bench.stop()
    await becomes_due(bench.database)
    at_ms = now_ms()

    def work(connection: Connection) -> list[int]:
        (one,) = scheduled.due(connection, at_ms, 9)
        assert scheduled.clear(connection, one, at_ms)
        return [
            len(scheduled.due(connection, at_ms + later, 9))
            for later in (0, scheduled.CLEARED_MS, scheduled.CLEARED_MS + 1)
        ]

    assert await bench.database.write("test", work) == [0, 0, 1]


async def test_an_answer_about_what_was_changed_meanwhile_counts_for_nothing(bench: Bench, live: Any) -> None:
    """A person hurries it between the question and the answer: it is neither dropped nor held back."""
    made = live(RULE)
    id_ = await made.schedule()
    await bench.stop()
    await becomes_due(bench.database)
    (asked,) = await bench.database.read(lambda c: scheduled.due(c, now_ms(), 9))
    await press(bench, "U1")
    assert not await bench.database.write("test", lambda c: _drop(asked, "no", now_ms(), c))
    assert not await bench.database.write("test", lambda c: _clear(asked, now_ms(), c))
    await bench.start(made.registry)
    await bench.until_state(id_, "accepted")
