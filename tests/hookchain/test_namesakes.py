"""hookchain beside other people's packages: theirs are left alone, and where one hides ours, it is named, with the cure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hookchain.namesakes import PACKAGES
from tests.conftest import REPOSITORY
from tests.support.installed import Installed, install, wheel_of

PYTEST = {"pytest": ["-P", "-m", "pytest"], "python -m pytest": ["-m", "pytest"]}
"""Two ways to start it: only the second puts the current folder first."""

SETTINGS = """[pytest]
addopts = --strict-markers --strict-config -W error -p no:cacheprovider -p no:randomly -p loaded
asyncio_default_fixture_loop_scope = function
"""
LOADED = """import sys

def pytest_sessionfinish():
    print("loaded from there:", *sorted(
        name for name, module in sys.modules.items()
        if (getattr(module, "__file__", None) or "").startswith({site!r} + "/")
    ))
"""


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """An environment in which nobody does harm."""
    return install(tmp_path_factory.mktemp("installed"), wheel)


@pytest.fixture
def project(tmp_path: Path, installed: Installed) -> Path:
    """An unrelated project with packages of all four names, and a test that uses them."""
    for name in PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"mine = {name!r}\n")
    imports = "".join(f"    import {name}\n    assert {name}.mine == {name!r}\n" for name in PACKAGES)
    (tmp_path / "test_theirs.py").write_text(f"def test_theirs():\n{imports}")
    (tmp_path / "test_ours.py").write_text("def test_ours(hookchain):\n    assert hookchain.budget\n")
    (tmp_path / "loaded.py").write_text(LOADED.format(site=str(installed.site)))
    (tmp_path / "pytest.ini").write_text(SETTINGS)
    return tmp_path


@pytest.mark.parametrize("form", PYTEST)
def test_pytest_of_another_project_is_left_alone(project: Path, installed: Installed, form: str) -> None:
    """It passes with warnings as errors, and all that it has loaded of ours is the module of the entry point."""
    done = installed.run(
        project, installed.python, *PYTEST[form], "-s", "-q", "test_theirs.py", PYTHONPATH=str(project)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "loaded from there: pytest_hookchain\n" in done.stdout


def test_a_package_named_hookchain_does_not_break_pytest(project: Path, installed: Installed) -> None:
    """Whoever names a folder after us has no fixture of ours, and tests that run."""
    (project / "hookchain").mkdir()
    (project / "hookchain" / "__init__.py").write_text("")
    refused = installed.run(project, installed.python, "-m", "pytest", "-q", "test_theirs.py", "test_ours.py")
    assert "1 passed, 1 error" in refused.stdout, refused.stdout + refused.stderr
    assert "the fixture hookchain cannot be used: No module named 'hookchain.testing'" in refused.stdout


def test_the_fixture_says_what_is_in_its_way(project: Path, installed: Installed) -> None:
    """In one sentence, without a traceback, whether or not it was imported before; its advice works. So do the builders."""
    refused = installed.run(
        project, installed.python, "-m", "pytest", "-q", "test_theirs.py", "test_ours.py", "-p", "no:randomly"
    )
    assert refused.returncode == 1
    assert "1 passed, 1 error" in refused.stdout
    assert f"{project}/dispatcher/__init__.py hides hookchain's own package" in refused.stdout
    assert "run `pytest --import-mode=importlib`, not `python -m pytest`" in refused.stdout
    assert "namesakes.py" not in refused.stdout
    (project / "test_builders.py").write_text(
        "from hookchain.testing import grid\n\ndef test_grid(): grid()\n"
    )
    told = installed.run(project, installed.python, "-m", "pytest", "-q", "test_builders.py").stdout
    assert f"{project}/dispatcher/__init__.py hides hookchain's own package" in told
    advised = [*PYTEST["pytest"], "--import-mode=importlib", "-p", "no:loaded", "-o", "addopts="]
    done = installed.run(project, installed.python, *advised, "-q", "test_ours.py", "test_builders.py")
    assert done.returncode == 0, done.stdout + done.stderr


KINDS: dict[str, Callable[[Path], Path]] = {
    "package": lambda place: place / "__init__.py",
    "module": lambda place: place.with_suffix(".py"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PACKAGES)
def test_python_m_names_the_file_in_the_way(
    installed: Installed, tmp_path: Path, name: str, kind: str
) -> None:
    """One sentence with the cure, exit code 2; the console script does not look there."""
    file = KINDS[kind](tmp_path / name)
    file.parent.mkdir(exist_ok=True)
    file.write_text("")
    refused = installed.run(tmp_path, installed.python, "-m", "hookchain", "version")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(
        f'hookchain: {file} hides hookchain\'s own package "{name}": run the command'
    )
    assert len(refused.stderr.splitlines()) == 1


def test_the_cures_work(installed: Installed, project: Path) -> None:
    """The console script, and -P."""
    assert installed.run(project, installed.command, "version").stdout.startswith("hookchain ")
    assert installed.run(project, installed.python, "-P", "-m", "hookchain", "version").returncode == 0


def test_a_folder_that_is_no_package_is_in_nobodys_way(installed: Installed, tmp_path: Path) -> None:
    """Python prefers ours, which is one."""
    for name in PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.py").write_text("")
    done = installed.run(tmp_path, installed.python, "-m", "hookchain", "version")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_checkout_runs_without_being_installed(installed: Installed) -> None:
    """As the Procfile starts it: all packages are found in the same folder."""
    done = installed.run(REPOSITORY, installed.python, "-m", "hookchain", "version")
    assert (done.returncode, done.stderr) == (0, "")


def test_an_installation_by_links_is_ours_too(installed: Installed, tmp_path: Path) -> None:
    """uv can link each file to its cache."""
    for file in installed.site.rglob("*.py"):
        link = tmp_path / file.relative_to(installed.site)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    done = installed.run(tmp_path, installed.python, "-m", "hookchain", "version", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


def test_pythonpath_is_named(
    installed: Installed, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Where the console script finds a namesake, that is the reason."""
    refused = installed.run(
        tmp_path_factory.mktemp("elsewhere"), installed.command, "version", PYTHONPATH=str(project)
    )
    assert refused.returncode == 2
    assert refused.stderr.endswith(f"remove {project} from PYTHONPATH\n")
    assert "Traceback" not in refused.stderr


