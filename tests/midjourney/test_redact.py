"""What people are shown of a request, and what comes back of it once they have edited that."""

from __future__ import annotations

import json
from typing import Any

import pytest

from midjourney.errors import InvalidRequest
from midjourney.redact import (
    beginning_of,
    check_whole,
    redacted,
    redacted_text,
    restored,
    restored_body,
    shortened,
)

A, B, TWIN = (
    f"data:image/png;base64,{letter * length}" for letter, length in (("A", 60), ("B", 90), ("C", 60))
)


TOKEN = "AbCdEfGhIjKlMnOpQrStUv_-"


def shown(whole: Any) -> Any:
    return shortened(redacted(whole))


def nested(depth: int) -> Any:
    value: Any = "the innermost"
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "text",
    [
        "山" * 120 + "水" * 130 + " --ar 3:2",
        "猫、" * 200,
        "ねこ" * 200,
        "cat,dog," * 100,
        "cat\ndog\n" * 100,
        "https://cdn.example/" + "a1b2/" * 60 + "x.png?ex=1&hm=2",
        "data: " + "a chart of it " * 20,
        "data:" + "图" * 100,
        "data:science,art," * 20,
    ],
)
def test_what_people_write_is_never_cut(text: str) -> None:
    """A text without a blank is no image: Chinese and Japanese have none, and what is shown is edited and sent."""
    assert shown({"prompt": text}) == {"prompt": text}


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        (A, "data:image/png;base64… 82 characters"),
        ("data:;base64," + "A" * 30, "data:;base64… 43 characters"),
        ("iVBORw0KGgo" + "A" * 300 + "==", "iVBORw0KGgo" + "A" * 69 + "… 313 characters"),
        ("\r\n".join(["A1+/" * 19] * 9), "A1+/" * 19 + "\r\nA1… 700 characters"),
    ],
)
def test_images_are_cut(text: str, cut: str) -> None:
    """As a data URL, bare, and in lines."""
    assert shown([text]) == [cut]


@pytest.mark.parametrize(
    "whole",
    [
        {"prompt": "a cat", "images": [A, B, TWIN]},
        {"prompt": "a cat", "mask": A, "extra": {"notifyHook": "https://h/secret", "deep": [{"x": B}]}},
        {"prompt": "x" * 300},
        {"prompt": "a cat", "extra": {"deep": nested(60)}},
    ],
)
def test_what_is_left_as_it_was_shown_is_as_it_was(whole: Any) -> None:
    """Images are whole again and hooks are known again, also beside words that were edited."""
    assert restored(shown(whole), whole) == whole
    assert restored(shown(whole) | {"prompt": "a dog"}, whole) == whole | {"prompt": "a dog"}


@pytest.mark.parametrize(
    ("images", "back"),
    [
        ([A, B], [A, B]),
        ([B], [B]),
        ([B, A], [B, A]),
        ([], []),
        ([B, "https://x/new.png"], [B, "https://x/new.png"]),
    ],
)
def test_images_are_known_by_how_they_are_shown(images: list[str], back: list[str]) -> None:
    """Also where some are gone, or in another order."""
    edited = {"images": [shown(one) for one in images]}
    assert restored(edited, {"images": [A, B]}) == {"images": back}


def test_of_images_that_look_alike_none_is_guessed() -> None:
    """Which of the two was taken out cannot be told: what stays cut is no image, and is refused."""
    assert shown(A) == shown(TWIN)
    whole = {"images": [A, TWIN]}
    mended = restored({"images": [shown(A)]}, whole)
    assert mended == {"images": [shown(A)]}
    with pytest.raises(InvalidRequest, match="82 characters' is incomplete"):
        check_whole(mended, whole)


@pytest.mark.parametrize(
    ("whole", "edited"),
    [
        ({"prompt": "x" * 300}, {"prompt": "y" + shown("x" * 300)}),
        ({"mask": A}, {"images": ["https://x/y.png", shown(A)]}),
        ({"extra": {"notifyHook": "https://h/secret"}}, {"extra": {"notify": "[redacted]"}}),
        (
            {"extra": {"a": [{"notifyHook": "https://h/secret"}]}},
            {"extra": {"a": [{"notifyHook": "[redacted]", "b": 1}]}},
        ),
    ],
)
def test_what_is_still_cut_is_refused(whole: Any, edited: Any) -> None:
    """Words around what was cut, and what stands where it cannot be known again."""
    with pytest.raises(InvalidRequest, match="is incomplete"):
        check_whole(restored(edited, whole), whole)


