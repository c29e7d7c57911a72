"""Configuration: file, environment over it, and mistakes that say what was probably meant."""

from __future__ import annotations

import re
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
import pytest

from dispatcher.policy.chain_budget import Budget
from dispatcher.policy.period_budgets import PeriodBudget
from dispatcher.policy.retention import Retention
from dispatcher.tickets.clients import Client, Pool
from hookchain.rules import rules_of
from hookchain.settings.environment import key_of, variable_of
from hookchain.settings.gateway import GatewaySettings
from hookchain.settings.load import File, SettingsError, load_settings
from hooks.quotas import Quota
from midjourney.dialects import Dialect, Upstream
from midjourney.number_ranges import ranges_of


def write(directory: Path, text: str) -> None:
    (directory / "hookchain.toml").write_text(text)


def test_nothing_need_be_set(tmp_path: Path) -> None:
    """An empty directory: SQLite, this machine only, no upstream."""
    settings = load_settings({}, tmp_path)
    assert (settings.database_url, settings.host, settings.port) == (
        "sqlite:///hookchain.db",
        "127.0.0.1",
        8000,
    )
    assert settings.upstreams == {}


def test_one_upstream_can_be_set_by_environment_alone(tmp_path: Path) -> None:
    """With PORT, as a PaaS sets it, the server listens to the outside."""
    settings = load_settings(
        {
            "PORT": "9000",
            "HOOKCHAIN_UPSTREAM_URL": "https://api.example.com",
            "HOOKCHAIN_UPSTREAM_KEY": "sk-1",
            "HOOKCHAIN_UPSTREAM_DIALECT": "trueai",
            "HOOKCHAIN_PUBLIC_URL": "https://hooks.example.org/",
        },
        tmp_path,
    )
    upstream = settings.upstreams["main"]
    assert (upstream.url, upstream.key, upstream.dialect) == ("https://api.example.com", "sk-1", "trueai")
    assert (settings.host, settings.port, settings.hook_base) == (
        "0.0.0.0",
        9000,
        "https://hooks.example.org",
    )


def test_a_sweep_needs_a_list(tmp_path: Path) -> None:
    """Without one it would do nothing, and nobody would know."""
    given = {"HOOKCHAIN_UPSTREAM_URL": "http://a", "HOOKCHAIN_UPSTREAM_SWEEP_EVERY_S": "60"}
    assert load_settings(given, tmp_path).upstreams["main"].sweep_every_s == 60
    with pytest.raises(
        SettingsError, match="SWEEP_EVERY_S needs a list of all tasks, and dialect new-api has none"
    ):
        load_settings(given | {"HOOKCHAIN_UPSTREAM_DIALECT": "new-api"}, tmp_path)


def test_the_familys_variables_are_aliases(tmp_path: Path) -> None:
    """MJ_SERVER and MJ_API_SECRET, behind our own."""
    found = load_settings({"MJ_SERVER": "http://a", "MJ_API_SECRET": "k"}, tmp_path).upstreams["main"]
    assert (found.url, found.key) == ("http://a", "k")
    ours = {"MJ_SERVER": "http://a", "HOOKCHAIN_UPSTREAM_URL": "http://b"}
    assert load_settings(ours, tmp_path).upstreams["main"].url == "http://b"


