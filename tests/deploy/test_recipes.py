"""Deployment recipes do what they say: each starts with nothing filled in, and passes every variable on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hookchain.cli import MODULES
from hookchain.settings.environment import SettingsError, check_variables, known_variables
from hookchain.settings.load import load_settings
from tests.conftest import REPOSITORY, HookchainServer, free_port
from tests.conftest import Process as Background
from tests.deploy import recipes
from tests.deploy.recipes import ATTACHED, RECIPES, Process
from tests.support import command
from tests.support.postgres import fresh_database

PROCESSES = [
    pytest.param(process, id=f"{file} {process.name}") for file, read in RECIPES.items() for process in read()
]
FIXED_BY_COMPOSE = {"HOST", "PORT"}
"""Inside the container only; PUBLISH says where the machine listens."""


@pytest.fixture
def attached(postgres_server: str) -> Iterator[str]:
    """The PostgreSQL that a platform attaches: empty, and with the scheme that Heroku gives."""
    with fresh_database(postgres_server) as url:
        yield url.replace("postgresql://", "postgres://")


def with_database(process: Process, url: str) -> dict[str, str]:
    """Its environment with a real database, and a port that is free here."""
    return {
        name: url if value == ATTACHED else str(free_port()) if name == "PORT" else value
        for name, value in process.environment.items()
    }


@pytest.mark.parametrize("process", PROCESSES)
def test_a_recipe_starts_with_nothing_filled_in(process: Process, attached: str, tmp_path: Path) -> None:
    """`serve` answers /healthz, `work` waits, `migrate` ends with 0; on the database that the recipe brings along."""
    environment = with_database(process, attached)
    kind = process.arguments[0]
    if kind == "migrate":
        done = command.run(tmp_path, *process.arguments, **environment)
        assert done.returncode == 0, done.stderr
        return
    call = ["-m", "hookchain", *process.arguments]
    if kind == "work":
        worker = Background(call, ready="nothing to do", cwd=tmp_path, environment=environment)
        assert worker.is_running, worker.output
        worker.kill()
        return
    server = HookchainServer(tmp_path, environment, call)
    assert server.is_running, server.output
    with server.http as http:
        assert http.get("/healthz").json() == {"status": "ok"}
    assert "ALL DATA WILL BE LOST" not in server.output
    assert server.stop() == 0


@pytest.mark.parametrize(
    "name", sorted({*known_variables(), "DATABASE_URL", "LOG_LEVEL", "LOG_FORMAT"} - FIXED_BY_COMPOSE)
)
def test_compose_passes_every_variable_of_the_env_file_on(name: str) -> None:
    """A money limit that does not arrive is no limit."""
    for process in recipes.compose({name: "what .env says"}):
        assert process.environment[name] == "what .env says", process.name


def test_compose_fixes_only_what_is_inside_the_container() -> None:
    """HOST and PORT in .env are those of this machine."""
    given = {"HOST": "127.0.0.1", "PORT": "9000"}
    for process in recipes.compose(given):
        settings = load_settings(process.environment, REPOSITORY)
        assert (settings.host, settings.port) == ("0.0.0.0", 8000)


def test_composes_password_reaches_both_sides_whatever_is_in_it() -> None:
    """As a variable of libpq, not within a URL: there @ and / would have to be escaped."""
    password = "p@ss/w:rd%"
    services = recipes.read_yaml("compose.yaml")["services"]
    given = {"POSTGRES_PASSWORD": password}
    assert recipes.interpolated(services["database"]["environment"]["POSTGRES_PASSWORD"], given) == password
    for process in recipes.compose(given):
        assert process.environment["PGPASSWORD"] == password


def test_compose_mounts_a_directory() -> None:
    """An editor replaces a file: mounted on its own, the container would see the old one for ever."""
    for name, service in recipes.read_yaml("compose.yaml")["services"].items():
        for mount in service["volumes"]:
            source = mount.split(":")[0]
            assert not (REPOSITORY / source).is_file(), f"{name} mounts the file {source}"


@pytest.mark.process
def test_compose_follows_its_specification() -> None:
    """The JSON schema of the compose project."""
    checker = Path(sys.executable).parent / "check-jsonschema"
    done = subprocess.run(
        [checker, "--builtin-schema", "vendor.compose-spec", REPOSITORY / "compose.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_gets_all_that_it_copies() -> None:
    """The packages that the wheel is made of, and nothing that .dockerignore leaves out."""
    copied = {
        source
        for sources in re.findall(
            r"^COPY (?:--chown=\S+ )?([^-].*) \S+$", recipes.text("Dockerfile"), re.MULTILINE
        )
        for source in sources.split()
    }
    sent = set(re.findall(r"^!(.+)$", recipes.text(".dockerignore"), re.MULTILINE))
    project = tomllib.loads(recipes.text("pyproject.toml"))
    assert copied <= sent
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= copied
    assert all((REPOSITORY / name).exists() for name in copied)


def test_the_image_runs_as_a_user_by_number() -> None:
    """Kubernetes' runAsNonRoot cannot look up a name."""
    assert re.findall(r"^USER (.+)$", recipes.text("Dockerfile"), re.MULTILINE) == ["10001"]


