"""Rules at work: what each key submits, when, how often, and why not."""

from __future__ import annotations

import asyncio
import io
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from dispatcher.pictures.decoding import size
from dispatcher.plugins.errors import GiveUp, RuleError
from dispatcher.rules.expressions import Condition, compile_template
from dispatcher.rules.load import load_rules
from dispatcher.rules.masks import Region, load_mask
from hookchain.testing import Hookchain, grid, upscale
from midjourney.image_data import image_of_text
from midjourney.requests import Blend, Describe, Imagine, Modal
from storage.records import Submission


def rule(on: str = "task.succeeded", name: str = "r", **keys: Any) -> str:
    """A rule as a text."""
    lines = [f"name = {json.dumps(name)}", f"on = {json.dumps(on)}"]
    lines += [f"{'if' if key == 'when' else key} = {toml(value)}" for key, value in keys.items()]
    return "[[rules]]\n" + "\n".join(lines) + "\n"


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value)


def test_a_rule_hears_each_of_its_signals(hookchain: Hookchain) -> None:
    """Under one name, with one limit; and asks once although both signals tell of the same submission."""
    hookchain.load_rules(
        rule(["task.failed", "submission.dead", "task.lost"], repeat=True, limit=3)  # type: ignore[arg-type]
        + rule(name="press", press="U1", limit=1)
    )
    (first,) = hookchain.succeed(grid()).asks
    (again,) = hookchain.fail(upscale(), of=first).asks
    assert (again.receiver, again.label) == ("rule:r", "U1")
    assert hookchain.send("submission.dead", of=first).asks == []
    assert [one.label for one in hookchain.send("submission.dead", of=again).asks] == ["U1"]


def test_a_modal_of_a_press_is_answered_whichever_signal_pressed(hookchain: Hookchain) -> None:
    """The answer is a receiver of its own, which both presses share."""
    hookchain.load_rules(rule(["task.succeeded", "children.done"], press="custom_zoom", modal="wide"))  # type: ignore[arg-type]
    (press,) = hookchain.succeed(upscale()).asks
    assert hookchain.window(press, prompt="a cat").prompts == ["wide"]


@pytest.mark.parametrize(
    ("keys", "labels"),
    [
        ({"vary": "subtle"}, ["Vary (Subtle)"]),
        ({"vary": "strong"}, ["Vary (Strong)"]),
        ({"zoom": 2}, ["Zoom Out 2x"]),
        ({"zoom": "2x"}, ["Zoom Out 2x"]),
        ({"zoom": 1.7}, ["Custom Zoom"]),
        ({"pan": "left"}, ["⬅️"]),
        ({"animate": "low"}, ["Animate (Low motion)"]),
        ({"press": ["Vary*", "pan_right"]}, ["Vary (Subtle)", "Vary (Strong)", "Vary (Region)", "➡️"]),
        ({"press": "Make Square"}, []),
    ],
)
def test_what_is_pressed(hookchain: Hookchain, keys: dict[str, Any], labels: list[str]) -> None:
    """On an upscale with all its buttons; what it does not have is noted."""
    hookchain.load_rules(rule(**keys))
    asked = hookchain.succeed(upscale())
    assert asked.pressed == labels
    assert labels or "no button matches 'Make Square'" in asked.decisions["rule:r"]


def test_a_zoom_by_a_number_answers_its_own_window_only(hookchain: Hookchain) -> None:
    """The window of another rule is that one's matter."""
    hookchain.load_rules(rule(zoom=1.7) + rule(name="other", press="Vary (Region)"))
    asks = {one.label: one for one in hookchain.succeed(upscale()).asks}
    assert hookchain.window(asks["Custom Zoom"], prompt="a cat").prompts == ["a cat --zoom 1.7"]
    assert hookchain.window(asks["Vary (Region)"], id="other").asks == []


