"""The recipes in deploy/: each file is valid, and each starts as it stands, with nothing filled in."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from hookchain.cli import MODULES
from hookchain.settings.environment import known_variables
from hookchain.settings.load import load_settings
from tests.conftest import PATIENCE_S, REPOSITORY, HookchainServer, Process, free_port
from tests.deploy.containers import DEPLOY, Attached, Container, documents, image_command
from tests.deploy.expansion import RECIPES, SQLITE, hookchain_containers, name_of
from tests.support.postgres import fresh_database

pytestmark = pytest.mark.process

FILES = sorted(path for path in DEPLOY.glob("*/**/*") if path.is_file())


def test_every_directory_has_a_recipe_here() -> None:
    """A new one is tried as the others are."""
    found = {path.name for path in DEPLOY.iterdir() if path.is_dir()}
    assert found == {recipe.partition("/")[0] for recipe in RECIPES}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_can_be_read_and_names_only_known_variables(path: Path) -> None:
    """Whatever its format is."""
    text = path.read_text()
    assert set(re.findall(r"\bHOOKCHAIN_[A-Z_]*[A-Z]\b", text)) <= set(known_variables())
    match path.suffix:
        case ".yaml" | ".yml":
            assert all(isinstance(document, dict) for document in documents(path))
        case ".toml":
            assert tomllib.loads(text)
        case ".sh":
            bash = shutil.which("bash")
            assert bash is not None
            subprocess.run([bash, "-n", str(path)], check=True)
            assert path.stat().st_mode & 0o100, "it is run as a program"
        case suffix:
            assert suffix == ".md"


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_runs_commands_that_exist_and_invents_no_image(recipe: str, tmp_path: Path) -> None:
    """There is no published image: each says IMAGE, and the page says how to make one."""
    containers = hookchain_containers(recipe, tmp_path)
    assert containers
    for container in containers:
        assert container.command[1] in MODULES
        assert container.image in ("IMAGE", "IMAGE:TAG")


def test_images_of_others_have_an_exact_tag() -> None:
    """Not one that moves."""
    named = {found for path in FILES for found in re.findall(r"image: (\S+)", path.read_text())}
    others = named - {"IMAGE", "hookchain", "$$cap_image"}
    assert others
    for image in others:
        assert re.fullmatch(r"[a-z]+:\d+\.\d+", image), image


# They start


@pytest.mark.parametrize("recipe", RECIPES)
def test_settings_load_from_the_defaults_of_a_recipe(recipe: str, tmp_path: Path) -> None:
    """No setting lacks another one that it needs; the API is closed to strangers, and the address is known where it can be."""
    for container in hookchain_containers(recipe, tmp_path):
        settings = load_settings(container.environment, tmp_path)
        assert settings.upstreams == {}
        assert settings.is_file == (recipe in SQLITE)
        assert settings.disk_warning == ""
        if recipe != "panel":  # which has nothing that could make one: unset, it lets in nobody
            assert len(settings.admin_token) >= 32
        if recipe not in ("panel", "1panel", "kubernetes/postgres", "kubernetes/sqlite", "cloud-run"):
            assert re.match(r"https?://hookchain[.-]", settings.known_url)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_starts_as_it_stands(recipe: str, tmp_path: Path, postgres_server: str) -> None:
    """Each of its processes, one after the other, over a new file or an attached PostgreSQL; and each stops when asked to."""
    with fresh_database(postgres_server) as url:
        containers = RECIPES[recipe](Attached(database_url=url, directory=tmp_path))
        for container in containers:
            if container.command[0] == "hookchain":
                _try(container, tmp_path)


def _try(container: Container, directory: Path) -> None:
    environment = container.environment | {"PORT": str(free_port())}
    if "HOOKCHAIN_VOLUME" in environment:
        environment["HOOKCHAIN_VOLUME"] = str(directory)
    command = ["-m", *container.command]
    match container.command[1]:
        case "serve":
            server = HookchainServer(directory, environment, command)
            assert server.is_running, server.output
            assert server.http.get("/healthz").status_code == 200
            assert server.http.get("/readyz").status_code == 200
            server.http.close()
            assert server.stop() == 0
        case "work":
            worker = Process(
                command, ready="no upstream is configured", cwd=directory, environment=environment
            )
            assert worker.is_running, worker.output
            assert worker.stop() == 0
        case _:
            ended = Process(command, ready="revision", cwd=directory, environment=environment)
            assert ended.wait(PATIENCE_S) == 0, ended.output


def test_the_image_serves_unless_a_recipe_says_otherwise() -> None:
    """Recipes without a command rely on it."""
    assert image_command() == ["hookchain", "serve"]


# Their pages

PAGES = {
    "1panel.md": "1panel",
    "azure.md": "",
    "baota.md": "panel",
    "caprover.md": "caprover",
    "cloud-run.md": "cloud-run",
    "coolify.md": "coolify",
    "dokploy.md": "dokploy",
    "koyeb.md": "koyeb",
    "kubernetes.md": "kubernetes",
    "sealos.md": "sealos",
    "synology.md": "panel",
    "zeabur.md": "zeabur",
}
"""Each page, and the directory of its recipe."""


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_listed_and_says_what_was_not_tried(page: str) -> None:
    """In the table of docs/deploy/README.md."""
    pages = REPOSITORY / "docs/deploy"
    assert f"]({page})" in (pages / "README.md").read_text()
    assert "not been tried on" in " ".join((pages / page).read_text().split())


def test_each_page_names_its_recipe_and_each_recipe_has_a_page() -> None:
    """By the path of its files."""
    assert {path.name for path in DEPLOY.iterdir() if path.is_dir()} == set(PAGES.values()) - {""}
    for page, directory in PAGES.items():
        text = (REPOSITORY / "docs/deploy" / page).read_text()
        named = set(re.findall(r"\bdeploy/([\w./-]+)", text))
        assert all((DEPLOY / path).exists() for path in named), named
        assert not directory or any(path.startswith(f"{directory}/") for path in named), page
