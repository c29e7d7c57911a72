"""Rules that are tried in a process of their own, whatever they are."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from dispatcher.plugins.errors import RuleError
from dispatcher.policy.chain_budget import Budget
from dispatcher.trying import tryout
from dispatcher.trying.trial import Busy, TrialOverran, Trials
from dispatcher.trying.tryout import Prediction, RecordedEvents, RulesLoaded, TrialRequest, UnusableRules
from dispatcher.trying.whatif import STATE_SIGNALS
from hookchain.testing import grid
from midjourney.decode import decode_task
from midjourney.dialects import DIALECTS
from storage.engine import Database
from storage.reading.recorded import recorded
from storage.records import Incoming
from tests.conftest import PATIENCE_S, REPOSITORY

HEARD = RulesLoaded(signals=["task.succeeded"], facts=sorted(STATE_SIGNALS))
UP = 'on = "task.succeeded"\npress = "U1"\n'


def asked(rest: str = UP) -> TrialRequest:
    """One rule, with these keys."""
    return TrialRequest(
        rules=f'[[rules]]\nname = "up"\n{rest}',
        dialects={"main": DIALECTS["mj-plus"]},
        prices={"main": {"upscale": 0.5}},
        budget=Budget(),
    )


async def nothing(_wanted: RulesLoaded) -> RecordedEvents:
    return RecordedEvents(events=[])


@pytest.fixture
async def happened(database: Database) -> RecordedEvents:
    """Two grids that were made, as both databases tell of them."""
    for number in (1, 2):
        task = decode_task(json.dumps(grid(id=f"task-{number}")).encode())
        await database.append(
            Incoming(upstream="main", task=task, submission_id="", source="callback", received_at_ms=number)
        )
    return RecordedEvents(events=await database.read(lambda one: list(recorded(one, ["task.succeeded"], 0))))


def processes() -> list[Path]:
    """Those of ours in which rules are tried."""
    return [
        file.parent
        for file in Path("/proc").glob("[0-9]*/cmdline")
        if tryout.__name__.encode() in _read(file)
        and f"PPid:\t{os.getpid()}\n".encode() in _read(file.parent / "status")
    ]


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""  # it has ended


@pytest.mark.process
async def test_what_rules_would_have_done_is_told(happened: RecordedEvents) -> None:
    """With its price, for the signals that they listen to;"""

    async def find(wanted: RulesLoaded) -> RecordedEvents:
        assert wanted.signals == ["task.succeeded"]
        return msgspec.structs.replace(happened, is_cut=True)

    outcome = await Trials().run(asked(), find)
    assert (outcome.events, outcome.errors, outcome.is_cut) == (2, {}, True)
    assert outcome.by_rule == {"rule:up": (2, 1.0, 0)}
    assert [(one.task_id, one.label) for one in outcome.suggested] == [("task-1", "U1"), ("task-2", "U1")]


@pytest.mark.process
async def test_what_would_have_waited_for_an_approval_is_counted(happened: RecordedEvents) -> None:
    """Beside what it would have cost."""

    async def find(_wanted: RulesLoaded) -> RecordedEvents:
        return happened

    outcome = await Trials().run(asked(UP + "approve = true"), find)
    assert (outcome.by_rule, outcome.held) == ({"rule:up": (2, 1.0, 0)}, 2)
    assert [one.held for one in outcome.suggested] == [True, True]


@pytest.mark.process
async def test_a_mistake_is_told_as_a_file_would_have_it() -> None:
    for text, told in (
        ('on = "task.succeeded"\npres = "U1"', r'here:4, rule "up".*unknown key. Did you mean "press"'),
        ("on =", "this is not valid TOML"),
        (f"{UP}x = {'[' * 5000}", "nested too deeply|unknown key|not valid TOML"),
        (UP + 'vary = "region"\nmodal = { mask = "/etc/passwd" }', "files cannot be used here"),
        (UP + f"if = '{'(' * 1500}1{')' * 1500}'", "."),
    ):
        with pytest.raises(RuleError, match=told):
            await Trials().run(asked(text), nothing)
    with pytest.raises(RuleError, match="the text contains no rules"):
        await Trials().run(msgspec.structs.replace(asked(), rules=""), nothing)


LOOP = "{% for a in '%9000d'|format(1) %}" * 3 + "{% endfor %}" * 3


@pytest.mark.process
@pytest.mark.parametrize(
    "rule",
    [
        """on = "task.succeeded"\nimagine = "{{ 1.5|round(1000000000, 'floor') }}" """,
        f"""on = "task.succeeded"\nimagine = "{LOOP}z" """,
    ],
    ids=["while it is read", "while it runs"],
)
async def test_what_never_ends_is_given_up_and_ended(
    rule: str, happened: RecordedEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In time; there is no process left, and the next rules are tried as ever."""

    async def find(_wanted: RulesLoaded) -> RecordedEvents:
        return happened

    monkeypatch.setattr(tryout, "WITHIN_S", 2)
    trials = Trials()
    with pytest.raises(TrialOverran, match=r"took more than 2 s.*the trial was stopped: choose fewer days"):
        await trials.run(asked(rule), find)
    assert processes() == []
    monkeypatch.undo()
    assert (await trials.run(asked(), find)).events == 2


