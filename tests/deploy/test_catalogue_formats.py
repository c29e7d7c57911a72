"""The recipes in deploy/, format by format: by the platform's schema, or by what its documentation says where none can be had."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml

from tests.deploy.containers import DEPLOY, documents, pods, resources
from tests.deploy.expansion import SQLITE, hookchain_containers, name_of, run_init, sealos_documents

pytestmark = pytest.mark.process

COMPOSE_FILES = sorted(
    path for path in DEPLOY.glob("*/**/*") if re.fullmatch(r"(docker-)?compose\.ya?ml", path.name)
)
UID = 10001
"""The image's user: see the Dockerfile."""

GRACE_S = 20
"""A process needs up to 13 s to stop."""


# Schemas


def test_every_compose_file_follows_the_specification() -> None:
    """By the schema of compose-spec. What is wrong is printed with its file."""
    assert COMPOSE_FILES
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", *COMPOSE_FILES],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def kubernetes_resources() -> Iterator[Any]:
    """All that the API server knows by itself; Sealos has kinds of its own."""
    for overlay in ("postgres", "sqlite"):
        for resource in resources(overlay):
            yield pytest.param(resource, id=f"{overlay}-{resource['kind']}-{resource['metadata']['name']}")
    for resource in documents(DEPLOY / "kubernetes/ingress.yaml"):
        yield pytest.param(resource, id="ingress")
    for resource in sealos_documents():
        if resource["apiVersion"] != "app.sealos.io/v1":
            yield pytest.param(resource, id=f"sealos-{resource['kind']}")


@pytest.mark.parametrize("resource", list(kubernetes_resources()))
def test_a_kubernetes_resource_is_valid(resource: dict[str, Any]) -> None:
    """By the schemas of the newest release, which know no further keys."""
    kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)


def all_pods() -> list[Any]:
    """The pod templates of Kubernetes and Sealos."""
    found = [*pods(resources("postgres")), *pods(resources("sqlite")), *pods(sealos_documents())]
    return [pytest.param(pod["spec"], id=str(number)) for number, pod in enumerate(found)]


@pytest.mark.parametrize("pod", all_pods())
def test_a_pod_keeps_the_rules(pod: dict[str, Any]) -> None:
    """An unprivileged user who owns the volume, no variables of services, time to stop, and /healthz for every probe of a server."""
    (container,) = pod["containers"]
    security = pod["securityContext"]
    assert pod["enableServiceLinks"] is False
    assert pod["terminationGracePeriodSeconds"] >= GRACE_S + 5
    assert (security["runAsNonRoot"], security["runAsUser"]) == (True, UID)
    owns_volumes = any(mount["name"] != "tmp" for mount in container.get("volumeMounts", []))
    assert security.get("fsGroup") == (UID if owns_volumes else None)
    probes = {name: probe["httpGet"]["path"] for name, probe in container.items() if name.endswith("Probe")}
    serves = container["command"][1] == "serve"
    wanted = ("startupProbe", "livenessProbe", "readinessProbe") if serves else ()
    assert probes == dict.fromkeys(wanted, "/healthz")
    assert ("preStop" in container.get("lifecycle", {})) == serves


def test_kubernetes_with_postgresql_has_a_job_and_two_deployments() -> None:
    """None of which starts without the database's address."""
    found = resources("postgres")
    workloads = {(one["kind"], one["metadata"]["name"]) for one in found if "template" in one["spec"]}
    assert workloads == {
        ("Job", "hookchain-migrate"),
        ("Deployment", "hookchain-web"),
        ("Deployment", "hookchain-worker"),
    }
    for pod in pods(found):
        (container,) = pod["spec"]["containers"]
        assert [one["name"] for one in container["env"] if "valueFrom" in one] == ["DATABASE_URL"]


def test_the_service_of_kubernetes_finds_the_web_pods() -> None:
    """And no worker."""
    for overlay in ("postgres", "sqlite"):
        found = resources(overlay)
        (service,) = [resource for resource in found if resource["kind"] == "Service"]
        chosen = [
            pod["spec"]["containers"][0]["command"][1]
            for pod in pods(found)
            if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        ]
        assert chosen == ["serve"]


# One process over one file


