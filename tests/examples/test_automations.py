"""The automations of docs/how-to/automations.md by the test kit: once, in order, and not where they must not act."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dispatcher.plugins.errors import PluginError
from hookchain.testing import Ask, Asked, Told, grid, upscale

if TYPE_CHECKING:
    from hookchain.testing import Hookchain

LOW = {
    "customId": "MJ::JOB::animate_low::1::0f1e2d3c-4b5a-4968-8776-655443322110::SOLO",
    "label": "Animate (Low motion)",
    "emoji": "",
    "type": 2,
    "style": 2,
}
ALL_FOUR = ["U1", "U2", "U3", "U4"]
TO = "json://example.com"


def load(kit: Hookchain, name: str) -> None:
    kit.environment |= {
        "MAIN_URL": "https://main.example.com",
        "OTHER_URL": "https://other.example.com",
        "NOTIFY_TO": TO,
        "FORWARD_URL": "https://shop.example.com/hook",
        "FORWARD_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    }
    kit.load_rules(f"examples/{name}.toml")


def only(asked: Asked) -> Ask:
    """The one submission that was asked for, which no limit prevents."""
    (ask,) = asked.asks
    assert ask.refused == ""
    return ask


@pytest.mark.parametrize(
    "prompt",
    [
        "a cat --ar 16:9",
        "a cat --aspect 1920:1080",
        "a cat —ar 16:9",
        "a cat --AR=16:9 --v 7",
        "a cat --ar 1:1 --ar 32:18",
    ],
)
def test_wide_pictures_are_upscaled_whatever_the_spelling(hookchain: Hookchain, prompt: str) -> None:
    load(hookchain, "wide-only")
    assert hookchain.succeed(grid(prompt=prompt)).pressed == ALL_FOUR
    assert hookchain.succeed(grid(prompt=prompt)).asks == []


@pytest.mark.parametrize(
    "prompt", ["a cat", "a cat --ar 9:16", "a cat --ar 16:9 --ar 1:1", "an ar 16:9 cat", ""]
)
def test_other_pictures_are_not(hookchain: Hookchain, prompt: str) -> None:
    load(hookchain, "wide-only")
    assert hookchain.succeed(grid(prompt=prompt)).asks == []


def test_u2_waits_for_the_night(hookchain: Hookchain) -> None:
    """23:00 in Berlin is 22:00 UTC in winter; once, and nothing before."""
    load(hookchain, "at-night")
    hookchain.wait(datetime(2030, 1, 10, 12, tzinfo=UTC))
    assert only(hookchain.succeed(grid())).label == "U2"
    assert hookchain.wait(datetime(2030, 1, 10, 21, 59, tzinfo=UTC)).sent == []
    assert [sent.label for sent in hookchain.wait(datetime(2030, 1, 10, 22, tzinfo=UTC)).sent] == ["U2"]
    assert hookchain.wait("2 d").sent == []


START = """
[[rules]]
name = "start"
on = "task.succeeded"
if = "task.action == 'DESCRIBE'"
imagine = "a nude statue"
"""
MODERATED = "May contain sensitive words"
BANNED = {"code": 24, "description": "可能包含敏感词", "properties": {"bannedWord": "nude"}}
SOFTENED = ["a marble statue, modest", "a marble statue, modest, modest"]


@pytest.mark.parametrize("how", ["at submit", "later", "at submit, then later", "later, then at submit"])
def test_softened_at_most_twice_at_submit_and_later(hookchain: Hookchain, how: str) -> None:
    """Whatever the order, there are two new prompts and not three."""
    load(hookchain, "soften")
    hookchain.load_rules(START)
    prompt, prompts = only(hookchain.succeed({"id": "d", "action": "DESCRIBE", "prompt": "1️⃣ x"})), []
    for number in range(3):
        at_submit = how.startswith("at submit") if number % 2 == 0 else how.endswith("at submit")
        if at_submit:
            asked = hookchain.answer(prompt, BANNED)
        else:
            asked = hookchain.fail(grid(f"g{number}", prompt=prompt.request.prompt), MODERATED, of=prompt)  # type: ignore[union-attr]
        prompts += asked.prompts
        prompt = asked.asks[0] if asked.asks else prompt
    assert prompts == SOFTENED
    assert hookchain.wait("1 d").sent == []


@pytest.mark.parametrize(
    "reason", ["任务超时", "[Invalid parameter] Unrecognized parameter: --fail", "what?"]
)
def test_what_was_not_moderated_is_not_softened(hookchain: Hookchain, reason: str) -> None:
    load(hookchain, "soften")
    assert hookchain.fail(grid(prompt="a nude statue"), reason).asks == []


def test_a_moderated_press_is_left_alone(hookchain: Hookchain) -> None:
    load(hookchain, "soften")
    assert hookchain.fail(upscale(), "May contain sensitive words").asks == []


def test_u1_then_subtle_then_kept(hookchain: Hookchain) -> None:
    load(hookchain, "subtle")
    first = only(hookchain.succeed(grid()))
    second = hookchain.succeed(upscale("u"), of=first)
    assert (first.label, only(second).label, second.archived) == ("U1", "Upscale (Subtle)", [])
    kept = hookchain.succeed(upscale("s"), of=only(second))
    assert kept.asks == []
    assert [one.name.rpartition(".")[2] for one in kept.archived] == ["png", "json"]
    assert all(one.to.endswith("/pictures") for one in kept.archived)


def test_zoomed_three_times_then_a_new_prompt(hookchain: Hookchain) -> None:
    load(hookchain, "zoom-three-times")
    asked, labels = hookchain.succeed(grid("g0")), []
    for step in range(1, 8):
        press = only(asked)
        labels.append(press.label)
        made = upscale(f"u{step}") if step % 2 else grid(f"g{step}", action="ZOOM")
        asked = hookchain.succeed(made, of=press)
    custom = only(asked)
    assert [*labels, custom.label] == ["U1", "Zoom Out 2x"] * 3 + ["U1", "Custom Zoom"]
    modal = only(hookchain.window(custom, prompt="a cat"))
    assert modal.request.prompt == "a cat in a castle, seen from far away --zoom 1.8"  # type: ignore[union-attr]
    assert hookchain.succeed(grid("end", action="ZOOM"), of=modal).asks == []


def test_the_left_half_is_painted_anew(hookchain: Hookchain) -> None:
    """One press and one answer, with a mask; what comes of it is left alone."""
    load(hookchain, "left-half")
    region = only(hookchain.succeed(upscale(), of=only(hookchain.succeed(grid()))))
    assert region.label == "Vary (Region)"
    modal = only(hookchain.window(region, imageWidth=64, imageHeight=32))
    assert modal.request.prompt == "a dog"  # type: ignore[union-attr]
    assert modal.request.mask  # type: ignore[union-attr]
    assert hookchain.succeed(grid("end", action="VARIATION"), of=modal).asks == []


def test_the_third_prompt_of_a_describe_goes_elsewhere(hookchain: Hookchain) -> None:
    load(hookchain, "describe-elsewhere")
    found = "1️⃣ one --ar 1:1\n\n2️⃣ two --ar 1:1\n\n3️⃣ three --ar 1:1\n\n4️⃣ four --ar 1:1"
    described = {"id": "d", "action": "DESCRIBE", "status": "SUCCESS", "prompt": found}
    (sent,) = hookchain.succeed(described, upstream="main").sent
    assert (sent.upstream, sent.body["prompt"]) == ("other", "three --ar 1:1")
    assert hookchain.succeed(grid(), upstream="main").asks == []


def test_ten_a_day_and_somebody_is_told(hookchain: Hookchain) -> None:
    """The third grid gets two of its four: the budget has room for ten presses. The next day has room again."""
    load(hookchain, "daily-budget")
    for id in ("a", "b"):
        assert hookchain.succeed(grid(id)).told == []
    third = hookchain.succeed(grid("c", prompt="a dog"))
    assert third.pressed == ["U1", "U2"]
    assert [ask.label for ask in third.asks if ask.refused] == ["U3", "U4"]
    (told,) = third.told
    assert told.title == "The budget is used up"
    assert told.text.startswith("a dog: ")
    assert "ten a day" in told.text
    late = hookchain.wait("1 d").sent  # yesterday's work does not use up today's budget
    assert sorted(sent.label for sent in (*third.sent, *late) if sent.body["taskId"] == "c") == ["U1", "U2"]
    assert hookchain.succeed(grid("d")).pressed == ALL_FOUR


def test_u1_after_ten_minutes_unless_somebody_chose(hookchain: Hookchain) -> None:
    load(hookchain, "unless-pressed")
    hookchain.succeed(grid())
    assert hookchain.wait("9 min").sent == []
    assert [sent.label for sent in hookchain.wait("1 min").sent] == ["U1"]
    assert hookchain.wait("1 h").sent == []


def test_a_choice_keeps_u1_from_being_pressed(hookchain: Hookchain) -> None:
    """A person pressed U3 elsewhere: the upstream shows the picture that it made, and what made it."""
    load(hookchain, "unless-pressed")
    new = grid()
    hookchain.succeed(new)
    made_by = new["buttons"][2]["customId"]  # type: ignore[index]
    hookchain.succeed(upscale("chosen", 3, parentId="grid", properties={"customId": made_by}))
    assert hookchain.wait("1 h").sent == []


def test_v1_leaves_an_hour_later(hookchain: Hookchain) -> None:
    load(hookchain, "later")
    hookchain.succeed(grid())
    assert hookchain.wait("59 min").sent == []
    assert [sent.label for sent in hookchain.wait("1 min").sent] == ["V1"]
    assert hookchain.wait("1 d").sent == []


def test_one_message_compares_a_and_b(hookchain: Hookchain) -> None:
    load(hookchain, "a-b")
    first = hookchain.succeed(grid("a", imageUrl="https://cdn.example.com/a.png"))
    b = only(first)
    assert (b.request.prompt, first.told) == ("a cat --raw", [])  # type: ignore[union-attr]
    last = hookchain.succeed(grid("b", prompt="a cat --raw", imageUrl="https://cdn.example.com/b.png"), of=b)
    assert last.asks == []
    (told,) = [*last.told, *hookchain.wait("1 h").told]
    assert told.title == "a cat"
    assert told.text.split() == ["A:", "https://cdn.example.com/a.png", "B:", "https://cdn.example.com/b.png"]


def test_a_prompt_that_is_raw_already_has_no_b(hookchain: Hookchain) -> None:
    load(hookchain, "a-b")
    asked = hookchain.succeed(grid(prompt="a cat --style raw"))
    assert (asked.asks, hookchain.wait("1 h").told) == ([], [])


def test_somebody_is_asked_before_anything_is_sent(hookchain: Hookchain) -> None:
    """Nobody answers for two hours: nothing is sent. What grows from a grid is not asked about."""
    load(hookchain, "ask-first")
    asked = hookchain.succeed(grid())
    assert (asked.pressed, asked.sent) == (ALL_FOUR, [])
    (told,) = [*asked.told, *hookchain.wait("1 min").told]
    assert "/approve/" in told.text
    assert hookchain.succeed(upscale()).asks == []
    assert hookchain.wait("1 d").sent == []


def test_one_message_when_all_four_are_done(hookchain: Hookchain) -> None:
    """One of them fails: it is named with its reason."""
    load(hookchain, "four-pictures")
    asked = hookchain.succeed(grid())
    assert asked.pressed == ALL_FOUR
    told: list[Told] = []
    for number, press in enumerate(asked.asks, 1):
        assert told == []
        made = upscale(f"u{number}", number, imageUrl=f"https://cdn.example.com/{number}.png")
        ended = (
            hookchain.fail(made, "任务超时", of=press) if number == 4 else hookchain.succeed(made, of=press)
        )
        told += ended.told
    told += hookchain.wait("1 h").told
    (message,) = told
    assert message.text.split("\n")[:4] == [
        *(f"U{n}: https://cdn.example.com/{n}.png" for n in (1, 2, 3)),
        "U4: 任务超时",
    ]


def test_one_signed_message_at_the_end_of_a_chain(hookchain: Hookchain) -> None:
    """Nothing before all four have ended; then the final pictures in a body of its own, and how many failed."""
    load(hookchain, "finals")
    asked = hookchain.succeed(grid(prompt='a "cat"', state="acme"))
    forwarded = [*asked.forwarded]
    for number, press in enumerate(asked.asks, 1):
        assert forwarded == []
        made = upscale(f"u{number}", number, imageUrl=f"https://cdn.example.com/{number}.png")
        ended = (
            hookchain.fail(made, "任务超时", of=press) if number == 2 else hookchain.succeed(made, of=press)
        )
        forwarded += ended.forwarded
    forwarded += hookchain.wait("1 h").forwarded
    (message,) = forwarded
    assert message.is_signed
    assert isinstance(message.json, dict)
    assert message.json | {"order": ""} == {
        "order": "",
        "customer": "acme",
        "prompt": 'a "cat"',
        "pictures": [f"https://cdn.example.com/{number}.png" for number in (1, 3, 4)],
        "failed": 1,
    }


def test_quarters_go_to_a_chat_in_one_message(hookchain: Hookchain) -> None:
    """Nothing is pressed; what is no new grid is left alone."""
    load(hookchain, "quarters")
    asked = hookchain.succeed(grid(imageUrl="https://cdn.example.com/g.png"))
    (told,) = asked.told
    assert (told.to, asked.asks) == ((TO,), [])
    assert told.attached == tuple(f"https://cdn.example.com/g.png#{number}" for number in (1, 2, 3, 4))
    assert hookchain.succeed(upscale()).told == []


def test_animated_and_the_videos_kept(hookchain: Hookchain) -> None:
    """U1, Animate (Low motion), and the videos in a folder for the day; nothing else is kept, and nothing more is pressed."""
    load(hookchain, "animate-and-keep")
    hookchain.wait(datetime(2030, 1, 10, 12, tzinfo=UTC))
    first = only(hookchain.succeed(grid(prompt="a cat --v 7")))
    picture = hookchain.succeed(upscale("u", buttons=[LOW]), of=first)
    animate = only(picture)
    links = [{"url": f"https://cdn.example.com/{number}.mp4"} for number in (1, 2)]
    made = {"id": "v", "action": "VIDEO", "prompt": "a cat --v 7", "videoUrls": links}
    video = hookchain.succeed(made, of=animate)
    assert [first.label, animate.label, picture.archived, video.asks] == [
        "U1",
        "Animate (Low motion)",
        [],
        [],
    ]
    names = sorted(one.name for one in video.archived)
    assert [name.split("/")[-1] for name in names] == [
        "a-cat.main.v-video-1.mp4",
        "a-cat.main.v-video-2.mp4",
        "a-cat.main.v.json",
    ]
    assert all(name.startswith("2030-01-10/") for name in names)
    assert all(one.to.endswith("/videos") for one in video.archived)


def test_a_client_of_the_gateway_has_rules_of_its_own(hookchain: Hookchain) -> None:
    """A task of nobody's is left alone, whatever it says of itself. With clients: tests/promises/test_automations_arrive.py."""
    hookchain.environment |= {"ALICE_KEY": "alice-key-1", "BOB_KEY": "bob-key-1"}
    load(hookchain, "clients")
    assert hookchain.succeed(grid(state="alice")).asks == []


