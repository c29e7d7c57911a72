"""What `make build` puts into the wheel and the sdist, and what the package page will show."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from packaging.metadata import Metadata

from tests.conftest import REPOSITORY
from tests.support.repository import tracked

pytestmark = pytest.mark.process

PACKAGES = ("hookchain", "hooks", "dispatcher", "storage", "midjourney")


def checkout(directory: Path, *, umask: int, modified_at_s: int) -> Path:
    """A copy of what git tracks, as somebody with this umask has it who cloned at this time."""
    for file in tracked():
        target = directory / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / file, target)
        target.chmod(target.stat().st_mode & ~umask)
        os.utime(target, (modified_at_s, modified_at_s))
    (directory / ".env").write_text("HOOKCHAIN_UPSTREAM_KEY=secret\n")
    (directory / ".venv").symlink_to(sys.prefix)
    return directory


def build(directory: Path) -> dict[str, Path]:
    """`make build` there: the built files by their name."""
    environment = os.environ | {"SOURCE_DATE_EPOCH": "1800000000"}
    done = subprocess.run(
        ["scripts/build"], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.name: path for path in (directory / "dist").iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What is built from one checkout."""
    directory = tmp_path_factory.mktemp("one")
    return build(checkout(directory, umask=0o022, modified_at_s=1_700_000_000))


def only(built: dict[str, Path], suffix: str) -> Path:
    """The one file that ends so."""
    [path] = [path for name, path in built.items() if name.endswith(suffix)]
    return path


def metadata(built: dict[str, Path]) -> Metadata:
    """The wheel's, checked as an index checks what is uploaded."""
    with zipfile.ZipFile(only(built, ".whl")) as wheel:
        [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        return Metadata.from_email(wheel.read(name), validate=True)


def test_the_wheel_holds_the_packages_and_nothing_else(built: dict[str, Path]) -> None:
    """Each tracked file of the five: templates, static files, locales, migrations, py.typed. No tests, no documents."""
    with zipfile.ZipFile(only(built, ".whl")) as wheel:
        files = {name for name in wheel.namelist() if ".dist-info/" not in name}
    of_packages = {file.as_posix() for file in tracked() if file.parts[0] in PACKAGES}
    examples = {f"hookchain/{file.as_posix()}" for file in tracked() if file.parts[0] == "examples"}
    assert examples
    assert files == of_packages | examples | {"pytest_hookchain.py"}
    assert {f"{package}/py.typed" for package in PACKAGES} <= files


def test_the_sdist_holds_what_git_tracks_and_nothing_else(built: dict[str, Path]) -> None:
    """Whatever a test reads is there, and no .env that lies in the directory. New kinds of files need a line in pyproject.toml."""
    with tarfile.open(only(built, ".tar.gz")) as sdist:
        files = {member.name.split("/", 1)[1] for member in sdist if member.isfile()}
    assert files == {file.as_posix() for file in tracked()} | {"PKG-INFO"}


def test_two_builds_of_one_commit_have_the_same_bytes(built: dict[str, Path], tmp_path: Path) -> None:
    """By another person, at another time."""
    again = build(checkout(tmp_path, umask=0o077, modified_at_s=1_750_000_000))
    assert built.keys() == again.keys()
    assert [name for name, path in built.items() if path.read_bytes() != again[name].read_bytes()] == []


def test_the_package_page_has_no_link_that_leads_nowhere(built: dict[str, Path]) -> None:
    """The description, rendered: each link and picture has a full address, and no heading is lost."""
    described = metadata(built)
    assert described.description_content_type == "text/markdown"
    assert described.description is not None
    html = MarkdownIt("commonmark").enable("table").render(described.description)
    assert re.findall(r'(?:href|src)="(?!https?://|#)[^"]*"', html) == []
    headings = re.findall(r"^#+ .*", (REPOSITORY / "README.md").read_text(), re.MULTILINE)
    assert headings == re.findall(r"^#+ .*", described.description, re.MULTILINE)


def test_the_version_has_its_section_in_the_changelog(built: dict[str, Path]) -> None:
    """With a date; what follows it stands above, as unreleased."""
    changes = (REPOSITORY / "CHANGELOG.md").read_text()
    assert re.search(rf"^## {metadata(built).version} - \d{{4}}-\d\d-\d\d$", changes, re.MULTILINE)


def test_each_python_that_is_tested_is_in_the_classifiers(built: dict[str, Path]) -> None:
    """As the workflow names them, from the oldest that may be installed."""
    workflow = (REPOSITORY / ".github/workflows/test.yml").read_text()
    tested = set(re.findall(r'"(3\.\d+)"', workflow))
    described = metadata(built)
    prefix = "Programming Language :: Python :: "
    classified = {
        name.removeprefix(prefix) for name in described.classifiers or [] if name.startswith(prefix)
    }
    assert classified - {"3 :: Only"} == tested
    assert str(described.requires_python) == f">={min(tested, key=lambda version: int(version[2:]))}"