def test_no_container_is_restarted_for_its_database() -> None:
    """What a platform asks again and again is /healthz; `hookchain healthcheck` asks it too."""
    for name in (
        "compose.yaml",
        "Dockerfile",
        "fly.toml",
        "render.yaml",
        ".railway/railway.ts",
        "deploy/dokku.json",
    ):
        assert "readyz" not in recipes.text(name), name
    for name in ("fly.toml", "render.yaml", ".railway/railway.ts", "deploy/dokku.json"):
        assert "/healthz" in recipes.text(name), name


def test_every_platform_waits_longer_than_a_stop_takes() -> None:
    """A stop takes up to 13 s (docs/deploy/README.md); Docker's, Fly's and Railway's own patience is 10, 5 and 0."""
    for service in recipes.read_yaml("compose.yaml")["services"].values():
        assert "build" not in service or service["stop_grace_period"] == "20s"
    assert tomllib.loads(recipes.text("fly.toml"))["kill_timeout"] == "20s"
    assert "drainingSeconds: 20" in recipes.text(".railway/railway.ts")
    assert all(one["maxShutdownDelaySeconds"] >= 20 for one in recipes.read_yaml("render.yaml")["services"])


def test_app_json_has_only_what_heroku_and_dokku_both_want() -> None:
    """For Dokku `buildpacks` would beat the Dockerfile, and `formation` forbid `ps:scale`; Heroku has no `healthchecks`."""
    recipe = json.loads(recipes.text("app.json"))
    assert recipe.keys() == {"name", "description", "keywords", "env", "addons"}


def test_render_asks_for_what_a_person_fills_in() -> None:
    """A literal in the blueprint goes over the typed value at each sync; `sync: false` is refused in groups."""
    recipe = recipes.read_yaml("render.yaml")
    assert "envVarGroups" not in recipe
    for service in recipe["services"]:
        asked = {entry["key"] for entry in service["envVars"] if entry.get("sync") is False}
        assert asked == {f"HOOKCHAIN_UPSTREAM_{key}" for key in ("URL", "KEY", "DIALECT")}
    assert [database["ipAllowList"] for database in recipe["databases"]] == [[]]


def test_an_empty_variable_is_as_good_as_none(tmp_path: Path) -> None:
    """Platforms pass on what nobody filled in."""
    empty = dict.fromkeys(known_variables(), "") | {"DATABASE_URL": "", "PORT": "", "HOST": ""}
    assert load_settings(empty, tmp_path) == load_settings({}, tmp_path)


@pytest.mark.parametrize("key", ["DIALECT", "KEY"])
def test_half_an_upstream_is_refused_with_what_to_do(tmp_path: Path, key: str) -> None:
    """Whoever fills in a key means to use an API: the sandbox would let him believe that it does."""
    with pytest.raises(
        SettingsError, match=rf"HOOKCHAIN_UPSTREAM_{key} is set, but .* or unset HOOKCHAIN_UPSTREAM_{key}"
    ):
        load_settings({f"HOOKCHAIN_UPSTREAM_{key}": "trueai"}, tmp_path)


FILES = [
    *RECIPES,
    "Procfile",
    "deploy/dokku.json",
    *(str(page.relative_to(REPOSITORY)) for page in sorted((REPOSITORY / "docs/deploy").glob("*.md"))),
]


@pytest.mark.parametrize("name", FILES)
def test_a_recipe_names_what_there_is(name: str) -> None:
    """Its variables are known, and its commands exist."""
    written = recipes.text(name)
    check_variables(dict.fromkeys(re.findall(r"\bHOOKCHAIN_[A-Z_]*[A-Z]\b", written), ""))
    for found in re.findall(r"(?:python -m |`|\"|bin/|= \"|: )hookchain (\w+)", written):
        assert found in MODULES, found