def test_the_environment_goes_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And ${VAR} is expanded inside it."""
    monkeypatch.setenv("A_KEY", "secret")
    write(
        tmp_path,
        'port = 1234\nhost = "h"\n[upstreams.main]\nurl = "http://x"\nkey = "${A_KEY}"\nconcurrency = 12\n',
    )
    settings = load_settings({"PORT": "99", "HOOKCHAIN_UPSTREAM_URL": "http://y"}, tmp_path)
    assert (settings.host, settings.port) == ("h", 99)
    upstream = settings.upstreams["main"]
    assert (upstream.url, upstream.key, upstream.concurrency) == ("http://y", "secret", 12)


@pytest.mark.parametrize(
    ("toml", "environment", "says"),
    [
        ("prot = 1", {}, "unknown key 'prot'. Did you mean \"port\"?"),
        (
            "[upstreams.main]\nurl = 'http://x'\nconcurency = 2",
            {},
            "[upstreams.main]: unknown key 'concurency'. Did you mean \"concurrency\"?",
        ),
        ("[budget]\ndeep = 2", {}, "[budget]: unknown key 'deep'. Did you mean \"depth\"?"),
        ("port = 'x'", {}, "port"),
        ("port = ", {}, "not valid TOML"),
        ("admin_token = '${NOT_SET_ANYWHERE}'", {}, "NOT_SET_ANYWHERE"),
        ("[upstreams.main]\nkey = 'k'", {}, "[upstreams.main]: `url` is missing; write url ="),
        ("[upstreams.main]\nurl = 'ftp://x'", {}, "http:// or https://"),
        ("[upstreams.main]\nurl = 'http://x'\ndialect = 'mj-pluss'", {}, 'Did you mean "mj-plus"?'),
        ("[upstreams.main]\nurl = 'http://x'\nconcurrency = 0", {}, "concurrency"),
        ("[upstreams.'a b']\nurl = 'http://x'", {}, "letters, digits"),
        ("", {"PORT": "eighty"}, "PORT"),
        ("", {"HOOKCHAIN_UPSTREAM_KEY": "k"}, "HOOKCHAIN_UPSTREAM_URL"),
        ("", {"HOOKCHAIN_UPSTREM_URL": "http://x"}, 'Did you mean "HOOKCHAIN_UPSTREAM_URL"?'),
        ("", {"HOOKCHAIN_CONFIG": "missing.toml"}, "missing.toml"),
        ("rules = 3", {}, "array of tables"),
        ("budget = 3", {"HOOKCHAIN_BUDGET_DEPTH": "1"}, "[budget] must be a table"),
        ("upstreams = 3", {"HOOKCHAIN_UPSTREAM_URL": "http://x"}, "upstreams must be a table"),
        (
            "[upstreams]\nmain = 3",
            {"HOOKCHAIN_UPSTREAM_URL": "http://x"},
            "[upstreams.main] must be a table",
        ),
        ("", {"HOOKCHAIN_PORT": "3"}, 'Did you mean "PORT"?'),
        (
            "",
            {"HOOKCHAIN_PUBLIC_URL": "hooks.example.org"},
            "HOOKCHAIN_PUBLIC_URL is 'hooks.example.org'; it must begin",
        ),
        (
            "",
            {"HOOKCHAIN_PUBLIC_URL": "https://h.org:x/"},
            "HOOKCHAIN_PUBLIC_URL is 'https://h.org:x/', an invalid URL",
        ),
        (
            "",
            {"HOOKCHAIN_ADMIN_TOKEN": "clé"},
            "HOOKCHAIN_ADMIN_TOKEN contains characters that an HTTP header cannot carry",
        ),
        (
            "",
            {"HOOKCHAIN_UPSTREAM_URL": "http://[::1"},
            "HOOKCHAIN_UPSTREAM_URL is 'http://[::1', an invalid URL",
        ),
        ("", {"HOOKCHAIN_UPSTREAM_URL": "http://x/mj?key=1"}, "remove the part from ? or # on"),
        ("[upstreams.a]\nurl = 'http://x'\nprices = { upscal = 1 }", {}, 'Did you mean "upscale"?'),
        ("[upstreams.a]\nurl = 'http://x'\nprices = { upscale = nan }", {}, "the price of upscale is nan"),
        (
            "[upstreams.a]\nurl = 'http://x'\nprivate_hosts = ['http://minio/']",
            {},
            "[upstreams.a]: private_hosts: 'http://minio/' is not a host such as 192.168.1.5 or minio:9000",
        ),
        ("[upstreams.a]\nurl = 'http://x'\nprivate_host = ['minio']", {}, 'Did you mean "private_hosts"?'),
        (
            "[upstreams.main]\nurl = 'http://x'",
            {"HOOKCHAIN_UPSTREAM_PRIVATE_HOSTS": "minio, *.local"},
            "HOOKCHAIN_UPSTREAM_PRIVATE_HOSTS: '*.local' is not a host",
        ),
        ("[budget]\nper_hour = -1", {}, "[budget]: per_hour is -1; it must be between 0 and 1000000000"),
        (
            "body_limit_bytes = 0",
            {},
            "hookchain.toml: body_limit_bytes is 0; it must be between 1000 and 1073741824",
        ),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, toml: str, environment: dict[str, str], says: str) -> None:
    """What is wrong, where, and the nearest valid name."""
    write(tmp_path, toml)
    with pytest.raises(SettingsError) as raised:
        rules_of(load_settings(environment, tmp_path))
    assert says in str(raised.value)


def test_a_dialect_of_ones_own_is_a_shipped_one_with_some_facts_changed(tmp_path: Path) -> None:
    """Paths are added to those of the one it is like."""
    write(
        tmp_path,
        """
