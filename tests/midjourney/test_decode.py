"""Bytes to tasks and answers: ids exactly, everything else as far as it goes."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midjourney.decode import decode_answer, decode_task, kept_task
from midjourney.errors import Undecodable
from midjourney.lists import decode_list
from midjourney.types import Status

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [
    "action", "prompt", "promptEn", "description", "state", "progress", "imageUrl", "failReason", "submitTime",
    "startTime", "finishTime", "parentId", "properties", "buttons",
]  # fmt: skip


def encoded(**fields: Any) -> bytes:
    return json.dumps({"id": "1", "status": "SUCCESS", "progress": "1%"} | fields).encode()


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("0741798445574458", "0741798445574458"),
        (1320098173412546, "1320098173412546"),
        (98765432109876543210987, "98765432109876543210987"),
        ("task_1234567890", "task_1234567890"),
        (" 12 ", "12"),
    ],
)
def test_an_id_is_kept_to_the_digit(sent: Any, kept: str) -> None:
    """Strings with a leading zero, integers above 2^53, words."""
    assert decode_task(encoded(id=sent)).id == kept


@pytest.mark.parametrize("sent", [1.5, 1e300, True, None, "", "  ", [], {}, "a\nb", "x" * 256])
def test_an_id_that_cannot_be_one_is_refused(sent: Any) -> None:
    """A float has lost its digits already."""
    with pytest.raises(Undecodable):
        decode_task(encoded(id=sent))


@pytest.mark.parametrize(
    ("sent", "known"),
    [
        ("success", Status.SUCCESS),
        ("succeed", Status.SUCCESS),
        ("FAILED", Status.FAILURE),
        ("CANCELLED", Status.CANCEL),
        ("", Status.NOT_START),
        (None, Status.NOT_START),
        (5, Status.SUCCESS),
        (4, Status.FAILURE),
        (3, Status.IN_PROGRESS),
        ("Dreaming", "Dreaming"),
        (42, "42"),
    ],
)
def test_a_status_is_known_in_all_its_spellings_and_kept_where_it_is_not(sent: Any, known: str) -> None:
    """Lower case, other vocabularies, trueai's numbers of 2024, words that nobody knows."""
    assert decode_task(encoded(status=sent)).status == known


@given(st.sampled_from(FIELDS), json_values)
def test_an_odd_value_in_a_field_loses_no_task(field: str, value: Any) -> None:
    """Whatever a vendor puts into any field but id and status, the task is recognised and its bytes are kept."""
    body = json.dumps(
        {"id": 7, "status": "SUCCESS", "action": "IMAGINE", "progress": "1%"} | {field: value}
    ).encode()
    task = decode_task(body)
    assert (task.id, task.status, task.raw) == ("7", "SUCCESS", body)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_task_or_say_why_not(body: bytes) -> None:
    """Nothing else is raised."""
    with contextlib.suppress(Undecodable):
        assert decode_task(body).raw == body


@given(json_values)
def test_any_json_is_an_answer_or_says_why_not(value: Any) -> None:
    """An answer's code, ids and properties always have their types."""
    try:
        answer = decode_answer(json.dumps(value).encode())
    except Undecodable:
        return
    assert answer.code is None or isinstance(answer.code, int | str)
    assert all(answer.ids)


def deep(levels: int) -> bytes:
    """A task of so many levels."""
    return encoded(foo=0)[:-2] + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


@pytest.mark.parametrize("body", [deep(101), deep(960), deep(100_000), b'{"id":1,"foo":' + b"[" * 100_000])
def test_deep_nesting_is_refused_and_says_so(body: bytes) -> None:
    """Also what could be read here, and not from further down the stack, where pages read it."""
    for decode in (decode_task, decode_answer):
        with pytest.raises(Undecodable, match="nested deeper than 100 levels"):
            decode(body)
    assert kept_task(body) is None


@pytest.mark.parametrize(
    "body",
    [
        deep(100),
        encoded(foo=[[]] * 5_000),
        encoded(prompt="[" * 5_000),
        encoded(prompt='\\"' + "{" * 5_000),
        encoded(**{"[" * 5_000: "\\"}),
    ],
)
def test_brackets_in_a_row_or_a_text_are_no_nesting(body: bytes) -> None:
    """Beside texts with quotes and strokes in them."""
    task = decode_task(body)
    assert (task.raw, kept_task(body)) == (body, task)


@pytest.mark.parametrize(
    "payload",
    [
        {"id": "k1", "status": "succeed", "type": "video", "output": "https://x"},
        {"id": "s1", "status": "complete"},
        {"id": "x", "state": "SUCCESS"},
        {"status": "SUCCESS", "progress": "100%"},
        [],
        "SUCCESS",
        None,
    ],
)
def test_foreign_payloads_are_no_tasks(payload: Any) -> None:
    """Other products of a relay (Kling, Luma, Suno behind crazyrouter) post to the same hook."""
    with pytest.raises(Undecodable):
        decode_task(json.dumps(payload).encode())


def test_unknown_fields_are_kept() -> None:
    """What has no attribute is in `extra`, by the sender's own name."""
    task = decode_task(encoded(videoUrl="https://v", mode="FAST"))
    assert task.extra == {"videoUrl": "https://v", "mode": "FAST"}