@pytest.mark.process
async def test_memory_has_an_end(happened: RecordedEvents) -> None:
    """Three gigabytes are not had, whether they are asked for while a rule is read or while it runs: an error of the rule,
    or the end of the process."""

    async def find(_wanted: RulesLoaded) -> RecordedEvents:
        return happened

    for width in ("3000000000", "3000000000 + chain.depth"):
        rule = f"""on = "task.succeeded"\nimagine = "{{{{ 'x'|center({width}) }}}}" """
        outcome = await Trials().run(asked(rule), find)
        assert outcome.by_rule == {}
        assert list(outcome.errors.values()) == [2]


@pytest.mark.process
async def test_one_is_tried_at_a_time_and_the_process_knows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our environment has keys of upstreams and the address of the database."""
    monkeypatch.setenv("HOOKCHAIN_SECRET", "word")
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:word@localhost/x")
    trials = Trials()
    seen: list[bytes] = []

    async def find(_wanted: RulesLoaded) -> RecordedEvents:
        (process,) = processes()
        seen.append((process / "environ").read_bytes())
        with pytest.raises(Busy, match="other rules are being tried"):
            await trials.run(asked(), nothing)
        return RecordedEvents(events=[])

    assert (await trials.run(asked(), find)).events == 0
    assert b"PYTHONPATH=" in seen[0]
    assert b"word" not in seen[0]
    assert b"HOOKCHAIN" not in seen[0]


@pytest.mark.process
async def test_who_asked_and_has_gone_leaves_no_process() -> None:
    trials, asking = Trials(), asyncio.Event()

    async def find(_wanted: RulesLoaded) -> RecordedEvents:
        asking.set()
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.create_task(trials.run(asked(), find))
    await asking.wait()
    assert len(processes()) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert processes() == []


async def test_what_the_process_says_is_what_its_functions_say(happened: RecordedEvents) -> None:
    """The same without a process."""
    outgoing = io.BytesIO()
    tryout.answer(io.BytesIO(tryout.framed(asked()) + tryout.framed(happened)), outgoing)
    said = outgoing.getvalue()
    heard = tryout.framed(HEARD)
    assert said.startswith(heard)
    outcome = msgspec.msgpack.decode(said[len(heard) + tryout.LENGTH_BYTES :], type=Prediction)
    assert outcome.by_rule == {"rule:up": (2, 1.0, 0)}
    outgoing = io.BytesIO()
    tryout.answer(io.BytesIO(tryout.framed(asked("on ="))), outgoing)
    mistake = msgspec.msgpack.decode(outgoing.getvalue()[tryout.LENGTH_BYTES :], type=UnusableRules)
    assert "not valid TOML" in mistake.error


@pytest.mark.process
def test_the_process_answers_where_nothing_can_limit_it() -> None:
    """As on Windows, which has no `resource`: whoever started it ends it after its time."""
    script = "import sys; sys.modules['resource'] = None; from dispatcher.trying import tryout; sys.exit(tryout.main())"
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=tryout.framed(asked()) + tryout.framed(RecordedEvents(events=[])),
        capture_output=True,
        cwd=REPOSITORY,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(tryout.framed(HEARD))