@pytest.mark.parametrize("prompt", ["in 300 characters", "… 301 characters", "a [redacted] word"])
def test_words_that_only_look_cut_are_not_refused(prompt: str) -> None:
    """Nothing was cut to that, or they stood there before."""
    for whole in ({"prompt": "a cat"}, {"prompt": prompt, "mask": "x" * 300, "extra": {"notifyHook": "y"}}):
        check_whole(restored(shown(whole) | {"prompt": prompt}, whole), whole)


def test_a_hook_in_what_was_edited_beside_it() -> None:
    """The secret itself is kept, whatever changed around it."""
    whole = {"extra": {"notifyHook": "https://h/secret", "speed": "slow"}}
    edited = {"extra": {"notifyHook": "[redacted]", "speed": "fast"}}
    assert restored(edited, whole) == {"extra": {"notifyHook": "https://h/secret", "speed": "fast"}}


TEXTS = [
    (f'{{"properties":{{"notifyHook":"http:\\/\\/h\\/notify\\/{TOKEN}\\/1"}}, broken', '"notifyHook":"[redacted]"}, broken'),
    (f"notifyHook=http%3A%2F%2Fh%2Fnotify%2F{TOKEN}&id=4", "notifyHook=[redacted]&id=4"),
    (f"it was posted to http://h/notify/{TOKEN}/1", "http://h/notify/[redacted]/1"),
    (f"http:\\u002F\\u002Fh\\u002Fnotify\\u002F{TOKEN} %2Fnotify%2F{TOKEN}", "u002F[redacted] %2Fnotify%2F[redacted]"),
    ("Authorization: Bearer sk-1\r\nmj-api-secret: abc", "Bearer [redacted]\r\nmj-api-secret: [redacted]"),
    ("<notifyUrl>http://h/x</notifyUrl>", "<notifyUrl>[redacted]</notifyUrl>"),
    ("{'notifyHook': 'http://h/a b', 'id': 1}", "{'notifyHook': '[redacted]', 'id': 1}"),
    ('"{\\"notifyHook\\":\\"http://h/x,y\\",\\"id\\":1}', '\\"notifyHook\\":\\"[redacted]\\",'),
    ('{"notifyHook":["http://h/x"], "authorization": 12345, "id"', '["[redacted]"], "authorization": [redacted],'),
    ('{"authorization": "a \\" b", "mj-api-secret": "cut o', '"[redacted]", "mj-api-secret": "[redacted]'),
    ('{"notifyHook":null, "mj-api-secret":"", "prompt":"[redacted]"', '"notifyHook":null, "mj-api-secret":""'),
    ("no secret: notify/short", "no secret: notify/short"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "says"), TEXTS)
def test_secrets_are_hidden_in_what_is_no_json(text: str, says: str) -> None:
    """JSON that broke, forms, headers, XML, Python's own notation; and left as it is, all is as it was."""
    hidden = redacted_text(text)
    assert says in hidden
    assert not any(secret in hidden for secret in (TOKEN, "http://h/x", "sk-1", "abc", "12345", "cut o"))
    assert restored_body(hidden.encode(), text.encode()) == text.encode()


def test_secrets_are_hidden_in_json_text_within_json() -> None:
    """Properties, or whole tasks, that were written as text; what is shown can be edited around them."""
    inner = {"properties": {"notifyHook": "https://h/other/secret", "speed": "slow"}}
    whole = {"id": 1, "task": json.dumps(inner), "prompt": '{"a": "notify me"}'}
    seen = shown(whole)
    assert "secret" not in json.dumps(seen)
    assert seen["prompt"] == whole["prompt"]
    assert restored(seen, whole) == whole
    edited = seen | {"task": seen["task"].replace("slow", "fast")}
    mended: Any = restored(edited, whole)
    assert json.loads(mended["task"])["properties"] == {
        "notifyHook": "https://h/other/secret",
        "speed": "fast",
    }