def test_a_window_whose_text_comes_out_empty_says_so(hookchain: Hookchain) -> None:
    """It is answered with its own text, as without a `modal.prompt`; why is told."""
    hookchain.load_rules(rule(zoom="custom", modal="{{ task.fail_reason }}"))
    (press,) = hookchain.succeed(upscale()).asks
    window = hookchain.window(press, prompt="a cat")
    assert window.prompts == ["a cat"]
    assert "the text for the modal is empty" in window.decisions["rule:r/modal"]


def test_a_text_that_comes_out_empty_asks_for_nothing(hookchain: Hookchain) -> None:
    """And is not tried again, since it comes out empty again."""
    hookchain.load_rules(rule(imagine="{{ task.fail_reason }}"))
    with pytest.raises(GiveUp, match="prompt: is empty"):
        hookchain.succeed(upscale())


@pytest.mark.parametrize("parent", [{"imageWidth": 200, "imageHeight": 100}, {"imageUrl": "https://x/y.png"}])
def test_a_region_is_drawn_to_the_size_of_the_picture(hookchain: Hookchain, parent: dict[str, Any]) -> None:
    """As its payload tells it; else the picture is looked at (here it is a dot)."""
    hookchain.load_rules(rule(vary="region", modal={"prompt": "a hat", "mask": "top-half"}))
    (press,) = hookchain.succeed(upscale()).asks
    (answer,) = hookchain.window(press, **parent).asks
    assert isinstance(answer.request, Modal)
    mask = image_of_text(answer.request.mask)
    assert size(mask.data) == ((200, 100) if "imageWidth" in parent else (1, 1))
    assert answer.request.prompt == "a hat"


@pytest.mark.parametrize(
    ("name", "white"),
    [
        ("left-half", 0.5),
        ("bottom-half", 0.5),
        ("center", 0.25),
        ("center 50%", 0.25),
        ("border 20%", 0.64),
        ("all", 1.0),
    ],
)
def test_a_region_is_white_where_the_picture_may_change(name: str, white: float, tmp_path: Path) -> None:
    """And black elsewhere, at any size."""
    region = load_mask(name, (tmp_path,))
    assert isinstance(region, Region)

    with Pillow.open(io.BytesIO(image_of_text(region.drawn(300, 200)).data)) as mask:
        counts = mask.convert("L").histogram()
    assert counts[0] + counts[255] == 300 * 200
    assert counts[255] / (300 * 200) == pytest.approx(white, abs=0.02)


def test_no_mask_is_drawn_for_more_pixels_than_a_picture_has(hookchain: Hookchain) -> None:
    """Its size comes from a payload, which may say anything."""
    hookchain.load_rules(rule(vary="region", modal={"mask": "all"}))
    (press,) = hookchain.succeed(upscale()).asks
    with pytest.raises(GiveUp, match="cannot draw a mask of 8000 x 8000 pixels; the limit is"):
        hookchain.window(press, imageWidth=8000, imageHeight=8000)


def test_a_mask_of_ones_own_is_a_png(tmp_path: Path) -> None:
    """A file beside the rules; anything else is said."""
    Pillow.new("L", (4, 4)).save(tmp_path / "mask.png")
    Pillow.new("L", (4, 4)).save(tmp_path / "mask.jpg")
    assert str(load_mask("mask.png", (tmp_path,))).startswith("data:image/png;base64,")
    with pytest.raises(RuleError, match="a mask is a PNG"):
        load_mask("mask.jpg", (tmp_path,))
    with pytest.raises(RuleError, match='Did you mean "center"'):
        load_mask("centre", (tmp_path,))


def test_without_a_directory_no_file_is_looked_for(tmp_path: Path) -> None:
    """What is there and what is not are answered alike; regions and data URLs are taken."""
    Pillow.new("L", (4, 4)).save(tmp_path / "mask.png")
    data = str(load_mask("mask.png", (tmp_path,)))
    assert load_mask(data, ()) == data
    assert isinstance(load_mask("center", ()), Region)
    for name in (
        str(tmp_path / "mask.png"),
        "/etc/passwd",
        "/no/such/file",
        "../../etc/hostname",
        "mask.png",
    ):
        with pytest.raises(RuleError) as raised:
            load_mask(name, ())
        said = f"mask {name!r} is not a region, and files cannot be used here; write a region or a data: URL."
        assert str(raised.value).startswith(said)