def test_equal_prompts_are_sent_once(hookchain: Hookchain, tmp_path: Path) -> None:
    """Whichever rule asks for them; a press, which has no prompt, is sent as ever."""
    hookchain.load_rules(START.replace("nude statue", "Cat"))
    hookchain.load_rules(START.replace("nude statue", " cat").replace("start", "again"))
    load(hookchain, "upscale-all")
    hookchain.load_plugin("examples/plugins/once.py", file=str(tmp_path / "once.db"))
    asked = hookchain.succeed({"id": "d", "action": "DESCRIBE", "prompt": "1️⃣ x"})
    assert len(asked.asks) == 2
    sent = [*asked.sent, *hookchain.wait("1 h").sent]
    assert [one.kind for one in sent] == ["imagine"]
    presses = [*hookchain.succeed(grid()).sent, *hookchain.wait("1 h").sent]
    assert [one.label for one in presses] == ALL_FOUR


def test_each_customer_has_rules_of_its_own(hookchain: Hookchain) -> None:
    load(hookchain, "per-customer")
    assert hookchain.succeed(grid("a", state="alice")).pressed == ALL_FOUR
    assert hookchain.succeed(grid("b", state="bob")).pressed == ["U1"]
    assert hookchain.succeed(grid("c", state="carol")).asks == []
    assert hookchain.succeed(grid("d")).asks == []


