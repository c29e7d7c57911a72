"""What a plugin cannot have meant spends nothing: it is a dead letter at once, which names what to write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dispatcher.plugins import own_windows
from dispatcher.plugins.submit_options import InvalidDelay, delay_s
from hookchain import task_succeeded
from hookchain.testing import Hookchain, upscale
from storage.schema import submissions

WITH_ZOOM = {
    "action": "UPSCALE",
    "buttons": [{"customId": "MJ::CustomZoom::0ddb91a0-af46-4ae9-8e8e-c271074eb6e6", "label": "Custom Zoom"}],
}
PLUGIN = """
from hookchain import task_succeeded

@task_succeeded.connect
def acts(action, *, task, chain, **_):
    chain.{call}
"""

SLIPS: list[tuple[Callable[[Any], object], str]] = [
    (
        lambda chain: chain.press("U1", delay=3600),
        "U1: unknown option 'delay'. Did you mean \"after\"? The options are again, after, ",
    ),
    (lambda chain: chain.press("U9", wait=3600), "U9: unknown option 'wait'. Did you mean \"after\"?"),
    (lambda chain: chain.press("U1", prio=3), "U1: unknown option 'prio'. Did you mean \"priority\"?"),
    (lambda chain: chain.press("U1", aftr=3), "U1: unknown option 'aftr'. Did you mean \"after\"?"),
    (
        lambda chain: chain.press("U1", after="soon"),
        'U1: after: \'soon\' is not a time. Write seconds, or "10 min", "2 h", "3 days".',
    ),
    (lambda chain: chain.press("U1", after="31 days"), "U1: after: '31 days' is not between 0 and 30 days."),
    (lambda chain: chain.press("U1", after="800 h"), "U1: after: '800 h' is not between 0 and 30 days."),
    (lambda chain: chain.press("U1", state=5), "U1: state is 5; it must be a text"),
    (
        lambda chain: chain.press(["U1", "U2"]),
        "press: ['U1', 'U2'] is a list. Write chain.press(*buttons), or",
    ),
    (lambda chain: chain.press(), 'press: no button is named. Write chain.press("U1")'),
    (lambda chain: chain.press(""), 'press: \'\' names no button. Write "U1", "U*", or'),
    (lambda chain: chain.press(1), "press: 1 names no button."),
    (lambda chain: chain.vary("subtil"), "vary: 'subtil' is unknown. Did you mean \"subtle\"?"),
    (lambda chain: chain.vary("subtle", in_=3), "vary_subtle: unknown option 'in_'. Did you mean \"after\"?"),
    (
        lambda chain: chain.zoom(3),
        "zoom: 3 is out of range. Midjourney zooms out by a factor above 1, up to 2.",
    ),
    (
        lambda chain: chain.zoom("wide"),
        "zoom: 'wide' is not a zoom factor. Write 1.5, 2, another number from 1 to 2, or",
    ),
    (lambda chain: chain.zoom(True), "zoom: True is not a zoom factor."),
    (lambda chain: chain.zoom(1.8, delay=1), "custom_zoom: unknown option 'delay'. Did you mean \"after\"?"),
    (lambda chain: chain.pan("upp"), "pan: 'upp' is unknown. Did you mean \"up\"?"),
    (lambda chain: chain.pan(None), "pan: None is unknown."),
    (lambda chain: chain.animate("medium"), "animate: 'medium' is unknown."),
    (lambda chain: chain.imagine("a cat", image=["x"]), "imagine: unknown option 'image'."),
    (lambda chain: chain.imagine(["a cat"]), "imagine: Expected `str`, got `array` - at `$.prompt`"),
    (
        lambda chain: chain.imagine("a cat", bot_type="NIJI"),
        "imagine: Invalid enum value 'NIJI' - at `$.bot_type`",
    ),
    (
        lambda chain: chain.blend("a", "b", dimensions="WIDE"),
        "blend: Invalid enum value 'WIDE' - at `$.dimensions`",
    ),
    (
        lambda chain: chain.describe("https://x/y.png", force=True),
        "describe: unknown option 'force'. Did you mean \"again\"?",
    ),
    (lambda chain: chain.shorten("a cat", later=1), "shorten: unknown option 'later'."),
    (lambda chain: chain.cancel(delay=5), "cancel: unknown option 'delay'. Did you mean \"after\"?"),
]


@pytest.mark.parametrize(("slip", "told"), SLIPS)
async def test_a_slip_is_a_dead_letter_at_once_and_spends_nothing(
    bench: Any, slip: Callable[[Any], object], told: str
) -> None:
    """Not even what was staged before it in the same run."""

    @task_succeeded.connect
    async def slips(action: str, *, chain: Any, **_: Any) -> None:
        chain.press("U4")
        slip(chain)

    await bench.start()
    await bench.callback()
    await bench.until_quiet()
    (dead,) = await bench.deliveries()
    assert (dead.state, dead.attempts) == ("dead", 1)
    assert dead.decision.startswith(f"gave up: {told}"), dead.decision
    assert bench.upstream.received == []
    assert await bench.submissions() == []


@pytest.mark.parametrize(
    ("call", "pressed"),
    [
        ("zoom(2)", ["Zoom Out 2x"]),
        ('zoom("2x")', ["Zoom Out 2x"]),
        ("zoom('2')", ["Zoom Out 2x"]),
        ("zoom(1.8)", ["Custom Zoom"]),
        ('zoom("custom")', ["Custom Zoom"]),
        ('pan("left")', ["⬅️"]),
        ('vary("strong")', ["Vary (Strong)"]),
        ("press(task.buttons[0])", ["Upscale (Subtle)"]),
        ('press("pan_left", after="10 min")', ["⬅️"]),
        ('press("pan_left", after=600)', ["⬅️"]),
    ],
)
def test_methods_mean_what_the_keys_of_rules_mean(
    hookchain: Hookchain, tmp_path: Path, call: str, pressed: list[str]
) -> None:
    """Numbers, texts, and buttons of the task."""
    plugin = tmp_path / f"acts_{abs(hash(call))}.py"
    plugin.write_text(PLUGIN.format(call=call))
    hookchain.load_plugin(plugin)
    assert hookchain.succeed(upscale()).pressed == pressed


def _window(prompt: str) -> Callable[[str, dict[str, Any]], tuple[int, Any]]:
    """An upstream that opens a modal with this prompt for each press."""
    opened = {"code": 21, "description": "w", "result": "window", "properties": {"finalPrompt": prompt}}
    return lambda path, _body: (200, opened if path.endswith("action") else {"code": 1, "result": "window"})


async def test_a_zoom_by_a_number_answers_the_modal_that_it_opens(bench: Any) -> None:
    """With one `--zoom`, the new one. The press itself is sent as any other."""

    @task_succeeded.connect
    async def zooms(action: str, *, chain: Any, **_: Any) -> None:
        await chain.zoom(1.8, after="0 s")

    own_windows.connect()
    bench.upstream.answer = _window("a cat --zoom 1.5 --ar 3:2")
    await bench.start()
    await bench.callback("single", **WITH_ZOOM)
    await bench.until_states("needs_modal", "accepted")
    await bench.until_quiet()
    (_, press), (_, modal) = bench.upstream.received
    assert press.keys() - {"notifyHook", "state"} == {"taskId", "customId"}
    assert (modal["taskId"], modal["prompt"]) == ("window", "a cat --zoom 1.8 --ar 3:2")


async def test_a_rule_and_a_plugin_that_zoom_press_once_and_answer_once(bench: Any) -> None:
    """The button is one intent, and so is its modal: whoever asked first has the answer."""

    @task_succeeded.connect
    async def zooms(action: str, *, chain: Any, **_: Any) -> None:
        await chain.zoom(1.8)

    own_windows.connect()
    bench.rules('[[rules]]\nname = "zoom"\non = "task.succeeded"\nzoom = 1.6\n')
    bench.upstream.answer = _window("a cat —zoom 1.5")
    await bench.start()
    await bench.callback("single", **WITH_ZOOM)
    await bench.until_states("needs_modal", "accepted")
    await bench.until_quiet()
    assert [path for path, _ in bench.upstream.received] == ["/mj/submit/action", "/mj/submit/modal"]
    assert bench.upstream.received[1][1]["prompt"] in ("a cat --zoom 1.8", "a cat --zoom 1.6")


async def test_a_factor_outlives_the_process_that_asked_for_it(bench: Any) -> None:
    """It is stored with the press: another worker sends it, and answers the modal."""

    @task_succeeded.connect
    async def zooms(action: str, *, chain: Any, **_: Any) -> None:
        await chain.zoom(1.8, after=3600)

    own_windows.connect()
    bench.upstream.answer = _window("a cat")
    await bench.start()
    await bench.callback("single", **WITH_ZOOM)
    (press,) = await bench.until_states("waiting")
    await bench.stop()
    await bench.database.write("due", lambda c: c.execute(submissions.update().values(run_at_ms=0)))
    await bench.start()
    await bench.until_states("needs_modal", "accepted")
    assert b'"zoom":1.8' in press.request
    assert bench.upstream.received[1][1]["prompt"] == "a cat --zoom 1.8"


async def test_a_rules_cancel_waits_as_the_rule_says(bench: Any) -> None:
    """`after` beside `cancel` used to be ignored."""
    bench.rules(
        '[[rules]]\nname = "stop"\non = "task.submitted"\ncancel = true\nafter = "10 min"\npriority = 5\n'
    )
    await bench.start()
    await bench.callback("slow", status="SUBMITTED", progress="0%", buttons=[])
    (cancel,) = await bench.until_states("waiting")
    assert (cancel.kind, cancel.priority) == ("cancel", 5)
    assert cancel.run_at_ms - cancel.created_at_ms == 600_000
    assert bench.upstream.received == []


async def test_a_press_without_a_factor_leaves_its_modal_to_others(bench: Any) -> None:
    """`zoom("custom")`, `press("custom_zoom")`, and a rule's."""

    @task_succeeded.connect
    async def opens(action: str, *, chain: Any, **_: Any) -> None:
        await chain.zoom("custom")

    own_windows.connect()
    bench.upstream.answer = _window("a cat")
    await bench.start()
    await bench.callback("single", **WITH_ZOOM)
    await bench.until_states("needs_modal")
    await bench.until_quiet()
    assert [path for path, _ in bench.upstream.received] == ["/mj/submit/action"]
    (noted,) = [one for one in await bench.deliveries() if one.receiver == own_windows.NAME]
    assert noted.decision == "did not fire: no plugin's zoom opened this modal"


@pytest.mark.parametrize(
    ("written", "seconds"), [(90, 90), ("90", 90), ("10 min", 600), ("2h", 7200), ("1.5 h", 5400), (0, 0)]
)
def test_a_delay_is_seconds_or_a_text(written: float | str, seconds: float) -> None:
    """As in rules."""
    assert delay_s(written) == seconds


@pytest.mark.parametrize("written", [-1, float("nan"), "", "10 parsecs", "-1 h", 31 * 24 * 3600])
def test_what_is_no_delay_is_refused(written: float | str) -> None:
    """It says what to write."""
    with pytest.raises(InvalidDelay, match=r'Write seconds, or "10 min", "2 h", "3 days"\.'):
        delay_s(written)