@pytest.mark.parametrize("recipe", SQLITE)
def test_sqlite_has_exactly_one_process(recipe: str, tmp_path: Path) -> None:
    """The one that serves, with its worker, over a volume."""
    (container,) = hookchain_containers(recipe, tmp_path)
    assert container.command == ["hookchain", "serve"]
    assert container.environment["HOOKCHAIN_VOLUME"] == "/data"
    assert "DATABASE_URL" not in container.environment
    assert "deploy" not in container.spec


def test_a_pod_over_sqlite_ends_before_the_next_one_starts() -> None:
    """As only a StatefulSet, or a Deployment that recreates, does."""
    for found in (resources("sqlite"), sealos_documents()):
        (workload,) = [one for one in found if one["kind"] in ("Deployment", "StatefulSet")]
        assert workload["spec"]["replicas"] == 1
        assert workload["kind"] == "StatefulSet" or workload["spec"]["strategy"]["type"] == "Recreate"


@pytest.mark.parametrize("path", COMPOSE_FILES, ids=name_of)
def test_a_compose_service_has_time_to_stop_and_owns_its_volume(path: Path) -> None:
    """It leaves the health check to the image, which asks /healthz."""
    (compose,) = documents(path)
    service = compose["services"]["hookchain"]
    assert int(service["stop_grace_period"].removesuffix("s")) >= GRACE_S
    assert "healthcheck" not in service
    (volume,) = service["volumes"]
    source, _, target = volume.partition(":")
    assert target == "/data"
    # A named volume takes its owner from the image; a directory of the host is handed over before.
    assert source in compose.get("volumes", {}) or path.parent.name in ("panel", "0.1.0")


def test_the_panel_hands_its_directory_over_first() -> None:
    """By a container that ends."""
    services = documents(DEPLOY / "panel/compose.yaml")[0]["services"]
    owner, hookchain = services["owner"], services["hookchain"]
    assert owner["command"] == ["chown", "-R", f"{UID}:{UID}", "/data"]
    assert owner["user"] == "0"
    assert owner["volumes"] == hookchain["volumes"]
    assert hookchain["depends_on"] == {"owner": {"condition": "service_completed_successfully"}}


def test_1panel_makes_its_secrets_once(tmp_path: Path) -> None:
    """Another run keeps them; nobody else may read them; the directory is handed over."""
    assert run_init(tmp_path) == f"-R {UID}:{UID} data"
    secrets = tmp_path / "secrets.env"
    before = secrets.read_text()
    run_init(tmp_path)
    assert secrets.read_text() == before
    assert secrets.stat().st_mode & 0o077 == 0
    values = dict(line.split("=") for line in before.splitlines())
    assert list(values) == ["HOOKCHAIN_SECRET", "HOOKCHAIN_ADMIN_TOKEN"]
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in values.values())
    assert len(set(values.values())) == 2


# Formats without a schema here, by what their documentation says


def test_the_template_of_zeabur_has_what_its_reference_asks_for() -> None:
    """github.com/zeabur/zeabur-template-doc, docs/REFERENCE.md."""
    (template,) = documents(DEPLOY / "zeabur/template.yaml")
    assert (template["apiVersion"], template["kind"]) == ("zeabur.com/v1", "Template")
    keys = {variable["key"] for variable in template["spec"]["variables"]}
    services = {service["name"]: service for service in template["spec"]["services"]}
    for service in services.values():
        assert service["template"] == "PREBUILT_V2"
        assert set(service.get("dependencies", [])) <= set(services)
        assert service.get("domainKey", "PUBLIC_DOMAIN") in keys
        assert {port["type"] for port in service["spec"]["ports"]} <= {"HTTP", "TCP"}
        assert all(isinstance(variable["default"], str) for variable in service["spec"]["env"].values())
    # ZEABUR_WEB_URL is the address of the port with this name.
    assert services["hookchain"]["spec"]["ports"] == [{"id": "web", "port": 8000, "type": "HTTP"}]


def test_the_app_of_caprover_passes_its_repositorys_checks() -> None:
    """github.com/caprover/one-click-apps, scripts/validate_apps.js and README.md."""
    (app,) = documents(DEPLOY / "caprover/hookchain.yml")
    about = app["caproverOneClickApp"]
    assert app["captainVersion"] == 4
    assert 0 < len(about["description"]) <= 200
    assert about["instructions"]["start"]
    assert about["instructions"]["end"]
    used = set(re.findall(r"\$\$cap_\w+", yaml.safe_dump(app["services"], width=1000)))
    known = {variable["id"] for variable in about["variables"]} | {"$$cap_appname", "$$cap_root_domain"}
    assert {name.removesuffix("-data") for name in used} <= known
    understood = {"image", "environment", "ports", "volumes", "depends_on", "hostname", "command", "cap_add"}
    for service in app["services"].values():
        assert set(service) <= understood | {"caproverExtra"}
        assert service["caproverExtra"] == {"containerHttpPort": "8000"}
    for variable in about["variables"]:
        assert variable["label"]