def test_each_customer_has_a_budget_of_its_own(hookchain: Hookchain) -> None:
    """Six a day: alice's second grid gets two of its four, and bob's gets its one."""
    load(hookchain, "per-customer")
    hookchain.succeed(grid("a", state="alice"))
    assert hookchain.succeed(grid("b", state="alice")).pressed == ["U1", "U2"]
    assert hookchain.succeed(grid("c", state="bob")).pressed == ["U1"]


@pytest.fixture
def captioner() -> Iterator[tuple[str, list[bytes]]]:
    """A service that captions pictures: its address, and what it got. The first time it is not ready."""
    got: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200 if len(got) > 1 else 503)
            self.end_headers()
            self.wfile.write(b'{"caption": "a cat on a sofa"}')

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/caption", got
        server.shutdown()
        thread.join()


def test_a_picture_is_kept_with_its_caption(
    hookchain: Hookchain, captioner: tuple[str, list[bytes]], tmp_path: Path
) -> None:
    """The service is asked again; a grid gets none."""
    url, got = captioner
    hookchain.load_plugin("examples/plugins/caption.py", url=url, to=str(tmp_path))
    hookchain.raise_errors = False
    assert hookchain.succeed(grid()).archived == []
    assert "caption:caption" in hookchain.succeed(upscale()).failed
    kept = hookchain.wait("1 min")
    assert [one.name.rpartition(".")[2] for one in kept.archived] == ["png", "json"]
    (file,) = tmp_path.rglob("*.txt")
    assert file.read_text() == "a cat on a sofa"
    assert file.stem == "upscale"
    assert all(body.startswith(b"\x89PNG") for body in got)
    assert len(got) == 2


def test_a_mistake_in_the_settings_is_named(hookchain: Hookchain) -> None:
    with pytest.raises(PluginError, match=r"the test.*plugins.caption.*the key 'url' is missing"):
        hookchain.load_plugin("examples/plugins/caption.py", too="x")


def test_a_picture_every_monday_at_nine(hookchain: Hookchain) -> None:
    """Also in the week after summer time has begun; and the message comes with the picture, once."""
    load(hookchain, "every-monday")
    hookchain.wait(datetime(2027, 3, 23, tzinfo=UTC))  # a Tuesday
    assert hookchain.wait(datetime(2027, 3, 29, 6, 59, tzinfo=UTC)).asks == []
    picture = only(hookchain.wait(datetime(2027, 3, 29, 7, 0, tzinfo=UTC)))
    assert (picture.kind, picture.depth) == ("imagine", 0)
    asked = hookchain.succeed(grid(prompt="a calm landscape"), of=picture)
    told = [*asked.told, *hookchain.wait("1 min").told]
    assert [one.text for one in told] == ["a calm landscape"]
    assert hookchain.wait("6 d").asks == []
    second = only(hookchain.wait("1 d"))
    assert "week of 2027-04-05" in second.request.prompt  # type: ignore[union-attr]  # a prompt
