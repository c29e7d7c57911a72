"""`make figures`: print sizes and complexity of the code, to compare two checkouts. `make figures OF=path` measures another one.

Only reads source code, and never fails because of a figure. Uses the tools of this checkout's environment with the settings
below, so that both checkouts are measured in the same way.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("hookchain", "hooks", "dispatcher", "storage", "midjourney")

LONG_FILE, LONG_FUNCTION, COMPLEX = 300, 50, 10
"""Limits above which a file (lines), a function (lines) and a function's complexity (ruff's C901) count as too large."""

SHOWN = 8
"""Rows of each list."""

SQL_CALLS = {"select", "insert", "update", "delete", "text", "union_all", "Prepared", "exec_driver_sql"}
"""Calls that build or run a statement of SQLAlchemy in the code."""

ANY, ANY_DICT = re.compile(r"(?m)^(?!.*\bimport\b).*\bAny\b.*$"), re.compile(r"(?m)^.*dict\[str, Any\].*$")


class Function(NamedTuple):
    """A function: its lines from `def` to the end, and the number of its `return` statements, without nested functions."""

    lines: int
    where: str
    name: str
    returns: int


class Source(NamedTuple):
    """One source file of the product."""

    path: str
    text: str

    @property
    def lines(self) -> int:
        """The number of lines."""
        return self.text.count("\n")

    @property
    def room(self) -> str:
        """The folder: a package, or a folder inside it."""
        return "/".join(self.path.split("/")[:-1])


def main() -> None:
    """Print the figures of one checkout."""
    arguments = argparse.ArgumentParser(prog="benchmarks.figures", description=__doc__)
    arguments.add_argument("checkout", nargs="?", default=".", type=Path)
    root: Path = arguments.parse_args().checkout.resolve()
    if missing := [name for name in PACKAGES if not (root / name / "__init__.py").is_file()]:
        sys.exit(f"figures: {root} is not a checkout of hookchain: {missing[0]}/__init__.py does not exist")
    sources = sorted(read(root), key=lambda source: source.path)
    print("\n".join([*sizes(sources), "", *longest(sources), "", *tools(root, sources)]))


def read(root: Path) -> Iterator[Source]:
    """The product's modules, without migrations, which are never changed once written."""
    for package in PACKAGES:
        for file in (root / package).rglob("*.py"):
            path = file.relative_to(root).as_posix()
            if "/migrations/versions/" not in path:
                yield Source(path, file.read_text("utf-8"))


def sizes(sources: Sequence[Source]) -> Iterator[str]:
    """Files and lines of each package, and of each folder in it."""
    yield f"{'':24}{'files':>8}{'lines':>8}{'median':>8}{'longest':>8}"
    for room in sorted({source.room for source in sources}):
        if "/" not in room:
            yield _size(room, [source for source in sources if source.path.startswith(f"{room}/")])
        inside = [source for source in sources if source.room == room]
        yield _size(f"  {room}/", inside)
    yield _size("all", sources)


def _size(name: str, sources: Sequence[Source]) -> str:
    lines = [source.lines for source in sources]
    return f"{name:24}{len(lines):8}{sum(lines):8}{int(statistics.median(lines)):8}{max(lines):8}"


def longest(sources: Sequence[Source]) -> Iterator[str]:
    """The longest files and functions."""
    long_files = sorted(sources, key=lambda source: -source.lines)
    yield f"files over {LONG_FILE} lines: {sum(source.lines > LONG_FILE for source in sources)}; the longest"
    yield from (f"  {source.lines:5}  {source.path}" for source in long_files[:SHOWN])
    functions = sorted((function for source in sources for function in functions_of(source)), reverse=True)
    median = int(statistics.median(function.lines for function in functions))
    yield ""
    yield (
        f"functions: {len(functions)}, median {median} lines; over {LONG_FUNCTION} lines: "
        f"{sum(function.lines > LONG_FUNCTION for function in functions)}; the longest"
    )
    yield from (f"  {function.lines:5}  {function.where} {function.name}" for function in functions[:SHOWN])
    yield ""
    yield "functions with the most returns"
    returning = sorted(functions, key=lambda function: -function.returns)[:SHOWN]
    yield from (f"  {function.returns:5}  {function.where} {function.name}" for function in returning)


