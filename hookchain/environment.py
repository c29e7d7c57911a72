"""The environment over the file: every key has a variable, and `key_of` says which.

    PORT                            port
    HOOKCHAIN_BUDGET_DEPTH          [budget] depth
    HOOKCHAIN_UPSTREAM_URL          [upstreams.main] url
    HOOKCHAIN_UPSTREAMS_RELAY_URL   [upstreams.relay] url
    HOOKCHAIN_DIALECTS_MINE_PREFIX  [dialects.mine] prefix

A variable's name has no small letters and no "-". So RELAY is the upstream of the file whose name reads so in capitals,
with "_" for "-"; where the file has none, it is a new one, `relay`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from dispatcher.budget import Budget
from dispatcher.retention import Retention
from dispatcher.spelling import nearest
from hookchain.conversion import SettingsError as SettingsError
from hookchain.conversion import converted
from midjourney.dialects import DIALECTS, Dialect, Upstream

CONFIG, TOML = "HOOKCHAIN_CONFIG", "HOOKCHAIN_TOML"
"""Where the file is, and a file's whole text in the place of one."""

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["console", "json"]

MAIN = "main"
"""The upstream whose variables carry no name."""

_SERVER: Mapping[str, tuple[str, Any]] = {
    "DATABASE_URL": ("database_url", str),
    "HOST": ("host", str),
    "PORT": ("port", int),
    "HOOKCHAIN_PUBLIC_URL": ("public_url", str),
    "HOOKCHAIN_SECRET": ("secret", str),
    "HOOKCHAIN_ADMIN_TOKEN": ("admin_token", str),
    "HOOKCHAIN_PLUGINS": ("plugins", list[str]),
    "HOOKCHAIN_KEEP_ALIVE_S": ("keep_alive_s", float),
    "HOOKCHAIN_BODY_LIMIT_BYTES": ("body_limit_bytes", int),
    "HOOKCHAIN_POLL_ONLY": ("poll_only", bool),
    "HOOKCHAIN_WORKER": ("worker", bool),
    "HOOKCHAIN_VOLUME": ("volume", str),
    "LOG_LEVEL": ("log_level", LogLevel),
    "LOG_FORMAT": ("log_format", LogFormat),
}
_TABLES: Mapping[str, tuple[tuple[str, ...], type[msgspec.Struct]]] = {
    "HOOKCHAIN_BUDGET_": (("budget",), Budget),
    "HOOKCHAIN_RETENTION_": (("retention",), Retention),
    "HOOKCHAIN_UPSTREAM_": (("upstreams", MAIN), Upstream),
}
"""Prefix of variables → the table whose keys follow it."""

_NAMED: Mapping[str, tuple[str, type[msgspec.Struct]]] = {
    "HOOKCHAIN_UPSTREAMS_": ("upstreams", Upstream),
    "HOOKCHAIN_DIALECTS_": ("dialects", Dialect),
}
"""Prefix of variables → the table of tables: a name follows the prefix, and a key the name."""

_ALIASES: Mapping[str, str] = {"MJ_SERVER": "url", "MJ_API_SECRET": "key"}
"""As other programs of this family name them."""

Path = tuple[str, ...]
"""Where a key stands in the file: ("upstreams", "main", "url")."""


class Key(msgspec.Struct, frozen=True):
    """A key of the file, and what it may hold. In a named table the name is as the variable writes it: RELAY."""

    path: Path
    kind: Any