def test_a_hook_in_the_midst_of_a_text_is_hidden_in_json_too() -> None:
    assert shown({"description": f"to http://h/notify/{TOKEN}/1"}) == {
        "description": "to http://h/notify/[redacted]/1"
    }


@pytest.mark.parametrize(
    ("body", "edited", "mended"),
    [
        (b'{"notifyHook":"h","foo":1}', b'{"notifyHook":"[redacted]","id":"1"}', b'{"notifyHook":"h","id":"1"}'),
        (b'{"notifyHook":"h","id":1', b'{"notifyHook":"[redacted]","id":1}', b'{"notifyHook":"h","id":1}'),
        (b'{"notifyHook":"h","id":1', b'{ "id": 1 }', b'{ "id": 1 }'),
        (b'{"notifyHook":"h","authorization":"k",', b'{"id": 1, "prompt": "\xe2\x80\xa6"}', None),
        (b'{"notifyHook":"h","authorization":"k",', b'["[redacted]", "[redacted]"]', b'["h", "k"]'),
    ],
)  # fmt: skip
def test_a_body_is_mended_as_it_was_shown(body: bytes, edited: bytes, mended: bytes | None) -> None:
    """JSON that is no task, and what is no JSON; byte for byte where nothing was hidden."""
    assert restored_body(edited, body) == (edited if mended is None else mended)


@pytest.mark.parametrize(
    ("body", "edited"),
    [
        (b'{"notifyHook":"h","authorization":"k",', b'["[redacted]"]'),
        (b'{"notifyHook":"h"}', b'{"hook":"[redacted]"}'),
    ],
)
def test_a_secret_whose_place_is_gone_is_not_guessed(body: bytes, edited: bytes) -> None:
    """It is said, and nothing is sent."""
    with pytest.raises(InvalidRequest):
        restored_body(edited, body)


@pytest.mark.parametrize("slash", ["/", "\\/", "\\u002f", "%2F", "%252F"])
@pytest.mark.parametrize("path", [TOKEN, f"{TOKEN}/5f0c6a1be2d94f7788aa01bc"])
def test_the_token_of_either_kind_of_hook_is_hidden(path: str, slash: str) -> None:
    """The registered one, and a submission's own, as texts, JSON and forms write them."""
    text = f"called https://h.example/notify/{path} in vain".replace("/", slash)
    shown_payload: Any = redacted({"prompt": text})
    for hidden in (redacted_text(text), shown_payload["prompt"]):
        assert TOKEN not in hidden
        assert "[redacted]" in hidden


def _escaped(text: str) -> str:
    return "".join(f"\\u{ord(letter):04x}" for letter in text)


def _percent(text: str) -> str:
    return "".join(f"%{ord(letter):02X}" for letter in text)


@pytest.mark.parametrize(
    "written",
    [
        f"/notify/{TOKEN}/1",
        f"\\/notify\\/{TOKEN}\\/1",
        f"\\\\\\/notify\\\\\\/{TOKEN}",
        f"/notify//{TOKEN}",
        f"&#x2F;notify&#47;{TOKEN}",
        _escaped(f"/notify/{TOKEN}/1"),
        _percent(f"/notify/{TOKEN}/1"),
        _percent("/notify/") + TOKEN,
        "/notify/" + _percent(TOKEN),
        _percent(f"/notify/{TOKEN}").replace("%", "%25"),
    ],
)
@pytest.mark.parametrize("before", ['{"a":"http://h', '{"properties":{"notifyHook":"http://h', "<b>http://h"])
def test_a_hook_is_hidden_in_a_body_that_is_cut_whatever_its_spelling(written: str, before: str) -> None:
    """Wherever the body is cut, also in the midst of the hook; and left as it is, all is as it was."""
    secrets = [TOKEN[:8], _escaped(TOKEN[:8]), _percent(TOKEN[:8]), _percent(TOKEN[:8]).replace("%", "%25")]
    text = before + written
    for most in range(len(before), len(text) + 40):
        for seen in (beginning_of(text + '","id":"1"', most), beginning_of(text[:most], 300)):
            assert not any(secret in seen for secret in secrets), seen
    assert restored_body(redacted_text(text).encode(), text.encode()) == text.encode()
