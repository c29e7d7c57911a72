"""Each recipe in deploy/ as its platform reads it: placeholders filled in, secrets made, and the containers that come of it.

Nothing is filled in but what a platform fills in itself, and an attached database where the recipe asks for one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.containers import (
    DEPLOY,
    Attached,
    Container,
    container,
    documents,
    of_compose,
    of_pods,
    parsed,
    resources,
    variables,
)

SECRET = "4f9c1d0b7e2a8365c1f0d9ab53e87f6420bd9a1ce6f37058"
"""What a platform's generator makes."""


# Kubernetes and what builds on it


def kubernetes_postgres(attached: Attached) -> list[Container]:
    """With the Secret that docs/deploy/kubernetes.md makes, and no ConfigMap."""
    secret = {"DATABASE_URL": attached.database_url, **_SECRETS}
    return of_pods(resources("postgres"), {"hookchain": secret})


def kubernetes_sqlite(attached: Attached) -> list[Container]:
    """With the Secret that docs/deploy/kubernetes.md makes, and no ConfigMap."""
    return of_pods(resources("sqlite"), {"hookchain": _SECRETS})


_SECRETS = {"HOOKCHAIN_SECRET": SECRET, "HOOKCHAIN_ADMIN_TOKEN": SECRET}


def sealos_documents() -> list[dict[str, Any]]:
    """The template, rendered with the defaults of its inputs."""
    text = (DEPLOY / "sealos/index.yaml").read_text()
    (template, *_) = parsed(text)
    values = {"SEALOS_CLOUD_DOMAIN": "cloud.example.org", "SEALOS_CERT_SECRET_NAME": "wildcard-cert"}
    for name, default in template["spec"]["defaults"].items():
        values[f"defaults.{name}"] = re.sub(
            r"\$\{\{ random\((\d+)\) \}\}", lambda n: SECRET[: int(n[1])], default["value"]
        )
    values |= {f"inputs.{name}": one["default"] for name, one in template["spec"]["inputs"].items()}
    body = text.partition("\n---\n")[2]
    return parsed(re.sub(r"\$\{\{ (.*?) \}\}", lambda found: values[found[1]], body))


def sealos(attached: Attached) -> list[Container]:
    """As the App Store renders it."""
    found = sealos_documents()
    secrets = {one["metadata"]["name"]: one["stringData"] for one in found if one["kind"] == "Secret"}
    return of_pods(found, secrets)


def cloud_run(attached: Attached) -> list[Container]:
    """With the three secrets that docs/deploy/cloud-run.md makes."""
    (service,) = documents(DEPLOY / "cloud-run/service.yaml")
    secrets = {
        "hookchain-database-url": {"latest": attached.database_url},
        "hookchain-secret": {"latest": SECRET},
        "hookchain-admin-token": {"latest": SECRET},
    }
    # What Cloud Run itself sets: docs.cloud.google.com/run/docs/container-contract.
    given = {"K_SERVICE": "hookchain", "PORT": "8080"}
    return [
        container("hookchain", spec, given | variables(spec["env"], secrets))
        for spec in service["spec"]["template"]["spec"]["containers"]
    ]


# Compose files


def coolify(attached: Attached) -> list[Container]:
    """With the variables that Coolify makes for names that begin with SERVICE_."""
    made = {
        "SERVICE_URL_HOOKCHAIN": "https://hookchain.coolify.example.org",
        "SERVICE_PASSWORD_64_SECRET": SECRET,
        "SERVICE_PASSWORD_64_ADMIN": SECRET,
    }
    return of_compose(DEPLOY / "coolify/docker-compose.yaml", made)


def dokploy(attached: Attached) -> list[Container]:
    """With the template's helpers run, and the .env that comes of it."""
    template = tomllib.loads((DEPLOY / "dokploy/template.toml").read_text())
    values = {"domain": "hookchain.traefik.me", "hash:32": SECRET, "hash:24": SECRET}
    values |= {name: _filled(value, values) for name, value in template["variables"].items()}
    lines = [f"{name}={_filled(value, values)}" for name, value in template["config"]["env"].items()]
    return of_compose(DEPLOY / "dokploy/docker-compose.yml", {}, {".env": "\n".join(lines)})


