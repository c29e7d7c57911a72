"""Names the settings that differ between two versions of a file, never their values: some are secrets. Pure."""

from __future__ import annotations

from collections.abc import Mapping

IN_USE_AT_ONCE = frozenset({"rules", "vars", "macros", "blueprint", "include"})
"""The keys that are not named: a changed rule is in use as soon as the file is read."""


def changed_settings(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """Tables with their keys that differ, such as "[upstreams.main] key, url", "[[budgets]]" and "port"."""
    found: list[str] = []
    for key in sorted({*before, *after} - IN_USE_AT_ONCE):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if isinstance(old, dict) or isinstance(new, dict):
            found += _tables(key, _table(old), _table(new))
        elif any(
            isinstance(entry, dict) for value in (old, new) if isinstance(value, list) for entry in value
        ):
            found.append(f"[[{key}]]")
        else:
            found.append(key)
    return found


def _tables(name: str, old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    """A table's own keys that differ, then the tables in it."""
    differing = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    inner = [key for key in differing if isinstance(old.get(key), dict) or isinstance(new.get(key), dict)]
    own = [key for key in differing if key not in inner]
    found = [f"[{name}] {', '.join(own)}"] if own or not differing else []
    for key in inner:
        is_new = key not in old or key not in new
        found += (
            [f"[{name}.{key}]"] if is_new else _tables(f"{name}.{key}", _table(old[key]), _table(new[key]))
        )
    return [entry.strip() for entry in found]


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