def test_without_a_directory_nobody_is_looked_up_who_is_told(tmp_path: Path) -> None:
    """Apprise reads the files that addresses name, and makes some."""
    for name in ("there", "missing"):
        (tmp_path / "there").write_text("no key")
        address = f"vapid://a@example.com/b@example.com?keyfile={tmp_path / name}&subfile={tmp_path / 'made'}"
        text = rule(notify=address)
        (found,) = load_rules(tomllib.loads(text)["rules"], file="here", text=text)
        assert list(found.effects) == ["notify"]
    assert [file.name for file in tmp_path.iterdir()] == ["there"]


def test_prompts_and_images_are_templates(hookchain: Hookchain) -> None:
    """Imagine, blend and describe."""
    hookchain.load_rules(
        rule(imagine={"prompt": "{{ task.prompt | upper }}", "images": ["{{ task.image_url }}"]})
        + rule(name="b", blend=["{{ task.image_url }}", "{{ task.image_url }}"])
        + rule(name="d", describe="{{ task.image_url }}")
    )
    requests = [one.request for one in hookchain.succeed(grid()).asks]
    assert [type(one) for one in requests] == [Blend, Describe, Imagine]
    assert requests[2].prompt == "A CAT"  # type: ignore[union-attr]  # an Imagine


def test_what_is_asked_for_says_when_and_how(hookchain: Hookchain) -> None:
    """Delay, priority, and a word that comes back."""
    hookchain.load_rules(
        rule(imagine="x", after="10 min", priority=5, state="of {{ task.id }}") + rule(name="s", press="U1")
    )
    later, now = hookchain.succeed(grid()).asks
    assert (later.after_s, later.priority, later.request.extra) == (600.0, 5, {"state": "of grid"})
    assert (now.after_s, now.priority, now.request.extra) == (0.0, 0, {})


def test_an_ended_task_is_not_cancelled_and_a_running_one_is(hookchain: Hookchain) -> None:
    """It costs nothing, and is no depth deeper."""
    hookchain.load_rules(rule(on="task.progressed", when="task.progress > 50", cancel=True))
    for progress in ("0%", "40%", "60%"):
        asked = hookchain.callback(grid(status="IN_PROGRESS", progress=progress))
    assert [(one.kind, one.depth) for one in asked.asks] == [("cancel", 0)]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("task.is_grid and chain.depth == 1", "chain.depth == 1 is false (chain.depth = 0)"),
        ("not task.is_grid", "not task.is_grid is false (task.is_grid = True)"),
        ("'dog' in task.prompt | lower", "'dog' in task.prompt|lower is false (task.prompt = 'a cat')"),
        (
            "chain.depth > 3 or task.prompt == 'x'",
            "chain.depth > 3 or task.prompt == 'x' is false (chain.depth = 0, task.prompt = 'a cat')",
        ),
        (
            "task.action in ['UPSCALE', 'PAN']",
            "task.action in ['UPSCALE', 'PAN'] is false (task.action = 'IMAGINE')",
        ),
        ("task.fail_reason", "task.fail_reason is ''"),
        ("task.progress is number", "task.progress is number is false (task.progress = None)"),
        ("submission.kind == 'imagine'", "submission.kind == 'imagine' is false (submission.kind = '')"),
        ("chain.depth + 1 > 3", "chain.depth + 1 > 3 is false (chain.depth = 0)"),
        ("task.prompt.startswith('z')", "task.prompt.startswith('z') is false (task.prompt = 'a cat')"),
        (
            "task.prompt.upper() == task.action.lower()",
            "task.prompt.upper() == task.action.lower() is false (task.prompt.upper() = 'A CAT', task.action.lower() = 'imagine')",
        ),
        ("task.extra.size is defined", "task.extra.size is defined is false (task.extra.size = missing)"),
    ],
)
def test_why_it_did_not_fire_is_told_with_the_values(hookchain: Hookchain, source: str, why: str) -> None:
    """The part that said no, in the words of the rule."""
    hookchain.load_rules(rule(when=source, press="U1"))
    told = hookchain.succeed(grid()).decisions["rule:r"]
    assert told.startswith(f"did not fire: {why}")


