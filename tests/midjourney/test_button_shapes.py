"""Buttons in all their shapes: read where they can be, and described, without their values, where not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midjourney.button_shapes import read_buttons
from midjourney.decode import decode_task

UUID = "0f1e2d3c-4b5a-4968-8776-655443322110"
GRID = [
    {
        "customId": f"MJ::JOB::upsample::{n}::{UUID}",
        "label": f"U{n}",
        "emoji": "",
        "type": 2,
        "style": 2 + n % 2,
    }
    for n in (1, 2, 3, 4)
]
DISCORD = [
    {"type": 2, "custom_id": one["customId"], "label": one["label"], "style": one["style"]} for one in GRID
]
SHAPES: dict[str, Any] = {
    "flat": GRID,
    "rows": [GRID[:2], GRID[2:]],
    "Discord's rows": [{"type": 1, "components": DISCORD[:2]}, {"type": 1, "components": DISCORD[2:]}],
    "Discord's, flat": DISCORD,
    "with gaps": [None, *GRID, [], {}],
}


def encoded(buttons: Any, **fields: Any) -> bytes:
    return json.dumps(
        {"id": "1", "status": "SUCCESS", "action": "IMAGINE", "buttons": buttons} | fields
    ).encode()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("as_text", [False, True])
def test_a_shape_that_is_known_gives_the_same_buttons(shape: str, as_text: bool) -> None:
    """Also as JSON text; the style is kept, which tells what was pressed already."""
    buttons = json.dumps(SHAPES[shape]) if as_text else SHAPES[shape]
    task, plain = decode_task(encoded(buttons)), decode_task(encoded(GRID))
    assert (task.buttons, task.unread_buttons, task.is_grid) == (plain.buttons, "", True)
    assert [button.style for button in task.buttons] == [3, 2, 3, 2]


def test_properties_may_be_json_text() -> None:
    """As some relays store them."""
    task = decode_task(encoded(GRID, properties=json.dumps({"finalPrompt": "a cat", "remix": True})))
    assert (task.properties.final_prompt, task.properties.remix) == ("a cat", True)


@pytest.mark.parametrize("none", [None, [], "", {}, "[]", [[]], "{}"])
def test_no_buttons_are_nothing_to_warn_of(none: Any) -> None:
    """A task that runs, or one of a server without buttons."""
    task = decode_task(encoded(none))
    assert (task.buttons, task.unread_buttons, task.oddity) == ((), "", "")


@pytest.mark.parametrize(
    ("buttons", "shape"),
    [
        ("U1,U2", "a string of 5 characters"),
        ('[{"customId"', "a string of 12 characters"),
        ({"U1": "secret", "https://x/secret": 1}, "an object with U1, …"),
        ([{"name": "U1", "value": "secret"}] * 4, "4 times an object with name, value"),
        ([7, True], "a number, a boolean"),
        ([[[[[GRID[0]]]]]], "an array"),
        ([GRID[0], {"id": "secret"}], "an object with id (1 others can be read)"),
    ],
)
def test_what_cannot_be_read_is_described(buttons: Any, shape: str) -> None:
    """A finished task warns of it: it is not the same as a task without buttons."""
    task = decode_task(encoded(buttons))
    assert task.unread_buttons == shape
    assert bool(task.oddity) == bool(shape)
    assert not task.is_grid


def test_a_task_that_runs_warns_of_no_buttons() -> None:
    """Those of a running task cannot be pressed anyway."""
    task = decode_task(encoded("U1", status="IN_PROGRESS", progress="5%"))
    assert (task.unread_buttons, task.oddity) == ("a string of 2 characters", "")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values, st.text(alphabet="äöü!§$%&", min_size=4, max_size=40))
def test_a_shape_shows_no_values(value: Any, secret: str) -> None:
    """Neither texts, nor names of fields that are no names."""
    _, shape = read_buttons([value, {secret: secret}, secret])
    assert secret not in shape
