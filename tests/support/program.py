"""Programs of the system that tests need: Debian's packages, which CI installs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def program(name: str) -> str:
    """Its path. Without it the test is skipped, but fails in CI, which installs it."""
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(["/usr/sbin", *_postgres()]))
    if found is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{name} is not installed")
    return str(found)


def _postgres() -> list[str]:
    """Where Debian keeps the programs of PostgreSQL servers, the newest first."""
    homes = Path("/usr/lib/postgresql").glob("*/bin")
    return [str(home) for home in sorted(homes, key=lambda home: int(home.parent.name), reverse=True)]