def test_a_condition_keeps_out_of_python() -> None:
    """No globals, no attributes of ours, and no endless loops."""
    for source in ("range(9)", "task.__init__", "().__class__", "cycler", "x" * 5000):
        with pytest.raises(RuleError):
            Condition(source)


async def test_a_limit_holds_for_a_chain_and_its_effects(bench: Any) -> None:
    """Three tasks of one chain succeed: a rule with once_per fires once, one with limit = 2 twice."""
    bench.rules(
        rule(name="once", once_per="chain", imagine="{{ task.id }}")
        + rule(name="twice", limit=2, shorten="{{ task.id }}")
        + rule(name="each", once_per="task", describe="data:image/png;base64,iVBORw0KGgo=")
    )
    await bench.start()
    await bench.callback("root", buttons=[])
    await bench.until_quiet()
    for number in (1, 2, 3):
        await bench.callback(f"t{number}", description="/up root U1", action="UPSCALE", buttons=[])
        await bench.until_quiet()
    made: list[Submission] = await bench.submissions()
    asked = [one.asked_by for one in made]
    assert (asked.count("rule:once"), asked.count("rule:twice"), asked.count("rule:each")) == (1, 2, 4)
    told = [one.decision for one in await bench.deliveries() if one.receiver == "rule:once"]
    assert told[1:] == ["did not fire: it has fired once for this chain, and its limit is 1"] * 3
    fired = [one.fired for one in await bench.deliveries() if one.receiver == "rule:twice"]
    assert fired == [True, True, False, False]


