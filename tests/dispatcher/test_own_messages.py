"""`forward` with a body and headers of one's own: values keep their types and stay values, and secrets stay secret."""

from __future__ import annotations

import json
from typing import Any, cast

import msgspec
import pytest

from dispatcher.effects.headers import encoded
from dispatcher.plugins.errors import GiveUp, RuleError
from dispatcher.rules.json_values import json_value
from hookchain.testing import Hookchain, grid, upscale
from storage.records import Event, origin_of

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"


def forwarding(keys: str, **rule: str) -> str:
    """A rule that forwards."""
    lines = "".join(
        f"{key} = {json.dumps(value)}\n" for key, value in {"on": "task.succeeded", **rule}.items()
    )
    return f'[[rules]]\nname = "r"\n{lines}\n[rules.forward]\nurl = "https://x.example.com/in"\n{keys}\n'


def test_values_keep_their_types(hookchain: Hookchain) -> None:
    """A text that is exactly one {{ … }} is a value; any other is a text. Tables and lists at any depth; constants as they are."""
    hookchain.load_rules(
        forwarding(
            """
[rules.forward.json]
picture = "{{ task.image_url }}"
n = "{{ task.image_number }}"
is_grid = "{{ task.is_grid }}"
nothing = "{{ task.progress }}"
buttons = "{{ task.buttons | map(attribute='label') | select | list }}"
params = "{{ task.params.ar }}"
text = "picture {{ task.image_number }}!"
spaces = "  {{- task.image_number -}}  "
constant = 7
nested = { list = ["{{ chain.depth }}", { deep = "{{ 1.5 + 1 }}" }, true], empty = {} }
"""
        )
    )
    (sent,) = hookchain.succeed(upscale(number=3, prompt="a cat --ar 3:2")).forwarded
    assert (sent.method, sent.headers["content-type"]) == ("POST", "application/json")
    assert sent.json == {
        "picture": "https://cdn.example.com/upscale.png",
        "n": 3,
        "is_grid": False,
        "nothing": None,
        "buttons": [
            "Upscale (Subtle)",
            "Vary (Subtle)",
            "Vary (Strong)",
            "Vary (Region)",
            "Zoom Out 2x",
            "Custom Zoom",
            "⬅️",
            "➡️",
            "Animate (Low motion)",
        ],
        "params": "3:2",
        "text": "picture 3!",
        "spaces": 3,
        "constant": 7,
        "nested": {"list": [0, {"deep": 2.5}, True], "empty": {}},
    }


@pytest.mark.parametrize(
    "prompt", ['"}, {"admin": true, "x": "', "\\", "a\nb\x00", "{{ task.id }}", "☃ \u2028 </script>"]
)
def test_a_prompt_stays_one_value(hookchain: Hookchain, prompt: str) -> None:
    """Whatever it contains: the encoder writes it, and it is no template."""
    hookchain.load_rules(
        forwarding(
            'json = { a = "{{ task.prompt }}", b = "say {{ task.prompt }}", c = ["{{ task.prompt ~ 1 }}"] }'
        )
    )
    (sent,) = hookchain.succeed(grid(prompt=prompt)).forwarded
    assert sent.json == {"a": prompt, "b": f"say {prompt}", "c": [f"{prompt}1"]}


def test_a_text_of_ones_own(hookchain: Hookchain) -> None:
    """With its type and method, signed over the bytes that are sent."""
    hookchain.load_rules(
        forwarding(
            f'body = "{{{{ task.prompt }}}} ü"\ncontent_type = "text/markdown"\nmethod = "PUT"\nsecret = "{SECRET}"'
        )
    )
    (sent,) = hookchain.succeed(grid()).forwarded
    assert (sent.method, sent.body, sent.headers["content-type"]) == ("PUT", "a cat ü", "text/markdown")
    assert sent.is_signed


def test_headers_are_templates_and_literals(hookchain: Hookchain) -> None:
    """Beside any body; a variable of the environment is filled in before."""
    hookchain.environment["KEY"] = "s3cret"
    hookchain.load_rules(
        forwarding(
            'body = "task"\nheaders = { "X-Api-Key" = "${KEY}", "x-customer" = " {{ task.state }}é ", "user-agent" = "mine" }'
        )
    )
    (sent,) = hookchain.succeed(grid(state="acme")).forwarded
    assert {name: sent.headers[name] for name in ("x-api-key", "x-customer", "user-agent")} == {
        "x-api-key": "s3cret",
        "x-customer": "acmeé",
        "user-agent": "mine",
    }
    assert isinstance(sent.json, dict)
    assert sent.json["prompt"] == "a cat"


@pytest.mark.parametrize("value", ["a\r\nx-admin: 1", "a\nb", "a\x00", "猫", "x" * 9000])
def test_a_header_that_cannot_be_sent_is_an_error_without_its_value(hookchain: Hookchain, value: str) -> None:
    """It names the header; nothing is sent."""
    hookchain.load_rules(forwarding('json = {}\nheaders = { "x-prompt" = "s3cret {{ task.prompt }}" }'))
    with pytest.raises(GiveUp, match="the header x-prompt has") as error:
        hookchain.succeed(grid(prompt=value))
    assert "s3cret" not in str(error.value)


