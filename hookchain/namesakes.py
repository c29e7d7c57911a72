"""Detect foreign modules with the name of one of our packages, such as a folder `storage/` where Python looks first.

Our packages have plain top-level names (docs/decisions/0001-plain-top-level-packages.md), so a namesake can hide one of
them, and another distribution can install files into the same folder. Every entry point calls `check` before it loads our
packages. This module imports none of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("dispatcher", "hooks", "midjourney", "storage")

OWN_ENVIRONMENT = "install hookchain into a virtual environment of its own"

_HOME = Path(__file__).parent.parent.resolve()
"""The folder that holds our packages. Links to files are not followed, because some installers link each file to a cache."""


class Namesake(ImportError):
    """An import would load a foreign module instead of ours. The message names the file and the solution."""


def check(cure: str = OWN_ENVIRONMENT) -> None:
    """Raise `Namesake` if Python finds a foreign module under the name of one of our packages.

    `cure` is the advice if neither PYTHONPATH nor the installation is the cause.
    """
    for name in PACKAGES:
        folder, file = _location(name)
        if folder is not None and folder != _HOME:
            raise Namesake(f'{file} hides hookchain\'s own package "{name}": {_cure(folder, cure)}')


def _location(name: str) -> tuple[Path | None, str]:
    """The folder in which `import name` finds a module, and the module's file; None if it finds no module."""
    module = sys.modules.get(name) or find_spec(name)
    if module is None:
        return None, ""
    folders = getattr(module, "__path__", None) or getattr(module, "submodule_search_locations", None)
    file = getattr(module, "__file__", None) or getattr(module, "origin", None)
    place = next(iter(folders), None) if folders else file
    return Path(place or "/").parent.resolve(), file or place or f"a module {name} without a file"


def _cure(folder: Path, cure: str) -> str:
    given = os.environ.get("PYTHONPATH")
    if given and folder in [Path(entry).resolve() for entry in given.split(os.pathsep)]:
        return f"remove {folder} from PYTHONPATH"
    return OWN_ENVIRONMENT if folder.name in ("site-packages", "dist-packages") else cure


def explanation_of(error: ImportError) -> str:
    """Why an import failed, if a namesake is the cause; "" if it is not."""
    if isinstance(error, Namesake):
        return str(error)
    package = (error.name or "").partition(".")[0]
    messages = shared_packages([package]) if package in PACKAGES else []
    return f"{messages[0]} ({error})" if messages else ""


def shared_packages(names: Iterable[str] = PACKAGES) -> list[str]:
    """A message for each of these packages into whose folder another distribution has installed files."""
    # Imported here because it is slow to load and rarely needed.
    from importlib.metadata import distributions

    owners = {
        (file.parts[0], distribution.metadata["Name"])
        for distribution in distributions(path=[str(_HOME)])
        for file in distribution.files or ()
    }
    messages = []
    for name in names:
        others = sorted(owner for package, owner in owners if package == name and owner != "hookchain")
        if others:
            messages.append(
                f'hookchain\'s own package "{name}" at {_HOME / name} also contains files of {", ".join(others)}, which can '
                f"replace ours: {OWN_ENVIRONMENT}"
            )
    return messages
