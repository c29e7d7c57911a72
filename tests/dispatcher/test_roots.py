"""`root`, `chain.state` and `chain.prompt`: the first task of a chain, for the rules and plugins that use it."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from sqlalchemy import Connection

from dispatcher.by_hand import commands
from dispatcher.plugins.receivers import options_of
from dispatcher.plugins.upstream_handle import UpstreamHandle
from dispatcher.rules.load import load_rules
from dispatcher.rules.receiver import receivers_of
from dispatcher.trying.whatif import WhatIf
from hookchain import Chain, receiver, task_succeeded
from hookchain.testing import Hookchain, grid, upscale
from midjourney.dialects import DIALECTS
from midjourney.requests import Imagine
from storage.clock import now_ms
from storage.reading.recorded import recorded
from storage.records import Ticket
from storage.tickets import tickets
from tests.dispatcher.conftest import Bench

U1 = '[[rules]]\nname = "up"\non = "task.succeeded"\nif = "task.is_grid"\npress = "U1"\n'
LONG = "a very long prompt, " * 100


def rule(when: str, imagine: str = "{{ root.prompt }} again", **keys: str) -> str:
    """A rule about the upscales of a chain."""
    rest = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
    return (
        f'[[rules]]\nname = "more"\non = "task.succeeded"\nif = {json.dumps(when)}\n'
        f"imagine = {json.dumps(imagine)}\n{rest}"
    )


def grow(kit: Hookchain, **root: Any) -> Any:
    """A grid, whose U1 a rule presses, and what came of the upscale. Its own prompt and state are others."""
    (press,) = kit.succeed(grid(**root)).asks
    return kit.succeed(upscale(prompt="its own", state="its own"), of=press)


@pytest.mark.parametrize(
    ("when", "fires"),
    [
        ("task.action == 'UPSCALE' and chain.state == 'acme'", True),
        ("task.action == 'UPSCALE' and chain.state == 'other'", False),
        ("task.action == 'UPSCALE' and root.state == 'acme' and root.id == 'grid'", True),
        ("task.action == 'UPSCALE' and chain.prompt | length > 1000 and root.action == 'IMAGINE'", True),
        ("task.action == 'UPSCALE' and root.params.ar == '16:9' and root.image_url", True),
        ("task.action == 'UPSCALE' and root.extra.seed == 7 and root.properties.message_hash == 'm'", True),
        ("task.action == 'UPSCALE' and root.is_grid and root.buttons[0].label == 'U1'", True),
        ("task.action == 'UPSCALE' and root is none", False),
    ],
)
def test_a_rule_sees_the_root_of_its_chain(hookchain: Hookchain, when: str, fires: bool) -> None:
    """Whole: the database has only the beginning of a prompt beside it."""
    hookchain.load_rules(U1 + rule(when))
    prompt = f"{LONG}--ar 16:9"
    asked = grow(hookchain, prompt=prompt, state="acme", seed=7, properties={"messageHash": "m"})
    assert asked.prompts == ([f"{prompt} again"] if fires else [])


def test_the_root_is_its_own_root(hookchain: Hookchain) -> None:
    """So that one rule serves all tasks of a customer."""
    hookchain.load_rules(rule("chain.state == 'acme' and task.id == root.id", "{{ chain.prompt }}!"))
    assert hookchain.succeed(grid(id="a", state="acme", prompt="a dog")).prompts == ["a dog!"]
    assert hookchain.succeed(grid(id="b", state="other")).prompts == []


def test_state_of_a_rule_is_of_its_submission_and_the_chain_keeps_that_of_the_root(
    hookchain: Hookchain,
) -> None:
    """`task.state` is then what the rule wrote, and `chain.state` what the customer did."""
    hookchain.load_rules(
        U1.replace('press = "U1"', 'press = "U1"\nstate = "for {{ chain.state }}"')
        + rule("task.action == 'UPSCALE'", "{{ task.state }}, {{ chain.state }}")
    )
    (press,) = hookchain.succeed(grid(state="acme")).asks
    assert hookchain.succeed(upscale(), of=press).prompts == ["for acme, acme"]


def test_a_prompt_that_is_cut_is_never_sent(hookchain: Hookchain) -> None:
    """It may decide."""
    hookchain.load_rules(
        U1 + rule("task.action == 'UPSCALE' and chain.prompt | length > 9", "{{ chain.prompt }}")
    )
    hookchain.raise_errors = False
    asked = grow(hookchain, prompt="x" * 20_000)
    assert asked.asks == []
    assert "chain.prompt has more than 16000 characters" in asked.failed["rule:more"]


def test_unless_asks_about_the_root_again(hookchain: Hookchain) -> None:
    """When something is due."""
    for name, unless in (("a", "chain.state == 'acme'"), ("b", "root.state != 'acme'")):
        hookchain.load_rules(
            rule("task.action == 'UPSCALE'", name, after="1 h", unless=unless).replace('"more"', f'"{name}"')
        )
    hookchain.load_rules(U1)
    grow(hookchain, state="acme")
    assert [one.body["prompt"] for one in hookchain.wait("2 h").sent] == ["b"]


def test_only_rules_that_use_the_root_have_it_read() -> None:
    """In whichever of their texts."""
    texts = [
        ("chain.depth == 0", "a cat", False),
        ("chain.state == 'acme'", "a cat", True),
        ("task.is_grid", "{{ chain.prompt }}", True),
        ("root.is_grid", "a cat", True),
        ("task.is_grid", "{% if root %}a cat{% endif %}", True),
        ("task.state == 'root.state'", "{{ chain.id }} {{ chain }}", False),
    ]
    for when, imagine, uses in texts:
        text = rule(when, imagine)
        (compiled,) = load_rules(tomllib.loads(text)["rules"], file="rules", text=text)
        ((_, function),) = receivers_of(compiled)
        assert options_of(function).root is uses, (when, imagine)


async def test_a_root_that_a_stranger_reports_is_asked_for(bench: Bench) -> None:
    """Whoever knows a hook could otherwise pass for a customer, or write the prompt that is paid for."""
    bench.rules(rule("task.action == 'UPSCALE' and chain.state == 'acme'", "{{ chain.prompt }}"))
    await bench.callback("grid", forged=True, state="acme", prompt="forged", action="IMAGINE")
    bench.upstream.tasks["grid"] = {
        "id": "grid",
        "action": "IMAGINE",
        "status": "SUCCESS",
        "prompt": "a cat",
        "state": "poor",
        "buttons": [],
    }
    await bench.callback("up", action="UPSCALE", parentId="grid", buttons=[])
    await bench.start()
    await bench.until_quiet()
    assert "chain.state = 'poor'" in (await bench.deliveries())[-1].decision
    assert await bench.submissions() == []


async def test_a_root_that_the_upstream_does_not_know_is_no_root(bench: Bench) -> None:
    """Not even a condition that compares with it for inequality holds."""
    bench.rules(rule("task.action == 'UPSCALE' and chain.state != 'x' and root.prompt != 'x'", "paid"))
    await bench.callback("grid", forged=True, state="acme", buttons=[])
    await bench.callback("up", action="UPSCALE", parentId="grid", buttons=[])
    await bench.start()
    await bench.until_quiet()
    assert "chain.state has no value" in (await bench.deliveries())[-1].decision
    assert await bench.submissions() == []


async def test_the_root_that_we_submitted_is_known_from_its_request(bench: Bench) -> None:
    """Its state without our mark, though nothing but the answer has come of it."""
    bench.rules(
        '[[rules]]\nname = "r"\non = "submission.accepted"\nif = "chain.state == \'acme\' and submission.kind == \'imagine\'"\n'
        'shorten = "{{ root.prompt | length }} {{ chain.state }} {{ root.id }}"\n'
    )
    await bench.start()
    await bench.ask(Imagine(prompt=LONG, extra={"state": "acme"}))
    made = (await bench.until_states("accepted", "accepted"))[-1]
    assert json.loads(made.request)["prompt"] == f"{len(LONG)} acme child-1"


async def test_what_if_sees_the_root(bench: Bench) -> None:
    """As the server does."""
    await bench.callback("grid", state="acme")
    await bench.callback("up", action="UPSCALE", parentId="grid", buttons=[])
    nothing = '[[rules]]\nname = "n"\non = "task.succeeded"\npress = "V9"\n'
    bench.rules(nothing)
    await bench.start()
    await bench.until_quiet()
    text = rule("task.action == 'UPSCALE' and chain.state == 'acme'")
    compiled = load_rules(tomllib.loads(text)["rules"], file="rules", text=text)
    tried = WhatIf(
        compiled, {"main": UpstreamHandle(name="main", dialect=DIALECTS["trueai"])}, {}, bench.budget
    )
    happened = await bench.database.read(
        lambda connection: list(recorded(connection, tried.facts, 0, with_moves=True))
    )
    assert [one.task_id for one in tried.run(happened).suggested] == ["up"]


def test_a_plugin_asks_for_the_root(hookchain: Hookchain) -> None:
    """By an option; without it, nothing is read for it, and that is an error."""

    @task_succeeded.connect_via("UPSCALE")
    @receiver(root=True, name="more")
    async def more(_action: str, *, chain: Chain, **_: Any) -> None:
        assert chain.root is not None
        chain.imagine(f"{chain.root.prompt} {chain.prompt} {chain.state}")

    @task_succeeded.connect_via("UPSCALE")
    @receiver(name="less")
    async def less(_action: str, *, chain: Chain, **_: Any) -> None:
        chain.imagine(f"{chain.state}")

    hookchain.load_rules(U1)
    hookchain.raise_errors = False
    asked = grow(hookchain, state="acme")
    assert asked.prompts == ["a cat a cat acme"]
    assert "write @receiver(root=True)" in asked.failed["less"]


async def test_the_state_of_a_client_is_that_of_its_order(bench: Bench) -> None:
    """The gateway does not send it on, so that the upstream never shows it."""
    bench.rules(
        '[[rules]]\nname = "r"\non = "task.succeeded"\nif = "chain.state == \'customer 7\'"\n'
        'shorten = "{{ root.state }}: {{ root.prompt }}"\n'
    )
    await bench.start()

    def order(connection: Connection) -> None:
        for state, again in (("customer 7", 0), ("customer 8", 1)):
            staged = commands.submit(
                connection,
                Imagine(prompt="a cat"),
                upstream="main",
                dialect=DIALECTS["trueai"],
                asked_by="client ann",
                now_ms=now_ms(),
                again=again,
                client="ann",
            )
            ticket = Ticket(
                id="",
                client="ann",
                kind="imagine",
                upstream="main",
                submission_id=staged.submission_id,
                state=state,
                created_at_ms=now_ms(),
            )
            tickets.add(connection, ticket, ["main"])

    await bench.database.write("order", order)
    bench.database.wakeups.wake("submissions")
    made = await bench.until_states("accepted", "accepted")
    for one in made:
        (task_id,) = one.task_ids
        await bench.callback(task_id, one.id, buttons=[], state=f"{one.id} of nobody")
    (*_, shortened) = await bench.until_states("accepted", "accepted", "accepted")
    assert json.loads(shortened.request)["prompt"] == "customer 7: a cat"
    await bench.until_quiet()
    assert len(await bench.submissions()) == 3
