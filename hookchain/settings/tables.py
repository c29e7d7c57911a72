"""The tables and keys of hookchain.toml, and what is checked before they are decoded: unknown keys, missing addresses, numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec

from dispatcher.policy.chain_budget import Budget
from dispatcher.policy.period_budgets import PeriodBudget
from dispatcher.policy.retention import Retention
from dispatcher.rules.spelling import nearest
from dispatcher.tickets.clients import Client, Pool
from hookchain.settings import bounds
from hookchain.settings.conversion import Found, SettingsError
from hookchain.settings.environment import LogFormat, LogLevel, inner_table, keys
from hookchain.settings.file import display_path
from hookchain.settings.gateway import GatewaySettings
from hooks.quotas import Quota
from midjourney.dialects import Dialect, Upstream

BODY_LIMIT_BYTES = 1024 * 1024
"""Default limit of a callback's size. Real callbacks have 0.4 to 10 kB; a relay that fills `maskBase64` adds a PNG."""

KEEP_ALIVE_S = 180.0
"""Longer than the idle time-out of common reverse proxies: nginx 60 s, Heroku, Traefik and Go 90 s, Caddy 120 s."""


OF_RULES = frozenset({"rules", "vars", "macros", "blueprint"})
"""Keys that are about rules: they are read with these."""


class File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of hookchain.toml, except `[[rules]]`."""

    database_url: str = ""
    host: str = ""
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 8000
    public_url: str = ""
    secret: str = ""
    admin_token: str = ""
    plugins: list[str] = []
    include: list[str] = []
    image_folders: list[str] = []
    log_level: LogLevel = "info"
    log_format: LogFormat = "console"
    keep_alive_s: Annotated[float, msgspec.Meta(ge=1, le=24 * 3600)] = KEEP_ALIVE_S
    body_limit_bytes: Annotated[int, msgspec.Meta(ge=1000, le=1024**3)] = BODY_LIMIT_BYTES
    poll_only: bool = False
    worker: bool = True
    volume: str = ""
    timezone: str = "UTC"
    budget: Budget = Budget()
    budgets: list[PeriodBudget] = []
    retention: Retention = Retention()
    quotas: Quota = Quota()
    upstreams: dict[str, Upstream] = {}
    dialects: dict[str, dict[str, object]] = {}
    gateway: GatewaySettings = GatewaySettings()
    clients: dict[str, Client] = {}
    pools: dict[str, Pool] = {}


_TABLES: dict[str, type[msgspec.Struct]] = {
    "budget": Budget,
    "retention": Retention,
    "quotas": Quota,
    "gateway": GatewaySettings,
}
_NAMED: dict[str, type[msgspec.Struct]] = {
    "upstreams": Upstream,
    "dialects": Dialect,
    "clients": Client,
    "pools": Pool,
}
"""Tables of named tables, and what is in each of these."""


def check_keys(tables: dict[str, object], path: Path) -> None:
    """Raise `SettingsError` for the keys that no table has."""
    where, found = display_path(path), Found()
    with found.noting():
        _check_table(tables, File, where)
    for name, kind in _TABLES.items():
        with found.noting():
            _check_table(tables.get(name, {}), kind, f"{where}, [{name}]")
    for named, kind in _NAMED.items():
        with found.noting():
            for name, table in _as_table(tables.get(named, {}), f"{where}, {named}").items():
                _check_table(table, kind, f"{where}, [{named}.{name}]")
    found.report()


def split_plugins(tables: dict[str, object], where: str) -> dict[str, dict[str, object]]:
    """Take the tables `[plugins.NAME]` out of `[plugins]`, and leave the list of its key `load` as `plugins`. Raises `SettingsError`."""
    plugins = tables.get("plugins")
    if not isinstance(plugins, dict):
        return {}
    settings = {name: table for name, table in plugins.items() if isinstance(table, dict)}
    for key in plugins.keys() - settings.keys() - {"load"}:
        raise SettingsError(
            f'{where}, [plugins]: unknown key {key!r}. Write load = ["…"] for the plugins to load,'
            " and the settings of a plugin in [plugins.NAME]."
        )
    tables["plugins"] = plugins.get("load", [])
    return settings


def check_urls(tables: dict[str, object], where: str) -> None:
    """Raise `SettingsError` for an upstream without an address."""
    upstreams = inner_table(tables, "upstreams")
    for name in upstreams:
        if "url" not in inner_table(upstreams, name):
            raise SettingsError(f'{where}, [upstreams.{name}]: `url` is missing; write url = "https://…"')


def _as_table(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise SettingsError(f"{where} must be a table")
    return value


def _check_table(table: object, kind: type[msgspec.Struct], where: str) -> None:
    known = {*keys(kind)} | (OF_RULES if kind is File else set())
    unknown = {key: value for key, value in _as_table(table, where).items() if key not in known}
    if unknown:
        raise SettingsError(
            *(
                f"{where}: unknown key {key!r}.{_remedy(key, value, known, kind)}"
                for key, value in unknown.items()
            )
        )


def _remedy(key: str, value: object, known: set[str], kind: type[msgspec.Struct]) -> str:
    # Imported here because it is slow to load: it needs the storage package.
    from dispatcher.rules.model import KEYS

    is_plural_meant = isinstance(value, dict) and f"{key}s" in known
    if kind is File and key in KEYS and not is_plural_meant:
        return " It belongs to a rule: move it below [[rules]]."
    return nearest(key, known)


def check_numbers(tables: Mapping[str, object], place: Callable[..., str]) -> None:
    """Raise `SettingsError` for a number outside its bounds."""
    bounds.check_numbers(place, tables, File)
    for name, kind in _TABLES.items():
        bounds.check_numbers(partial(place, name), inner_table(tables, name), kind)
    upstreams = inner_table(tables, "upstreams")
    for name in upstreams:
        bounds.check_upstream_numbers(partial(place, "upstreams", name), inner_table(upstreams, name))
    for named in ("clients", "pools"):
        for name in (listed := inner_table(tables, named)):
            bounds.check_numbers(partial(place, named, name), inner_table(listed, name), _NAMED[named])
