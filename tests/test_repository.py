"""What no tracked file may hold, and that the lock is complete: an install resolves nothing, so it cannot age."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import REPOSITORY
from tests.support.repository import tracked

# Written in two parts, since this file is tracked as well.
REGISTRIES = [
    name + end
    for name, end in [
        ("pypi.", "org"),
        ("pythonhosted.", "org"),
        ("npmjs.", "org"),
        ("npmjs.", "com"),
        ("yarnpkg.", "com"),
        ("deb.debian.", "org"),
        ("proxy.golang.", "org"),
        ("static.crates.", "io"),
    ]
]
SECRETS = {
    "an API key": r"\bsk-[A-Za-z0-9]{16,}",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,})",
    "an AWS key": r"\bAKIA[0-9A-Z]{16}\b",
    "a Slack token": r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
    "a Google key": r"\bAIza[\w-]{35}",
    "an upload token of the package index": r"\bpypi-[\w-]{30,}",
    "a signed token": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
}
HOME = r"(?<![\w.])/(?:root|(?:home|Users)/(?!hookchain/)\w[\w.-]*)/"
"""The home of somebody's machine. /home/hookchain is the image's."""


def texts() -> Iterator[tuple[str, str]]:
    """Each tracked text file by its name."""
    for file in tracked():
        content = (REPOSITORY / file).read_bytes()
        if b"\0" not in content:
            yield file.as_posix(), content.decode()


def containing(pattern: str) -> list[str]:
    """`file:line` of each match in a tracked file."""
    found = []
    for name, text in texts():
        for match in re.finditer(pattern, text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{name}:{line}")
    return found


@pytest.mark.process
def test_no_tracked_file_names_a_package_registry() -> None:
    """Behind a company's mirror each tool uses the registry that it is configured for."""
    assert containing("|".join(map(re.escape, REGISTRIES))) == []


@pytest.mark.process
@pytest.mark.parametrize("pattern", SECRETS.values(), ids=SECRETS)
def test_no_tracked_file_holds_a_secret(pattern: str) -> None:
    """Nor something that looks like one: examples are short, or have an ellipsis."""
    assert containing(pattern) == []


@pytest.mark.process
def test_no_tracked_file_names_a_home_directory() -> None:
    """It would be a path that no other machine has."""
    assert containing(HOME) == []


def locked(text: str) -> dict[str, Requirement]:
    """What a lock file pins for this Python on this platform, by name."""
    pins = re.findall(r"^[a-z0-9][^\\\n]*==[^\\\n]*", text, re.MULTILINE)
    requirements = [Requirement(pin) for pin in pins]
    return {
        canonicalize_name(requirement.name): requirement
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate()
    }


def required(pin: Requirement) -> Iterator[Requirement]:
    """What the installed distribution requires here, with the extras that the lock names."""
    for line in importlib.metadata.requires(pin.name) or []:
        requirement = Requirement(line)
        if requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in ("", *pin.extras)
        ):
            yield requirement


def satisfies(pin: Requirement | None, requirement: Requirement) -> bool:
    """Whether installing the pin is enough."""
    return (
        pin is not None
        and requirement.extras <= pin.extras
        and requirement.specifier.contains(str(pin.specifier).removeprefix("=="), prereleases=True)
    )


def lacking(text: str) -> list[str]:
    """What a locked distribution requires and the lock does not pin: installing would resolve it anew, or fail."""
    pins = locked(text)
    installed: dict[str, str] = {
        canonicalize_name(distribution.name): distribution.version
        for distribution in importlib.metadata.distributions()
    }
    found = []
    for name, pin in pins.items():
        if not pin.specifier.contains(installed.get(name, "0"), prereleases=True):
            found.append(f"{pin} is locked, {installed.get(name, 'nothing')} is installed")
            continue
        for requirement in required(pin):
            other = pins.get(canonicalize_name(requirement.name))
            if not satisfies(other, requirement):
                found.append(f"{name} requires {requirement}, the lock has {other}")
    return found


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt", "requirements-build.txt"])
def test_a_lock_is_complete(lock: str) -> None:
    """Each requirement of each locked distribution, extras included, is pinned at a version that satisfies it."""
    text = (REPOSITORY / lock).read_text()
    assert locked(text)
    assert lacking(text) == []


def test_a_lock_without_an_extra_is_incomplete() -> None:
    """`coverage==` where pytest-cov requires `coverage[toml]`: pip fetched a newer coverage, and refused it without a hash."""
    text = (REPOSITORY / "requirements-dev.txt").read_text()
    aged = text.replace("coverage[toml]==", "coverage==")
    assert aged != text
    [found] = lacking(aged)
    assert found.startswith("pytest-cov requires coverage[toml]")


def test_a_lock_without_a_package_is_incomplete() -> None:
    """One that only another one requires."""
    text = (REPOSITORY / "requirements.txt").read_text()
    fewer = re.sub(r"(?m)^h11==(?:.*\\\n)*.*\n", "", text)
    assert fewer != text
    assert {found.split(" ")[0] for found in lacking(fewer)} == {"httpcore", "uvicorn"}