def functions_of(source: Source) -> Iterator[Function]:
    """All functions of a file. Nested functions are listed separately."""
    for node in ast.walk(ast.parse(source.text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            yield Function(lines, f"{source.path}:{node.lineno}", node.name, sum(1 for _ in _returns(node)))


def _returns(node: ast.AST) -> Iterator[ast.Return]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Return):
            yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _returns(child)


def tools(root: Path, sources: Sequence[Source]) -> Iterator[str]:
    """Figures from the linters, and figures that the linters do not give."""
    complex_functions, cycles = too_complex(root), mutual_imports(sources)
    yield f"complexity over {COMPLEX} (ruff C901): {len(complex_functions)}"
    yield from (f"  {line}" for line in complex_functions)
    yield f"rooms that import each other: {len(cycles)}"
    yield from (f"  {first} <-> {second}" for first, second in cycles)
    yield f"import-linter: {_contracts(root)}"
    yield f"vulture: {_dead(root)}"
    yield f"lines with Any, imports aside: {_lines(sources, ANY)}; with dict[str, Any]: {_lines(sources, ANY_DICT)}"
    yield f"SQL in storage: {_statements(sources)}"


def _contracts(root: Path) -> str:
    output = _run("lint-imports", "--no-cache", at=root)
    return next(iter(re.findall(r"Contracts: .*", output)), "it cannot be run here")


def _dead(root: Path) -> str:
    paths = [*PACKAGES, "--exclude", "versions"]
    candidates = _run("vulture", "--config", "/dev/null", *paths, at=root).splitlines()
    if "[tool.vulture]" not in (root / "pyproject.toml").read_text("utf-8"):
        return f"{len(candidates)} candidates, none reviewed"
    return f"{len(candidates)} candidates, {len(_run('vulture', at=root).splitlines())} of them not reviewed"


def _statements(sources: Sequence[Source]) -> str:
    storage = [source for source in sources if source.path.startswith("storage/")]
    modules = [source for source in storage if source.path.rsplit("/", 1)[-1].startswith("sql")]
    named = sum(1 for source in storage for _ in _named(source))
    built = sum(call in SQL_CALLS for source in storage for call in _calls(source))
    return (
        f"{named} named statements; {len(modules)} modules that are named sql;"
        f" {built} calls that build or run a statement of SQLAlchemy"
    )


def _named(source: Source) -> Iterator[ast.Assign]:
    """Statements that a module defines at its top level: `_due = Prepared(…)`, `DUE = Query(…)`, or `CLAIM = _claim(…)` in a module
    named `sql`."""
    is_sql = source.path.rsplit("/", 1)[-1].startswith("sql")
    for node in ast.parse(source.text).body:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        called, target = node.value.func, node.targets[0]
        is_constant = isinstance(target, ast.Name) and target.id.isupper() and not target.id.startswith("_")
        if isinstance(called, ast.Name) and (
            called.id in ("Prepared", "Query", "Command") or (is_sql and is_constant)
        ):
            yield node


def too_complex(root: Path) -> list[str]:
    """Functions above `COMPLEX`, the most complex first."""
    output = _run(
        "ruff", "check", "--isolated", "--select", "C901", "--config", f"lint.mccabe.max-complexity={COMPLEX}",
        "--output-format", "json", "--exclude", "versions", *PACKAGES, at=root,
    )  # fmt: skip
    lines = []
    for issue in json.loads(output):
        if match := re.search(r"`(.+)` is too complex \((\d+)", issue["message"]):
            path = Path(issue["filename"]).relative_to(root).as_posix()
            lines.append((int(match[2]), f"{match[2]:>4}  {path}:{issue['location']['row']} {match[1]}"))
    return [line for _, line in sorted(lines, reverse=True)]


def mutual_imports(sources: Sequence[Source]) -> list[tuple[str, str]]:
    """Pairs of folders or top-level modules of one package that import each other."""
    modules = {source.path.removesuffix(".py").replace("/", ".") for source in sources}
    imports = {
        (importer, target)
        for source in sources
        for imported in _imports(source, modules)
        if (importer := _room(source.path.removesuffix(".py").replace("/", ".")))
        != (target := _room(imported))
        and importer.split(".")[0] == target.split(".")[0]
    }
    return sorted(
        (first, second) for first, second in imports if first < second and (second, first) in imports
    )


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def _imports(source: Source, modules: set[str]) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in PACKAGES)


def _calls(source: Source) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.text)):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id
            elif isinstance(node.func, ast.Attribute):
                yield node.func.attr


def _lines(sources: Sequence[Source], pattern: re.Pattern[str]) -> int:
    return sum(len(pattern.findall(source.text)) for source in sources)


def _run(tool: str, *arguments: str, at: Path) -> str:
    """The output of a tool of this environment for the checkout. Linters exit with 1 if they find something."""
    program = Path(sys.executable).with_name(tool)
    return subprocess.run([program, *arguments], cwd=at, capture_output=True, text=True, check=False).stdout


if __name__ == "__main__":
    main()
