"""Load hookchain.toml and the environment into `Settings`. Errors name the place and the nearest valid key."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from dispatcher.policy.chain_budget import Budget
from dispatcher.policy.period_budgets import Budgets, PeriodBudget, price_warnings
from dispatcher.policy.retention import Retention
from dispatcher.rules.mistyped import mistyped
from dispatcher.tickets.clients import Client, Pool
from hookchain.settings import bounds
from hookchain.settings.budgets import check_budgets, check_tables, zone_of
from hookchain.settings.clients import check_gateway, checked_clients, checked_pools, day_budgets
from hookchain.settings.conversion import Found
from hookchain.settings.conversion import SettingsError as SettingsError
from hookchain.settings.dialects import dialect_of
from hookchain.settings.environment import (
    CONFIG,
    TOML,
    apply_environment,
    check_variables,
)
from hookchain.settings.file import display_path, parse, read
from hookchain.settings.gateway import GatewaySettings
from hookchain.settings.platforms import Platform, detect, warning
from hookchain.settings.tables import BODY_LIMIT_BYTES as BODY_LIMIT_BYTES
from hookchain.settings.tables import (
    KEEP_ALIVE_S,
    OF_RULES,
    check_keys,
    check_numbers,
    check_urls,
    split_plugins,
)
from hookchain.settings.tables import File as File
from hooks.quotas import Quota
from midjourney.dialects import DIALECTS, Dialect, Upstream

DEFAULT_FILE = "hookchain.toml"
DATABASE_FILE = "hookchain.db"
SANDBOX = "sandbox"
"""Name of the built-in upstream that is used when none is configured."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, validated. Without upstreams, the server uses the built-in sandbox.

    `secret`: "" means the one stored in the database. `dialects`: the shipped ones and those of the file. `worker`: whether
    `serve` starts a worker. `volume`: a persistent directory on a platform whose disk is not. `listens`: whether this process
    receives callbacks. `plugin_tables`: the settings of plugins, by plugin, not checked yet. `text`: the file's text, which contains rules; `include`: the other files
    that do. `timezone`: the time zone of the hours, days and
    months of `budgets`. `keep_alive_s`: how long an idle connection stays open; a router that keeps it open longer may send
    a callback at the moment we close it, and that callback is lost.
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
    include: tuple[str, ...] = ()
    retention: Retention = Retention()
    quotas: Quota = Quota()
    poll_only: bool = False
    worker: bool = True
    volume: str = ""
    keep_alive_s: float = KEEP_ALIVE_S
    platform: Platform | None = None
    listens: bool = True
    dialects: Mapping[str, Dialect] = msgspec.field(default_factory=lambda: DIALECTS)
    budgets: tuple[PeriodBudget, ...] = ()
    timezone: str = "UTC"
    image_folders: tuple[Path, ...] = ()
    gateway: GatewaySettings = GatewaySettings()
    clients: Mapping[str, Client] = msgspec.field(default_factory=dict)
    pools: Mapping[str, Pool] = msgspec.field(default_factory=dict)
    plugin_tables: Mapping[str, Mapping[str, object]] = msgspec.field(default_factory=dict)

    @property
    def plan(self) -> Budgets | None:
        """The budgets against which submissions are counted, those of clients' days too; None if there are none."""
        budgets = self.all_budgets
        return Budgets(budgets, ZoneInfo(self.timezone), self.prices) if budgets else None

    @property
    def all_budgets(self) -> list[PeriodBudget]:
        """`[[budgets]]`, and those that the day keys of clients stand for."""
        return [*self.budgets, *day_budgets(self.clients.values())]

    @property
    def gateway_is_on(self) -> bool:
        """True if the settings switch the gateway on. If they do not switch it off (`gateway.enabled` is None), a stored key
        switches it on as well."""
        if self.gateway.enabled is not None:
            return self.gateway.enabled
        return bool(self.clients or self.pools)

    @property
    def prices(self) -> dict[str, Mapping[str, float]]:
        """The price of a submission, by upstream and kind."""
        return {name: upstream.prices for name, upstream in self.upstreams.items()}

    @property
    def price_warnings(self) -> list[str]:
        """Warnings about missing prices of upstreams whose spending a budget limits."""
        return price_warnings(self.all_budgets, self.prices)

    @property
    def listening_url(self) -> str:
        """The server's address for commands on this machine, and for upstreams unless `public_url` is set."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def hook_base(self) -> str:
        """The base URL at which upstreams reach this server."""
        return (self.known_url or self.listening_url).rstrip("/")

    @property
    def known_url(self) -> str:
        """The public address that is configured or given by the platform; "" if only the listening address is known."""
        return self.public_url or (self.platform.public_url if self.platform is not None else "")

    @property
    def is_file(self) -> bool:
        """True if the database is a SQLite file."""
        return self.database_url.startswith("sqlite")

    @property
    def disk_warning(self) -> str:
        """Why the next restart will delete the database; "" if it will not."""
        if not self.is_file:
            return ""
        return warning(self.platform, Path(self.database_url.partition(":///")[2]), self.volume)


def load_settings(
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> Settings:
    """Read the file, if it exists, and apply the environment. Ignores the file's rules (see hookchain/rules.py).

    `variables` are those that ${VAR} in the file may name, if they are not the process's. Raises `SettingsError`.
    """
    environment = os.environ if environment is None else environment
    directory = Path.cwd() if directory is None else directory
    check_variables(environment)
    platform = detect(environment)
    toml, config = environment.get(TOML, ""), environment.get(CONFIG, "").strip()
    path = directory / (TOML if toml.strip() else config or DEFAULT_FILE)
    text = toml if toml.strip() else read(path, required=bool(config))
    tables = parse(text, path, variables)
    for key in OF_RULES:
        tables.pop(key, None)
    plugin_tables = split_plugins(tables, display_path(path))
    found = Found()
    with found.noting():
        check_keys(tables, path)
    set_by = apply_environment(tables, environment)
    budgets_at = set_by.get(("budgets",)) or f"{display_path(path)}, [[budgets]]"
    with found.noting():
        check_tables(budgets_at, tables.get("budgets", []))
    if platform is not None and platform.keep_alive_s:
        tables.setdefault("keep_alive_s", platform.keep_alive_s)
    places = partial(_place, display_path(path), set_by)
    with found.noting():
        check_numbers(tables, places)
    found.report()
    check_urls(tables, display_path(path))
    file = _convert(tables, path)
    _check_values(file, places)
    upstreams = file.upstreams or (SANDBOX,)
    pools = checked_pools(file.pools, upstreams, places)
    clients = checked_clients(file.clients, pools, upstreams, places)
    check_gateway(file.gateway, partial(places, "gateway"))
    check_budgets(budgets_at, file.budgets, day_budgets(clients.values()))
    zone_of(places("timezone"), file.timezone)
    dialects = DIALECTS | {
        name: dialect_of(name, table, f"{display_path(path)}, [dialects.{name}]")
        for name, table in file.dialects.items()
    }
    return Settings(
        database_url=file.database_url
        or _default_database(file.volume or (platform.volume if platform else "")),
        host=file.host or ("0.0.0.0" if environment.get("PORT") else "127.0.0.1"),
        port=file.port,
        public_url=file.public_url,
        secret=file.secret,
        admin_token=file.admin_token,
        plugins=tuple(file.plugins),
        include=tuple(file.include),
        plugin_tables=plugin_tables,
        log_level=file.log_level,
        log_format=file.log_format,
        body_limit_bytes=file.body_limit_bytes,
        budget=file.budget,
        retention=file.retention,
        quotas=file.quotas,
        upstreams={
            name: bounds.check_upstream(name, upstream, partial(places, "upstreams", name), dialects)
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
        budgets=tuple(file.budgets),
        timezone=file.timezone,
        image_folders=tuple(path.parent / folder for folder in file.image_folders),
        gateway=file.gateway,
        clients=clients,
        pools=pools,
    )


def _default_database(volume: str) -> str:
    """A file on the volume if there is one, or else in the working directory."""
    return f"sqlite:///{Path(volume) / DATABASE_FILE}" if volume else f"sqlite:///{DATABASE_FILE}"


def _place(file: str, set_by: Mapping[tuple[str, ...], str], *path: str) -> str:
    """Where a key was set: its variable, or its file and table."""
    *table, key = path
    return set_by.get(path) or (f"{file}, [{'.'.join(table)}]: {key}" if table else f"{file}: {key}")


def _check_values(file: File, place: Callable[..., str]) -> None:
    if file.public_url:
        bounds.check_url(place("public_url"), file.public_url)
    bounds.check_header(place("admin_token"), file.admin_token)


def _convert(tables: dict[str, object], path: Path) -> File:
    try:
        return msgspec.convert(tables, File)
    except msgspec.ValidationError as error:
        wrong = mistyped(error)
        table, _, key = wrong.path.rpartition(".")
        where = f"{display_path(path)}, [{table}]" if table else display_path(path)
        raise SettingsError(f"{where}: {key}: {wrong.problem}") from error
