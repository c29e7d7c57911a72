"""Bounds are written beside the fields; what people read of them is made from there."""

from __future__ import annotations

from typing import Annotated, TypedDict

import msgspec
import pytest

from midjourney.number_ranges import Range, ranges_of, wrong_number

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Table(msgspec.Struct):
    """Bounded numbers, and what has no bounds."""

    count: Annotated[int, msgspec.Meta(ge=1, le=10_000_000_000)] = 1
    share: Share | None = None
    any_number: int = 0
    text: str = ""


class Options(TypedDict, total=False):
    share: Share


def test_the_ranges_of_a_table_are_those_of_its_fields() -> None:
    ranges = ranges_of(Table)
    assert ranges == {
        "count": Range(1, 10_000_000_000, is_whole=True),
        "share": Range(0, 1, is_whole=False),
    }
    assert str(ranges["count"]) == "between 1 and 10000000000"
    assert ranges_of(Options) == {"share": Range(0, 1, is_whole=False)}


@pytest.mark.parametrize(
    ("table", "wrong"),
    [
        ({}, None),
        ({"count": 1, "share": 1.0, "any_number": -5}, None),
        ({"count": 0}, "count"),
        ({"count": 10**30}, "count"),
        ({"share": float("nan")}, "share"),
        ({"share": -0.1}, "share"),
        ({"share": "many", "count": True}, None),
    ],
)
def test_the_first_number_out_of_its_bounds_is_found(table: dict[str, object], wrong: str | None) -> None:
    """What is no number at all is for msgspec to refuse."""
    found = wrong_number(table, Table)
    assert (found[0] if found else None) == wrong


@pytest.mark.parametrize("value", [True, 1.5, "1", None, 0, 10**11])
def test_a_whole_number_is_neither_a_share_nor_a_truth_value(value: object) -> None:
    assert not ranges_of(Table)["count"].has(value)
    assert ranges_of(Table)["count"].has(7)
