"""Modules of other people that are named like packages of ours, such as a folder `storage/` where Python looks first.

Our packages have plain top-level names (docs/decisions/0001-plain-top-level-packages.md), so a namesake can hide one of
them, and another distribution can own files in the same folder. What loads our packages from outside calls `check` first.
This module imports none of them.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("dispatcher", "hooks", "midjourney", "storage")

OWN_ENVIRONMENT = "install hookchain into a virtual environment of its own"

_HOME = Path(__file__).resolve().parent.parent
"""The folder that holds our packages."""


class Namesake(ImportError):
    """An import would give somebody else's module instead of ours; the message says which file it is and what to do."""


def check(cure: str = OWN_ENVIRONMENT) -> None:
    """Raise `Namesake` if Python finds something else under the name of a package of ours.

    `cure` is what to do about it, unless PYTHONPATH or the installation is the cause.
    """
    for name in PACKAGES:
        folder, file = _found(name)
        if folder is not None and folder != _HOME / name:
            raise Namesake(
                f'{file} is in the way of hookchain\'s own package "{name}": {_cure(folder.parent, cure)}'
            )


def _found(name: str) -> tuple[Path | None, str]:
    """What `import name` gives: its folder (a module's file) for comparison, and its file for people; None: nothing."""
    found = sys.modules.get(name) or find_spec(name)
    if found is None:
        return None, ""
    folders = getattr(found, "__path__", None) or getattr(found, "submodule_search_locations", None)
    file = getattr(found, "__file__", None) or getattr(found, "origin", None)
    place = next(iter(folders), None) if folders else file
    return Path(place or f"the module {name}").resolve(), file or place or f"a module {name} without a file"


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
    return f"{told} ({error})" if (told := _shared(package)) else ""


def shared_packages() -> list[str]:
    """What to say of each package of ours into whose folder another distribution has installed files as well."""
    return [told for name in PACKAGES if (told := _shared(name))]


def _shared(package: str) -> str:
    from importlib.metadata import distribution, packages_distributions  # slow to load, and rarely needed

    if package not in PACKAGES:
        return ""
    owners = {name for name in packages_distributions().get(package, ()) if name and name != "hookchain"}
    here = sorted(name for name in owners if Path(str(distribution(name).locate_file(""))).resolve() == _HOME)
    if not here:
        return ""
    return (
        f'hookchain\'s own package "{package}" at {_HOME / package} also holds files of {", ".join(here)}, which can replace '
        f"ours: {OWN_ENVIRONMENT}"
    )