def test_the_template_of_dokploy_follows_its_readme() -> None:
    """github.com/Dokploy/templates: ports are not published, no container has a name, every variable is one or a helper."""
    template = tomllib.loads((DEPLOY / "dokploy/template.toml").read_text())
    services = documents(DEPLOY / "dokploy/docker-compose.yml")[0]["services"]
    (domain,) = template["config"]["domains"]
    assert domain["serviceName"] in services
    assert domain["port"] == 8000
    for service in services.values():
        assert not {"container_name", "ports", "networks"} & set(service)
    helpers = {
        "domain",
        "base64",
        "password",
        "hash",
        "uuid",
        "randomPort",
        "timestamp",
        "jwt",
        "email",
        "username",
    }
    text = (DEPLOY / "dokploy/template.toml").read_text()
    for name in re.findall(r"\$\{([^}]*)\}", text):
        assert name in template["variables"] or name.partition(":")[0] in helpers
    # A password may hold a $, which a compose file takes for a variable.
    assert "${password" not in text


def test_the_template_of_sealos_follows_its_example() -> None:
    """github.com/labring-actions/templates, example.md."""
    (template, *others) = documents(DEPLOY / "sealos/index.yaml")
    assert (template["apiVersion"], template["kind"]) == ("app.sealos.io/v1", "Template")
    assert re.search(r"\$\{\{ random\(8\) \}\}$", template["spec"]["defaults"]["app_name"]["value"])
    for one in template["spec"]["inputs"].values():
        assert one["type"] in ("string", "number", "choice", "boolean")
        assert {"description", "default", "required"} <= set(one)
    for one in others:
        assert one["metadata"]["name"] == "${{ defaults.app_name }}"
        assert one["metadata"]["labels"]["cloud.sealos.io/app-deploy-manager"] == "${{ defaults.app_name }}"


def test_the_app_of_1panel_has_what_its_store_shows() -> None:
    """As the apps of github.com/1Panel-dev/appstore have it."""
    app = DEPLOY / "1panel/hookchain"
    (about,) = documents(app / "data.yml")
    assert about["additionalProperties"]["key"] == app.name
    (form,) = documents(app / "0.1.0/data.yml")
    for one in form["additionalProperties"]["formFields"]:
        assert one["type"] in ("text", "number", "password")
        assert set(one["label"]) == {"en", "zh"}
    (compose,) = documents(app / "0.1.0/docker-compose.yml")
    service = compose["services"]["hookchain"]
    assert service["labels"] == {"createdBy": "Apps"}
    assert service["networks"] == ["1panel-network"]
    assert compose["networks"] == {"1panel-network": {"external": True}}


def test_the_file_of_koyeb_has_fields_of_its_api() -> None:
    """github.com/koyeb/koyeb-api-client-go, CreateCompose and DeploymentDefinition."""
    (found,) = documents(DEPLOY / "koyeb/koyeb-compose.yaml")
    assert set(found) == {"app", "services"}
    (service,) = found["services"]
    definition = service["definition"]
    assert set(definition) == {
        "name", "type", "docker", "regions", "instance_types", "scalings", "ports", "routes", "health_checks", "env",
    }  # fmt: skip
    assert [one["min"] for one in definition["scalings"]] == [1]
    assert [one["http"]["path"] for one in definition["health_checks"]] == ["/healthz"]


def test_cloud_run_keeps_its_processor_between_requests() -> None:
    """Without that, nothing is delivered or polled; it asks /healthz, and one instance is always there."""
    (service,) = documents(DEPLOY / "cloud-run/service.yaml")
    template = service["spec"]["template"]
    annotations = template["metadata"]["annotations"]
    assert annotations["run.googleapis.com/cpu-throttling"] == "false"
    assert int(annotations["autoscaling.knative.dev/minScale"]) == 1
    (container,) = template["spec"]["containers"]
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {
            "path": "/healthz",
            "port": container["ports"][0]["containerPort"],
        }