def test_a_program_that_imports_the_api_is_told(installed: Installed, project: Path) -> None:
    """The package itself can be imported; its API needs the others."""
    program = "import hookchain; print(hookchain.__version__); from hookchain import Chain"
    refused = installed.run(project, installed.python, "-c", program)
    assert refused.stdout.strip()
    assert "start Python with -P, or in another folder" in refused.stderr.splitlines()[-1]


def test_a_server_started_by_its_command_is_not_disturbed(
    installed: Installed, project: Path, start_server: Any
) -> None:
    """Neither by the project's packages, nor by a plugin file of such a name."""
    (project / "plugins").mkdir()
    (project / "plugins" / "storage.py").write_text(
        "from hookchain import task_succeeded\n@task_succeeded.connect\nasync def keep(action, **_): ...\n"
    )
    server = start_server(command=[installed.command, "serve", "--port", "0"], PYTHONPATH="")
    assert "rules and plugins: storage:keep" in server.output
    assert server.stop() == 0


def test_a_distribution_that_overwrote_our_files_is_named(wheel: Path, tmp_path: Path) -> None:
    """pip lets two distributions own one file: the last one's is there. `doctor` knows before anything breaks."""
    broken = install(tmp_path, wheel)
    broken.install(wheel_of(tmp_path, "acme_store", {"storage/__init__.py": "", "storage/disks.py": ""}))
    told = broken.run(tmp_path, broken.command, "doctor", "--url", "http://127.0.0.1:9", "--json")
    (warning,) = json.loads(told.stdout)["warnings"]
    assert "also contains files of acme_store" in warning
    (broken.site / "storage" / "errors.py").write_text("class Broken(Exception): ...\n")
    refused = broken.run(tmp_path, broken.command, "version")
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert "also contains files of acme_store" in refused.stderr
    assert "install hookchain into a virtual environment of its own" in refused.stderr
