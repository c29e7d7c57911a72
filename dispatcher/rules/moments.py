"""The time in conditions and texts: `now('Asia/Shanghai').hour`. Which zones they name is checked when rules are loaded. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
from jinja2 import nodes

from dispatcher.plugins.errors import RuleError
from dispatcher.policy.times_of_day import DAYS, InvalidTime, known_zone
from dispatcher.rules.language import NOW
from dispatcher.rules.parts_of import parts_of
from dispatcher.rules.spelling import nearest

_FIELDS = ("hour", "minute", "weekday", "date")


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A time, and the time zone of `now()` without an argument."""

    now_ms: int
    zone: str


def times(moment: Moment, zones: Collection[str]) -> dict[str, dict[str, object]]:
    """What `now` gives in each of these zones, "" for the moment's own: hour and minute as numbers, weekday "mon" to "sun", and date as
    "2026-11-30"."""
    return {zone: _read(moment.now_ms, ZoneInfo(zone or moment.zone)) for zone in zones}


def _read(now_ms: int, zone: ZoneInfo) -> dict[str, object]:
    local = datetime.fromtimestamp(now_ms / 1000, zone)
    return {
        "hour": local.hour,
        "minute": local.minute,
        "weekday": DAYS[local.weekday()],
        "date": f"{local:%Y-%m-%d}",
    }


def zones_of(source: str, tree: nodes.Template) -> frozenset[str]:
    """The time zones that an expression names, each as it is written. Raises `RuleError` if it uses `now` in another way than
    `now('Europe/Berlin').hour`."""
    calls = [call for call in parts_of(tree, nodes.Call) if is_now(call)]
    if len(calls) < sum(1 for node in parts_of(tree, nodes.Name) if node.name == NOW):
        raise RuleError(f"{source!r}: now is a function; write now().hour or now('Europe/Berlin').hour")
    fields = [access for access in parts_of(tree, nodes.Getattr) if is_now(access.node)]
    if len(fields) < len(calls):
        raise RuleError(f"{source!r}: now() has the fields {', '.join(_FIELDS)}; write now().hour")
    for access in fields:
        if access.attr not in _FIELDS:
            raise RuleError(f"{source!r}: now() has no field {access.attr!r}.{nearest(access.attr, _FIELDS)}")
    for call in parts_of(tree, nodes.Call):
        if isinstance(call.node, nodes.Getattr) and is_now(call.node.node):
            raise RuleError(
                f"{source!r}: now().{call.node.attr} is a value and cannot be called; leave out the parentheses"
            )
    _check_weekdays(source, tree)
    return frozenset(_zone_of(source, call) for call in calls)


def is_now(node: nodes.Node) -> bool:
    """True for a call of `now`."""
    return isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name == NOW


def _zone_of(source: str, call: nodes.Call) -> str:
    is_plain = not (call.kwargs or call.dyn_args or call.dyn_kwargs) and len(call.args) <= 1
    written = call.args[0] if call.args else nodes.Const("")
    if not is_plain or not isinstance(written, nodes.Const) or not isinstance(written.value, str):
        raise RuleError(
            f"{source!r}: now takes one time zone in quotes, or none; write now('Europe/Berlin').hour"
        )
    zone = written.value
    try:
        if zone != "" and known_zone(zone) != zone:
            raise RuleError(f'{source!r}: unknown time zone {zone!r}. Did you mean "{known_zone(zone)}"?')
    except InvalidTime as error:
        raise RuleError(f"{source!r}: {error.problem}. {error.remedy}") from error
    if call.args and zone == "":
        raise RuleError(f"{source!r}: the time zone is empty; write now() or now('Europe/Berlin')")
    return zone


def _check_weekdays(source: str, tree: nodes.Template) -> None:
    """Refuse a comparison that never holds, such as with 5 or "Saturday"."""
    for compare in parts_of(tree, nodes.Compare):
        sides = [compare.expr, *(operand.expr for operand in compare.ops)]
        if not any(isinstance(side, nodes.Getattr) and _is_weekday(side) for side in sides):
            continue
        for value in _constants(sides):
            if value not in DAYS:
                raise RuleError(
                    f"{source!r}: now().weekday is one of {', '.join(DAYS)}, and never {value!r}.{_day_meant(value)}"
                )


def _is_weekday(access: nodes.Getattr) -> bool:
    return access.attr == "weekday" and is_now(access.node)


def _constants(sides: list[nodes.Expr]) -> Iterator[object]:
    for side in sides:
        listed = side.items if isinstance(side, nodes.List | nodes.Tuple) else [side]
        for value in (item.value for item in listed if isinstance(item, nodes.Const)):
            # Jinja makes one constant of a list of them.
            yield from value if isinstance(value, list | tuple) else [value]


def _day_meant(value: object) -> str:
    found = str(value).lower()[:3]
    return f' Write "{found}".' if found in DAYS else ""