def test_a_mark_at_the_begin_is_no_part_of_a_task() -> None:
    """A byte-order mark is kept with the payload, and in nobody's way."""
    body = b"\xef\xbb\xbf" + encoded(mode="FAST")
    task = decode_task(body)
    assert (task.raw, task.extra) == (body, {"mode": "FAST"})


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (rb"a cut cat \ud83d", "a cut cat \ufffd"),
        (rb"\uDE00 its other half", "\ufffd its other half"),
        (rb"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (rb"\ud83d and \\ud83d", "\ufffd and \\ud83d"),
    ],
)
def test_half_a_character_is_no_reason_to_lose_a_task(sent: bytes, read: str) -> None:
    """Writers of Node and Python give one, as an escape, for a text that was cut within an emoji."""
    body = encoded(prompt="?", seed="?").replace(b"?", sent)
    task = decode_task(body)
    assert (task.id, task.prompt, task.extra, task.raw) == ("1", read, {"seed": read}, body)
    answer = decode_answer(encoded(code=24, description="?").replace(b"?", sent))
    assert (answer.code, answer.description) == (24, read)


def test_a_number_that_is_too_large_is_no_reason_to_lose_a_task() -> None:
    """Infinite to Python, and to nobody else."""
    for field in ("seed", "properties", "progress", "submitTime"):
        task = decode_task(encoded(**{field: "?"}).replace(b'"?"', b"1e999"))
        assert task.id == "1"
        assert task.extra == ({"seed": math.inf} if field == "seed" else {})


@pytest.mark.parametrize(
    "odd",
    [
        encoded(id="odd", prompt="cut \ud83d"),
        encoded(id="odd", finishTime="?").replace(b'"?"', b"1e999"),
        encoded(id=98765432109876543210987),
        encoded(id="odd", prompt="?").replace(b"?", b"\xff"),
        b'{"id": 1e999}',
        b"[[[]]]",
    ],
)
@pytest.mark.parametrize("around", [b"[%s]", b'{"code": 1, "data": [%s]}'])
def test_an_odd_task_in_a_list_hides_none_of_the_others(odd: bytes, around: bytes) -> None:
    """Each is read by itself, and shown or left out."""
    listed = decode_list(around % b", ".join([encoded(id="first"), odd, encoded(id="last")])).tasks
    assert [task.id for task in listed if task.id in ("first", "last")] == ["first", "last"]


@pytest.mark.parametrize("body", [b"3", b"null", b'"x"', b"{}", b'{"data": null}', b"1e999", b"[", b""])
def test_what_is_no_list_of_tasks_is_told(body: bytes) -> None:
    """An answer to nobody's question."""
    with pytest.raises(Undecodable):
        decode_list(body)


def test_rows_of_buttons_are_flattened() -> None:
    """webman-php nests its buttons in rows."""
    task = decode_task(encoded(buttons=[[{"customId": "a", "label": "U1"}], [{"customId": "b"}]]))
    assert [button.custom_id for button in task.buttons] == ["a", "b"]


@pytest.mark.parametrize(
    ("sent", "percent"),
    [
        ("46%", 46),
        ("100", 100),
        (0, 0),
        ("", None),
        ("Waiting to start", None),
        (None, None),
        ("0%", 0),
        (46.5, 46),
    ],
)
def test_progress_is_a_percentage_or_nothing(sent: Any, percent: int | None) -> None:
    """Free text from Discord's brackets is no percentage (novicezk 2.6)."""
    assert decode_task(encoded(progress=sent)).progress == percent


def test_times_are_milliseconds() -> None:
    """webman-php writes seconds, Go relays 0 for unset."""
    task = decode_task(encoded(submitTime=1700000000, startTime=1700000000123, finishTime=0))
    assert (task.submit_time_ms, task.start_time_ms, task.finish_time_ms) == (
        1700000000000,
        1700000000123,
        None,
    )


@pytest.mark.parametrize(
    ("result", "ids"),
    [
        ("1,2,3,4", ("1", "2", "3", "4")),
        (1320098173412546, ("1320098173412546",)),
        (None, ()),
        ("", ()),
        (["a", 2], ("a", "2")),
        (["https://x/a,b.png"], ("https://x/a,b.png",)),
    ],
)
def test_a_result_is_a_list_of_ids(result: Any, ids: tuple[str, ...]) -> None:
    """One id, four joined by commas (PicReader::all in trueai), an array (uploads), none."""
    assert decode_answer(json.dumps({"code": 1, "result": result}).encode()).ids == ids


def test_the_pressed_task_is_read_from_the_description() -> None:
    """There is no parent id in novicezk and Plus."""
    assert decode_task(encoded(description="/up 1705301507336856 U2")).pressed_on == "1705301507336856"
    assert decode_task(encoded(parentId="9")).pressed_on == "9"
    assert decode_task(encoded(description="/imagine up 1 2")).pressed_on == ""


def test_the_image_number_is_the_shown_one() -> None:
    """Plus may swap concurrent presses; the message tells which picture came."""
    task = decode_task(
        encoded(description="/up 1 U2", properties={"messageContent": "**x** - Image #3 <@1>"})
    )
    assert task.image_number == 3