def _filled(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\$\{([\w:]+)\}", lambda found: values[found[1]], text)


ONE_PANEL = DEPLOY / "1panel/hookchain/0.1.0"


def one_panel(attached: Attached) -> list[Container]:
    """With the form left as it is, and scripts/init.sh run."""
    (form,) = documents(ONE_PANEL / "data.yml")
    fields = {one["envKey"]: one["default"] for one in form["additionalProperties"]["formFields"]}
    lines = "".join(f"{name}={value}\n" for name, value in (fields | {"CONTAINER_NAME": "hookchain"}).items())
    (attached.directory / ".env").write_text(lines)
    run_init(attached.directory)
    files = {name: (attached.directory / name).read_text() for name in (".env", "secrets.env")}
    return of_compose(
        ONE_PANEL / "docker-compose.yml", {name: str(value) for name, value in fields.items()}, files
    )


def run_init(directory: Path) -> str:
    """Run scripts/init.sh in a directory; what it called `chown` with, which only root may really call."""
    programs = directory / "programs"
    programs.mkdir(exist_ok=True)
    (programs / "chown").write_text(f'#!/bin/sh\necho "$@" > {directory}/chown.log\n')
    (programs / "chown").chmod(0o755)
    bash = shutil.which("bash")
    assert bash is not None
    subprocess.run(
        [bash, str(ONE_PANEL / "scripts/init.sh")],
        cwd=directory,
        env={"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
        check=True,
    )
    return (directory / "chown.log").read_text().strip()


def panel(attached: Attached) -> list[Container]:
    """As it stands."""
    return of_compose(DEPLOY / "panel/compose.yaml", {})


# Formats of their own


def caprover(attached: Attached) -> list[Container]:
    """With the form left as it is."""
    text = (DEPLOY / "caprover/hookchain.yml").read_text()
    (app,) = yaml.safe_load_all(text)
    values = {"$$cap_appname": "hookchain", "$$cap_root_domain": "apps.example.org"}
    for variable in app["caproverOneClickApp"]["variables"]:
        values[variable["id"]] = variable.get("defaultValue", "")
    for _ in range(2):  # a default may hold other variables
        for name in sorted(values, key=len, reverse=True):
            text = text.replace(name, values[name])
    text = re.sub(r"\$\$cap_gen_random_hex\(\d+\)", SECRET, text)
    services = yaml.safe_load(text.partition("\ncaproverOneClickApp:")[0])["services"]
    return [container(name, spec, spec["environment"]) for name, spec in services.items()]


def zeabur(attached: Attached) -> list[Container]:
    """The service of ours, with the variables of Zeabur's and those that the database exposes."""
    (template,) = documents(DEPLOY / "zeabur/template.yaml")
    given = {
        "PASSWORD": SECRET,
        "ZEABUR_WEB_URL": "https://hookchain.zeabur.app",
        "CONTAINER_HOSTNAME": "postgresql.zeabur.internal",
        "DATABASE_PORT": "5432",
    }
    containers = []
    for service in template["spec"]["services"]:
        spec = service["spec"]
        environment: dict[str, str] = {}
        for name, variable in spec["env"].items():
            environment[name] = _filled(variable["default"], given | environment)
            if variable.get("expose"):
                given[name] = environment[name]
        if service["name"] == "hookchain":
            assert environment["DATABASE_URL"].startswith(f"postgresql://hookchain:{SECRET}@postgresql.")
            environment["DATABASE_URL"] = attached.database_url
        containers.append(container(service["name"], spec | {"image": spec["source"]["image"]}, environment))
    return [container for container in containers if container.name == "hookchain"]


def koyeb(attached: Attached) -> list[Container]:
    """With what docs/deploy/koyeb.md exports in the shell."""
    shell = {"DATABASE_URL": attached.database_url, **_SECRETS}
    text = (DEPLOY / "koyeb/koyeb-compose.yaml").read_text()
    found = yaml.safe_load(re.sub(r"\$\{(\w+)\}", lambda name: shell.get(name[1], ""), text))
    given = {"KOYEB_APP_NAME": "hookchain", "KOYEB_PUBLIC_DOMAIN": "hookchain-acme.koyeb.app"}
    return [
        container(
            one["definition"]["name"],
            one["definition"]["docker"],
            given | {variable["key"]: variable["value"] for variable in one["definition"]["env"]},
        )
        for one in found["services"]
    ]


RECIPES: Mapping[str, Callable[[Attached], list[Container]]] = {
    "kubernetes/postgres": kubernetes_postgres,
    "kubernetes/sqlite": kubernetes_sqlite,
    "sealos": sealos,
    "cloud-run": cloud_run,
    "coolify": coolify,
    "dokploy": dokploy,
    "1panel": one_panel,
    "panel": panel,
    "caprover": caprover,
    "zeabur": zeabur,
    "koyeb": koyeb,
}
"""Each recipe, and how its platform reads it."""

SQLITE = ("kubernetes/sqlite", "sealos", "coolify", "dokploy", "1panel", "panel", "caprover")
"""Those that keep everything in one file on a volume: exactly one process."""


def hookchain_containers(recipe: str, directory: Path) -> list[Container]:
    """The containers of a recipe that run hookchain, over a database that is not there."""
    attached = Attached(database_url="postgresql://user:password@database/hookchain", directory=directory)
    return [one for one in RECIPES[recipe](attached) if one.command[0] == "hookchain"]


def name_of(path: Path) -> str:
    """A recipe's file, for the name of a test."""
    return str(path.relative_to(DEPLOY))