async def test_once_per_root_ends_for_a_window_that_somebody_else_opened(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule answers it, the upstream hangs up and then lists it as moving on; it is the root of what comes of it."""
    monkeypatch.setattr("dispatcher.loops.loop.POLL_S", 0.1)
    bench.options |= {"dialect": "mj-plus", "settle_after_s": 0.0}
    bench.rules(
        rule(on="submission.needs_modal", modal="a cat")
        + rule(name="once", once_per="root", imagine="{{ task.id }}")
    )
    bench.upstream.answer = lambda path, body: None
    window = {"id": "win", "action": "ZOOM"}
    await bench.start()
    await bench.callback("win", action="ZOOM", status="MODAL", buttons=[])
    bench.upstream.listed = [window | {"status": "SUBMITTED"}]
    await bench.until_states("accepted")
    bench.upstream.answer = lambda path, body: (200, {"code": 1, "description": "ok", "result": "child"})
    await bench.callback("win", action="ZOOM", buttons=[])
    made = await bench.until_states("accepted", "accepted")
    assert [one.kind for one in made] == ["modal", "imagine"]


async def test_what_is_to_be_sent_later_is_sent_later(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at once; and when its time has come."""
    bench.rules(rule(press="U1", after=0.3, state="mine"))
    await bench.start()
    began = asyncio.get_running_loop().time()
    await bench.callback()
    await bench.until_states("accepted")
    assert asyncio.get_running_loop().time() - began >= 0.3
    ((_, body),) = bench.upstream.received
    assert body["state"].endswith(" mine")


async def test_a_word_of_ones_own_comes_back(bench: Any) -> None:
    """Whatever the upstream makes of it: it is remembered here."""
    bench.rules(
        rule(press="U1", when="task.is_grid", state="campaign 7")
        + rule(name="back", when="task.state == 'campaign 7'", imagine="it came back")
    )
    await bench.start()
    await bench.callback()
    (press,) = await bench.until_states("accepted")
    await bench.callback(press.task_ids[0], press.id, action="UPSCALE", buttons=[], state="")
    made = await bench.until_states("accepted", "accepted")
    assert [one.kind for one in made] == ["action", "imagine"]


async def test_an_effect_that_fails_delays_nothing_else(bench: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """The presses of the same rule go; the effect is tried again, alone."""
    monkeypatch.setattr("dispatcher.policy.run_endings.delay_s", lambda attempt, **_: 30.0)
    bench.rules(rule(press="U1", archive=str(tmp_path), forward="http://127.0.0.1:9/in"))
    await bench.start()
    await bench.callback()
    await bench.until_states("accepted")

    async def tried() -> bool:
        return all(one.attempts for one in await bench.deliveries())

    await bench.until(tried)
    states = {one.receiver: one.state for one in await bench.deliveries()}
    assert states["rule:r"] == "done"
    assert states["rule:r/forward"] in ("waiting", "running")
    assert states["rule:r/archive"] in ("dead", "running")


async def test_a_rule_that_cannot_be_answered_is_a_dead_letter_at_once(bench: Any) -> None:
    """The same event gives the same error again."""
    bench.rules(rule(when="task.progress > 'x'", press="U1"))
    await bench.start()
    await bench.callback(progress="3%")

    async def dead() -> Any:
        return [one for one in await bench.deliveries() if one.state == "dead"]

    (letter,) = await bench.until(dead)
    assert "\"task.progress > 'x'\" cannot be evaluated" in letter.decision
    assert letter.attempts == 1


@pytest.mark.parametrize("after", [1, 30, "5 s", "10min", "2 h", "1.5 h"])
def test_times_are_read_as_people_write_them(hookchain: Hookchain, after: Any) -> None:
    """Seconds, minutes, hours."""
    seconds: dict[Any, float] = {1: 1, 30: 30, "5 s": 5, "10min": 600, "2 h": 7200, "1.5 h": 5400}
    hookchain.load_rules(rule(press="U1", after=after))
    assert hookchain.succeed(grid()).asks[0].after_s == seconds[after]


@pytest.mark.parametrize(
    "source",
    [
        "9**(9**9) > 1",
        "'a'*3000000000 == 'b'",
        "3000000000 * 'a' == 'b'",
        "[1]*3000000000 == []",
        "(1, 2)*3000000000 == ()",
        "true*'a'*3000000000 == 'b'",
        "2**999**9 > 1",
        "(-9)**999999999 > 1",
        "(9**300) * (9**300) > 1",
    ],
)
async def test_a_product_that_never_ends_is_refused_when_it_is_asked_for(source: str) -> None:
    """And not worked out when the rule is read, where it would stop everything else; of templates likewise."""
    condition, template = Condition(source), compile_template(f"{{{{ {source} }}}}")
    for ask in (condition, template):
        with pytest.raises(RuleError, match=r"the result of \*+ would be too large"):
            await ask({})


@pytest.mark.parametrize(
    "source",
    [
        "2 * 3 == 6",
        "2 ** 10 == 1024",
        "1.5 * 2 == 3.0",
        "2 ** -1 == 0.5",
        "2 ** 0.5 > 1.4",
        "1 ** 900 == 1",
        "'ab' * 2 == 'abab'",
        "3 * '-' == '---'",
        "'a' * -5 == ''",
        "[1] * 2 == [1, 1]",
        "true * 3 == 3",
    ],
)
async def test_what_is_multiplied_in_earnest_is_worked_out(source: str) -> None:
    assert (await Condition(source)({})).holds
    assert await compile_template(f"{{{{ {source} }}}}")({}) == "True"


async def test_a_rule_that_is_switched_off_hears_nothing(bench: Any) -> None:
    """Of the same event another rule hears."""
    bench.rules(rule(name="off", press="U1", enabled=False) + rule(name="on", press="U2"))
    await bench.start()
    await bench.callback()
    await bench.until_states("accepted")
    assert [one.label for one in await bench.submissions()] == ["U2"]
    assert [one.receiver for one in await bench.deliveries()] == ["rule:on"]
