"""The containers that a file for Kubernetes or compose starts, with the variables that reach each of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import REPOSITORY

DEPLOY = REPOSITORY / "deploy"


@dataclass(frozen=True, kw_only=True)
class Container:
    """One container that a recipe starts: `command` as in the image when the recipe has none; `spec` as it was written."""

    name: str
    image: str
    command: list[str]
    environment: dict[str, str]
    spec: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Attached:
    """What a recipe may ask for: a database, and a directory to work in."""

    database_url: str
    directory: Path


def image_command() -> list[str]:
    """The command of the image, by the Dockerfile."""
    found = re.findall(r"^CMD (\[.*\])$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    command: list[str] = json.loads(found[-1])
    return command


def documents(path: Path) -> list[Any]:
    """All documents of a YAML file."""
    return parsed(path.read_text())


def parsed(text: str) -> list[Any]:
    """All documents of a YAML text, by the parser in C: they are read while tests are collected, in each worker."""
    return list(yaml.load_all(text, yaml.CSafeLoader))


def resources(overlay: str) -> list[dict[str, Any]]:
    """What `kubectl apply -k deploy/kubernetes/OVERLAY` applies."""
    directory = DEPLOY / "kubernetes" / overlay
    (kustomization,) = documents(directory / "kustomization.yaml")
    found: list[dict[str, Any]] = []
    for name in kustomization["resources"]:
        found += (
            resources(f"{overlay}/{name}") if (directory / name).is_dir() else documents(directory / name)
        )
    for image in kustomization.get("images", []):
        for pod in pods(found):
            for one in pod["spec"]["containers"]:
                if one["image"] == image["name"]:
                    one["image"] = f"{image['newName']}:{image['newTag']}"
    return found


def pods(found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The pod templates of all workloads."""
    for resource in found:
        if resource["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield resource["spec"]["template"]


def of_pods(found: list[dict[str, Any]], objects: Mapping[str, Mapping[str, str]]) -> list[Container]:
    """The containers, with the variables of the Secrets and ConfigMaps that `objects` holds by name."""
    containers = []
    for pod in pods(found):
        for spec in pod["spec"]["containers"]:
            environment: dict[str, str] = {}
            for source in spec.get("envFrom", []):
                (reference,) = source.values()
                assert reference["name"] in objects or reference.get("optional"), reference
                environment |= objects.get(reference["name"], {})
            environment |= variables(spec.get("env", []), objects)
            containers.append(container(spec["name"], spec, environment))
    return containers


def variables(listed: list[dict[str, Any]], objects: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    environment = {}
    for variable in listed:
        if "valueFrom" in variable:
            reference = variable["valueFrom"]["secretKeyRef"]
            environment[variable["name"]] = objects[reference["name"]][reference["key"]]
        else:
            environment[variable["name"]] = variable["value"]
    return environment


def container(name: str, spec: Mapping[str, Any], environment: Mapping[str, str]) -> Container:
    command = [*spec.get("command", []), *spec.get("args", [])] or image_command()
    return Container(
        name=name, image=spec["image"], command=command, environment=dict(environment), spec=spec
    )


def interpolated(text: str, values: Mapping[str, str]) -> str:
    """`${NAME}` and `${NAME:-default}`, as compose fills them in."""
    return re.sub(
        r"\$\{(\w+)(?::-(.*?))?\}",
        lambda found: values.get(found[1]) or found[2] or "",
        text,
        flags=re.DOTALL,
    )


def of_compose(
    path: Path, values: Mapping[str, str], files: Mapping[str, str] | None = None
) -> list[Container]:
    """The services, with the interpolation `values`, and the text of each file that `env_file` names."""
    containers = []
    for name, spec in yaml.safe_load(interpolated(path.read_text(), values))["services"].items():
        named = spec.get("env_file", [])
        environment: dict[str, str] = {}
        for file in [named] if isinstance(named, str) else named:
            environment |= dict(
                line.split("=", 1) for line in (files or {})[file].splitlines() if "=" in line
            )
        listed = spec.get("environment", {})
        if isinstance(listed, list):
            listed = dict(entry.partition("=")[::2] for entry in listed)
        containers.append(container(name, spec, environment | listed))
    return containers