def keys(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The keys that a table of the file may have, with their types."""
    found = {field.name: field.type for field in msgspec.structs.fields(kind) if field.name != "name"}
    return found | {"like": str} if kind is Dialect else found


def known_variables() -> list[str]:
    """The variables whose whole name is known; beside them there are those with the name of an upstream or a dialect."""
    of_tables = [prefix + key.upper() for prefix, (_, kind) in _TABLES.items() for key in keys(kind)]
    return [CONFIG, TOML, *_SERVER, *of_tables]


def variable_of(path: Path) -> str:
    """The variable that sets this key. Raises KeyError where there is none."""
    *table, key = path
    for variable, (one, _) in _SERVER.items():
        if path == (one,):
            return variable
    for prefix, (where, kind) in _TABLES.items():
        if table == [*where] and key in keys(kind):
            return prefix + key.upper()
    for prefix, (where_named, kind) in _NAMED.items():
        if table[:1] == [where_named] and len(table) == 2 and key in keys(kind):
            return f"{prefix}{_in_capitals(table[1])}_{key.upper()}"
    raise KeyError(path)


def key_of(variable: str) -> Key | None:
    """The key that this variable sets; None where it is none of ours."""
    if variable in _SERVER:
        key, kind = _SERVER[variable]
        return Key((key,), kind)
    for prefix, (table, struct) in _TABLES.items():
        if variable.startswith(prefix):
            for key, kind in keys(struct).items():
                if variable == prefix + key.upper():
                    return Key((*table, key), kind)
    for prefix, (named, struct) in _NAMED.items():
        for key, kind in keys(struct).items():
            if found := re.fullmatch(rf"{prefix}([A-Z0-9_]+)_{key.upper()}", variable):
                return Key((named, found[1], key), kind)
    return None


def _in_capitals(name: str) -> str:
    return name.upper().replace("-", "_")


_KUBERNETES = re.compile(r"HOOKCHAIN_(.+_)?(SERVICE_(HOST|PORT.*)|PORT_.*)$")
_LINK = re.compile(r"(tcp|udp|sctp)://")


def _is_of_kubernetes(name: str, value: str) -> bool:
    """Whether it is one of those that are set where there is a service named hookchain: HOOKCHAIN_PORT is a link there, and a
    mistake elsewhere."""
    is_link = re.fullmatch(r"HOOKCHAIN_(.+_)?PORT", name) and _LINK.match(value)
    return bool(_KUBERNETES.match(name) or is_link)


def check_variables(environment: Mapping[str, str]) -> None:
    """Raise `SettingsError` for a variable of ours that nobody knows."""
    for name, value in environment.items():
        is_ours = name.upper().startswith("HOOKCHAIN_")
        is_known = name in (CONFIG, TOML) or key_of(name) is not None
        if is_ours and not is_known and not _is_of_kubernetes(name, value):
            raise SettingsError(f"unknown environment variable {name}.{_meant(name)}")


def _meant(name: str) -> str:
    """What may have been meant: one of those with a name in them too, whose name may be any."""
    name = _in_capitals(name)
    bare = name.removeprefix("HOOKCHAIN_")
    if bare in _SERVER:
        return f' Did you mean "{bare}"?'
    known = known_variables()
    for prefix, (_, kind) in _NAMED.items():
        one = prefix.removesuffix("S_") + "_"
        if name.startswith((prefix, one)):
            words = name.removeprefix(prefix).removeprefix(one).split("_")
            names = ["_".join(words[:count]) for count in range(1, len(words))]
            known += [f"{prefix}{name}_{key.upper()}" for name in names for key in keys(kind)]
    return nearest(name, known)


def put_over(tables: dict[str, Any], environment: Mapping[str, str]) -> dict[Path, str]:
    """Set what the environment says in the tables of the file; which variable has set which key. An empty variable sets
    nothing. Raises `SettingsError`, also for a key that two variables set."""
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


def _names(tables: Mapping[str, Any], table: str) -> list[str]:
    known = dict.fromkeys(tables.get(table, {}))
    return [*(known | dict.fromkeys(DIALECTS) if table == "dialects" else known)]


def _resolved(variable: str, path: Path, names: Mapping[str, list[str]]) -> Path:
    """The path, with the name as the file writes it. HOOKCHAIN_UPSTREAM_URL is of `main`, whatever else there is."""
    if path[0] not in names or not variable.startswith(tuple(_NAMED)):
        return path
    table, name, key = path
    meant = [one for one in names[table] if _in_capitals(one) == name]
    if len(meant) > 1:
        raise SettingsError(
            f"{variable} may mean [{table}.{meant[0]}] or [{table}.{meant[1]}]; set it in the file, or rename one of them"
        )
    return (table, meant[0] if meant else name.lower(), key)


def _table(tables: dict[str, Any], path: Path) -> dict[str, Any]:
    for name in path:
        tables = tables.setdefault(name, {})
    return tables


def _put_aliases(tables: dict[str, Any], environment: Mapping[str, str]) -> None:
    """For what neither the file nor a variable of ours sets. A key alone is another program's."""
    given = {
        key: environment[name].strip() for name, key in _ALIASES.items() if environment.get(name, "").strip()
    }
    if "url" in given or MAIN in tables.get("upstreams", {}):
        main = _table(tables, ("upstreams", MAIN))
        main.update({key: value for key, value in given.items() if key not in main})


def _check_upstreams(tables: Mapping[str, Any], set_by: Mapping[Path, str]) -> None:
    for path, variable in set_by.items():
        if path[0] == "upstreams" and "url" not in tables["upstreams"][path[1]]:
            needed = variable.removesuffix(path[2].upper()) + "URL"
            raise SettingsError(
                f"{variable} is set, but {needed} is not. Set {needed} as well, or remove {variable}"
            )
