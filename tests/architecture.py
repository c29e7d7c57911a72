"""The drawing in docs/explanation/architecture.md, made from the imports. `make drawing` writes it anew.

A room is a folder of a package, or a module beside them. The floors are those of import-linter's contracts in pyproject.toml.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/explanation/architecture.md"
PACKAGES = ("hookchain", "hooks", "dispatcher", "storage", "midjourney")

DRAWING = re.compile(r"(?<=<!-- drawn by `make drawing` -->\n```text\n).*?(?=```\n)", re.DOTALL)

FOR = {
    "hookchain": "what users type and import",
    "hooks": "what comes in: HTTP",
    "dispatcher": "what is decided and done",
    "storage": "what is kept: the only SQL",
    "midjourney": "the upstream's protocol, and the sandbox",
}

_WIDTH = 118


def imports() -> set[tuple[str, str]]:
    """(importer, imported) for all modules of the product."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    return {(one, other) for one in graph.modules for other in graph.find_modules_directly_imported_by(one)}


def room_of(module: str) -> str:
    """`storage.tasks.rows` is in `storage.tasks`."""
    return ".".join(module.split(".")[:2])


def rooms(package: str) -> set[str]:
    """The folders and modules of a package that hold code, by name."""
    found = {
        path.stem
        for path in (ROOT / package).iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    return found - {"__init__"}


def floors(package: str) -> list[list[str]]:
    """The rooms of a package from top to bottom, as its contract has them; one floor of all where it has none."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next((one["layers"] for one in contracts if one.get("containers") == [package]), None)
    if layers is None:
        return [sorted(rooms(package))]
    there = rooms(package)
    found = [sorted(set(re.findall(r"\w+", layer)) & there) for layer in layers]
    return [floor for floor in found if floor]


def drawing() -> str:
    """All packages, their rooms from top to bottom, and what each imports."""
    pairs = imports()
    return "\n".join(line for package in PACKAGES for line in _package(package, pairs)).strip() + "\n"


def _package(package: str, pairs: set[tuple[str, str]]) -> Iterator[str]:
    below = {other.split(".")[0] for one, other in pairs if one.split(".")[0] == package} - {package}
    arrow = f" ─▶ {' '.join(sorted(below, key=PACKAGES.index))}" if below else ""
    yield f"{package}{arrow}   {FOR[package]}"
    inside: dict[str, set[str]] = {}
    for one, other in pairs:
        if (
            one.startswith(f"{package}.")
            and other.startswith(f"{package}.")
            and room_of(one) != room_of(other)
        ):
            inside.setdefault(room_of(one), set()).add(room_of(other).partition(".")[2])
    if package == "midjourney":  # one room of small modules, and two folders beside it
        yield "│"
        for room in ("sandbox", "transport"):
            yield from _row(room, sorted(inside[f"midjourney.{room}"]))
        yield ""
        return
    for floor in floors(package):
        yield "│"
        for room in floor:
            if imported := inside.get(f"{package}.{room}"):
                yield from _row(room, sorted(imported))
        if alone := [room for room in floor if f"{package}.{room}" not in inside]:
            yield f"├─ {' · '.join(alone)}"
    yield ""


def _row(room: str, imported: list[str]) -> Iterator[str]:
    line = f"├─ {room:14} ─▶"
    for name in imported:
        if len(line) + len(name) + 1 > _WIDTH:
            yield line
            line = f"│  {'':14}   "
        line += f" {name}"
    yield line


def drawn() -> str:
    """What the page shows."""
    found = DRAWING.search(PAGE.read_text("utf-8"))
    assert found, (
        f"{PAGE.relative_to(ROOT)} has no drawing: a text block below `<!-- drawn by `make drawing` -->`"
    )
    return found[0]


@cache
def defined_in(file: str) -> frozenset[str]:
    """What a module defines: `name` at its top, `Class.name` below that."""
    return frozenset(_defined(ast.parse((ROOT / file).read_text("utf-8")).body))


def _defined(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        match node:
            case ast.ClassDef(name=name):
                yield name
                yield from (f"{name}.{inner}" for inner in _defined(node.body))
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name


if __name__ == "__main__":
    PAGE.write_text(DRAWING.sub(lambda _: drawing(), PAGE.read_text("utf-8")), "utf-8")
