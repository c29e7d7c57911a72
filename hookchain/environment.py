"""The environment over the file: every setting of a one-upstream deployment has a variable."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from dispatcher.budget import Budget
from dispatcher.retention import Retention
from dispatcher.spelling import nearest
from midjourney.dialects import Upstream


class SettingsError(Exception):
    """The configuration cannot be used; the message says what, where, and what to write instead."""


# Variable → key of the file.
_VARIABLES: Mapping[str, str] = {
    "DATABASE_URL": "database_url",
    "HOST": "host",
    "PORT": "port",
    "HOOKCHAIN_PUBLIC_URL": "public_url",
    "HOOKCHAIN_SECRET": "secret",
    "HOOKCHAIN_ADMIN_TOKEN": "admin_token",
    "HOOKCHAIN_PLUGINS": "plugins",
    "HOOKCHAIN_BODY_LIMIT_BYTES": "body_limit_bytes",
    "HOOKCHAIN_POLL_ONLY": "poll_only",
    "HOOKCHAIN_WORKER": "worker",
    "HOOKCHAIN_VOLUME": "volume",
    "LOG_LEVEL": "log_level",
    "LOG_FORMAT": "log_format",
}
_TABLES: Mapping[str, tuple[str, type[msgspec.Struct]]] = {
    "HOOKCHAIN_BUDGET_": ("budget", Budget),
    "HOOKCHAIN_RETENTION_": ("retention", Retention),
}
"""Prefix of variables → the table whose keys follow it."""

_UPSTREAM = "HOOKCHAIN_UPSTREAM_"
"""Prefix of the variables that set the upstream named `main`."""

_ALIASES: Mapping[str, str] = {"MJ_SERVER": "url", "MJ_API_SECRET": "key"}
"""As other programs of this family name them; ours go before them."""

CONFIG, TOML = "HOOKCHAIN_CONFIG", "HOOKCHAIN_TOML"
"""Where the file is, and a file's whole text in the place of one."""


def _keys(kind: type[msgspec.Struct]) -> list[str]:
    """The keys of a table that one variable can hold."""
    return [field.name for field in msgspec.structs.fields(kind) if field.type in (str, int, float, bool)]


def _upstream_keys() -> list[str]:
    return [*_keys(Upstream), "verify", "uncertain"]


def known_variables() -> list[str]:
    """The names of all variables that begin with HOOKCHAIN_."""
    of_tables = [prefix + key.upper() for prefix, (_, kind) in _TABLES.items() for key in _keys(kind)]
    of_upstream = [_UPSTREAM + key.upper() for key in _upstream_keys() if key != "name"]
    return [
        CONFIG,
        TOML,
        *(name for name in _VARIABLES if name[:10] == "HOOKCHAIN_"),
        *of_tables,
        *of_upstream,
    ]


_KUBERNETES = re.compile(r"HOOKCHAIN_(.+_)?(SERVICE_(HOST|PORT.*)|PORT_.*)$")
_LINK = re.compile(r"(tcp|udp|sctp)://")


def _is_of_kubernetes(name: str, value: str) -> bool:
    """Whether it is one of those that are set where there is a service named hookchain: HOOKCHAIN_PORT is a link there, and a
    mistake elsewhere."""
    is_link = re.fullmatch(r"HOOKCHAIN_(.+_)?PORT", name) and _LINK.match(value)
    return bool(_KUBERNETES.match(name) or is_link)


def check_variables(environment: Mapping[str, str]) -> None:
    """Raise `SettingsError` for a variable of ours that nobody knows."""
    known = known_variables()
    for name, value in environment.items():
        if name.startswith("HOOKCHAIN_") and name not in known and not _is_of_kubernetes(name, value):
            bare = name.removeprefix("HOOKCHAIN_")
            meant = f' Did you mean "{bare}"?' if bare in _VARIABLES else nearest(name, known)
            raise SettingsError(f"unknown environment variable {name}.{meant}")


def put_over(tables: dict[str, Any], environment: Mapping[str, str]) -> None:
    """Set what the environment says in the tables of the file. Raises `SettingsError`."""
    given = {name: value.strip() for name, value in environment.items() if value.strip()}
    for name, key in _VARIABLES.items():
        if name in given:
            tables[key] = _typed(name, key, given[name])
    for prefix, (table, kind) in _TABLES.items():
        for field in msgspec.structs.fields(kind):
            if (value := given.get(prefix + field.name.upper())) is not None:
                tables.setdefault(table, {})[field.name] = _converted(
                    prefix + field.name.upper(), value, field.type
                )
    _put_upstream(tables, given)


def _put_upstream(tables: dict[str, Any], given: Mapping[str, str]) -> None:
    upstream: dict[str, Any] = {}
    for field in msgspec.structs.fields(Upstream):
        name = _UPSTREAM + field.name.upper()
        if name in given and field.name in _upstream_keys():
            upstream[field.name] = _converted(name, given[name], field.type)
    aliased = {key: given[name] for name, key in _ALIASES.items() if name in given}
    known = tables.get("upstreams", {})
    if "url" in upstream or "url" in aliased or (upstream and "main" in known):
        tables.setdefault("upstreams", {})["main"] = known.get("main", {}) | aliased | upstream
    elif upstream:  # an alias alone is another program's
        name = _UPSTREAM + next(iter(upstream)).upper()
        raise SettingsError(
            f"{name} is set, but HOOKCHAIN_UPSTREAM_URL is not. Set HOOKCHAIN_UPSTREAM_URL as well, or remove {name}:"
            " without an upstream the built-in sandbox is used"
        )


_TYPES: Mapping[str, Any] = {"port": int, "body_limit_bytes": int, "poll_only": bool, "worker": bool}
_WORDS = {"on": "true", "yes": "true", "off": "false", "no": "false"}


def _typed(name: str, key: str, value: str) -> Any:
    if key == "plugins":
        return [part.strip() for part in value.split(",") if part.strip()]
    if key in ("log_level", "log_format"):
        return value.lower()
    return _converted(name, value, _TYPES.get(key, str))


def _converted(name: str, value: str, kind: Any) -> Any:
    if kind is bool:
        value = _WORDS.get(value.lower(), value.lower())
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        what = {int: "a number", float: "a number", bool: "on or off"}.get(kind, "")
        raise SettingsError(
            f"{name} is {value!r}; it must be {what}" if what else f"{name}: {error}"
        ) from error