[dialects.mine]
like = "new-api"
prefix = "/api/mj"
auth = ["raw"]
presses_in_turn = false
paths = { edit = "submit/edit" }
[upstreams.main]
url = "http://x"
dialect = "mine"
""",
    )
    settings = load_settings({}, tmp_path)
    mine = settings.dialects[settings.upstreams["main"].dialect]
    assert (mine.prefix, mine.auth, mine.presses_in_turn, mine.calls_back) == (
        "/api/mj",
        ("raw",),
        False,
        False,
    )
    assert mine.path("edit") == "/api/mj/submit/edit"
    assert mine.path("fetch", "7") == "/api/mj/task/7/fetch"


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ('like = "new-apy"', 'Did you mean "new-api"'),
        ('prefx = "/x"', 'Did you mean "prefix"'),
        ('auth = ["basic"]', "basic"),
        ("like = 3", "3 is not a shipped dialect"),
    ],
)
def test_a_mistake_in_a_dialect_is_told(tmp_path: Path, table: str, says: str) -> None:
    """With its place and the nearest known name."""
    write(tmp_path, f"[dialects.mine]\n{table}\n")
    with pytest.raises(SettingsError, match=r"\[dialects.mine\]") as raised:
        load_settings({}, tmp_path)
    assert says in str(raised.value)


def fields_of(kind: type[msgspec.Struct]) -> set[str]:
    return {field.name for field in msgspec.structs.fields(kind) if field.name != "name"}


def test_every_key_has_a_variable() -> None:
    """Each key of the file, of each of its tables, and of a second upstream: the variable sets this key, and no other."""
    tables: dict[str, type[msgspec.Struct]] = {
        "budget": Budget,
        "retention": Retention,
        "quotas": Quota,
        "gateway": GatewaySettings,
    }
    paths: list[tuple[str, ...]] = [
        (key,) for key in fields_of(File) - {*tables, "upstreams", "dialects", "clients", "pools"}
    ]
    paths += [(table, key) for table, kind in tables.items() for key in fields_of(kind)]
    paths += [("upstreams", name, key) for name in ("main", "relay") for key in fields_of(Upstream)]
    paths += [("dialects", "mine", key) for key in fields_of(Dialect) | {"like"}]
    paths += [("clients", "shop", key) for key in fields_of(Client)]
    paths += [("pools", "both", key) for key in fields_of(Pool)]
    variables = {variable_of(path) for path in paths}
    assert len(variables) == len(paths)
    for path in paths:
        found = key_of(variable_of(path))
        assert found is not None
        assert tuple(name.lower() for name in found.path) == path


def test_the_name_of_an_upstream_ends_where_its_key_begins() -> None:
    """No key ends as another does, whatever is added: HOOKCHAIN_UPSTREAMS_A_TIMEOUT_S has one meaning."""
    for kind in (Upstream, Dialect, Client, Pool):
        keys = fields_of(kind)
        assert [(one, other) for one in keys for other in keys if one.endswith(f"_{other}")] == []


def test_every_number_has_bounds() -> None:
    """Whatever is added, too."""
    for kind in (File, Budget, Retention, Quota, Upstream, PeriodBudget, GatewaySettings, Client):
        fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
        numbers = {name for name, type_ in fields.items() if {int, float} & kinds_in(type_)}
        assert numbers, kind
        assert numbers == {*ranges_of(kind)} - {"prices"}, kind


def kinds_in(type_: Any) -> set[Any]:
    """The types of an annotation itself: `int` of `Annotated[int, …] | None`."""
    if get_origin(type_) is Annotated:
        return kinds_in(get_args(type_)[0])
    if isinstance(type_, UnionType) or get_origin(type_) is Union:
        return {kind for one in get_args(type_) for kind in kinds_in(one)}
    return {type_}


def test_any_number_of_upstreams_can_be_set_by_environment_alone(tmp_path: Path) -> None:
    """With prices, and a dialect of one's own; an empty variable counts as not set."""
    settings = load_settings(
        {
            "HOOKCHAIN_UPSTREAM_URL": "http://a",
            "HOOKCHAIN_UPSTREAM_PRICES": "imagine=0.05, upscale=0.01",
            "HOOKCHAIN_UPSTREAM_KEY": " ",
            "HOOKCHAIN_UPSTREAMS_RELAY_2_URL": "http://b",
            "HOOKCHAIN_UPSTREAMS_RELAY_2_DIALECT": "mine",
            "HOOKCHAIN_UPSTREAMS_RELAY_2_TIMEOUT_S": "9",
            "HOOKCHAIN_UPSTREAMS_UNUSED_KEY": "",
            "HOOKCHAIN_DIALECTS_MINE_LIKE": "new-api",
            "HOOKCHAIN_DIALECTS_MINE_AUTH": "raw, bearer",
            "HOOKCHAIN_DIALECTS_MINE_PATHS": "edit=submit/edit, video=submit/film",
            "HOOKCHAIN_DIALECTS_MINE_CALLS_BACK": "on",
            "HOOKCHAIN_DIALECTS_MINE_LONGEST_STATE": "99",
            "HOOKCHAIN_DIALECTS_MINE_TAKES_HOOK": "imagine",
        },
        tmp_path,
    )
    main, relay = settings.upstreams["main"], settings.upstreams["relay_2"]
    assert [*settings.upstreams] == ["main", "relay_2"]
    assert (main.key, main.prices) == ("", {"imagine": 0.05, "upscale": 0.01})
    assert (relay.url, relay.timeout_s, relay.name) == ("http://b", 9, "relay_2")
    mine = settings.dialects[relay.dialect]
    assert (mine.auth, mine.calls_back, mine.longest_state) == (("raw", "bearer"), True, 99)
    assert (mine.path("edit"), mine.path("video")) == ("/mj/submit/edit", "/mj/submit/film")
    assert (mine.takes_hook, mine.unknown_task) == (frozenset({"imagine"}), "code 4")


