"""Environment variables override the file: every key has a variable, and `key_of` maps variables to keys.

    PORT                            port
    HOOKCHAIN_BUDGET_DEPTH          [budget] depth
    HOOKCHAIN_UPSTREAM_URL          [upstreams.main] url
    HOOKCHAIN_UPSTREAMS_RELAY_URL   [upstreams.relay] url
    HOOKCHAIN_DIALECTS_MINE_PREFIX  [dialects.mine] prefix
    HOOKCHAIN_CLIENTS_SHOP_KEY      [clients.shop] key
    HOOKCHAIN_GATEWAY               [gateway] enabled

A variable's name has no lower-case letters and no "-". So RELAY means the upstream in the file whose name is the same in
capitals, with "_" for "-". If the file has no such upstream, the variable adds a new one, `relay`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Literal

import msgspec

from dispatcher.policy.chain_budget import Budget
from dispatcher.policy.period_budgets import PeriodBudget
from dispatcher.policy.retention import Retention
from dispatcher.rules.spelling import nearest
from dispatcher.tickets.clients import Client, Pool
from hookchain.settings.conversion import SettingsError as SettingsError
from hookchain.settings.conversion import converted
from hookchain.settings.gateway import GatewaySettings
from hooks.quotas import Quota
from midjourney.dialects import DIALECTS, Dialect, Upstream

CONFIG, TOML = "HOOKCHAIN_CONFIG", "HOOKCHAIN_TOML"
"""The path of the file, and the whole text of a file as an alternative to a file."""

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["console", "json"]

MAIN = "main"
"""The upstream whose variables do not contain its name."""

_SERVER: Mapping[str, tuple[str, object]] = {
    "DATABASE_URL": ("database_url", str),
    "HOST": ("host", str),
    "PORT": ("port", int),
    "HOOKCHAIN_PUBLIC_URL": ("public_url", str),
    "HOOKCHAIN_SECRET": ("secret", str),
    "HOOKCHAIN_ADMIN_TOKEN": ("admin_token", str),
    "HOOKCHAIN_PLUGINS": ("plugins", list[str]),
    "HOOKCHAIN_IMAGE_FOLDERS": ("image_folders", list[str]),
    "HOOKCHAIN_INCLUDE": ("include", list[str]),
    "HOOKCHAIN_KEEP_ALIVE_S": ("keep_alive_s", float),
    "HOOKCHAIN_BODY_LIMIT_BYTES": ("body_limit_bytes", int),
    "HOOKCHAIN_POLL_ONLY": ("poll_only", bool),
    "HOOKCHAIN_WORKER": ("worker", bool),
    "HOOKCHAIN_VOLUME": ("volume", str),
    "HOOKCHAIN_TIMEZONE": ("timezone", str),
    "HOOKCHAIN_BUDGETS": ("budgets", list[PeriodBudget]),
    "LOG_LEVEL": ("log_level", LogLevel),
    "LOG_FORMAT": ("log_format", LogFormat),
    "HOOKCHAIN_GATEWAY": ("gateway.enabled", bool),
}
"""Variables with a name of their own → the key that each sets."""

_TABLES: Mapping[str, tuple[tuple[str, ...], type[msgspec.Struct]]] = {
    "HOOKCHAIN_BUDGET_": (("budget",), Budget),
    "HOOKCHAIN_RETENTION_": (("retention",), Retention),
    "HOOKCHAIN_QUOTAS_": (("quotas",), Quota),
    "HOOKCHAIN_UPSTREAM_": (("upstreams", MAIN), Upstream),
    "HOOKCHAIN_GATEWAY_": (("gateway",), GatewaySettings),
}
"""Prefix of variables → the table whose keys follow the prefix."""

_NAMED: Mapping[str, tuple[str, type[msgspec.Struct]]] = {
    "HOOKCHAIN_UPSTREAMS_": ("upstreams", Upstream),
    "HOOKCHAIN_DIALECTS_": ("dialects", Dialect),
    "HOOKCHAIN_CLIENTS_": ("clients", Client),
    "HOOKCHAIN_POOLS_": ("pools", Pool),
}
"""Prefix of variables → the table of named tables. A name follows the prefix, and a key follows the name."""

_ALIASES: Mapping[str, str] = {"MJ_SERVER": "url", "MJ_API_SECRET": "key"}
"""Variables of other programs of this family."""

Path = tuple[str, ...]
"""The path of a key in the file: ("upstreams", "main", "url")."""


class Key(msgspec.Struct, frozen=True):
    """A key of the file and its type. In the path of a named table, the name is as in the variable: RELAY."""

    path: Path
    kind: object


@cache
def keys(kind: type[msgspec.Struct]) -> Mapping[str, object]:
    """The keys that a table of the file may have, with their types. Cached, because resolving the types takes 0.2 ms."""
    types = {field.name: field.type for field in msgspec.structs.fields(kind) if field.name != "name"}
    return types | {"like": str} if kind is Dialect else types


def known_variables() -> list[str]:
    """All variables with a fixed name. Variables that contain the name of an upstream, a dialect, a client or a pool are not included."""
    of_tables = [prefix + key.upper() for prefix in _TABLES for key in _keys_after(prefix)]
    return [CONFIG, TOML, *_SERVER, *of_tables]


@cache
def _keys_after(prefix: str) -> Mapping[str, object]:
    """The keys that this prefix of `_TABLES` sets, with their types: all of the table except those with a variable of their own."""
    table, kind = _TABLES[prefix]
    own = {key for key, _ in _SERVER.values()}
    return {key: type_ for key, type_ in keys(kind).items() if ".".join((*table, key)) not in own}


def variable_of(path: Path) -> str:
    """The variable that sets this key. Raises KeyError if there is none."""
    *table, key = path
    for variable, (server_key, _) in _SERVER.items():
        if path == tuple(server_key.split(".")):
            return variable
    for prefix, (where, _) in _TABLES.items():
        if table == [*where] and key in _keys_after(prefix):
            return prefix + key.upper()
    for prefix, (where_named, kind) in _NAMED.items():
        if table[:1] == [where_named] and len(table) == 2 and key in keys(kind):
            return f"{prefix}{_in_capitals(table[1])}_{key.upper()}"
    raise KeyError(path)


def key_of(variable: str) -> Key | None:
    """The key that this variable sets; None if it is not one of hookchain's."""
    if variable in _SERVER:
        key, kind = _SERVER[variable]
        return Key(tuple(key.split(".")), kind)
    for prefix, (table, _) in _TABLES.items():
        if variable.startswith(prefix):
            for key, kind in _keys_after(prefix).items():
                if variable == prefix + key.upper():
                    return Key((*table, key), kind)
    for prefix, (named, struct) in _NAMED.items():
        if not variable.startswith(prefix):
            continue
        for key, kind in keys(struct).items():
            if match := re.fullmatch(rf"{prefix}([A-Z0-9_]+)_{key.upper()}", variable):
                return Key((named, match[1], key), kind)
    return None


