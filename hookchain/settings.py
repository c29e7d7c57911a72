"""hookchain.toml and the environment → Settings, decoded once; mistakes name the place and the nearest key."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from dispatcher.budget import Budget
from dispatcher.retention import Retention
from dispatcher.spelling import nearest
from hookchain.bounds import BUDGET, RETENTION, SERVER, check_header, check_numbers, check_upstream, check_url
from hookchain.conversion import SettingsError as SettingsError
from hookchain.environment import CONFIG, TOML, LogFormat, LogLevel, check_variables, keys, put_over
from hookchain.file import parse, read, short
from hookchain.platforms import Platform, detect, warning
from midjourney.dialects import DEFAULT_DIALECT, DIALECTS, Dialect, Upstream

DEFAULT_FILE = "hookchain.toml"
BODY_LIMIT_BYTES = 1024 * 1024
"""Largest callback. Those seen have 0.4 to 10 kB; a relay that fills `maskBase64` adds a PNG to that."""

DATABASE_FILE = "hookchain.db"
SANDBOX = "sandbox"
"""Name of the built-in upstream that stands in when none is configured."""


KEEP_ALIVE_S = 180.0
"""Longer than the routers that most people have in front: nginx 60 s, Heroku, Traefik and Go 90 s, Caddy 120 s."""


class File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What hookchain.toml may hold, beside `[[rules]]`."""

    database_url: str = ""
    host: str = ""
    port: int = 8000
    public_url: str = ""
    secret: str = ""
    admin_token: str = ""
    plugins: list[str] = []
    log_level: LogLevel = "info"
    log_format: LogFormat = "console"
    keep_alive_s: float = KEEP_ALIVE_S
    body_limit_bytes: int = BODY_LIMIT_BYTES
    poll_only: bool = False
    worker: bool = True
    volume: str = ""
    budget: Budget = Budget()
    retention: Retention = Retention()
    upstreams: dict[str, Upstream] = {}
    dialects: dict[str, dict[str, Any]] = {}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, checked. `secret` "" means: the one kept in the database. Without upstreams there is the sandbox.

    `dialects` are the shipped ones and those of the file. `worker`: whether `serve` brings one. `volume`: a directory
    that outlives a restart, where the platform's disk does not. `listens`: whether this process is the one that receives.
    `text`: the file's, with the rules in it. `keep_alive_s`: how long an idle connection stays open; a router that keeps
    it longer may send a callback on it in the moment it is closed, and that callback is lost.
    """

    database_url: str
    host: str
    port: int
    public_url: str
    secret: str
    admin_token: str
    plugins: tuple[str, ...]
    log_level: str
    log_format: str
    body_limit_bytes: int
    budget: Budget
    upstreams: dict[str, Upstream]
    directory: Path
    file: Path = Path(DEFAULT_FILE)
    text: str = ""
    retention: Retention = Retention()
    poll_only: bool = False
    worker: bool = True
    volume: str = ""
    keep_alive_s: float = KEEP_ALIVE_S
    platform: Platform | None = None
    listens: bool = True
    dialects: Mapping[str, Dialect] = msgspec.field(default_factory=lambda: DIALECTS)

    @property
    def listening_url(self) -> str:
        """The server's own address, for us and, unless `public_url` says otherwise, for upstreams."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def hook_base(self) -> str:
        """How an upstream reaches this server."""
        return (self.known_url or self.listening_url).rstrip("/")

    @property
    def known_url(self) -> str:
        """The address that was configured, or that the platform gives; "" where only the listening one is known."""
        return self.public_url or (self.platform.public_url if self.platform is not None else "")

    @property
    def is_file(self) -> bool:
        """Whether the database is a SQLite file."""
        return self.database_url.startswith("sqlite")

    @property
    def disk_warning(self) -> str:
        """Why what is kept here will be lost; "" where it will not."""
        if not self.is_file:
            return ""
        return warning(self.platform, Path(self.database_url.partition(":///")[2]), self.volume)