def test_a_variable_names_an_upstream_of_the_file_in_capitals(tmp_path: Path) -> None:
    """With "_" for "-"; a whole table of prices goes over that of the file."""
    write(tmp_path, '[upstreams.My-Relay]\nurl = "http://x"\njobs = 3\nprices = { video = 1.0 }\n')
    variables = {"HOOKCHAIN_UPSTREAMS_MY_RELAY_KEY": "k", "HOOKCHAIN_UPSTREAMS_MY_RELAY_PRICES": "imagine=2"}
    (relay,) = load_settings(variables, tmp_path).upstreams.values()
    assert (relay.name, relay.url, relay.key, relay.jobs) == ("My-Relay", "http://x", "k", 3)
    assert relay.prices == {"imagine": 2}


def test_a_variable_that_may_mean_two_upstreams_is_refused(tmp_path: Path) -> None:
    """Nothing is guessed."""
    write(tmp_path, '[upstreams.my-relay]\nurl = "http://x"\n[upstreams.MY_relay]\nurl = "http://y"\n')
    with pytest.raises(SettingsError, match=r"may mean \[upstreams.my-relay\] or \[upstreams.MY_relay\]"):
        load_settings({"HOOKCHAIN_UPSTREAMS_MY_RELAY_KEY": "k"}, tmp_path)


def test_a_shipped_dialect_can_be_changed_in_place(tmp_path: Path) -> None:
    """It stays what it is but for what is set."""
    dialects = load_settings({"HOOKCHAIN_DIALECTS_NEW_API_PREFIX": "/x"}, tmp_path).dialects
    shipped = dialects["new-api"]
    assert (shipped.prefix, shipped.auth, "new_api" in dialects) == ("/x", ("bearer",), False)


def test_the_familys_variables_fill_gaps_only(tmp_path: Path) -> None:
    """What the file says of `main` stays, whatever another program has set."""
    write(tmp_path, '[upstreams.main]\nurl = "http://x"\nkey = "ours"\n')
    main = load_settings({"MJ_SERVER": "http://y", "MJ_API_SECRET": "theirs"}, tmp_path).upstreams["main"]
    assert (main.url, main.key) == ("http://x", "ours")


