"""Install peers where they disturb nothing: below `build/peers`, which git ignores and `make clean` removes."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.targets import ROOT

HERE = Path(__file__).parent
APART = HERE / "apart"
"""What runs in the environment of `python()`."""

LONGEST_S = 900.0
"""Seconds that an installation may take. npm compiles SQLite, which takes three minutes on two busy cores."""


class MissingError(Exception):
    """A peer cannot be measured here; the text says why, in a line of the table."""


def python() -> Path:
    """The Python of an environment with what `requirements.txt` names, by version and hash. Raises `MissingError`."""
    lock = HERE / "requirements.txt"
    directory = _directory("python", [lock])
    program = directory / "bin" / "python"
    if not _is_complete(directory):
        _run("Huey", [sys.executable, "-m", "venv", str(directory)])
        pip = [
            str(program),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--require-hashes",
        ]
        _run("Huey", [*pip, "-r", str(lock)])
        _complete(directory)
    return program


def node_red() -> Path:
    """The directory with Node-RED's packages, as `node_red/package-lock.json` names them. Raises `MissingError`."""
    locks = [HERE / "node_red" / name for name in ("package.json", "package-lock.json")]
    if shutil.which("npm") is None:
        raise MissingError("not measured: npm is not installed")
    directory = _directory("node-red", locks)
    if not _is_complete(directory):
        for lock in locks:
            shutil.copy(lock, directory)
        # No package may run a script of its own, except the one that has to be compiled.
        _run("Node-RED", ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], directory)
        _run("Node-RED", ["npm", "rebuild", "sqlite3"], directory)
        _complete(directory)
    return directory


def program(name: str) -> str:
    """The path of an installed program. Raises `MissingError`."""
    found = shutil.which(name)
    if found is None:
        raise MissingError(f"not measured: the program {name} is not installed")
    return found


def _directory(name: str, locks: Sequence[Path]) -> Path:
    """One directory for each state of the lock files, so that a new lock is a new installation."""
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()[:12]
    directory = ROOT / "build" / "peers" / f"{name}-{digest}"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _is_complete(directory: Path) -> bool:
    return (directory / ".complete").exists()


def _complete(directory: Path) -> None:
    (directory / ".complete").touch()


def _run(name: str, command: Sequence[str], directory: Path = ROOT) -> None:
    print(f"installing {name}: {' '.join(command)}", file=sys.stderr)
    try:
        subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True, timeout=LONGEST_S)
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.strip()]
        raise MissingError(
            f"not measured: it cannot be installed here ({lines[-1] if lines else error})"
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(f"not measured: it cannot be installed here ({error})") from error