def test_an_error_names_the_place_and_not_the_text(hookchain: Hookchain) -> None:
    """A text may contain a secret: when the file is read, and for each event."""
    with pytest.raises(RuleError, match="the header x-key: unknown name 'tsak'") as at_load:
        hookchain.load_rules(forwarding('headers = { "x-key" = "s3cret {{ tsak.id }}" }'))
    hookchain.load_rules(forwarding('json = { a = { b = ["s3cret {{ task.extra.nowhere }}"] } }'))
    with pytest.raises(GiveUp, match=r"json\.a\.b\[0\] cannot be rendered") as at_event:
        hookchain.succeed(grid())
    assert "s3cret" not in str(at_load.value) + str(at_event.value)


@pytest.mark.parametrize(
    ("value", "message"), [("task.extra.nowhere", "nowhere"), ("task.prompt", "more than 16000 characters")]
)
def test_a_value_that_is_missing_or_too_long_is_not_sent(
    hookchain: Hookchain, value: str, message: str
) -> None:
    """As in any other text."""
    hookchain.load_rules(forwarding(f'json = {{ a = "{{{{ {value} }}}}" }}'))
    with pytest.raises(GiveUp, match=message):
        hookchain.succeed(grid(prompt="x" * 20_000))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**70, object(), ["x" * 600_000] * 2])
def test_what_json_does_not_have_is_refused(value: object) -> None:
    """And what is too large."""
    with pytest.raises(RuleError):
        json_value(value)


def test_a_join_forwards_its_lists(hookchain: Hookchain) -> None:
    """The tasks of the chain as tables."""
    hookchain.load_rules(
        forwarding(
            'json = { all = "{{ chain.tasks }}", kinds = "{{ chain.tasks | map(attribute=\'kind\') | list }}" }',
            on="chain.rested",
        )
    )
    hookchain.load_rules('[[rules]]\nname = "p"\non = "task.succeeded"\nif = "task.is_grid"\npress = "U1"\n')
    (press,) = hookchain.succeed(grid()).asks
    sent = [*hookchain.succeed(upscale(), of=press).forwarded, *hookchain.wait(120).forwarded]
    assert len(sent) == 1
    assert isinstance(sent[0].json, dict)
    assert (sent[0].json["all"][0]["state"], sent[0].json["kinds"]) == ("succeeded", ["imagine", "upscale"])


def test_two_rules_send_two_messages(hookchain: Hookchain) -> None:
    """To one address, about one event: the other side must not take one for a repetition of the other."""
    two = forwarding("json = { a = 1 }") + forwarding("json = { b = 1 }").replace('"r"', '"other"')
    hookchain.load_rules(two)
    sent = hookchain.succeed(grid()).forwarded
    assert len({one.headers["webhook-id"] for one in sent}) == 2


@pytest.mark.parametrize(
    "name", ["Host", "content-length", "Webhook-Id", "content-type", "a b", "a:", "", "ü"]
)
def test_some_headers_are_hookchains(name: str) -> None:
    """Or none at all."""
    with pytest.raises(GiveUp):
        encoded({name: "x"})


@pytest.mark.parametrize(
    ("source", "detail", "expected"),
    [
        ("callback", "", 9),
        ("callback", "replay of event 5", 9),
        ("replay", "replay of event 5", 5),
        ("replay", "replay of event 7, first 5", 5),
        ("replay", "replay of event 5, forced", 9),
        ("replay", "replay of event 5, only rule:a, forced", 5),
        ("replay", "replay of event 5, forced, only rule:a/forward", 9),
    ],
)
def test_a_replay_has_the_id_of_its_event(source: Any, detail: str, expected: int) -> None:
    """Unless a person forced it; a receiver's name does not change that."""
    event = msgspec.structs.replace(EVENT, source=source, detail=detail)
    assert origin_of(event) == expected


EVENT = Event(
    id=9,
    upstream="main",
    task_id="17",
    submission_id="",
    source="callback",
    signal="task.succeeded",
    action="IMAGINE",
    status="SUCCESS",
    progress=100,
    advanced=True,
    detail="",
    payload=b"{}",
    received_at_ms=1_700_000_000_123,
    generation=0,
)


def test_the_usual_message_of_a_time_names_the_rule_and_the_time(hookchain: Hookchain) -> None:
    """There is no task that would tell them. Messages about tasks are as they were."""
    text = forwarding("").replace('on = "task.succeeded"', 'every = "0 9 * * *"')
    hookchain.load_rules(text + forwarding("").replace('"r"', '"other"'))
    (sent,) = hookchain.wait("1 day").forwarded
    event = cast(Any, sent.json)["data"]["event"]
    assert (event["action"], event["status"][10:]) == ("r", "T09:00Z")
    (other,) = hookchain.succeed(grid()).forwarded
    assert list(cast(Any, other.json)["data"]["event"]) == ["id", "source", "provenance", "detail"]