def test_port_0_picks_a_free_one(tmp_path: Path) -> None:
    """It is not silently another."""
    assert load_settings({"PORT": "0"}, tmp_path).port == 0


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, 180),
        ({"DYNO": "web.1"}, 180),
        ({"K_SERVICE": "x"}, 650),
        ({"K_SERVICE": "x", "HOOKCHAIN_KEEP_ALIVE_S": "700"}, 700),
    ],
)
def test_connections_stay_open_for_longer_than_the_platforms_router_keeps_them(
    tmp_path: Path, variables: dict[str, str], seconds: float
) -> None:
    """Unless it is configured: Google's keeps them for 600 s."""
    assert load_settings(variables, tmp_path).keep_alive_s == seconds


def test_every_key_of_one_upstream_can_be_set_by_a_variable(tmp_path: Path) -> None:
    """Budget and retention too, with their types; over what the file says."""
    (tmp_path / "hookchain.toml").write_text('[upstreams.main]\nurl = "http://x"\njobs = 3\n')
    settings = load_settings(
        {
            "HOOKCHAIN_UPSTREAM_CONCURRENCY": "7",
            "HOOKCHAIN_UPSTREAM_RATE": "1.5",
            "HOOKCHAIN_UPSTREAM_VERIFY": "trust",
            "HOOKCHAIN_UPSTREAM_PRIVATE_HOSTS": "minio:9000, 192.168.1.5",
            "HOOKCHAIN_BUDGET_PER_HOUR": "5",
            "HOOKCHAIN_RETENTION_CHAIN_DAYS": "0.5",
            "HOOKCHAIN_WORKER": "off",
            "HOOKCHAIN_POLL_ONLY": "yes",
            "HOOKCHAIN_BODY_LIMIT_BYTES": "1000",
        },
        tmp_path,
    )
    main = settings.upstreams["main"]
    assert (main.concurrency, main.rate, main.verify, main.jobs) == (7, 1.5, "trust", 3)
    assert main.private_hosts == ["minio:9000", "192.168.1.5"]
    assert (settings.budget.per_hour, settings.retention.chain_days) == (5, 0.5)
    assert (settings.worker, settings.poll_only, settings.body_limit_bytes) == (False, True, 1000)


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        (
            "HOOKCHAIN_UPSTREAM_CONCURRENCY",
            "many",
            "HOOKCHAIN_UPSTREAM_CONCURRENCY is 'many'; it must be a whole number",
        ),
        ("HOOKCHAIN_WORKER", "perhaps", "HOOKCHAIN_WORKER is 'perhaps'; it must be on or off"),
        (
            "HOOKCHAIN_UPSTREAM_VERIFY",
            "maybe",
            "HOOKCHAIN_UPSTREAM_VERIFY is 'maybe'. There are: fetch, trust.",
        ),
        ("HOOKCHAIN_UPSTREAM_CONCURENCY", "1", "HOOKCHAIN_UPSTREAM_CONCURRENCY"),
        (
            "HOOKCHAIN_UPSTREAM_CONCURRENCY",
            "0",
            "HOOKCHAIN_UPSTREAM_CONCURRENCY is 0; it must be between 1 and",
        ),
        ("HOOKCHAIN_BUDGET_DEPTH", "-1", "HOOKCHAIN_BUDGET_DEPTH is -1; it must be between 0 and 1000000000"),
        ("HOOKCHAIN_KEEP_ALIVE_S", "0.5", "HOOKCHAIN_KEEP_ALIVE_S is 0.5; it must be between 1 and 86400"),
        ("HOOKCHAIN_KEEP_ALIVE_S", "nan", "HOOKCHAIN_KEEP_ALIVE_S is nan"),
        ("LOG_LEVEL", "warn", "LOG_LEVEL is 'warn'. Did you mean \"warning\"?"),
        ("HOOKCHAIN_UPSTREAM_PRICES", "imagine", "HOOKCHAIN_UPSTREAM_PRICES has 'imagine'; write KEY=VALUE"),
        ("HOOKCHAIN_UPSTREAM_PRICES", "imagine=1,imagine=2", "sets 'imagine' twice"),
        (
            "HOOKCHAIN_UPSTREAM_PRICES",
            "imagine=x",
            "HOOKCHAIN_UPSTREAM_PRICES, imagine, is 'x'; it must be a number",
        ),
        (
            "HOOKCHAIN_UPSTREAM_PRICES",
            "upscal=1",
            "HOOKCHAIN_UPSTREAM_PRICES has an unknown kind 'upscal'. Did",
        ),
        (
            "HOOKCHAIN_UPSTREAM_PRICES",
            "upscale=-1",
            "HOOKCHAIN_UPSTREAM_PRICES: the price of upscale is -1.0",
        ),
        ("HOOKCHAIN_UPSTREAMS_RELAY_CONCURENCY", "1", '"HOOKCHAIN_UPSTREAMS_RELAY_CONCURRENCY"?'),
        ("HOOKCHAIN_UPSTREAM_RELAY_URL", "http://y", '"HOOKCHAIN_UPSTREAMS_RELAY_URL"?'),
        ("HOOKCHAIN_UPSTREAMS_my-relay_URL", "http://y", '"HOOKCHAIN_UPSTREAMS_MY_RELAY_URL"?'),
        ("HOOKCHAIN_UPSTREAMS_URL", "http://y", '"HOOKCHAIN_UPSTREAM_URL"?'),
        ("HOOKCHAIN_UPSTREAMS__URL", "http://y", "HOOKCHAIN_UPSTREAMS__URL"),
        (
            "HOOKCHAIN_UPSTREAMS_RELAY_NAME",
            "x",
            "unknown environment variable HOOKCHAIN_UPSTREAMS_RELAY_NAME",
        ),
        ("hookchain_upstream_key", "x", '"HOOKCHAIN_UPSTREAM_KEY"?'),
        (
            "HOOKCHAIN_UPSTREAMS_MAIN_URL",
            "http://y",
            "HOOKCHAIN_UPSTREAM_URL and HOOKCHAIN_UPSTREAMS_MAIN_URL set",
        ),
        (
            "HOOKCHAIN_UPSTREAMS_RELAY_KEY",
            "k",
            "HOOKCHAIN_UPSTREAMS_RELAY_KEY is set, but HOOKCHAIN_UPSTREAMS_RELAY_URL is not. Set",
        ),
        (
            "HOOKCHAIN_UPSTREAMS_RELAY_URL",
            "ftp://x",
            "HOOKCHAIN_UPSTREAMS_RELAY_URL is 'ftp://x'; it must begin",
        ),
        ("HOOKCHAIN_DIALECTS_MINE_PREFX", "/x", '"HOOKCHAIN_DIALECTS_MINE_PREFIX"?'),
        ("HOOKCHAIN_DIALECTS_MINE_AUTH", "basic", "HOOKCHAIN_DIALECTS_MINE_AUTH is 'basic'"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(
    tmp_path: Path, variable: str, value: str, told: str
) -> None:
    """With what to write instead."""
    with pytest.raises(SettingsError, match=re.escape(told)):
        load_settings({"HOOKCHAIN_UPSTREAM_URL": "http://x", variable: value}, tmp_path)


def test_a_whole_file_can_stand_in_a_variable(tmp_path: Path) -> None:
    """Rules too; mistakes name the variable."""
    rule = '[[rules]]\nname = "up"\non = "task.succeeded"\npress = "U*"\n'
    (tmp_path / "hookchain.toml").write_text("nonsense here is not read")
    assert [one.rule.name for one in rules_of(load_settings({"HOOKCHAIN_TOML": rule}, tmp_path))] == ["up"]
    with pytest.raises(SettingsError, match="HOOKCHAIN_TOML"):
        rules_of(load_settings({"HOOKCHAIN_TOML": rule.replace("press", "pres")}, tmp_path))


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "sqlite:///hookchain.db"),
        ({"HOOKCHAIN_VOLUME": "/data"}, "sqlite:////data/hookchain.db"),
        (
            {"RAILWAY_ENVIRONMENT_ID": "x", "RAILWAY_VOLUME_MOUNT_PATH": "/mnt/v"},
            "sqlite:////mnt/v/hookchain.db",
        ),
        ({"HOOKCHAIN_VOLUME": "/data", "DATABASE_URL": "postgres://h/d"}, "postgres://h/d"),
    ],
)
def test_the_database_lies_on_the_volume(tmp_path: Path, variables: dict[str, str], expected: str) -> None:
    """Unless it is said where it is."""
    settings = load_settings(variables, tmp_path)
    assert settings.database_url == expected
    assert settings.disk_warning == ""


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({"DYNO": "web.1", "HEROKU_APP_DEFAULT_DOMAIN_NAME": "a.herokuapp.com"}, "https://a.herokuapp.com"),
        ({"RENDER": "true", "RENDER_EXTERNAL_URL": "https://a.onrender.com"}, "https://a.onrender.com"),
        ({"FLY_APP_NAME": "a"}, "https://a.fly.dev"),
        ({"ZEABUR_SERVICE_ID": "x", "ZEABUR_WEB_URL": "https://a.zeabur.app"}, "https://a.zeabur.app"),
        ({"KOYEB_APP_NAME": "x", "KOYEB_PUBLIC_DOMAIN": "a.koyeb.app"}, "https://a.koyeb.app"),
        ({"K_SERVICE": "x"}, "http://127.0.0.1:8000"),
        (
            {"CONTAINER_APP_NAME": "a", "CONTAINER_APP_ENV_DNS_SUFFIX": "x.eu.azurecontainerapps.io"},
            "https://a.x.eu.azurecontainerapps.io",
        ),
        ({"CONTAINER_APP_ENV_DNS_SUFFIX": "x.eu.azurecontainerapps.io"}, "http://127.0.0.1:8000"),
        ({"FLY_APP_NAME": "a", "HOOKCHAIN_PUBLIC_URL": "https://mine.org/"}, "https://mine.org"),
    ],
)
def test_the_public_address_is_the_platforms_unless_it_is_configured(
    tmp_path: Path, variables: dict[str, str], url: str
) -> None:
    """What callbacks are sent to."""
    assert load_settings(variables, tmp_path).hook_base == url