def _in_capitals(name: str) -> str:
    return name.upper().replace("-", "_")


_KUBERNETES = re.compile(r"HOOKCHAIN_(.+_)?(SERVICE_(HOST|PORT.*)|PORT_.*)$")
_LINK = re.compile(r"(tcp|udp|sctp)://")


def _is_set_by_kubernetes(name: str, value: str) -> bool:
    """True for a variable that Kubernetes sets for a service named hookchain. It sets HOOKCHAIN_PORT to a link such as
    tcp://…; with any other value, that name is a mistake."""
    is_link = re.fullmatch(r"HOOKCHAIN_(.+_)?PORT", name) and _LINK.match(value)
    return bool(_KUBERNETES.match(name) or is_link)


def check_variables(environment: Mapping[str, str]) -> None:
    """Raise `SettingsError` for an unknown variable that begins with HOOKCHAIN_."""
    for name, value in environment.items():
        is_ours = name.upper().startswith("HOOKCHAIN_")
        is_known = name in (CONFIG, TOML) or key_of(name) is not None
        if is_ours and not is_known and not _is_set_by_kubernetes(name, value):
            raise SettingsError(f"unknown environment variable {name}.{_suggestion(name)}")


def _suggestion(name: str) -> str:
    """A sentence with the nearest known variable. Considers variables with the name of any named table in them too."""
    name = _in_capitals(name)
    bare = name.removeprefix("HOOKCHAIN_")
    if bare in _SERVER:
        return f' Did you mean "{bare}"?'
    known = known_variables()
    for prefix, (_, kind) in _NAMED.items():
        singular = prefix.removesuffix("S_") + "_"
        if name.startswith((prefix, singular)):
            words = name.removeprefix(prefix).removeprefix(singular).split("_")
            names = ["_".join(words[:count]) for count in range(1, len(words))]
            known += [f"{prefix}{name}_{key.upper()}" for name in names for key in keys(kind)]
    return nearest(name, known)


