"""Reads what operating commands need, whatever the file looks like: in an emergency `hookchain pause` must work.

They need the address and the token of the running server, or the database. These come from the environment, or else from what can be
read of the file. A key that is in the file but cannot be read is never replaced by its default: that may be another server's.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from hookchain.settings.environment import CONFIG, TOML, inner_table, key_of
from hookchain.settings.file import read
from hookchain.settings.load import DEFAULT_FILE, SANDBOX, File, Settings, SettingsError, load_settings

_KEYS = ("database_url", "host", "port", "admin_token", "volume")
"""What operating commands need of the file."""
OF_LINKS = ("public_url", "secret")
"""What those need too that print addresses of this server with a secret in them."""

_HEADER = re.compile(r"""^\s*\[\s*upstreams\s*\.\s*["']?([\w-]+)["']?\s*[\].]""", re.MULTILINE)


class Operating(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of operating commands.

    `mistake`: why the configuration as a whole cannot be used; "" if it can. Then only the address, the token and the database of
    `settings` mean anything. `upstreams`: the names that are known. `unread`: keys that are set, but cannot be read.
    """

    settings: Settings
    upstreams: tuple[str, ...]
    mistake: str = ""
    unread: frozenset[str] = frozenset()

    def server(self) -> Settings:
        """The settings with the server's address and token. Raises `SettingsError` if they cannot be read."""
        return self._with("host", "port", "admin_token")

    def database(self) -> Settings:
        """The settings with the database's URL. Raises `SettingsError` if it cannot be read."""
        return self._with("database_url")

    def links(self) -> Settings:
        """The settings with all that a link to the server is made of. Raises `SettingsError` if that cannot be read."""
        return self._with(*_KEYS, *OF_LINKS)

    def _with(self, *keys: str) -> Settings:
        missing = [key for key in keys if key in self.unread]
        if missing:
            variables = ", ".join(_variable_of(key) for key in missing)
            raise SettingsError(f"{self.mistake}. Correct it, or set {variables} for this command")
        return self.settings


def load_for_operating(
    environment: Mapping[str, str] | None = None, directory: Path | None = None, also: tuple[str, ...] = ()
) -> Operating:
    """The configuration, or, if it has a mistake, what operating commands need of it: `also` these keys.

    Raises `SettingsError` if one of the variables that they need has a mistake.
    """
    environment = os.environ if environment is None else environment
    directory = Path.cwd() if directory is None else directory
    try:
        settings = load_settings(environment, directory)
    except SettingsError as error:
        return _what_can_be_read(str(error), environment, directory, (*_KEYS, *also))
    return Operating(settings=settings, upstreams=tuple(settings.upstreams) or (SANDBOX,))


def _what_can_be_read(
    mistake: str, environment: Mapping[str, str], directory: Path, keys: tuple[str, ...]
) -> Operating:
    text = _text(environment, directory)
    lost = {"database_url", "port", *(key for key in OF_LINKS if key in keys)}
    tables, unread = ({}, lost) if text is None else _readable(text, keys)
    needed = {name: value for name, value in environment.items() if _is_needed(name, keys) and value.strip()}
    given = {key.path[0] for name in needed if (key := key_of(name)) is not None}
    # The default database is on the volume.
    if "volume" in unread and "database_url" not in tables:
        unread.add("database_url")
    readable = "\n".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in tables.items())
    settings = load_settings({**needed, TOML: f"# what can be read of the file\n{readable}"}, directory)
    return Operating(
        settings=settings,
        upstreams=_upstreams(text or "", environment),
        mistake=mistake,
        unread=frozenset(unread - given),
    )


def _text(environment: Mapping[str, str], directory: Path) -> str | None:
    """The text of the configuration; None if the file cannot be read."""
    if (toml := environment.get(TOML, "")).strip():
        return toml
    config = environment.get(CONFIG, "").strip()
    try:
        return read(directory / (config or DEFAULT_FILE), required=bool(config))
    except SettingsError:
        return None  # `mistake` says why


def _readable(text: str, keys: tuple[str, ...]) -> tuple[dict[str, object], set[str]]:
    """The needed keys of a file, and those that are in it but cannot be read."""
    tables, unread = _parsed(text, keys)
    found: dict[str, object] = {}
    for key in keys:
        if key not in tables:
            continue
        value = tables[key]
        try:
            msgspec.convert({key: value}, File)
        except msgspec.ValidationError:
            unread.add(key)
            continue
        variables = re.findall(r"\$\{(\w+)\}", value) if isinstance(value, str) else []
        if any(variable not in os.environ for variable in variables):
            unread.add(key)
        else:
            found[key] = value
    return found, unread


def _parsed(text: str, keys: tuple[str, ...]) -> tuple[Mapping[str, object], set[str]]:
    """The file's keys; if it is not valid TOML, those of the lines before its first table, and the keys that cannot be read."""
    try:
        return tomllib.loads(text.removeprefix("\ufeff")), set()
    except (tomllib.TOMLDecodeError, RecursionError):
        pass  # `mistake` says where
    tables: dict[str, object] = {}
    unread: set[str] = set()
    for line in text.removeprefix("\ufeff").splitlines():
        if line.lstrip().startswith("["):
            break
        key = next((key for key in keys if re.match(rf"""\s*["']?{key}\b""", line)), None)
        if key is None:
            continue
        try:
            tables |= tomllib.loads(line)
        except (tomllib.TOMLDecodeError, RecursionError):
            unread.add(key)
    return tables, unread


def _upstreams(text: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The upstreams that the text and the environment name."""
    try:
        named = list(inner_table(tomllib.loads(text.removeprefix("\ufeff")), "upstreams"))
    except (tomllib.TOMLDecodeError, RecursionError):
        named = _HEADER.findall(text)
    in_variables = [
        key.path[1]
        for name, value in environment.items()
        if value.strip() and (key := key_of(name)) is not None and key.path[0] == "upstreams"
    ]
    known = {name.upper().replace("-", "_") for name in named}
    named += [name.lower() for name in in_variables if name.upper() not in known]
    return tuple(dict.fromkeys(named)) or (SANDBOX,)


def _is_needed(variable: str, keys: tuple[str, ...]) -> bool:
    key = key_of(variable)
    if key is not None:
        return key.path[0] in keys
    # The other variables tell the platform, except those that name an upstream.
    return not variable.upper().startswith(("HOOKCHAIN_", "MJ_"))


def _variable_of(key: str) -> str:
    return f"HOOKCHAIN_{key.upper()}" if key in ("admin_token", *OF_LINKS) else key.upper()