def load_settings(environment: Mapping[str, str] | None = None, directory: Path | None = None) -> Settings:
    """Read the file (if there is one) and the environment over it; its rules are not looked at (hookchain/rules.py).
    Raises `SettingsError`."""
    environment = os.environ if environment is None else environment
    directory = Path.cwd() if directory is None else directory
    check_variables(environment)
    platform = detect(environment)
    toml, config = environment.get(TOML, ""), environment.get(CONFIG, "").strip()
    path = directory / (TOML if toml.strip() else config or DEFAULT_FILE)
    text = toml if toml.strip() else read(path, required=bool(config))
    tables = parse(text, path)
    tables.pop("rules", None)
    _check_keys(tables, path)
    set_by = put_over(tables, environment)
    if platform is not None and platform.keep_alive_s:
        tables.setdefault("keep_alive_s", platform.keep_alive_s)
    file = _convert(tables, path)
    places = partial(_place, short(path), set_by)
    _check_values(file, places)
    dialects = DIALECTS | {name: _own(name, table, path) for name, table in file.dialects.items()}
    return Settings(
        database_url=file.database_url
        or _default_database(file.volume or (platform.volume if platform else "")),
        host=file.host or ("0.0.0.0" if environment.get("PORT") else "127.0.0.1"),
        port=file.port,
        public_url=file.public_url,
        secret=file.secret,
        admin_token=file.admin_token,
        plugins=tuple(file.plugins),
        log_level=file.log_level,
        log_format=file.log_format,
        body_limit_bytes=file.body_limit_bytes,
        budget=file.budget,
        retention=file.retention,
        upstreams={
            name: check_upstream(name, upstream, partial(places, "upstreams", name), dialects)
            for name, upstream in file.upstreams.items()
        },
        directory=directory,
        file=path,
        text=text,
        dialects=dialects,
        poll_only=file.poll_only,
        worker=file.worker,
        volume=file.volume,
        keep_alive_s=file.keep_alive_s,
        platform=platform,
    )


def _default_database(volume: str) -> str:
    """A file on the volume, where there is one; else in the working directory."""
    return f"sqlite:///{Path(volume) / DATABASE_FILE}" if volume else f"sqlite:///{DATABASE_FILE}"


def _check_keys(tables: dict[str, Any], path: Path) -> None:
    where = short(path)
    _check_table(tables, File, where)
    kinds: dict[str, type[msgspec.Struct]] = {"budget": Budget, "retention": Retention}
    for name, kind in kinds.items():
        _check_table(tables.get(name, {}), kind, f"{where}, [{name}]")
    for name, upstream in _as_table(tables.get("upstreams", {}), f"{where}, upstreams").items():
        _check_table(upstream, Upstream, f"{where}, [upstreams.{name}]")
    for name, dialect in _as_table(tables.get("dialects", {}), f"{where}, dialects").items():
        _check_table(dialect, Dialect, f"{where}, [dialects.{name}]")


def _as_table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SettingsError(f"{where}: a table is expected")
    return value


def _check_table(table: Any, kind: type[msgspec.Struct], where: str) -> None:
    known = {*keys(kind)} | ({"rules"} if kind is File else set())
    for key in _as_table(table, where):
        if key not in known:
            raise SettingsError(f"{where}: unknown key {key!r}.{nearest(key, known)}")


def _place(file: str, set_by: Mapping[tuple[str, ...], str], *path: str) -> str:
    """Where a key was set: its variable, or its file and table."""
    *table, key = path
    return set_by.get(path) or (f"{file}, [{'.'.join(table)}]: {key}" if table else f"{file}: {key}")


def _check_values(file: File, place: Callable[..., str]) -> None:
    check_numbers(place, file, SERVER)
    check_numbers(partial(place, "budget"), file.budget, BUDGET)
    check_numbers(partial(place, "retention"), file.retention, RETENTION)
    if file.public_url:
        check_url(place("public_url"), file.public_url)
    check_header(place("admin_token"), file.admin_token)


def _convert(tables: dict[str, Any], path: Path) -> File:
    try:
        return msgspec.convert(tables, File)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{short(path)}: {error}") from error


def _own(name: str, table: dict[str, Any], path: Path) -> Dialect:
    """A dialect of the file: one that is shipped, named by `like`, with some facts changed."""
    where = f"{short(path)}, [dialects.{name}]"
    changes = dict(table)
    like = changes.pop("like", name if name in DIALECTS else DEFAULT_DIALECT)
    if not isinstance(like, str) or like not in DIALECTS:
        raise SettingsError(f"{where}: {like!r} is not a shipped dialect.{nearest(str(like), DIALECTS)}")
    if isinstance(changes.get("paths"), dict):
        changes["paths"] = dict(DIALECTS[like].paths) | changes["paths"]
    try:
        return msgspec.convert(msgspec.structs.asdict(DIALECTS[like]) | changes | {"name": name}, Dialect)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{where}: {error}") from error