def apply_environment(tables: dict[str, object], environment: Mapping[str, str]) -> dict[Path, str]:
    """Write the values of variables into the tables of the file. Returns the variable that set each key.

    Empty variables are ignored. Raises `SettingsError`, also if two variables set the same key.
    """
    set_by: dict[Path, str] = {}
    names = {table: _names(tables, table) for table, _ in _NAMED.values()}
    for variable, text in environment.items():
        key = key_of(variable)
        if key is None or not text.strip():
            continue
        path = _resolved(variable, key.path, names)
        if path in set_by:
            raise SettingsError(f"{set_by[path]} and {variable} set the same key; unset one of them")
        set_by[path] = variable
        _table(tables, path[:-1])[path[-1]] = converted(variable, text.strip(), key.kind)
    _put_aliases(tables, environment)
    _check_upstreams(tables, set_by)
    return set_by


def _names(tables: Mapping[str, object], table: str) -> list[str]:
    known = dict.fromkeys(inner_table(tables, table))
    return [*(known | dict.fromkeys(DIALECTS) if table == "dialects" else known)]


def _resolved(variable: str, path: Path, names: Mapping[str, list[str]]) -> Path:
    """The path with the name as in the file. HOOKCHAIN_UPSTREAM_URL always belongs to `main`."""
    if path[0] not in names or not variable.startswith(tuple(_NAMED)):
        return path
    table, name, key = path
    matches = [known for known in names[table] if _in_capitals(known) == name]
    if len(matches) > 1:
        raise SettingsError(
            f"{variable} may mean [{table}.{matches[0]}] or [{table}.{matches[1]}]; set the key in the file, or rename one of them"
        )
    return (table, matches[0] if matches else name.lower(), key)


def inner_table(tables: Mapping[str, object], name: str) -> dict[str, object]:
    """The table with this name inside a table that was checked; an empty table if there is none."""
    table = tables.get(name)
    return table if isinstance(table, dict) else {}


def _table(tables: dict[str, object], path: Path) -> dict[str, object]:
    for name in path:
        inner = inner_table(tables, name)
        tables[name] = inner
        tables = inner
    return tables


def _put_aliases(tables: dict[str, object], environment: Mapping[str, str]) -> None:
    """Apply aliases to keys that neither the file nor one of our variables sets. A key without a URL belongs to another program."""
    given = {
        key: environment[name].strip() for name, key in _ALIASES.items() if environment.get(name, "").strip()
    }
    if "url" in given or MAIN in inner_table(tables, "upstreams"):
        main = _table(tables, ("upstreams", MAIN))
        main.update({key: value for key, value in given.items() if key not in main})


def _check_upstreams(tables: Mapping[str, object], set_by: Mapping[Path, str]) -> None:
    for path, variable in set_by.items():
        if path[0] == "upstreams" and "url" not in inner_table(inner_table(tables, "upstreams"), path[1]):
            needed = variable.removesuffix(path[2].upper()) + "URL"
            raise SettingsError(
                f"{variable} is set, but {needed} is not. Set {needed} too, or unset {variable}"
            )