def test_what_others_set_under_our_name_does_no_harm(tmp_path: Path) -> None:
    """Kubernetes does, for a service of that name; another program's key alone is not an upstream of ours."""
    settings = load_settings(
        {
            "HOOKCHAIN_SERVICE_HOST": "10.0.0.1",
            "HOOKCHAIN_SERVICE_PORT_HTTP": "80",
            "HOOKCHAIN_PORT": "tcp://10.0.0.1:80",
            "HOOKCHAIN_PORT_80_TCP_ADDR": "10.0.0.1",
            "MJ_API_SECRET": "of another program",
            "HOOKCHAIN_CONFIG": "",
        },
        tmp_path,
    )
    assert settings.upstreams == {}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "99999"),
        ("HOOKCHAIN_UPSTREAM_RATE", "inf"),
        ("HOOKCHAIN_UPSTREAM_TIMEOUT_S", "nan"),
        ("HOOKCHAIN_UPSTREAM_RATE", "1e9"),
        ("HOOKCHAIN_RETENTION_CHAIN_DAYS", "inf"),
        ("HOOKCHAIN_RETENTION_CHAIN_DAYS", "1e300"),
        ("HOOKCHAIN_UPSTREAM_RATE", "1e-12"),
        ("HOOKCHAIN_UPSTREAM_QUIET_S", "1e300"),
        ("HOOKCHAIN_UPSTREAM_JOBS", "-1"),
        ("HOOKCHAIN_BUDGET_DEPTH", "-1"),
    ],
)
def test_a_number_that_is_none_is_refused(tmp_path: Path, variable: str, value: str) -> None:
    """Before anything is started with it."""
    with pytest.raises(SettingsError):
        load_settings({"HOOKCHAIN_UPSTREAM_URL": "http://x", variable: value}, tmp_path)


@pytest.mark.parametrize("by_variable", [False, True])
def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path, by_variable: bool) -> None:
    """Editors of Windows write one."""
    text = '\ufeff[[rules]]\nname = "upscale-all"\non = "task.succeeded"\npress = "U*"\n'
    write(tmp_path, "" if by_variable else text)
    settings = load_settings({"HOOKCHAIN_TOML": text} if by_variable else {}, tmp_path)
    assert [one.rule.name for one in rules_of(settings)] == ["upscale-all"]
