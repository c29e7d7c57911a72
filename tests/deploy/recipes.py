"""Each deployment recipe as its platform reads it: the processes it starts, and the variables they get.

A new recipe is a function that reads its file and gives `Process`es, listed in `RECIPES`. Nothing is filled in: what a
person may type is absent, or empty where the platform passes it on empty.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from ruamel.yaml import YAML

REPOSITORY = Path(__file__).parent.parent.parent
ATTACHED = "postgresql://attached/database"
"""Stands for the address of the PostgreSQL that the recipe brings along."""

GENERATED = "dGhlIHBsYXRmb3JtIGdlbmVyYXRlZCB0aGlzIHNlY3JldA=="
"""Stands for a secret that the platform makes: 256 bits in base64, as Render does."""


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """What a recipe starts: arguments of `hookchain`, and the whole environment. `name` is the platform's word for it."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]


def _arguments(command: str | list[str]) -> tuple[str, ...]:
    """What follows `hookchain` or `python -m hookchain`."""
    words = shlex.split(command) if isinstance(command, str) else command
    return tuple(words[words.index("hookchain") + 1 :])


def text(name: str) -> str:
    """A file of the repository."""
    return (REPOSITORY / name).read_text()


def read_yaml(name: str) -> Any:
    """A YAML file of the repository."""
    return YAML(typ="safe").load(text(name))


def procfile() -> dict[str, str]:
    """Name of each process → its command."""
    return dict(re.findall(r"^(\w+): (.+)$", text("Procfile"), re.MULTILINE))


def heroku() -> list[Process]:
    """app.json and the Procfile, with the add-on's DATABASE_URL."""
    recipe = json.loads(text("app.json"))
    environment = {"DYNO": "web.1", "PORT": "28123"}
    if any(addon.startswith("heroku-postgresql") for addon in recipe["addons"]):
        environment["DATABASE_URL"] = ATTACHED
    for name, entry in recipe["env"].items():
        if entry.get("generator") == "secret":
            environment[name] = GENERATED
        elif "value" in entry:
            environment[name] = entry["value"]
        else:
            assert entry["required"] is False, f"{name} has to be typed before anything starts"
    return [
        Process(name=name, arguments=_arguments(command), environment=environment)
        for name, command in procfile().items()
    ]


def render() -> list[Process]:
    """render.yaml; `sync: false` is asked for once, and left empty here."""
    recipe = read_yaml("render.yaml")
    processes = []
    for service in recipe["services"]:
        environment = {"RENDER": "true", "PORT": "10000"}
        for entry in service["envVars"]:
            if "fromDatabase" in entry:
                assert entry["fromDatabase"]["name"] in {one["name"] for one in recipe["databases"]}
                environment[entry["key"]] = ATTACHED
            else:
                made = GENERATED if entry.get("generateValue") else ""
                environment[entry["key"]] = entry.get("value", made)
        processes += [
            Process(
                name=f"{service['name']} {key}", arguments=_arguments(service[key]), environment=environment
            )
            for key in ("preDeployCommand", "startCommand")
            if key in service
        ]
    return processes


def image() -> dict[str, str]:
    """The variables that the Dockerfile sets for us."""
    found = dict(
        re.findall(r"(\w+)=(\S+)", " ".join(re.findall(r"^ENV (.+)$", text("Dockerfile"), re.MULTILINE)))
    )
    return {name: value for name, value in found.items() if name != "PATH"}


def docker() -> list[Process]:
    """The image on its own, as `docker run` starts it."""
    (command,) = re.findall(r"^CMD (\[.+\])$", text("Dockerfile"), re.MULTILINE)
    return [Process(name="docker run", arguments=_arguments(json.loads(command)), environment=image())]


def railway() -> list[Process]:
    """.railway/railway.ts: one service; `preserve()` keeps what is set in Railway, which is nothing here."""
    recipe = text(".railway/railway.ts")
    environment = image() | {"RAILWAY_ENVIRONMENT_ID": "e", "PORT": "28124"}
    environment |= dict(re.findall(r'^ +([A-Z_]+): "(.*)",$', recipe, re.MULTILINE))
    environment |= dict.fromkeys(
        re.findall(r"^ +([A-Z_]+): database\.env\.DATABASE_URL", recipe, re.MULTILINE), ATTACHED
    )
    return [
        Process(name=key, arguments=_arguments(command), environment=environment)
        for key, command in re.findall(r'^ +(preDeploy|start): "(.+)",$', recipe, re.MULTILINE)
    ]


def fly() -> list[Process]:
    """fly.toml over the image, with the DATABASE_URL that `fly mpg attach` sets."""
    recipe = tomllib.loads(text("fly.toml"))
    environment = image() | {"FLY_APP_NAME": recipe["app"], "DATABASE_URL": ATTACHED} | recipe["env"]
    commands = {"release": recipe["deploy"]["release_command"], **recipe["processes"]}
    return [
        Process(name=name, arguments=_arguments(command), environment=environment)
        for name, command in commands.items()
    ]


def compose(dotenv: Mapping[str, str] | None = None) -> list[Process]:
    """compose.yaml beside a file .env with these variables, as the compose specification reads it."""
    dotenv = dotenv or {}
    processes = []
    for name, service in read_yaml("compose.yaml")["services"].items():
        if "build" not in service:
            continue
        environment = image()
        for file in service.get("env_file", []):
            assert file["required"] is False, "without a .env compose would refuse to start"
            assert file["path"] == ".env"
            environment |= dotenv
        environment |= {key: interpolated(value, dotenv) for key, value in service["environment"].items()}
        processes.append(
            Process(
                name=name,
                arguments=_arguments(service["command"]),
                environment={
                    key: ATTACHED if value.endswith("@database/hookchain") else value
                    for key, value in environment.items()
                },
            )
        )
    return processes


def interpolated(written: str, variables: Mapping[str, str]) -> str:
    """`${NAME:-default}`, `${NAME}` and `$$` replaced (compose specification, "Interpolation")."""

    def value(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return variables.get(found[1]) or found[2] or ""

    replaced = re.sub(r"\$\$|\$\{(\w+)(?::-([^}]*))?\}", value, written)
    assert "${" not in replaced, f"{written}: this reader does not know that form, or a variable is required"
    return replaced


RECIPES: Mapping[str, Callable[[], list[Process]]] = {
    "app.json": heroku,
    "render.yaml": render,
    ".railway/railway.ts": railway,
    "fly.toml": fly,
    "Dockerfile": docker,
    "compose.yaml": compose,
}
