"""Modules of other people that are named like packages of ours, such as a folder `storage/` where Python looks first.

Our packages have plain top-level names (docs/decisions/0001-plain-top-level-packages.md), so a namesake can hide one of
them, and another distribution can own files in the same folder. What loads our packages from outside calls `check` first.
This module imports none of them.
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
"""The folder that holds our packages. Some installers link each file to a cache, so links to files are not followed."""


class Namesake(ImportError):
    """An import would give somebody else's module instead of ours; the message says which file it is and what to do."""


def check(cure: str = OWN_ENVIRONMENT) -> None:
    """Raise `Namesake` if Python finds something else under the name of a package of ours.

    `cure` is what to do about it, unless PYTHONPATH or the installation is the cause.
    """
    for name in PACKAGES:
        folder, file = _found(name)
        if folder is not None and folder != _HOME:
            raise Namesake(
                f'{file} is in the way of hookchain\'s own package "{name}": {_cure(folder, cure)}'
            )


def _found(name: str) -> tuple[Path | None, str]:
    """The folder where `import name` finds something, and the file that it finds; None if it finds nothing."""
    found = sys.modules.get(name) or find_spec(name)
    if found is None:
        return None, ""
    folders = getattr(found, "__path__", None) or getattr(found, "submodule_search_locations", None)
    file = getattr(found, "__file__", None) or getattr(found, "origin", None)
    place = next(iter(folders), None) if folders else file
    return Path(place or "/").parent.resolve(), file or place or f"a module {name} without a file"


def _cure(folder: Path, cure: str) -> str:
    given = os.environ.get("PYTHONPATH")
    if given and folder in [Path(entry).resolve() for entry in given.split(os.pathsep)]:
        return f"take {folder} out of PYTHONPATH"
    return OWN_ENVIRONMENT if folder.name in ("site-packages", "dist-packages") else cure


def explained(error: ImportError) -> str:
    """Why an import failed, if a namesake is the cause; "" if it is not."""
    if isinstance(error, Namesake):
        return str(error)
    package = (error.name or "").partition(".")[0]
    told = shared_packages([package]) if package in PACKAGES else []
    return f"{told[0]} ({error})" if told else ""


def shared_packages(names: Iterable[str] = PACKAGES) -> list[str]:
    """What to say of each of these packages into whose folder another distribution has installed files as well."""
    from importlib.metadata import distribution, packages_distributions  # slow to load, and rarely needed

    owners = packages_distributions()
    told = []
    for name in names:
        others = {owner for owner in owners.get(name, ()) if owner and owner != "hookchain"}
        here = sorted(
            one for one in others if Path(str(distribution(one).locate_file(""))).resolve() == _HOME
        )
        if here:
            told.append(
                f'hookchain\'s own package "{name}" at {_HOME / name} also holds files of {", ".join(here)}, which can '
                f"replace ours: {OWN_ENVIRONMENT}"
            )
    return told
