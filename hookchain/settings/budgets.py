"""Check `[[budgets]]` and `timezone`. An error names the place, and what to write instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from dispatcher.policy.period_budgets import By, PeriodBudget
from dispatcher.policy.periods import Per
from dispatcher.policy.zones import UNFIT, UnknownZone, zone_named
from dispatcher.rules.spelling import nearest
from hookchain.settings.bounds import check_numbers
from hookchain.settings.conversion import SettingsError

_CHOICES: dict[str, tuple[str, ...]] = {
    "per": get_args(Per),
    "by": tuple(choice for choice in get_args(By) if choice),
}


def check_tables(where: str, tables: object) -> None:
    """Raise `SettingsError` for an unknown key or an invalid value. `where`: their variable, or their place in the file."""
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise SettingsError(f"{where}: write each budget as a table of its own, [[budgets]]")
    for number, table in enumerate(tables, 1):
        place = _place(where, number, str(table.get("name", "")))
        for key in table:
            if key not in PeriodBudget.__struct_fields__:
                raise SettingsError(
                    f"{place}: unknown key {key!r}.{nearest(key, PeriodBudget.__struct_fields__)}"
                )
        if "per" not in table:
            raise SettingsError(f'{place}: `per` is missing; write per = "hour", "day" or "month"')
        for key, choices in _CHOICES.items():
            value = table.get(key, choices[0])
            if value not in choices:
                raise SettingsError(f"{place}: {key} is {value!r}.{nearest(str(value), choices)}")
        # The default argument binds this iteration's place.
        check_numbers(lambda key, place=place: f"{place}: {key}", table, PeriodBudget)  # type: ignore[misc]


def check_budgets(where: str, budgets: Sequence[PeriodBudget], others: Sequence[PeriodBudget]) -> None:
    """Raise `SettingsError` for a budget with no limit or two limits, and for two budgets with the same name, `others` included."""
    titles = {budget.title for budget in others}
    for number, budget in enumerate(budgets, 1):
        place = _place(where, number, budget.name)
        if (budget.submissions is None) == (budget.spend is None):
            raise SettingsError(
                f"{place}: write either `submissions` or `spend`; for both, write two budgets"
            )
        if budget.title in titles:
            raise SettingsError(
                f"{place}: another budget is also called {budget.title!r}; give each budget its own `name`"
            )
        titles.add(budget.title)


def zone_of(where: str, name: str) -> ZoneInfo:
    """The time zone of this name. Raises `SettingsError`."""
    try:
        if name.lower() not in UNFIT:
            return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        if not available_timezones():
            advice = "This machine has no time zone data: install tzdata, or leave timezone at UTC"
            raise SettingsError(f"{where} is {name!r}, an unknown time zone. {advice}") from None
    try:
        remedy = f'Did you mean "{zone_named(name)}"?'
    except UnknownZone as error:
        remedy = error.remedy
    raise SettingsError(f"{where} is {name!r}, an unknown time zone. {remedy}")


def _place(where: str, number: int, name: str) -> str:
    return f"{where} {number}" + (f" ({name})" if name else "")
